// SPDX-License-Identifier: MIT OR Apache-2.0

//! The `log` crate's way to the log ring.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Logger;

impl Log for Logger {
    /// Of libraries only what has gone wrong.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hermit") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            hermit_plat::log::line(*record.args());
        }
    }

    fn flush(&self) {}
}

/// Sends what is at level info and above to the ring.
pub fn init() {
    // It fails if it was done before, which is as good.
    let _ = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}
