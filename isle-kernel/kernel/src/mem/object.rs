// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that several areas may show: what of a file is in memory, and what processes share.
//!
//! An object owns its frames once; every page table entry that shows one owns it once more. Who maps an object
//! privately gets a copy of a page when he writes to it.

use super::frames::{self, Frames};
use crate::fd::File;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use hermit_plat::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use hermit_plat::app_memory;
use hermit_plat::paging::Size;
use spin::{Mutex, MutexGuard, Once};

/// Small pages of a large one.
pub const PER_LARGE: u64 = LARGE_PAGE_SIZE / PAGE_SIZE;

/// A frame of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Pool offset.
    pub offset: u64,
    pub size: Size,
    /// The file doesn't have yet what is in it.
    pub dirty: bool,
}

impl Held {
    pub fn pages(&self) -> u64 {
        self.size.bytes() / PAGE_SIZE
    }
}

/// A page of an object, and the frame that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Pool offset of the page.
    pub offset: u64,
    /// Number of the first page of the frame.
    pub first: u64,
    pub held: Held,
}

/// The pages of an object that are in memory, by number of their first small page.
#[derive(Debug, Default)]
pub struct Pages(BTreeMap<u64, Held>);

impl Pages {
    /// The page of a number.
    pub fn find(&self, index: u64) -> Option<Found> {
        let (&first, held) = self.0.range(..=index).next_back()?;
        let within = index - first;
        (within < held.pages()).then(|| Found { offset: held.offset + within * PAGE_SIZE, first, held: *held })
    }

    /// True if no page from `first` on is there, `count` of them.
    pub fn are_missing(&self, first: u64, count: u64) -> bool {
        self.find(first).is_none() && self.0.range(first..first.saturating_add(count)).next().is_none()
    }

    /// Adds a frame where there is none; false: somebody was faster. Who calls this has asked whether kernel memory is
    /// scarce: there may be more of these entries than it can hold.
    pub fn insert(&mut self, first: u64, offset: u64, size: Size) -> bool {
        let held = Held { offset, size, dirty: false };
        let is_free = self.are_missing(first, held.pages());
        if is_free {
            self.0.insert(first, held);
        }
        is_free
    }

    /// Takes out what begins at or behind a page, one frame at a time. A large one that begins before it becomes small ones.
    fn cut(&mut self, from: u64) -> Option<Held> {
        let across = self.find(from).filter(|found| found.first < from);
        if let Some(Found { first, held, .. }) = across {
            self.0.remove(&first);
            for index in 0..held.pages() {
                let offset = held.offset + index * PAGE_SIZE;
                self.0.insert(first + index, Held { offset, size: Size::Small, ..held });
            }
        }
        let (&first, _) = self.0.range(from..).next_back()?;
        self.0.remove(&first)
    }

    /// Says that the file doesn't have yet what is in the frame of a page.
    pub fn set_dirty(&mut self, index: u64) {
        if let Some((_, held)) = self.0.range_mut(..=index).next_back() {
            held.dirty = true;
        }
    }

