// SPDX-License-Identifier: GPL-2.0

//! `hermit.ko`: lends CPUs and memory of a running Linux to isles.
//!
//! This file is the order of initialisation and exit, nothing else.

#![deny(unsafe_code)]
// Nobody links to a module's crate, and `pub(crate)` everywhere would say no more than `pub`.
#![allow(unreachable_pub)]

use kernel::prelude::*;
use kernel::sync::Arc;

#[path = "../isle-kernel/abi/src/lib.rs"]
#[allow(dead_code)]
mod abi;
mod boot;
mod clock;
mod door;
mod isle;
mod kapi;
mod log;
mod mmnif;
mod partition;
mod sysfs;
mod whereabouts;

module! {
    type: Hermit,
    name: "hermit",
    author: "The HermitCore developers",
    description: "Lends CPUs and memory to isles",
    license: "GPL",
}

/// All that the module holds. Fields are given back in this order: first nobody can come in any more,
/// then the isles stop, then what they needed goes.
struct Hermit {
    _sysfs: sysfs::Tree,
    _doors: KVec<door::Device>,
    _notifiers: isle::Notifiers,
    _isles: isle::StopAll,
    _mmnif: Arc<mmnif::Mmnif>,
    _guard: partition::cpus::OnlineGuard,
    _bells: KBox<kapi::irq::Domain>,
}

impl kernel::Module for Hermit {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let trampoline = boot::start::Trampoline::new()?;
        let bells = kapi::irq::Domain::new()?;
        let guard = partition::cpus::OnlineGuard::new()?;
        let mmnif = mmnif::Mmnif::new(kapi::memory::nodes_with_memory())?;
        let isles = isle::Isles::new(&trampoline, bells.handle(), &mmnif)?;
        let notifiers = isle::Notifiers::new(&isles)?;
        let doors = door::register(&isles, module)?;
        let sysfs = sysfs::Tree::new(&isles)?;
        pr_info!("{} isles, one for each NUMA node with memory\n", isles.len());
        Ok(Self {
            _sysfs: sysfs,
            _doors: doors,
            _notifiers: notifiers,
            _isles: isle::StopAll(isles),
            _mmnif: mmnif,
            _guard: guard,
            _bells: bells,
        })
    }
}
