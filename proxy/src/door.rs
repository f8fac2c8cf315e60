// SPDX-License-Identifier: MIT OR Apache-2.0

//! The door to an isle: `/dev/hermit/isleX`, or what stands for it in a test.

use crate::sys::{self, Order};
use hermit_abi::door::{Attachment, StartIsle, Status};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// What serving an application needs of its door.
pub trait Door: Send + Sync + 'static {
    /// Becomes readable when the isle wants something.
    fn fd(&self) -> BorrowedFd<'_>;
    /// How the application is; nothing is wanted any more.
    fn status(&self) -> io::Result<Status>;
    /// Interrupts a CPU of the isle, on which somebody waits for an answer.
    fn kick(&self, cpu: u32) -> io::Result<()>;
    /// Sends a signal to the application.
    fn signal(&self, number: i32) -> io::Result<()>;
}

/// The device.
pub struct Device(File);

impl Device {
    pub fn new(file: File) -> Self {
        Self(file)
    }

    /// Starts the isle on a list of CPUs.
    pub fn start_isle(&self, cpus: &str) -> io::Result<()> {
        let mut argument = StartIsle { len: 0, cpus: [0; _] };
        let place = argument.cpus.get_mut(..cpus.len()).ok_or(io::ErrorKind::InvalidInput)?;
        place.copy_from_slice(cpus.as_bytes());
        argument.len = u32::try_from(cpus.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        sys::start_isle(self.0.as_fd(), &argument)
    }

    /// Takes a slot of the isle.
    pub fn attach(&self) -> io::Result<Attachment> {
        sys::attach(self.0.as_fd())
    }

    /// Lets the application begin.
    pub fn run(&self) -> io::Result<()> {
        sys::order(self.0.as_fd(), Order::Run)
    }
}

impl Door for Device {
    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn status(&self) -> io::Result<Status> {
        sys::status(self.0.as_fd())
    }

    fn kick(&self, cpu: u32) -> io::Result<()> {
        sys::order(self.0.as_fd(), Order::Kick(cpu))
    }

    fn signal(&self, number: i32) -> io::Result<()> {
        sys::order(self.0.as_fd(), Order::Signal(number))
    }
}
