// SPDX-License-Identifier: MIT OR Apache-2.0
//! What launcher and guest agent tell each other on the control port, one line each.

use std::fmt;

/// The virtio-serial ports; the agent finds them by these names.
pub mod ports {
    pub const CONTROL: &str = "hermit.control";
    pub const STDIN: &str = "hermit.stdin";
    pub const STDOUT: &str = "hermit.stdout";
    pub const STDERR: &str = "hermit.stderr";
    /// Linux's log, as /dev/kmsg gives it.
    pub const KMSG: &str = "hermit.kmsg";
    pub const ALL: [&str; 5] = [CONTROL, STDIN, STDOUT, STDERR, KMSG];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Agent: the guest is up, the program starts now.
    Started,
    /// Agent: the program ended with this status; 128+n for death by signal n.
    Exited(u8),
    /// Agent: the guest itself is wrong, for the given reason.
    Failed(String),
    /// Launcher: send this signal to the program.
    Signal(i32),
    /// Launcher: the program's time is over; have Linux log where each task waits and each CPU is.
    Explain,
    /// Agent: that is in Linux's log now.
    Explained,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Message::Started => write!(f, "started"),
            Message::Exited(status) => write!(f, "exited {status}"),
            Message::Failed(reason) => write!(f, "failed {}", reason.replace('\n', " ")),
            Message::Signal(number) => write!(f, "signal {number}"),
            Message::Explain => write!(f, "explain"),
            Message::Explained => write!(f, "explained"),
        }
    }
}

impl Message {
    pub fn parse(line: &str) -> Option<Message> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "started" => Some(Message::Started),
            "exited" => rest.parse().ok().map(Message::Exited),
            "failed" => Some(Message::Failed(rest.into())),
            "signal" => rest.parse().ok().map(Message::Signal),
            "explain" => Some(Message::Explain),
            "explained" => Some(Message::Explained),
            _ => None,
        }
    }
}

/// Where the launcher leaves the request inside the guest's initramfs.
pub mod request {
    /// Words of the command, each ended by a zero byte.
    pub const ARGV: &str = "/request/argv";
    /// `NAME=value` lines for its environment, each ended by a zero byte.
    pub const ENVIRONMENT: &str = "/request/environment";
    /// Present when the program's end should power the machine off in an orderly way.
    pub const POWER_OFF: &str = "/request/power-off";
    /// Present when the guest's root file system is a tree of the host; the names of its directories that the guest
    /// covers, each ended by a zero byte.
    pub const MASKS: &str = "/request/masks";
    /// Present when a person gets a shell instead.
    pub const SHELL: &str = "/request/shell";
}

#[cfg(test)]
mod tests {
    use super::Message;

    #[test]
    fn messages_survive_the_line() {
        let failed = Message::Failed("no such port".into());
        let plain = [Message::Started, Message::Explain, Message::Explained];
        for message in plain.into_iter().chain([Message::Exited(137), failed, Message::Signal(2)]) {
            assert_eq!(Message::parse(&message.to_string()), Some(message));
        }
    }

    #[test]
    fn nonsense_is_not_a_message() {
        for line in ["", "exited", "exited 256", "signal x", "hello"] {
            assert_eq!(Message::parse(line), None);
        }
    }
}
