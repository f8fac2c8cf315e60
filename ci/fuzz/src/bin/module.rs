// SPDX-License-Identifier: GPL-2.0

//! What the module parses of what an isle or a user writes: log, state and words of an isle, image, lists of CPUs, sizes.
//! The module's own files are built here for the host.

#![no_main]

use arbitrary::Arbitrary;
use hermit_fuzz::{elf, patch, Patch, Word};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::Ordering::Relaxed;

pub use hermit_abi as abi;

#[path = "."]
mod boot {
    #[path = "../../../../rust-module/boot/shared.rs"]
    #[allow(dead_code)]
    pub mod shared;
}
#[path = "../../../../rust-module/partition/cpulist.rs"]
mod cpulist;
#[path = "../module/kapi.rs"]
#[allow(dead_code)]
mod kapi;
#[path = "../../../../rust-module/log.rs"]
#[allow(dead_code)]
mod log;
#[path = "../../../../rust-module/partition/size.rs"]
mod size;

use abi::boot::Range;
use abi::load::elf::Elf;
use abi::load::layout::Layout;
use boot::shared::Shared;
use kapi::shm::Mapping;

const CPUS: u32 = 2;

#[derive(Debug, Arbitrary)]
enum Step {
    /// The isle writes this much into its log, of these letters, and says it was another length.
    Log {
        text: Vec<u8>,
        more: u16,
        odd: Option<Word>,
    },
    Drain,
    Read {
        offset: Word,
        len: u16,
    },
    Clear,
    State(Word),
    Reason {
        len: Word,
        text: Vec<u8>,
    },
    App {
        slot: u8,
        order: Word,
        state: Word,
        status: Word,
    },
    Cpu {
        cpu: u8,
        state: Word,
    },
    Ask {
        slot: u8,
    },
}

#[derive(Debug, Arbitrary)]
enum Lies {
    Isle(Vec<Step>),
    Image { notes: Vec<u8>, segments: Vec<([Word; 7], u8)>, note: Vec<Patch>, file: Vec<Patch> },
    Bytes(Vec<u8>),
    Texts(Vec<u8>),
}

fuzz_target!(|lies: Lies| {
    match lies {
        Lies::Isle(steps) => isle(&steps),
        Lies::Image { notes, segments, note, file } => image(&notes, &segments, &note, &file),
        Lies::Bytes(bytes) => judge_image(&bytes),
        Lies::Texts(text) => texts(&text),
    }
});

fn isle(steps: &[Step]) {
    let ranges = [Range { start: 64 << 20, len: 256 << 20 }];
    let layout = Layout::plan(&ranges, 4096, CPUS).unwrap();
    let len = layout.pool.start - layout.kernel_part.start;
    let memory = Mapping::new(Range { start: layout.kernel_part.start, len });
    let shared = Shared::new(memory, layout, CPUS as usize).unwrap();
    let (ring, control) = (shared.log().unwrap(), shared.control().unwrap());
    let mut log = log::Log::new();
    for step in steps {
        match step {
            Step::Log { text, more, odd } => {
                let written = ring.written.load(Relaxed);
                let len = text.len().min(1) * usize::from(*more) + text.len();
                for (n, byte) in text.iter().cycle().take(len).enumerate() {
                    let at = written.wrapping_add(n as u64) as usize % abi::log::CAPACITY;
                    ring.bytes[at].store(*byte, Relaxed);
                }
                ring.written.store(odd.map_or(written.wrapping_add(len as u64), Word::value), Relaxed);
            }
            Step::Drain => {
                log.drain(ring).unwrap();
                assert_eq!(log.read(512 << 10, &mut [0]), 0, "more is kept than there is room for");
            }
            Step::Read { offset, len } => {
                let mut buffer = vec![0; usize::from(*len)];
                assert!(log.read(offset.value(), &mut buffer) <= buffer.len());
            }
            Step::Clear => log.clear(),
            Step::State(state) => control.state.store(state.value() as u32, Relaxed),
            Step::Reason { len, text } => {
                control.reason_len.store(len.value() as u32, Relaxed);
                for (place, byte) in control.reason.iter().zip(text) {
                    place.store(*byte, Relaxed);
                }
            }
            Step::App { slot, order, state, status } => {
                let app = shared.app(usize::from(*slot) % shared.slots()).unwrap();
                app.order.store(order.value() as u32, Relaxed);
                app.state.store(state.value() as u32, Relaxed);
                app.exit_status.store(status.value() as u32, Relaxed);
            }
            Step::Cpu { cpu, state } => {
                let cpu = &shared.cpus().unwrap()[usize::from(*cpu) % CPUS as usize];
                cpu.state.store(state.value() as u32, Relaxed);
            }
            Step::Ask { slot } => ask(&shared, usize::from(*slot)),
        }
    }
}

