// SPDX-License-Identifier: GPL-2.0

//! Packets of Linux's network, and copying between them and rings. C header: `linux/skbuff.h`.

use crate::abi::ring::{Place, Ring};
use core::ffi::c_void;
use core::ptr::NonNull;
use core::sync::atomic::AtomicU64;
use kernel::bindings;

// Trackers are empty without their debugging, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_skb_len(skb: *const bindings::sk_buff) -> u32;
    fn hermit_helper_skb_timestamp(skb: *mut bindings::sk_buff);
    fn hermit_helper_consume_skb(skb: *mut bindings::sk_buff);
    fn hermit_helper_free_skb(skb: *mut bindings::sk_buff);
    fn hermit_helper_build_skb(napi: *mut bindings::napi_struct, len: u32) -> *mut bindings::sk_buff;
    fn hermit_helper_receive_skb(napi: *mut bindings::napi_struct, skb: *mut bindings::sk_buff, queue: u16);
}

/// A packet that is to be sent.
pub struct Packet<'a>(&'a mut bindings::sk_buff);

impl<'a> Packet<'a> {
    /// The caller decides what becomes of it: forgetting this changes nothing.
    pub(super) fn new(skb: &'a mut bindings::sk_buff) -> Self {
        Self(skb)
    }

    pub(super) fn as_ptr(&self) -> *const bindings::sk_buff {
        &*self.0
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        // SAFETY: The packet lives.
        unsafe { hermit_helper_skb_len(self.0) as usize }
    }

    fn copy_bits(&self, from: usize, to: *mut c_void, len: usize) -> bool {
        // SAFETY: The callers have room for `len` bytes; the function checks that the packet has them.
        unsafe { bindings::skb_copy_bits(self.as_ptr(), from as i32, to, len as i32) == 0 }
    }

    /// The Ethernet address that it goes to.
    pub fn destination(&self) -> [u8; 6] {
        let mut address = [0; 6];
        // A packet that is too short has none.
        self.copy_bits(0, address.as_mut_ptr().cast(), 6);
        address
    }

    /// Copies it to where there is room for it. False: it isn't what it seems to be.
    pub fn copy_to(&self, ring: Ring<'_>, place: Place) -> bool {
        let mut done = 0;
        for (offset, len) in ring.spans(place) {
            let Some(to) = part(ring, offset, len) else { return false };
            if len > 0 && !self.copy_bits(done, to, len) {
                return false;
            }
            done += len;
        }
        true
    }

    /// Says that it is on its way now, before the other side sees it.
    pub fn stamp(&self) {
        // SAFETY: The packet is ours until it is freed.
        unsafe { hermit_helper_skb_timestamp(self.as_ptr().cast_mut()) };
    }

    /// It was sent.
    pub(super) fn consume(self) {
        // SAFETY: The network core has handed it over.
        unsafe { hermit_helper_consume_skb(self.0) };
    }

    /// It wasn't.
    pub(super) fn drop(self) {
        // SAFETY: As above.
        unsafe { hermit_helper_free_skb(self.0) };
    }
}

/// A part of a ring's memory.
fn part(ring: Ring<'_>, offset: usize, len: usize) -> Option<*mut c_void> {
    let start: *const AtomicU64 = ring.words.as_ptr();
    let is_inside = offset.checked_add(len).map_or(false, |end| end <= core::mem::size_of_val(ring.words));
    // Atomics may be written through shared references.
    is_inside.then(|| start.cast::<u8>().cast_mut().wrapping_add(offset).cast())
}

/// A packet that has come in.
pub struct Received<'a> {
    skb: NonNull<bindings::sk_buff>,
    napi: &'a mut bindings::napi_struct,
    queue: u16,
}

impl<'a> Received<'a> {
    /// A copy of what is in a ring. `None` without memory.
    pub(super) fn new(napi: &'a mut bindings::napi_struct, queue: u16, ring: Ring<'_>, place: Place) -> Option<Self> {
        // SAFETY: Called while the napi is polled.
        let skb = NonNull::new(unsafe { hermit_helper_build_skb(napi, place.len as u32) })?;
        let this = Self { skb, napi, queue };
        let mut done = 0;
        for (offset, len) in ring.spans(place) {
            let from = part(ring, offset, len)?;
            // SAFETY: The packet is ours and has room for all of it; `from` is memory of the ring. The isle may write there
            // meanwhile: then the packet is nonsense.
            if len > 0 && unsafe { bindings::skb_store_bits(skb.as_ptr(), done, from, len as i32) } != 0 {
                return None;
            }
            done += len as i32;
        }
        Some(this)
    }

    /// Hands it to Linux.
    pub fn deliver(self) {
        let this = core::mem::ManuallyDrop::new(self);
        let napi: *const bindings::napi_struct = &*this.napi;
        // SAFETY: As in `new`; from here on it isn't ours.
        unsafe { hermit_helper_receive_skb(napi.cast_mut(), this.skb.as_ptr(), this.queue) };
    }
}

impl Drop for Received<'_> {
    fn drop(&mut self) {
        // SAFETY: It is ours.
        unsafe { hermit_helper_free_skb(self.skb.as_ptr()) };
    }
}
