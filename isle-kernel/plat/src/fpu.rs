// SPDX-License-Identifier: MIT OR Apache-2.0

//! The extended state of ring 3: x87, SSE, AVX, AVX-512 (SDM vol. 1, chapter 13). The kernel itself doesn't touch it.

use crate::features;
use alloc::vec::Vec;
use core::ops::Range;
use spin::Once;

/// Bytes of the part that FXSAVE knows.
pub const LEGACY: usize = 512;
/// XSTATE_BV, XCOMP_BV and what has to be zero.
const HEADER: Range<usize> = LEGACY..LEGACY + 64;
const MXCSR: Range<usize> = 24..28;
/// Bits of MXCSR that are there if the state doesn't say (SDM vol. 1, 11.6.6).
const MXCSR_MASK: u32 = 0xffbf;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Saved extended state, in the standard format of XSAVE or in that of FXSAVE.
pub struct State(Vec<Line>);

/// What can only be asked once XCR0 and CR4 are set.
struct Format {
    size: usize,
    mxcsr_mask: u32,
}

static FORMAT: Once<Format> = Once::new();

fn format() -> &'static Format {
    FORMAT.call_once(|| {
        let size = match features::get().xsave {
            // SDM vol. 1, 13.2: EBX is what the components enabled in XCR0 need.
            true => raw_cpuid::native_cpuid::cpuid_count(0xd, 0).ebx as usize,
            false => LEGACY,
        };
        let mut area = [Line([0; 64]); LEGACY / 64];
        // SAFETY: 512 bytes, aligned.
        unsafe { core::arch::asm!("fxsave64 [{}]", in(reg) area.as_mut_ptr(), options(nostack)) };
        let mask = u32::from_le_bytes(area[0].0[28..32].try_into().unwrap_or_default());
        Format { size, mxcsr_mask: if mask == 0 { MXCSR_MASK } else { mask } }
    })
}

/// Bytes of the state on this CPU.
pub fn size() -> usize {
    format().size
}

/// Components that the state may have; 0 where there is only FXSAVE.
pub fn components() -> u64 {
    features::get().xcr0
}

impl State {
    /// The state that programs begin with. `None` without kernel memory.
    pub fn new() -> Option<Self> {
        let mut lines = Vec::new();
        let count = size().div_ceil(64);
        lines.try_reserve_exact(count).ok()?;
        lines.resize(count, Line([0; 64]));
        let mut this = Self(lines);
        this.reset();
        Some(this)
    }

    /// A copy of it.
    pub fn try_clone(&self) -> Option<Self> {
        let mut copy = Self::new()?;
        copy.0.copy_from_slice(&self.0);
        Some(copy)
    }

    /// Makes it the state that programs begin with: XSTATE_BV = 0 says "all initial", but MXCSR and, for
    /// FXRSTOR, the control word are looked at all the same.
    pub fn reset(&mut self) {
        self.0.fill(Line([0; 64]));
        let bytes = self.bytes_mut();
        bytes[0..2].copy_from_slice(&0x037f_u16.to_le_bytes());
        bytes[MXCSR].copy_from_slice(&0x1f80_u32.to_le_bytes());
    }

    /// All bytes, as XSAVE has written them.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: lines are arrays of bytes without padding.
        let all = unsafe { core::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 64) };
        &all[..size()]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for `bytes`.
        let all = unsafe { core::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 64) };
        &mut all[..size()]
    }

    /// Takes over bytes that a program has written: all of the state or only the legacy part. Whatever XRSTOR would
    /// fault at is put right, as Linux does it in part.
    pub fn set_bytes(&mut self, bytes: &[u8]) {
        let with_header = components() != 0;
        self.reset();
        let whole = bytes.len() >= size() && size() > LEGACY;
        let len = if whole { size() } else { LEGACY.min(bytes.len()) };
        self.bytes_mut()[..len].copy_from_slice(&bytes[..len]);
        let mxcsr = u32::from_le_bytes(self.bytes()[MXCSR].try_into().unwrap_or_default()) & format().mxcsr_mask;
        self.bytes_mut()[MXCSR].copy_from_slice(&mxcsr.to_le_bytes());
        if with_header {
            let header = &mut self.bytes_mut()[HEADER];
            let present = match whole {
                true => u64::from_le_bytes(header[..8].try_into().unwrap_or_default()) & components(),
                false => 0b11, // x87 and SSE
            };
            header.fill(0);
            header[..8].copy_from_slice(&present.to_le_bytes());
        }
    }
}

#[cfg(target_os = "none")]
impl State {
    /// Saves what is in the registers.
    pub fn save(&mut self) {
        let to = self.0.as_mut_ptr();
        // SAFETY: the area is as long as CPUID says and aligned; the instructions write nothing else.
        unsafe {
            if features::get().xsave {
                core::arch::asm!("xsave64 [{}]", in(reg) to, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                core::arch::asm!("fxsave64 [{}]", in(reg) to, options(nostack));
            }
        }
    }

    /// Puts it into the registers.
    pub fn restore(&self) {
        let from = self.0.as_ptr();
        // SAFETY: the area was written by `save`, `reset` or `set_bytes`, so that nothing in it is reserved; the kernel
        // uses none of the registers.
        unsafe {
            if features::get().xsave {
                core::arch::asm!("xrstor64 [{}]", in(reg) from, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack));
            } else {
                core::arch::asm!("fxrstor64 [{}]", in(reg) from, options(nostack));
            }
        }
    }
}

#[cfg(not(target_os = "none"))]
impl State {
    /// The host's registers are its own.
    pub fn save(&mut self) {}

    /// As for `save`.
    pub fn restore(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reserved_is_taken_over() {
        let mut state = State::new().unwrap();
        let garbage = vec![0xff; size()];
        state.set_bytes(&garbage);
        let header = &state.bytes()[HEADER];
        assert_eq!(u64::from_le_bytes(header[..8].try_into().unwrap()), components());
        assert!(header[8..].iter().all(|b| *b == 0));
        assert_eq!(u32::from_le_bytes(state.bytes()[MXCSR].try_into().unwrap()) & !format().mxcsr_mask, 0);
    }

    #[test]
    fn short_states_have_the_legacy_part_only() {
        let mut state = State::new().unwrap();
        state.set_bytes(&[1; LEGACY]);
        assert_eq!(state.bytes()[100], 1);
        if components() != 0 {
            assert_eq!(state.bytes()[LEGACY], 3);
        }
    }
}
