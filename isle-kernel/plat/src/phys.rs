// SPDX-License-Identifier: MIT OR Apache-2.0

//! Physical addresses and the direct map. On the host both are the same address.

#[cfg(target_os = "none")]
const OFFSET: u64 = hermit_abi::boot::DIRECT_MAP;
#[cfg(not(target_os = "none"))]
const OFFSET: u64 = 0;

/// Where the direct map has a physical address.
pub fn to_virt<T>(physical: u64) -> *mut T {
    physical.wrapping_add(OFFSET) as *mut T
}

/// The physical address behind an address of the direct map.
pub fn to_phys<T>(pointer: *const T) -> u64 {
    (pointer as u64).wrapping_sub(OFFSET)
}
