// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random numbers of the processor.

/// A word from RDRAND; `None` where there is no such instruction or it has run dry.
pub fn hardware() -> Option<u64> {
    let features = raw_cpuid::CpuId::new().get_feature_info()?;
    if !features.has_rdrand() {
        return None;
    }
    // SDM vol. 1, 7.3.17: ten tries are enough unless the generator is broken.
    (0..10).find_map(|_| {
        let (word, good): (u64, u8);
        // SAFETY: the CPU has the instruction, which writes registers only.
        unsafe {
            core::arch::asm!("rdrand {}", "setc {}", out(reg) word, out(reg_byte) good, options(nomem, nostack));
        }
        (good != 0).then_some(word)
    })
}
