// SPDX-License-Identifier: MIT OR Apache-2.0

//! The processors of a machine, by its Multiple APIC Description Table (ACPI 6.5, 5.2.5 to 5.2.12). What firmware says there is
//! not believed beyond its lengths.

/// Reads physical memory. False: there is none that could be read.
pub trait Memory: Fn(u64, &mut [u8]) -> bool {}
impl<F: Fn(u64, &mut [u8]) -> bool> Memory for F {}

const ROOT_SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// Fields of the root pointer.
const REVISION: u64 = 15;
const RSDT: u64 = 16;
const XSDT: u64 = 24;
/// Bytes of a table's header, and where its length is.
const HEADER: u64 = 36;
const LENGTH: u64 = 4;
/// What is before the entries of this table.
const MADT_HEADER: u64 = 44;
/// Kinds of entries, and their lengths.
const LOCAL_APIC: [u8; 2] = [0, 8];
const LOCAL_X2APIC: [u8; 2] = [9, 16];
const ENABLED: u32 = 1;
/// More than any table has.
const MAX_LENGTH: u64 = 1 << 20;

fn word<const N: usize>(memory: &impl Memory, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    memory(at, &mut bytes).then_some(bytes)
}

fn number(memory: &impl Memory, at: u64) -> Option<u32> {
    word(memory, at).map(u32::from_le_bytes)
}

/// Where a table ends.
fn end(memory: &impl Memory, table: u64) -> Option<u64> {
    let len = u64::from(number(memory, table.checked_add(LENGTH)?)?);
    table.checked_add(len).filter(|_| (HEADER..=MAX_LENGTH).contains(&len))
}

/// Where the table is.
fn find(memory: &impl Memory, root: u64) -> Option<u64> {
    if word(memory, root)? != ROOT_SIGNATURE {
        return None;
    }
    let [revision] = word(memory, root.checked_add(REVISION)?)?;
    let (list, width) = if revision >= 2 {
        (u64::from_le_bytes(word(memory, root.checked_add(XSDT)?)?), 8)
    } else {
        (number(memory, root.checked_add(RSDT)?)?.into(), 4)
    };
    let end = end(memory, list)?;
    let mut at = list.checked_add(HEADER)?;
    while at.checked_add(width)? <= end {
        let table = if width == 8 { u64::from_le_bytes(word(memory, at)?) } else { number(memory, at)?.into() };
        if word(memory, table)? == *b"APIC" {
            return Some(table);
        }
        at += width;
    }
    None
}

/// Names the APIC id of each processor that can be started. `None`: there is no such table, or it makes no sense.
pub fn processors(memory: impl Memory, root: u64, mut found: impl FnMut(u32)) -> Option<()> {
    let table = find(&memory, root)?;
    let end = end(&memory, table)?;
    let mut at = table.checked_add(MADT_HEADER)?;
    while at.checked_add(2)? <= end {
        let [kind, len]: [u8; 2] = word(&memory, at)?;
        let next = at.checked_add(len.into()).filter(|next| len >= 2 && *next <= end)?;
        let id_and_flags = match [kind, len] {
            LOCAL_APIC => {
                let [id] = word(&memory, at + 3)?;
                Some((u32::from(id), number(&memory, at + 4)?))
            }
            LOCAL_X2APIC => Some((number(&memory, at + 4)?, number(&memory, at + 8)?)),
            _ => None,
        };
        if let Some((id, _)) = id_and_flags.filter(|(_, flags)| flags & ENABLED != 0) {
            found(id);
        }
        at = next;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BASE: u64 = 0x1000;

    /// Memory from [`BASE`] on.
    fn memory(bytes: &[u8]) -> impl Memory + '_ {
        |at, to| {
            let start = at.checked_sub(BASE).and_then(|at| usize::try_from(at).ok());
            let from = start.and_then(|start| bytes.get(start..start.checked_add(to.len())?));
            from.map(|from| to.copy_from_slice(from)).is_some()
        }
    }

    fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut table = signature.to_vec();
        table.extend((36 + body.len() as u32).to_le_bytes());
        table.resize(36, 0);
        table.extend(body);
        table
    }

    /// Root pointer, list of tables with another one before, and the table itself.
    fn machine(is_new: bool, entries: &[u8]) -> Vec<u8> {
        let mut bytes = b"RSD PTR \0OEMID\0".to_vec();
        bytes.resize(15, 0);
        bytes.push(if is_new { 2 } else { 0 });
        let (list, other, madt) = (BASE + 0x40, BASE + 0x80, BASE + 0xc0);
        bytes.extend((list as u32).to_le_bytes());
        bytes.extend(36u32.to_le_bytes());
        bytes.extend(list.to_le_bytes());
        bytes.resize(0x40, 0);
        let width = if is_new { 8 } else { 4 };
        let list: Vec<u8> = [other, madt].iter().flat_map(|at| at.to_le_bytes()[..width].to_vec()).collect();
        bytes.extend(table(b"XSDT", &list));
        bytes.resize(0x80, 0);
        bytes.extend(table(b"FACP", b""));
        bytes.resize(0xc0, 0);
        bytes.extend(table(b"APIC", &[&[0; 8], entries].concat()));
        bytes
    }

    const ENTRIES: [u8; 46] = [
        0, 8, 0, 0, 1, 0, 0, 0, // enabled
        1, 6, 0, 0, 0, 0, // something else
        0, 8, 1, 7, 1, 0, 0, 0, // enabled
        0, 8, 2, 8, 2, 0, 0, 0, // could be plugged in
        9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, // enabled
    ];

    fn ids(bytes: &[u8]) -> Option<Vec<u32>> {
        let mut ids = Vec::new();
        processors(memory(bytes), BASE, |id| ids.push(id)).map(|()| ids)
    }

    #[test]
    fn processors_are_found() {
        for is_new in [false, true] {
            assert_eq!(ids(&machine(is_new, &ENTRIES)), Some(vec![0, 7, 256]));
        }
        assert_eq!(ids(&machine(true, &[])), Some(vec![]));
    }

    #[test]
    fn nonsense_is_refused() {
        let whole = machine(true, &ENTRIES);
        // The last four bytes say nothing of use.
        for cut in 0..whole.len() - 4 {
            assert_eq!(ids(&whole[..cut]), None, "{cut}");
        }
        // An entry of no length, and one that is longer than the table.
        assert_eq!(ids(&machine(true, &[0, 0])), None);
        assert_eq!(ids(&machine(true, &[0, 9])), None);
    }

    proptest! {
        #[test]
        fn nothing_panics_or_goes_on_for_ever(at in 0usize..300, value in any::<u64>()) {
            let mut bytes = machine(true, &ENTRIES);
            for (to, from) in bytes.iter_mut().skip(at).zip(value.to_le_bytes()) {
                *to = from;
            }
            let _ = ids(&bytes);
        }
    }
}
