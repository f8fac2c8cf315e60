// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the isle keeps itself that has a file descriptor: texts and directories about the process and the isle, signalfd(2),
//! sockets.
//! And how a thread waits for such a thing to be ready.
//!
//! A thread that waits says so by a [`Watch`]; whoever makes something ready stirs it (`Task::stir`), which interrupts
//! whatever it waits in, then it looks once more. So one wait can be for what Linux keeps and for what the isle keeps.

use crate::fd::File;
use crate::net::notice::Notice;
use crate::net::socket::Socket;
use crate::sched::Task;
use crate::signal;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use spin::Mutex;

/// Events of poll(2).
pub mod event {
    pub const IN: u16 = 0x1;
    pub const OUT: u16 = 0x4;
    pub const ERR: u16 = 0x8;
    pub const HUP: u16 = 0x10;
    pub const NVAL: u16 = 0x20;
    pub const RDHUP: u16 = 0x2000;
    pub const RDNORM: u16 = 0x40;
    pub const WRNORM: u16 = 0x100;
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub name: Vec<u8>,
    /// As in struct dirent: DT_DIR, DT_LNK, DT_REG.
    pub kind: u8,
}

/// What the isle keeps.
#[derive(Debug)]
pub enum Kept {
    /// A text, and how far it has been read.
    Text { path: Vec<u8>, text: Vec<u8>, position: AtomicUsize },
    /// A directory, and how far it has been listed.
    Directory { path: Vec<u8>, list: Mutex<(Vec<Name>, usize)> },
    /// signalfd(2): its signals, and its status flags.
    Signals { set: AtomicU64, flags: AtomicUsize },
    /// socket(2) of AF_INET or AF_INET6.
    Socket(Socket),
}

impl Kept {
    /// Which events are there, for a thread.
    pub fn readiness(&self, task: &Task) -> u16 {
        match self {
            Self::Text { .. } | Self::Directory { .. } => event::IN | event::OUT | event::RDNORM | event::WRNORM,
            Self::Signals { set, .. } if signal::pending(task) & set.load(Ordering::Relaxed) != 0 => {
                event::IN | event::RDNORM
            }
            Self::Signals { .. } => 0,
            Self::Socket(socket) => socket.readiness(),
        }
    }

    /// O_NONBLOCK, where that means something.
    pub fn flags(&self) -> Option<&AtomicUsize> {
        match self {
            Self::Signals { flags, .. } => Some(flags),
            Self::Socket(socket) => Some(&socket.flags),
            Self::Text { .. } | Self::Directory { .. } => None,
        }
    }

    /// How often there were news, where that is counted: for who wants to hear of each.
    pub fn edges(&self) -> Option<u64> {
        match self {
            Self::Socket(socket) => Some(socket.notice.edges()),
            _ => None,
        }
    }

    /// True if it may become ready that isn't.
    pub fn can_wait(&self) -> bool {
        matches!(self, Self::Signals { .. } | Self::Socket(_))
    }

    /// What readlink(2) of its descriptor in /proc says.
    pub fn link(&self) -> &[u8] {
        match self {
            Self::Text { path, .. } | Self::Directory { path, .. } => path,
            Self::Signals { .. } => b"anon_inode:[signalfd]",
            Self::Socket(_) => b"socket:[1]",
        }
    }
}

/// A thread waits for some of what the isle keeps, until this is dropped.
pub struct Watch<'a> {
    task: &'a Arc<Task>,
    sockets: Vec<Arc<Notice>>,
}

impl<'a> Watch<'a> {
    /// Whatever becomes ready from now on stirs the thread, and so does a change of the set that they are in.
    pub fn begin<'k>(task: &'a Arc<Task>, watched: impl Iterator<Item = &'k Kept>, set: Option<&Arc<Notice>>) -> Self {
        let mut sockets: Vec<_> = set.into_iter().cloned().collect();
        let signals = watched.fold(0, |all, kept| match kept {
            Kept::Signals { set, .. } => all | set.load(Ordering::Relaxed),
            Kept::Socket(socket) => {
                sockets.push(socket.notice.clone());
                all
            }
            Kept::Text { .. } | Kept::Directory { .. } => all,
        });
        task.watch(true);
        task.waits_for.store(signals, Ordering::SeqCst);
        for notice in &sockets {
            notice.add(task);
        }
        Self { task, sockets }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        for notice in &self.sockets {
            notice.remove(self.task);
        }
        self.task.waits_for.store(0, Ordering::SeqCst);
        self.task.watch(false);
    }
}

/// One that a set of epoll(7) watches and the isle keeps.
#[derive(Clone, Debug)]
pub struct Member {
    pub fd: u32,
    pub file: Weak<File>,
    pub events: u32,
    pub data: u64,
    /// EPOLLET, EPOLLONESHOT: told already, not to be told again.
    pub is_told: bool,
    /// EPOLLET: the news that there were when it was told last, see [`Kept::edges`].
    pub edges: Option<u64>,
}

/// Those of one set.
#[derive(Debug, Default)]
pub struct Watched {
    pub list: Mutex<Vec<Member>>,
    /// The proxy may have some as well.
    pub has_remote: AtomicBool,
    /// The set is another.
    pub notice: Arc<Notice>,
}

impl Watched {
    /// Those that are still there.
    pub fn members(&self) -> Vec<(Member, Arc<File>)> {
        let mut list = self.list.lock();
        list.retain(|m| m.file.strong_count() > 0);
        list.iter().filter_map(|m| Some((m.clone(), m.file.upgrade()?))).collect()
    }
}