    /// The first frame with pages from `first` to `end` that the file doesn't have yet.
    fn next_dirty(&self, first: u64, end: u64) -> Option<(u64, Held)> {
        let start = self.find(first).map_or(first, |found| found.first);
        self.0.range(start..end.max(start)).find(|(_, held)| held.dirty).map(|(first, held)| (*first, *held))
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Object {
    /// Whose contents it has; `None`: zeros.
    file: Option<Source>,
    pages: Mutex<Pages>,
    frames: &'static Mutex<Frames>,
    /// Several processes show it: what one of them has written, another one's page table may still allow to be written.
    pub is_forked: AtomicBool,
}

/// A file in memory.
#[derive(Debug)]
pub struct Source {
    /// By which it is read.
    pub reader: Arc<File>,
    /// By which it is written, once somebody may.
    pub writer: Once<Arc<File>>,
    /// Its length when it was mapped last.
    pub len: AtomicU64,
    /// Its time of last modification then.
    pub modified: [u64; 2],
}

impl Object {
    /// Memory that begins as zeros.
    pub fn of_zeros() -> Arc<Self> {
        Arc::new(Self {
            file: None,
            pages: Mutex::default(),
            frames: frames::shared(),
            is_forked: AtomicBool::new(false),
        })
    }

    /// Memory with the contents of a file.
    pub fn of_file(source: Source) -> Arc<Self> {
        Arc::new(Self {
            file: Some(source),
            pages: Mutex::default(),
            frames: frames::shared(),
            is_forked: AtomicBool::new(false),
        })
    }

    pub fn source(&self) -> Option<&Source> {
        self.file.as_ref()
    }

    /// Number of pages of the file, the last of which may be a part of one.
    pub fn file_pages(&self) -> u64 {
        self.file.as_ref().map_or(u64::MAX, |file| file.len.load(Ordering::Relaxed).div_ceil(PAGE_SIZE))
    }

    /// The file has another length: gives up what lies behind it. No page table may show that any more.
    pub fn set_len(&self, len: u64) {
        let Some(file) = &self.file else { return };
        file.len.store(len, Ordering::Relaxed);
        loop {
            let held = self.pages.lock().cut(len.div_ceil(PAGE_SIZE));
            let Some(held) = held else { break };
            self.frames.lock().give(held.offset, held.size);
        }
        if let Some(last) = self.pages.lock().find(len / PAGE_SIZE) {
            let within = len % PAGE_SIZE;
            // It is there: so this can't fail.
            let _ = app_memory::get().zero(last.offset + within, PAGE_SIZE - within);
        }
    }

    /// Which pages there are. The lock comes after that of a space and before that of the frames.
    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock()
    }

    /// The first frame with pages from `first` to `end` that the file doesn't have yet.
    pub fn next_dirty(&self, first: u64, end: u64) -> Option<(u64, Held)> {
        self.pages.lock().next_dirty(first, end)
    }

    /// Says that the file has what is in a frame.
    pub fn clean(&self, first: u64) {
        if let Some(held) = self.pages.lock().0.get_mut(&first) {
            held.dirty = false;
        }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let pages = core::mem::take(&mut self.pages.get_mut().0);
        for held in pages.into_values() {
            self.frames.lock().give(held.offset, held.size);
        }
    }
}

/// The files that processes of an application have mapped, by device and inode.
#[derive(Debug, Default)]
pub struct Objects(Mutex<BTreeMap<(u64, u64), Weak<Object>>>);

impl Objects {
    /// The object of a file, if there is one that is still right: what is shared always is.
    pub fn find(&self, key: (u64, u64), len: u64, modified: [u64; 2]) -> Option<Arc<Object>> {
        let object = self.0.lock().get(&key)?.upgrade()?;
        let source = object.source()?;
        let is_same = source.modified == modified && source.len.load(Ordering::Relaxed) == len;
        if !is_same && source.writer.get().is_none() {
            return None;
        }
        source.len.store(len, Ordering::Relaxed);
        Some(object)
    }

    /// True if nothing has been mapped.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// The object of a file, if there is one.
    pub fn get(&self, key: (u64, u64)) -> Option<Arc<Object>> {
        self.0.lock().get(&key)?.upgrade()
    }

    /// Adds one; others that are gone are forgotten.
    pub fn add(&self, key: (u64, u64), object: &Arc<Object>) {
        let mut all = self.0.lock();
        all.retain(|_, object| object.strong_count() > 0);
        all.insert(key, Arc::downgrade(object));
    }
}

/// What is missing of an object: it has to be read from the file, which no lock may be held for.
#[derive(Clone, Debug)]
pub struct Missing {
    pub object: Arc<Object>,
    /// Number of the page.
    pub index: u64,
    /// The whole large page around it would be mapped as one.
    pub large: bool,
}

impl PartialEq for Missing {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.object, &other.object) && self.index == other.index
    }
}

impl Eq for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_within_their_frames() {
        let mut pages = Pages::default();
        assert!(pages.insert(512, 4 << 20, Size::Large) && pages.insert(3, 0x5000, Size::Small));
        assert!(!pages.insert(600, 0, Size::Small) && !pages.insert(0, 8 << 20, Size::Large));
        assert_eq!(pages.find(3).map(|f| f.offset), Some(0x5000));
        assert_eq!(pages.find(515).map(|f| (f.offset, f.first)), Some(((4 << 20) + 0x3000, 512)));
        assert!([2, 4, 511, 1024].iter().all(|index| pages.find(*index).is_none()));
        assert!(pages.are_missing(4, 508) && !pages.are_missing(4, 509) && !pages.are_missing(700, 1));
        assert_eq!(pages.cut(1024), None);
        pages.set_dirty(700);
        assert_eq!(pages.next_dirty(0, 512), None);
        assert_eq!(pages.next_dirty(900, 901).map(|(first, _)| first), Some(512));
        let gone: Vec<u64> = core::iter::from_fn(|| pages.cut(600)).map(|held| held.offset).collect();
        assert_eq!((gone.len(), gone.last()), (424, Some(&((4 << 20) + 88 * PAGE_SIZE))));
        assert_eq!(pages.find(599).map(|f| (f.first, f.held.size, f.held.dirty)), Some((599, Size::Small, true)));
        assert!(pages.find(600).is_none() && pages.find(3).is_some());
    }
}
