// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps the clocks of a virtual machine in step with Linux's; see `hermit_abi::clock`.

use super::load::Loaded;
use crate::sys;
use hermit_abi::clock::{Clock, INTERVAL_MS, Sample, Steering};
use std::sync::Arc;
use std::time::Duration;

/// How often an update is begun again at once because it took too long.
const TRIES: usize = 10;

/// The machine's counter is the host's, but for where it began: what lies between them.
#[derive(Clone, Copy)]
pub(super) struct Offset(u64);

impl Offset {
    /// Of a machine whose counter is so much just now.
    pub fn of(tsc: u64) -> Self {
        Self(tsc.wrapping_sub(sys::sample().tsc))
    }

    /// Linux's clocks by the machine's counter.
    fn sample(self) -> Sample {
        let sample = sys::sample();
        Sample { tsc: sample.tsc.wrapping_add(self.0), ..sample }
    }
}

fn publish(loaded: &Loaded, steering: &Steering) {
    if let Ok(clock) = loaded.memory.view::<Clock>(loaded.layout.clock) {
        clock.publish(steering);
    }
}

/// The clocks of a machine.
pub struct Clocks {
    loaded: Arc<Loaded>,
    offset: Offset,
    steering: Steering,
}

impl Clocks {
    /// Sets them.
    pub(super) fn set(loaded: &Arc<Loaded>, offset: Offset, tsc_khz: u32) -> Self {
        let steering = Steering::start(&offset.sample(), tsc_khz);
        publish(loaded, &steering);
        Self { loaded: loaded.clone(), offset, steering }
    }

    /// Has them follow Linux's from now on, as long as the proxy lives. The thread that does so takes no signals if the caller
    /// takes none.
    pub fn follow(mut self) -> std::io::Result<()> {
        let follow = move || loop {
            std::thread::sleep(Duration::from_millis(INTERVAL_MS.into()));
            self.update();
        };
        std::thread::Builder::new().name("clock".to_owned()).spawn(follow).map(drop)
    }

    fn update(&mut self) {
        for _ in 0..TRIES {
            let Some(next) = self.steering.steer(&self.offset.sample()) else { return };
            // Others may have had this CPU for so long that the time has come from which it would hold.
            if !next.is_late(self.offset.sample().tsc) {
                publish(&self.loaded, &next);
                self.steering = next;
                return;
            }
        }
    }
}
