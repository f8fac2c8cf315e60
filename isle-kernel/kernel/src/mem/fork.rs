// SPDX-License-Identifier: MIT OR Apache-2.0

//! fork(2): another address space with the same contents. Private memory stays where it is, read-only for both, until one of
//! them writes to it.

use super::areas::{Area, Kind};
use super::frames;
use super::space::Space;
use super::{is_scarce, CLOCK};
use crate::errno::Errno;
use core::sync::atomic::Ordering;
use hermit_plat::app_memory;
use hermit_plat::paging::{Page, Prot, Size, Wanted};

impl Space {
    /// Makes the copy.
    pub fn fork(&mut self) -> Result<Self, Errno> {
        let mut child = Self::new().ok_or(Errno::ENOMEM)?;
        (child.heap_start, child.brk) = (self.heap_start, self.brk);
        // They may be many: no list of them is made.
        let areas = core::mem::take(&mut self.areas);
        let done = areas.iter().try_for_each(|area| self.fork_area(area, &mut child));
        self.areas = areas;
        done.map(|()| child)
    }

    fn fork_area(&mut self, area: &Area, child: &mut Self) -> Result<(), Errno> {
        if is_scarce(0) {
            return Err(Errno::ENOMEM);
        }
        if area.kind == Kind::Clock {
            return child.map_clock(CLOCK, hermit_plat::shared::clock());
        }
        child.areas.insert(area.clone())?;
        self.share_pages(area, child)
    }

    fn share_pages(&mut self, area: &Area, child: &mut Self) -> Result<(), Errno> {
        let is_shared = area.backing.as_ref().is_some_and(|backing| backing.shared);
        if let Some(backing) = area.backing.as_ref().filter(|backing| backing.shared) {
            backing.object.is_forked.store(true, Ordering::Relaxed);
        }
        let mut at = area.start;
        while let Some((virt, page)) = self.tables.next_page(at, area.end) {
            if virt < area.start || virt + page.size.bytes() > area.end {
                // Joined from what two areas have.
                self.tables.split(virt).map_err(|_| Errno::ENOMEM)?;
                continue;
            }
            at = virt + page.size.bytes();
            let prot = Prot { write: page.prot.write && is_shared, ..page.prot };
            // What Linux writes to just now is to arrive in the parent's memory, wherever the parent writes meanwhile.
            if !is_shared && self.frames.lock().is_pinned(page.offset, page.size) {
                child.copy_pinned(virt, &page)?;
                continue;
            }
            child.map_shared(virt, page.offset, page.size, prot).map_err(|_| Errno::ENOMEM)?;
        }
        if area.prot.write && !is_shared {
            let frames = self.frames.lock();
            let mut prot = |page: &Page| {
                let write = page.prot.write && !frames.is_shared(page.offset, page.size);
                Prot { write, ..page.prot }
            };
            self.tables.protect_each(area.start, area.end, &mut prot).map_err(|_| Errno::ENOMEM)?;
        }
        Ok(())
    }

    /// Copies a page of another space into this one.
    fn copy_pinned(&mut self, virt: u64, page: &Page) -> Result<(), Errno> {
        let mut done = 0;
        while done < page.size.bytes() {
            let size = if page.size == Size::Small { Size::Small } else { Size::Large };
            let taken = match size {
                Size::Small => frames::take_small(1),
                _ => frames::take_large(Wanted::Anywhere),
            };
            let taken = taken.ok_or(Errno::ENOMEM)?;
            self.frames.lock().note_overwritten(&taken);
            let copied = app_memory::get().copy(page.offset + done, taken.offset, size.bytes());
            let mapped = copied.is_ok() && self.tables.map(virt + done, taken.offset, size, page.prot).is_ok();
            if !mapped {
                self.frames.lock().give_all(&taken);
                return Err(Errno::ENOMEM);
            }
            self.count(size.bytes());
            done += size.bytes();
        }
        Ok(())
    }
}
