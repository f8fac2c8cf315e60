// SPDX-License-Identifier: GPL-2.0

//! A network device with one pair of queues for each of its ports. C headers: `linux/netdevice.h`, `linux/ethtool.h`.

use super::cpu::this_cpu;
use super::skb::{Packet, Received};
use crate::abi::net::ethernet_address;
use crate::abi::ring::{Place, Ring};
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use kernel::bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::Arc;

// Trackers are empty without their debugging, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_ip4_param() -> *const kernel::ffi::c_char;
    fn hermit_helper_ip6_param() -> *const kernel::ffi::c_char;
    fn hermit_helper_net_interrupts_param() -> bool;
    fn hermit_helper_in_softirq() -> bool;
    fn hermit_helper_netdev_priv(dev: *mut bindings::net_device) -> *mut c_void;
    fn hermit_helper_netdev_setup(dev: *mut bindings::net_device, address: *const u8);
    fn hermit_helper_napi_add(
        dev: *mut bindings::net_device,
        napi: *mut bindings::napi_struct,
        poll: unsafe extern "C" fn(*mut bindings::napi_struct, i32) -> i32,
    );
    fn hermit_helper_napi_del(napi: *mut bindings::napi_struct);
    fn hermit_helper_napi_schedule(napi: *mut bindings::napi_struct);
    fn hermit_helper_local_bh_disable();
    fn hermit_helper_local_bh_enable();
    fn hermit_helper_stop_subqueue(dev: *mut bindings::net_device, queue: u16);
    fn hermit_helper_wake_subqueue(dev: *mut bindings::net_device, queue: u16);
    fn hermit_helper_start_all_queues(dev: *mut bindings::net_device);
    fn hermit_helper_stop_all_queues(dev: *mut bindings::net_device);
    fn hermit_helper_skb_queue(skb: *const bindings::sk_buff) -> u16;
}

/// What becomes of a packet that is to be sent.
pub enum Sent {
    /// It is on its way, or dropped and counted.
    Done,
    /// Its queue is stopped; it stays there.
    Busy,
}

/// What the device has counted.
#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub rx_dropped: u64,
    pub rx_errors: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub tx_dropped: u64,
}

