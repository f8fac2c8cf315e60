// SPDX-License-Identifier: GPL-2.0

//! `/dev/hermit/isleX`: one open file is one application. The protocol is in `abi/door.rs`.

use crate::abi::channel::CHANNEL_SIZE;
use crate::abi::door::{self, Attachment, StartIsle, Status, APP_MEMORY_OFFSET, CPULIST_LEN};
use crate::isle::{Isle, Isles, Running};
use crate::kapi::chardev::{self, AddressSpace, Fault, Registration, POLLHUP, POLLIN};
use crate::kapi::time;
use crate::kapi::wait::PollTable;
use core::sync::atomic::Ordering;
use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::{Arc, Mutex};

/// The device of one isle.
pub type Device = Registration<Session>;

/// Makes a device for each isle.
pub fn register(isles: &Isles, module: &'static ThisModule) -> Result<KVec<Device>> {
    let mut devices = KVec::new();
    for isle in isles.iter() {
        let name = CString::try_from_fmt(fmt!("hermit-isle{}", isle.node))?;
        let node = CString::try_from_fmt(fmt!("hermit/isle{}", isle.node))?;
        devices.push(Registration::new(name, node, isle.clone(), module)?, GFP_KERNEL)?;
    }
    Ok(devices)
}

/// How far a session has come.
#[derive(Clone, Copy)]
enum Progress {
    Opened,
    /// It has started the isle, which stops with it.
    Holds {
        epoch: u64,
    },
    Attached {
        epoch: u64,
        slot: usize,
    },
    Ran {
        epoch: u64,
        slot: usize,
    },
}

impl Progress {
    fn slot(self) -> Option<(u64, usize)> {
        match self {
            Self::Attached { epoch, slot } | Self::Ran { epoch, slot } => Some((epoch, slot)),
            _ => None,
        }
    }
}

/// One open file.
///
/// `progress` comes before the isle's locks and, like these, is not held while user memory is touched
/// but for the moments in which the page-fault handler itself looks at it.
pub struct Session {
    isle: Arc<Isle>,
    mappings: AddressSpace,
    /// The isle knows of `mappings`.
    is_known: bool,
    progress: Pin<KBox<Mutex<Progress>>>,
    /// Serialises the calls that change `progress`, which may take long.
    changes: Pin<KBox<Mutex<()>>>,
}

impl Session {
    fn slot(&self) -> Result<(u64, usize)> {
        let progress = *self.progress.lock();
        progress.slot().ok_or(EINVAL)
    }

    /// Calls `f` with the isle this session is attached to, if that still runs.
    fn with_running<R>(&self, f: impl FnOnce(&Running, usize) -> Result<R>) -> Result<R> {
        let (epoch, slot) = self.slot()?;
        let view = self.isle.view.lock();
        f(view.running_in(epoch).ok_or(ENODEV)?, slot)
    }

    fn start_isle(&self, argument: usize) -> Result {
        let mut bytes = [0; 4];
        chardev::read_user(argument, &mut bytes)?;
        let len = u32::from_ne_bytes(bytes) as usize;
        if len > CPULIST_LEN {
            return Err(EINVAL);
        }
        let mut list = KVec::from_elem(0u8, len, GFP_KERNEL)?;
        let text = argument + core::mem::offset_of!(StartIsle, cpus);
        chardev::read_user(text, &mut list)?;
        let _changes = self.changes.lock();
        if !matches!(*self.progress.lock(), Progress::Opened) {
            return Err(EBUSY);
        }
        let epoch = self.isle.start_held(&list)?;
        *self.progress.lock() = Progress::Holds { epoch };
        Ok(())
    }

    fn attach(&self, argument: usize) -> Result {
        let attachment = {
            let _changes = self.changes.lock();
            let before = *self.progress.lock();
            let holds = match before {
                Progress::Opened => None,
                Progress::Holds { epoch } => Some(epoch),
                _ => return Err(EBUSY),
            };
            let (slot, epoch) = self.isle.attach(holds)?;
            *self.progress.lock() = Progress::Attached { epoch, slot };
            self.with_running(|running, slot| {
                Ok(Attachment {
                    version: crate::abi::VERSION,
                    slot: slot as u32,
                    channel_len: CHANNEL_SIZE as u64,
                    app_memory_len: app_memory_len(running),
                    tsc_khz: time::tsc_khz().into(),
                })
            })?
        };
        chardev::write_user(argument, &attachment)
    }

    fn run(&self) -> Result {
        let _changes = self.changes.lock();
        let before = *self.progress.lock();
        let Progress::Attached { epoch, slot } = before else { return Err(EINVAL) };
        self.with_running(|running, slot| running.run(slot))?;
        *self.progress.lock() = Progress::Ran { epoch, slot };
        Ok(())
    }

