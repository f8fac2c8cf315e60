// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random bytes for an application: ChaCha20, seeded by the proxy, the processor and the time.

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// A generator.
pub struct Random(ChaCha20Rng);

impl Random {
    /// Seeded with 16 bytes from Linux, and whatever the processor adds.
    pub fn new(seed: &[u8; 16]) -> Self {
        let mut key = [0; 32];
        for (to, from) in key.iter_mut().zip(seed) {
            *to = *from;
        }
        let more = [
            hermit_plat::random::hardware().unwrap_or(0),
            hermit_plat::random::hardware().unwrap_or(0) ^ hermit_plat::time::tsc(),
        ];
        for (to, from) in key.iter_mut().skip(16).zip(more.iter().flat_map(|w| w.to_le_bytes())) {
            *to = from;
        }
        Self(ChaCha20Rng::from_seed(key))
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }
}
