// SPDX-License-Identifier: MIT OR Apache-2.0

//! The configuration of the network card on a PCI bus (PCI Local Bus 3.0, 3.2.2.3.2 and 6.1).
//!
//! It is changed once, before other CPUs start: when devices come and go in the machine's memory while other CPUs run, as they do for a
//! moment when the length of their registers is found out, QEMU 7.2 crashes under emulation. Who asks later gets copies.

use hermit_abi::machine::CARD_SLOT;
use spin::Once;
use virtio_drivers::transport::pci::bus::{Command, ConfigurationAccess, DeviceFunction};
use x86_64::instructions::port::Port;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLED: u32 = 1 << 31;

/// Words of a device's configuration, and which of them are of interest.
const WORDS: usize = 64;
const ID: usize = 0;
const COMMAND: usize = 1;
const FIRST_BAR: usize = 4;
const BARS: usize = 6;
/// What a slot without a device says.
const NOBODY: u32 = u32::MAX;

/// Where the card is.
pub const PLACE: DeviceFunction = DeviceFunction { bus: 0, device: CARD_SLOT, function: 0 };

/// The configuration of a device, of which what is written here is only remembered.
#[derive(Clone)]
pub struct Copy {
    words: [u32; WORDS],
    /// What base address registers say when all their bits were written as ones.
    masks: [u32; BARS],
}

static CARD: Once<Copy> = Once::new();

fn select(word: usize) {
    let register = ENABLED | u32::from(CARD_SLOT) << 11 | (word as u32) << 2;
    // SAFETY: selects a register; that has no effect on memory.
    unsafe { Port::<u32>::new(ADDRESS).write(register) }
}

fn read(word: usize) -> u32 {
    select(word);
    // SAFETY: reading has no effect on memory.
    unsafe { Port::<u32>::new(DATA).read() }
}

fn write(word: usize, value: u32) {
    select(word);
    // SAFETY: of a device that does nothing yet; it is where firmware has put it when `prepare` is through.
    unsafe { Port::<u32>::new(DATA).write(value) }
}

/// Looks for the card, lets it reach memory, and remembers its configuration. Once, on CPU 0, before others start.
pub fn prepare() {
    if read(ID) == NOBODY {
        return;
    }
    let command = read(COMMAND) & 0xffff;
    let decodes = u32::from((Command::IO_SPACE | Command::MEMORY_SPACE).bits());
    write(COMMAND, command & !decodes);
    let masks = core::array::from_fn(|bar| {
        let before = read(FIRST_BAR + bar);
        write(FIRST_BAR + bar, u32::MAX);
        let mask = read(FIRST_BAR + bar);
        write(FIRST_BAR + bar, before);
        mask
    });
    write(COMMAND, command | u32::from((Command::MEMORY_SPACE | Command::BUS_MASTER).bits()));
    CARD.call_once(|| Copy { words: core::array::from_fn(read), masks });
}

/// The card's configuration, if there is a card.
pub fn card() -> Option<Copy> {
    CARD.get().cloned()
}

impl ConfigurationAccess for Copy {
    fn read_word(&self, place: DeviceFunction, register: u8) -> u32 {
        let word = self.words.get(usize::from(register / 4)).filter(|_| place == PLACE);
        word.copied().unwrap_or(NOBODY)
    }

    fn write_word(&mut self, place: DeviceFunction, register: u8, value: u32) {
        let word = usize::from(register / 4);
        let mask = word.checked_sub(FIRST_BAR).and_then(|bar| self.masks.get(bar)).filter(|_| value == u32::MAX);
        if let Some(to) = self.words.get_mut(word).filter(|_| place == PLACE) {
            *to = mask.copied().unwrap_or(value);
        }
    }

    unsafe fn unsafe_clone(&self) -> Self {
        self.clone()
    }
}