    fn status(&self, argument: usize) -> Result {
        let progress = *self.progress.lock();
        progress.slot().ok_or(EINVAL)?;
        self.isle.note_woken();
        let status = self.with_running(|running, slot| {
            let app = running.shared.app(slot)?;
            app.attention.store(0, Ordering::SeqCst);
            let exit_status = running.exit_status(slot);
            let state = match progress {
                _ if running.shared.is_crashed() => door::state::ISLE_CRASHED,
                Progress::Ran { .. } if exit_status.is_some() => door::state::ENDED,
                Progress::Ran { .. } => door::state::RUNNING,
                _ => door::state::ATTACHED,
            };
            let untaken_signals = app.signals.load(Ordering::Relaxed);
            Ok(Status { state, exit_status: exit_status.unwrap_or(0), untaken_signals })
        });
        let status = match status {
            Err(e) if e == ENODEV => Status { state: door::state::ISLE_STOPPED, ..Status::default() },
            other => other?,
        };
        chardev::write_user(argument, &status)
    }

    fn signal(&self, number: usize) -> Result {
        if !(1..=64).contains(&number) {
            return Err(EINVAL);
        }
        self.with_running(|running, slot| {
            running.shared.app(slot)?.signals.fetch_or(1 << (number - 1), Ordering::SeqCst);
            running.kick(slot);
            Ok(())
        })
    }
}

fn app_memory_len(running: &Running) -> u64 {
    running.shared.layout.app_memory(running.memory.ranges()).map(|r| r.len).sum()
}

/// The physical address of an offset into all application memory.
fn app_memory_at(running: &Running, mut offset: u64) -> Option<u64> {
    for range in running.shared.layout.app_memory(running.memory.ranges()) {
        if offset < range.len {
            return Some(range.start + offset);
        }
        offset -= range.len;
    }
    None
}

impl chardev::Session for Session {
    type Device = Arc<Isle>;

    fn open(isle: &Arc<Isle>, mappings: AddressSpace) -> Result<KBox<Self>> {
        let mut this = KBox::new(
            Self {
                isle: isle.clone(),
                mappings,
                is_known: false,
                progress: KBox::pin_init(new_mutex!(Progress::Opened, "hermit:session"), GFP_KERNEL)?,
                changes: KBox::pin_init(new_mutex!((), "hermit:session-changes"), GFP_KERNEL)?,
            },
            GFP_KERNEL,
        )?;
        isle.add_mapping(mappings)?;
        this.is_known = true;
        Ok(this)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<isize> {
        match command {
            door::START_ISLE => self.start_isle(argument),
            door::ATTACH => self.attach(argument),
            door::RUN => self.run(),
            door::KICK => self.with_running(|running, _| running.kick_checked(argument)),
            door::STATUS => self.status(argument),
            door::SIGNAL => self.signal(argument),
            _ => Err(ENOTTY),
        }
        .map(|()| 0)
    }

    fn check_mmap(&self, offset: u64, len: u64) -> Result {
        self.with_running(|running, _| {
            let (start, size) = match offset.checked_sub(APP_MEMORY_OFFSET) {
                Some(start) => (start, app_memory_len(running)),
                None => (offset, CHANNEL_SIZE as u64),
            };
            let end = start.checked_add(len).ok_or(EINVAL)?;
            if end > size {
                Err(EINVAL)
            } else {
                Ok(())
            }
        })
    }

    fn large_fault(&self, fault: &Fault) -> u32 {
        let Some(start) = fault.large_offset().and_then(|o| o.checked_sub(APP_MEMORY_OFFSET)) else {
            return fault.fall_back();
        };
        // As in `fault`. All of the page is in one range: these consist of large pages.
        let inserted = self.with_running(|running, _| {
            let address = app_memory_at(running, start).ok_or(EFAULT)?;
            Ok(fault.insert_large(address))
        });
        inserted.unwrap_or_else(|_| fault.fall_back())
    }

    fn fault(&self, fault: &Fault) -> u32 {
        let offset = fault.offset();
        // The page goes in while the view is locked, so that a stop either sees it or comes first.
        let inserted = self.with_running(|running, slot| {
            let address = match offset.checked_sub(APP_MEMORY_OFFSET) {
                Some(start) => app_memory_at(running, start).ok_or(EFAULT)?,
                None if offset < CHANNEL_SIZE as u64 => running.shared.channel_address(slot) + offset,
                None => return Err(EFAULT),
            };
            Ok(fault.insert(address))
        });
        inserted.unwrap_or_else(|_| fault.refuse())
    }

    fn poll(&self, table: &PollTable) -> u32 {
        table.register(self.isle.waiters());
        let ready = self.with_running(|running, slot| {
            let attention = running.shared.app(slot)?.attention.load(Ordering::SeqCst) != 0;
            Ok(attention || running.shared.is_crashed() || running.exit_status(slot).is_some())
        });
        match ready {
            Ok(true) => POLLIN,
            Ok(false) => 0,
            Err(_) => POLLIN | POLLHUP,
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let progress = *self.progress.lock();
        match progress {
            Progress::Opened => {}
            Progress::Holds { epoch } => self.isle.detach(epoch, None),
            Progress::Attached { epoch, slot } | Progress::Ran { epoch, slot } => {
                self.isle.detach(epoch, Some(slot));
            }
        }
        if self.is_known {
            self.isle.remove_mapping(self.mappings);
        }
    }
}
