// SPDX-License-Identifier: MIT OR Apache-2.0

//! getrandom(2): ChaCha20, seeded by Linux and the CPU.

use crate::app::App;
use crate::space::Result;
use hermit_plat::{cpu, time};
use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// The random numbers of one application.
pub struct Source(ChaCha20Rng);

impl Source {
    pub fn new(from_linux: &[u8; 16]) -> Self {
        let mut seed = [0; 32];
        let own = [cpu::hardware_random().unwrap_or(0), time::tsc()];
        let bytes = from_linux.iter().copied().chain(own.iter().flat_map(|n| n.to_le_bytes()));
        seed.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Self(ChaCha20Rng::from_seed(seed))
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new(&[0; 16])
    }
}

pub fn getrandom(app: &mut App, to: u64, len: u64) -> Result<u64> {
    let len = len.min(0x1ff_ffff);
    let mut done = 0;
    while done < len {
        let mut bytes = [0; 256];
        let n = (len - done).min(256);
        let part = bytes.get_mut(..n as usize).unwrap_or(&mut []);
        app.random.0.fill_bytes(part);
        app.space.write(to + done, part)?;
        done += n;
    }
    Ok(len)
}
