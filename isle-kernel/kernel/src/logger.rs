// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `log` crate's way to the log ring.

use log::{LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        hermit_plat::log::line(*record.args());
    }

    fn flush(&self) {}
}

/// Sends everything at level info and above to the ring.
pub fn init() {
    // It fails if it was done before, which is as good.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}
