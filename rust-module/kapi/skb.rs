// SPDX-License-Identifier: GPL-2.0

//! Packets of Linux's network, and copying between them and rings. C header: `linux/skbuff.h`.

use crate::abi::ring::{Place, Reader, Ring, Writer};
use core::ffi::c_void;
use core::ptr::NonNull;
use kernel::bindings;

// Trackers are empty without their debugging, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_skb_len(skb: *const bindings::sk_buff) -> u32;
    fn hermit_helper_skb_timestamp(skb: *mut bindings::sk_buff);
    fn hermit_helper_consume_skb(skb: *mut bindings::sk_buff);
    fn hermit_helper_free_skb(skb: *mut bindings::sk_buff);
    fn hermit_helper_build_skb(napi: *mut bindings::napi_struct, len: u32) -> *mut bindings::sk_buff;
    fn hermit_helper_skb_parts(
        skb: *mut bindings::sk_buff,
        each: unsafe extern "C" fn(context: *mut c_void, data: *mut u8, len: usize),
        context: *mut c_void,
    );
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

    /// The Ethernet address that it goes to.
    pub fn destination(&self) -> [u8; 6] {
        let mut address = [0; 6];
        // SAFETY: There is room for so many bytes; the function checks that the packet has them. One that is too short has no address.
        unsafe { bindings::skb_copy_bits(self.as_ptr(), 0, address.as_mut_ptr().cast(), 6) };
        address
    }

    /// Copies it to where there is room for it.
    pub fn copy_to(&self, ring: Ring<'_>, place: Place) {
        let mut writer = ring.writer(place);
        // SAFETY: The packet lives; `push` gets the writer that it expects.
        unsafe {
            hermit_helper_skb_parts(self.as_ptr().cast_mut(), push, (&mut writer as *mut Writer<'_>).cast());
        }
        writer.finish();
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

/// One that needn't be aligned.
#[repr(Rust, packed)]
struct Word(u64);

/// Copies a part of a packet. In words of eight bytes, as a ring is written: the pages may be a program's, which writes there at
/// the same time; then the packet is nonsense.
///
/// # Safety
///
/// `writer` is one, and nobody else has it; there are `len` bytes of memory at `data`.
unsafe extern "C" fn push(writer: *mut c_void, data: *mut u8, len: usize) {
    // SAFETY: As above.
    let writer = unsafe { &mut *writer.cast::<Writer<'_>>() };
    let words: *const Word = data.cast();
    // SAFETY: All of them are below `len`. Volatile, since the memory may change.
    writer.words((0..len / 8).map(|n| unsafe { words.add(n).read_volatile() }.0));
    for at in len / 8 * 8..len {
        // SAFETY: As above.
        writer.byte(unsafe { data.add(at).read_volatile() });
    }
}

/// Fills a part of a packet.
///
/// # Safety
///
/// `reader` is one, and nobody else has it; the `len` bytes at `data` are the caller's.
unsafe extern "C" fn pull(reader: *mut c_void, data: *mut u8, len: usize) {
    // SAFETY: As above.
    unsafe { (*reader.cast::<Reader<'_>>()).pull(core::slice::from_raw_parts_mut(data, len)) };
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
        let mut reader = ring.reader(place);
        // SAFETY: The packet is new, and nobody else's; `pull` gets the reader that it expects.
        unsafe { hermit_helper_skb_parts(skb.as_ptr(), pull, (&mut reader as *mut Reader<'_>).cast()) };
        Some(Self { skb, napi, queue })
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
