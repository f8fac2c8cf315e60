// SPDX-License-Identifier: MIT OR Apache-2.0

//! The first page tables of an isle: 4 levels (SDM vol. 3, 4.5). Depends on nothing, so it is tested on the host.

use super::super::boot::Range;

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

const PAGE: u64 = super::super::PAGE_SIZE;
const LARGE_PAGE: u64 = super::super::LARGE_PAGE_SIZE;

/// Memory that page tables are in, by physical address.
pub trait Tables {
    type Error;
    fn read(&self, table: u64, index: u64) -> Result<u64, Self::Error>;
    fn write(&self, table: u64, index: u64, entry: u64) -> Result<(), Self::Error>;
}

/// What may be done with mapped memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Access {
    pub writable: bool,
    pub executable: bool,
}

impl Access {
    fn bits(self) -> u64 {
        PRESENT | if self.writable { WRITABLE } else { 0 } | if self.executable { 0 } else { NO_EXECUTE }
    }
}

/// Builds page tables from zeroed pages.
pub struct Builder<'a, T: Tables> {
    memory: &'a T,
    /// Pages that are left.
    free: Range,
    root: u64,
    /// What to say when pages run out.
    exhausted: fn() -> T::Error,
}

impl<'a, T: Tables> Builder<'a, T> {
    /// Starts with an empty PML4. `free` are zeroed pages.
    pub fn new(memory: &'a T, free: Range, exhausted: fn() -> T::Error) -> Result<Self, T::Error> {
        let mut this = Self { memory, free, root: 0, exhausted };
        this.root = this.take_page()?;
        Ok(this)
    }

    /// Physical address of the PML4.
    pub fn root(&self) -> u64 {
        self.root
    }

    fn take_page(&mut self) -> Result<u64, T::Error> {
        if self.free.len < PAGE {
            return Err((self.exhausted)());
        }
        let page = self.free.start;
        self.free = Range { start: page + PAGE, len: self.free.len - PAGE };
        Ok(page)
    }

    /// Maps `len` bytes (whole pages) at `virt` to `phys`, by 2 MiB pages where both are aligned.
    pub fn map(&mut self, virt: u64, phys: u64, len: u64, access: Access) -> Result<(), T::Error> {
        let mut done = 0;
        while done < len {
            let (v, p) = (virt + done, phys + done);
            let large = (v | p) % LARGE_PAGE == 0 && len - done >= LARGE_PAGE;
            let upper = self.next_level(self.root, v, 39)?;
            let directory = self.next_level(upper, v, 30)?;
            if large {
                self.memory.write(directory, index(v, 21), p | access.bits() | LARGE)?;
                done += LARGE_PAGE;
            } else {
                let table = self.next_level(directory, v, 21)?;
                self.memory.write(table, index(v, 12), p | access.bits())?;
                done += PAGE;
            }
        }
        Ok(())
    }

    /// The table that an entry points to, made if there is none.
    fn next_level(&mut self, table: u64, virt: u64, shift: u32) -> Result<u64, T::Error> {
        let entry = self.memory.read(table, index(virt, shift))?;
        if entry & PRESENT != 0 {
            return Ok(entry & ADDRESS);
        }
        let page = self.take_page()?;
        self.memory.write(table, index(virt, shift), page | PRESENT | WRITABLE)?;
        Ok(page)
    }
}

fn index(virt: u64, shift: u32) -> u64 {
    (virt >> shift) & 0x1ff
}

/// Fills three zeroed pages below 4 GiB with the tables that the trampoline starts with: the
/// first 2 MiB one to one, and the upper half of `root`.
pub fn trampoline<T: Tables, U: Tables<Error = T::Error>>(
    low: &T,
    pages: u64,
    isle: &U,
    root: u64,
) -> Result<(), T::Error> {
    low.write(pages, 0, (pages + PAGE) | PRESENT | WRITABLE)?;
    low.write(pages + PAGE, 0, (pages + 2 * PAGE) | PRESENT | WRITABLE)?;
    low.write(pages + 2 * PAGE, 0, PRESENT | WRITABLE | LARGE)?;
    for i in 256..512 {
        low.write(pages, i, isle.read(root, i)?)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "pagetable_tests.rs"]
mod tests;
