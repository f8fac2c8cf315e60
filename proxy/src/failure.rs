// SPDX-License-Identifier: MIT OR Apache-2.0

//! What went wrong, as a sentence for the user, and the proxy's exit status for it.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// The proxy, the module or the isle failed (as with timeout(1) and env(1)).
pub const FAILED: u8 = 125;
/// The program can't be run.
pub const NOT_RUNNABLE: u8 = 126;
/// The program isn't there.
pub const NOT_FOUND: u8 = 127;

/// A sentence that says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: u8,
    pub sentence: String,
}

impl Failure {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::with_code(FAILED, sentence)
    }

    pub fn with_code(code: u8, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { code, sentence }
    }
}

/// Ours, since the application may close descriptor 2 and open something else there.
static STDERR: OnceLock<OwnedFd> = OnceLock::new();

/// Keeps today's standard error for [`say`]; to be called before the application runs.
pub fn keep_stderr() {
    let stderr = rustix::stdio::stderr();
    if let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(stderr, 3) {
        crate::sys::set_last_words_fd(&copy);
        let _ = STDERR.set(copy);
    }
}

/// Writes bytes on standard error.
pub fn write_stderr(mut bytes: &[u8]) {
    let Some(fd) = STDERR.get() else { return };
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Tells the user something.
pub fn say(sentence: &str) {
    write_stderr(format!("proxy: {sentence}\n").as_bytes());
}