/// What is behind the device. Called with bottom halves off where nothing else is said.
pub trait Ports: Send + Sync {
    /// The queue for packets to an Ethernet address.
    fn queue_of(&self, destination: [u8; 6]) -> u16;
    /// Sends a packet.
    fn transmit(&self, queue: &Queue, packet: &Packet<'_>) -> Sent;
    /// Receives at most `budget` packets; says how many.
    fn receive(&self, queue: &Queue, budget: usize) -> usize;
    /// Called after a `receive` that found less than it could have had: false if it is to be called again at once,
    /// else a ring of the doorbell will tell.
    fn may_sleep(&self, queue: &Queue) -> bool;
    /// In any context.
    fn totals(&self) -> Totals;
    /// Calls `put` with each counter's name and value; in process context.
    fn counters(&self, put: &mut dyn FnMut(core::fmt::Arguments<'_>, u64));
    /// How many there are.
    fn counter_count(&self) -> usize;
}

/// `napi` comes first: its address is that of the whole.
#[repr(C)]
struct Slot {
    napi: bindings::napi_struct,
    queue: u16,
    inner: *const c_void,
}

struct Inner<T: Ports> {
    device: *mut bindings::net_device,
    ports: Arc<T>,
    slots: KVec<*mut Slot>,
    net_ops: bindings::net_device_ops,
    ethtool_ops: bindings::ethtool_ops,
}

/// One of the device's queues, both ways.
#[derive(Clone, Copy)]
pub struct Queue {
    slot: *mut Slot,
    device: *mut bindings::net_device,
    number: u16,
}

// SAFETY: Names a queue; all that is done with it the kernel allows from anywhere. See `Registration::queue`.
unsafe impl Send for Queue {}
// SAFETY: As above.
unsafe impl Sync for Queue {}

impl Queue {
    pub fn number(&self) -> usize {
        self.number.into()
    }

    /// Has `Ports::receive` called soon. From any context.
    pub fn schedule(&self) {
        // SAFETY: The slot lives as long as the registration.
        unsafe { hermit_helper_napi_schedule(&mut (*self.slot).napi) };
    }

    /// No more packets are to be sent.
    pub fn stop(&self) {
        // SAFETY: The device has this queue.
        unsafe { hermit_helper_stop_subqueue(self.device, self.number) };
    }

    /// Packets can be sent again. Does nothing if they could.
    pub fn wake(&self) {
        // SAFETY: As above.
        unsafe { hermit_helper_wake_subqueue(self.device, self.number) };
    }

    /// A packet as it is in a ring. Only within `Ports::receive`. `None` without memory.
    pub fn packet(&self, ring: Ring<'_>, place: Place) -> Option<Received<'_>> {
        // SAFETY: The slot lives as long as the registration.
        Received::new(unsafe { &mut (*self.slot).napi }, self.number, ring, place)
    }
}

/// Runs `f` where bottom halves don't: locks that those take may be taken.
pub fn without_bottom_halves<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: May be called from process context, and is undone below.
    unsafe { hermit_helper_local_bh_disable() };
    let result = f();
    // SAFETY: Pairs with the above.
    unsafe { hermit_helper_local_bh_enable() };
    result
}

/// A device that is registered; unregistered on drop.
pub struct Registration<T: Ports>(*mut Inner<T>);

// SAFETY: The network core locks what has to be; the ports are `Sync`.
unsafe impl<T: Ports> Send for Registration<T> {}
// SAFETY: As above.
unsafe impl<T: Ports> Sync for Registration<T> {}

impl<T: Ports> Registration<T> {
    pub fn new(ports: Arc<T>, queues: u16) -> Result<Self> {
        // SAFETY: Pointers and integers, for which zero is valid.
        let (net_ops, ethtool_ops) = unsafe {
            (
                MaybeUninit::<bindings::net_device_ops>::zeroed().assume_init(),
                MaybeUninit::<bindings::ethtool_ops>::zeroed().assume_init(),
            )
        };
        let inner =
            KBox::new(Inner { device: ptr::null_mut(), ports, slots: KVec::new(), net_ops, ethtool_ops }, GFP_KERNEL)?;
        // `drop` copes with what isn't there yet.
        let this = Self(KBox::into_raw(inner));
        // SAFETY: Nobody else knows of it before the registration.
        unsafe {
            let inner = &mut *this.0;
            let size = core::mem::size_of::<*const Inner<T>>() as i32;
            inner.device = bindings::alloc_etherdev_mqs(size, queues.into(), queues.into());
            let device = NonNull::new(inner.device).ok_or(ENOMEM)?.as_ptr();
            hermit_helper_netdev_priv(device).cast::<*const Inner<T>>().write(this.0);
            hermit_helper_netdev_setup(device, ethernet_address(None).as_ptr());
            for queue in 0..queues {
                let napi = MaybeUninit::<bindings::napi_struct>::zeroed().assume_init();
                inner.slots.reserve(1, GFP_KERNEL)?;
                let slot = KBox::into_raw(KBox::new(Slot { napi, queue, inner: this.0.cast() }, GFP_KERNEL)?);
                inner.slots.push(slot, GFP_KERNEL)?;
                hermit_helper_napi_add(device, slot.cast(), poll::<T>);
            }
            inner.net_ops.ndo_open = Some(open::<T>);
            inner.net_ops.ndo_stop = Some(stop::<T>);
            inner.net_ops.ndo_start_xmit = Some(start_xmit::<T>);
            inner.net_ops.ndo_select_queue = Some(select_queue::<T>);
            inner.net_ops.ndo_get_stats64 = Some(get_stats64::<T>);
            inner.net_ops.ndo_validate_addr = Some(bindings::eth_validate_addr);
            inner.net_ops.ndo_set_mac_address = Some(bindings::eth_mac_addr);
            inner.ethtool_ops.get_drvinfo = Some(get_drvinfo::<T>);
            inner.ethtool_ops.get_link = Some(bindings::ethtool_op_get_link);
            inner.ethtool_ops.get_strings = Some(get_strings::<T>);
            inner.ethtool_ops.get_sset_count = Some(get_sset_count::<T>);
            inner.ethtool_ops.get_ethtool_stats = Some(get_ethtool_stats::<T>);
            (*device).netdev_ops = &inner.net_ops;
            (*device).ethtool_ops = &inner.ethtool_ops;
            bindings::netif_carrier_off(device);
            if let Err(e) = to_result(bindings::register_netdev(device)) {
                pr_err!("mmnif can't be registered: there may be one already\n");
                bindings::free_netdev(device);
                inner.device = ptr::null_mut();
                return Err(e);
            }
        }
        Ok(this)
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: Made in `new`, and never changed after the registration.
        unsafe { &*self.0 }
    }

    /// A queue by its number. Whoever has it must be gone before the registration.
    pub fn queue(&self, number: usize) -> Option<Queue> {
        let inner = self.inner();
        Some(Queue { slot: *inner.slots.get(number)?, device: inner.device, number: number as u16 })
    }

    /// Whether there is anybody to talk to.
    pub fn set_carrier(&self, on: bool) {
        // SAFETY: The device is registered.
        unsafe {
            if on {
                bindings::netif_carrier_on(self.inner().device);
            } else {
                bindings::netif_carrier_off(self.inner().device);
            }
        }
    }
}

impl<T: Ports> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Made in `new`. Unregistering stops all queues and waits for who is in one of the callbacks.
        unsafe {
            let inner = KBox::from_raw(self.0);
            let is_registered = !inner.device.is_null() && !(*inner.device).netdev_ops.is_null();
            if is_registered {
                bindings::unregister_netdev(inner.device);
                for slot in inner.slots.iter() {
                    hermit_helper_napi_del(slot.cast());
                }
            }
            if !inner.device.is_null() {
                bindings::free_netdev(inner.device);
            }
            for slot in inner.slots.iter() {
                drop(KBox::from_raw(*slot));
            }
        }
    }
}

/// # Safety
///
/// `device` is one of `Registration<T>`'s, which lives.
unsafe fn inner<'a, T: Ports>(device: *mut bindings::net_device) -> &'a Inner<T> {
    // SAFETY: `new` has put it there before anybody could call.
    unsafe { &**hermit_helper_netdev_priv(device).cast::<*const Inner<T>>() }
}

unsafe extern "C" fn open<T: Ports>(device: *mut bindings::net_device) -> i32 {
    // SAFETY: Called by the network core for our device.
    unsafe {
        for slot in inner::<T>(device).slots.iter() {
            bindings::napi_enable(slot.cast());
        }
        hermit_helper_start_all_queues(device);
        // Whatever has come before.
        hermit_helper_local_bh_disable();
        for slot in inner::<T>(device).slots.iter() {
            hermit_helper_napi_schedule(slot.cast());
        }
        hermit_helper_local_bh_enable();
    }
    0
}

unsafe extern "C" fn stop<T: Ports>(device: *mut bindings::net_device) -> i32 {
    // SAFETY: As above.
    unsafe {
        hermit_helper_stop_all_queues(device);
        for slot in inner::<T>(device).slots.iter() {
            bindings::napi_disable(slot.cast());
        }
    }
    0
}

unsafe extern "C" fn poll<T: Ports>(napi: *mut bindings::napi_struct, budget: i32) -> i32 {
    let slot: *mut Slot = napi.cast();
    // SAFETY: The napi is the first field of a slot that lives as long as the registration.
    unsafe {
        let inner: &Inner<T> = &*(*slot).inner.cast();
        let queue = Queue { slot, device: inner.device, number: (*slot).queue };
        let done = inner.ports.receive(&queue, budget as usize) as i32;
        if done < budget && bindings::napi_complete_done(napi, done) && !inner.ports.may_sleep(&queue) {
            queue.schedule();
        }
        done
    }
}

unsafe extern "C" fn start_xmit<T: Ports>(
    skb: *mut bindings::sk_buff,
    device: *mut bindings::net_device,
) -> bindings::netdev_tx_t {
    // SAFETY: Called by the network core with a packet that is ours, for our device.
    unsafe {
        let inner = inner::<T>(device);
        let number = hermit_helper_skb_queue(skb);
        let Some(slot) = inner.slots.get(usize::from(number)) else {
            Packet::new(&mut *skb).drop();
            return bindings::netdev_tx_NETDEV_TX_OK;
        };
        let queue = Queue { slot: *slot, device, number };
        let packet = Packet::new(&mut *skb);
        match inner.ports.transmit(&queue, &packet) {
            Sent::Done => {
                packet.consume();
                bindings::netdev_tx_NETDEV_TX_OK
            }
            Sent::Busy => bindings::netdev_tx_NETDEV_TX_BUSY,
        }
    }
}

unsafe extern "C" fn select_queue<T: Ports>(
    device: *mut bindings::net_device,
    skb: *mut bindings::sk_buff,
    _: *mut bindings::net_device,
) -> u16 {
    // SAFETY: As above; the packet stays the caller's.
    unsafe { inner::<T>(device).ports.queue_of(Packet::new(&mut *skb).destination()) }
}

unsafe extern "C" fn get_stats64<T: Ports>(device: *mut bindings::net_device, to: *mut bindings::rtnl_link_stats64) {
    // SAFETY: Called by the network core for our device, with a structure to fill.
    unsafe {
        let totals = inner::<T>(device).ports.totals();
        (*to).rx_packets = totals.rx_packets;
        (*to).rx_bytes = totals.rx_bytes;
        (*to).rx_dropped = totals.rx_dropped;
        (*to).rx_errors = totals.rx_errors;
        (*to).tx_packets = totals.tx_packets;
        (*to).tx_bytes = totals.tx_bytes;
        (*to).tx_dropped = totals.tx_dropped;
    }
}

unsafe extern "C" fn get_drvinfo<T: Ports>(_: *mut bindings::net_device, info: *mut bindings::ethtool_drvinfo) {
    // SAFETY: The structure is zeroed and the caller's to fill; the texts are shorter than their places.
    unsafe {
        for (place, text) in [(&mut (*info).driver, b"hermit".as_slice()), (&mut (*info).bus_info, b"isles")] {
            for (to, from) in place.iter_mut().zip(text) {
                *to = *from as _;
            }
        }
    }
}

unsafe extern "C" fn get_sset_count<T: Ports>(device: *mut bindings::net_device, set: i32) -> i32 {
    if set as u32 != bindings::ethtool_stringset_ETH_SS_STATS as u32 {
        return -(bindings::EOPNOTSUPP as i32);
    }
    // SAFETY: Called by the network core for our device.
    unsafe { inner::<T>(device).ports.counter_count() as i32 }
}

/// Bytes of a counter's name.
const NAME_LEN: usize = bindings::ETH_GSTRING_LEN as usize;

unsafe extern "C" fn get_strings<T: Ports>(device: *mut bindings::net_device, set: u32, to: *mut u8) {
    if set != bindings::ethtool_stringset_ETH_SS_STATS as u32 {
        return;
    }
    // SAFETY: The caller has room for as many names as `get_sset_count` said, and that doesn't change.
    unsafe {
        let ports = &inner::<T>(device).ports;
        let names = core::slice::from_raw_parts_mut(to, ports.counter_count() * NAME_LEN);
        let mut places = names.chunks_exact_mut(NAME_LEN);
        ports.counters(&mut |name, _| {
            if let Some(place) = places.next() {
                place.fill(0);
                // The last byte stays 0; a name that is too long is cut.
                let _ = core::fmt::Write::write_fmt(&mut super::text::Text::new(&mut place[..NAME_LEN - 1]), name);
            }
        });
    }
}

unsafe extern "C" fn get_ethtool_stats<T: Ports>(
    device: *mut bindings::net_device,
    _: *mut bindings::ethtool_stats,
    to: *mut u64,
) {
    // SAFETY: As above.
    unsafe {
        let ports = &inner::<T>(device).ports;
        let mut places = core::slice::from_raw_parts_mut(to, ports.counter_count()).iter_mut();
        ports.counters(&mut |_, value| {
            if let Some(place) = places.next() {
                *place = value;
            }
        });
    }
}

/// The module parameters `ip4` and `ip6`, as they were written.
pub fn address_parameters() -> [&'static [u8]; 2] {
    // SAFETY: Strings that live as long as the module and can't be changed once it is loaded.
    unsafe { [hermit_helper_ip4_param(), hermit_helper_ip6_param()].map(|p| CStr::from_char_ptr(p).as_bytes()) }
}

/// The CPU that this runs on, if it is a program that sends. `None` while Linux answers by itself, wherever packets come in.
pub fn sending_cpu() -> Option<u32> {
    // SAFETY: Just tells; what is made of it is a hint.
    (!unsafe { hermit_helper_in_softirq() }).then(this_cpu)
}

/// The module parameter `net_interrupts`.
pub fn interrupts_parameter() -> bool {
    // SAFETY: Reads a variable that can't be changed once the module is loaded.
    unsafe { hermit_helper_net_interrupts_param() }
}
