// SPDX-License-Identifier: MIT OR Apache-2.0

use super::super::super::boot::DIRECT_MAP;
use super::super::super::image::IMAGE_BASE;
use super::super::layout::Layout;
use super::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// Memory that is all zero at first.
#[derive(Default)]
struct Fake(RefCell<HashMap<u64, u64>>);

impl Tables for Fake {
    type Error = &'static str;

    fn read(&self, table: u64, index: u64) -> Result<u64, Self::Error> {
        Ok(*self.0.borrow().get(&(table + index * 8)).unwrap_or(&0))
    }

    fn write(&self, table: u64, index: u64, entry: u64) -> Result<(), Self::Error> {
        self.0.borrow_mut().insert(table + index * 8, entry);
        Ok(())
    }
}

/// What the processor would do: physical address and the entry that maps it.
fn walk(memory: &Fake, root: u64, virt: u64) -> Option<(u64, u64)> {
    let mut table = root;
    for shift in [39, 30, 21, 12] {
        let entry = memory.read(table, index(virt, shift)).unwrap();
        if entry & PRESENT == 0 {
            return None;
        }
        if shift == 12 || entry & LARGE != 0 {
            let mask = (1 << shift) - 1;
            return Some(((entry & ADDRESS & !mask) | (virt & mask), entry));
        }
        table = entry & ADDRESS;
    }
    None
}

#[test]
fn all_memory_of_an_isle_is_mapped_with_the_planned_tables() {
    let ranges = [Range { start: 0x4800_0000, len: 0x2000_0000 }, Range { start: 0x1_7800_0000, len: 0x800_0000 }];
    let image_len = 0x35_3000;
    let layout = Layout::plan(&ranges, image_len, 10).unwrap();
    let memory = Fake::default();
    let mut tables = Builder::new(&memory, layout.tables, || "out of tables").unwrap();
    for r in ranges {
        tables.map(DIRECT_MAP + r.start, r.start, r.len, Access { writable: true, executable: false }).unwrap();
    }
    let code = Access { writable: false, executable: true };
    tables.map(IMAGE_BASE + 0x1000, layout.image.start, image_len, code).unwrap();

    for r in ranges {
        for at in [r.start, r.start + 0x12_3456, r.start + r.len - 1] {
            let (phys, entry) = walk(&memory, tables.root(), DIRECT_MAP + at).unwrap();
            assert_eq!(phys, at);
            assert!(entry & NO_EXECUTE != 0 && entry & WRITABLE != 0);
        }
        assert_eq!(walk(&memory, tables.root(), DIRECT_MAP + r.start + r.len), None);
    }
    let (phys, entry) = walk(&memory, tables.root(), IMAGE_BASE + 0x1000 + 0x35_2fff).unwrap();
    assert_eq!(phys, layout.image.start + 0x35_2fff);
    assert!(entry & NO_EXECUTE == 0 && entry & WRITABLE == 0);
    assert_eq!(walk(&memory, tables.root(), 0x1000), None);
}

#[test]
fn running_out_of_tables_is_an_error() {
    let memory = Fake::default();
    let free = Range { start: 0x1000, len: 0x2000 };
    let mut tables = Builder::new(&memory, free, || "out of tables").unwrap();
    assert_eq!(tables.map(DIRECT_MAP, 0, 0x1000, Access::default()), Err("out of tables"));
}

#[test]
fn the_trampoline_sees_itself_and_the_isle() {
    let (low, isle) = (Fake::default(), Fake::default());
    let free = Range { start: 0x10_0000, len: 0x10_0000 };
    let mut tables = Builder::new(&isle, free, || "out of tables").unwrap();
    tables.map(DIRECT_MAP, 0, LARGE_PAGE, Access::default()).unwrap();
    trampoline(&low, 0x9_0000, &isle, tables.root()).unwrap();
    assert_eq!(walk(&low, 0x9_0000, 0x8_f123).unwrap().0, 0x8_f123);
    assert_eq!(walk(&low, 0x9_0000, LARGE_PAGE), None);
    assert_eq!(low.read(0x9_0000, 256).unwrap(), isle.read(tables.root(), 256).unwrap());
}