fn ask(shared: &Shared, slot: usize) {
    let mut reason = 0;
    shared.crash_reason(|letter| {
        assert!((' '..='~').contains(&letter));
        reason += 1;
    });
    assert!(reason <= abi::control::REASON_LEN);
    assert!(!(shared.is_running() && shared.is_crashed()));
    shared.all_cpus_are(abi::cpu::state::HALTED);
    if let Ok(app) = shared.app(slot) {
        let (order, state) = (app.order.load(Relaxed), app.state.load(Relaxed));
        let is_free =
            order == 0 && state == 0 || order >> 8 == state >> 8 && abi::app::value(state) == abi::app::state::ENDED;
        assert_eq!(shared.is_free(slot), is_free);
        shared.reset_channel(slot).unwrap();
    } else {
        assert!(slot >= shared.slots() && !shared.is_free(slot));
    }
}

fn image(notes: &[u8], segments: &[([Word; 7], u8)], note_patches: &[Patch], patches: &[Patch]) {
    const BASE: u64 = abi::image::IMAGE_BASE;
    let mut note = Vec::new();
    for word in [7, 16, abi::image::NOTE_TYPE] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Hermit\0\0");
    note.extend(abi::VERSION.to_le_bytes());
    note.extend(16u32.to_le_bytes());
    note.extend(BASE.to_le_bytes());
    patch(&mut note, note_patches);
    let count = segments.len().min(6) + 1;
    let (mut at, end) = (BASE, 64 + 56 * count as u64);
    let mut headers = vec![[4, 4, end, 0, 0, (notes.len() + note.len()) as u64, 0, 4]];
    for (words, odd) in segments.iter().take(6) {
        // In order, but for the words that are odd.
        let mut header = [1, 5, 0, at, 0, 64, 4096, 4096];
        at += 4096;
        for (i, (word, place)) in words.iter().zip(&mut header).enumerate() {
            if odd & 1 << i != 0 {
                *place = word.value();
            }
        }
        headers.push(header);
    }
    let mut file = elf(2, BASE, &headers);
    file.extend(notes);
    file.extend(note);
    patch(&mut file, patches);
    judge_image(&file);
}

fn judge_image(file: &[u8]) {
    let Ok(elf) = Elf::parse(file) else { return };
    let (low, high) = (abi::image::IMAGE_BASE, abi::image::IMAGE_END);
    let page = abi::PAGE_SIZE;
    assert!(elf.base >= low && elf.base % page == 0 && elf.len % page == 0 && elf.len <= high - low);
    assert!(!elf.trampoline.is_empty() && elf.trampoline.len() as u64 <= abi::image::TRAMPOLINE_ARGS);
    let mut end = elf.base;
    let mut has_entry = false;
    for segment in elf.segments() {
        let segment = segment.unwrap();
        assert!(segment.address >= end && segment.address % page == 0 && !(segment.writable && segment.executable));
        assert!(segment.data.len() as u64 <= segment.memory_len);
        end = segment.address + segment.memory_len;
        assert!(end <= elf.base + elf.len);
        has_entry |= segment.executable && (segment.address..end).contains(&elf.entry);
    }
    assert!(has_entry);
}

fn texts(text: &[u8]) {
    let mut cpus = Vec::new();
    if cpulist::parse(text, 64, |cpu| cpus.push(cpu)).is_ok() {
        assert!(cpus.is_sorted_by(|a, b| a < b) && cpus.iter().all(|cpu| *cpu < 64));
        let shown = cpulist::Shown(&cpus).to_string();
        let mut again = Vec::new();
        cpulist::parse(shown.as_bytes(), 64, |cpu| again.push(cpu)).unwrap();
        assert_eq!(cpus, again);
    }
    if let Some(bytes) = size::parse(text) {
        assert_eq!(size::parse(size::Shown(bytes).to_string().as_bytes()), Some(bytes));
    }
}
