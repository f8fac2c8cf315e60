// SPDX-License-Identifier: MIT OR Apache-2.0

//! The proxy: stands on Linux for an application that runs on an isle.
//!
//! | file | what |
//! |---|---|
//! | `cli.rs`, `settings.rs` | the command line; `HERMIT_*` |
//! | `program.rs`, `brand.rs` | is this file a program that an isle can run? the brand for binfmt_misc |
//! | `door.rs`, `launch.rs` | `/dev/hermit/isleX`: opening it, starting the isle, attaching to it |
//! | `machine/` | a virtual machine of the application's own instead of an isle |
//! | `serve.rs`, `watch.rs`, `worker.rs`, `spin.rs` | threads that watch the channel in turns and make calls; interrupting these |
//! | `request.rs`, `descriptors.rs` | a request is copied once, then checked |
//! | `perform.rs`, `transfer.rs`, `messages.rs`, `startup.rs` | making the call that was asked for |
//! | `spawn.rs`, `rearrange.rs` | commands that the application runs on Linux, and their descriptors |
//! | `signals.rs`, `ending.rs` | passing signals on, and how the application ended |
//! | `shm.rs`, `sys.rs`, `sys/` | all `unsafe`: shared memory; system calls |
//!
//! What an isle writes is untrusted: a crazed isle can make the calls in `hermit_abi::offload`, with
//! descriptors that its application opened and buffers in its own memory, and run commands as the user who started the proxy,
//! and can't do anything else.

#![deny(unsafe_code)]

pub mod bell;
pub mod brand;
pub mod cli;
pub mod descriptors;
pub mod door;
pub mod ending;
pub mod failure;
pub mod launch;
pub mod machine;
pub mod messages;
pub mod perform;
pub mod program;
pub mod rearrange;
pub mod request;
pub mod serve;
pub mod settings;
#[allow(unsafe_code)]
pub mod shm;
pub mod signals;
pub mod spawn;
pub mod spin;
pub mod startup;
#[allow(unsafe_code)]
pub mod sys;
pub mod transfer;
pub mod watch;
pub mod worker;
