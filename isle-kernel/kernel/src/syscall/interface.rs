// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a program may ask of network interfaces, netdevice(7): `lo`, and that of the network card.

use super::Outcome;
use crate::errno::Errno;
use crate::net;
use crate::thread::Thread;
use alloc::vec::Vec;
use linux_raw_sys::net::AF_INET;
use smoltcp::wire::{IpCidr, Ipv4Address, Ipv4Cidr};

/// linux/sockios.h
mod request {
    pub const GIFNAME: u32 = 0x8910;
    pub const GIFCONF: u32 = 0x8912;
    pub const GIFFLAGS: u32 = 0x8913;
    pub const GIFADDR: u32 = 0x8915;
    pub const GIFDSTADDR: u32 = 0x8917;
    pub const GIFBRDADDR: u32 = 0x8919;
    pub const GIFNETMASK: u32 = 0x891b;
    pub const GIFMETRIC: u32 = 0x891d;
    pub const GIFMTU: u32 = 0x8921;
    pub const GIFHWADDR: u32 = 0x8927;
    pub const GIFINDEX: u32 = 0x8933;
    pub const GIFTXQLEN: u32 = 0x8942;
}

/// Bytes of struct ifreq, and of the name that it begins with.
const LEN: usize = 40;
const NAME: usize = 16;
/// IFF_UP | IFF_LOOPBACK | IFF_RUNNING, and IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST (linux/if.h).
const LOOPBACK_FLAGS: u16 = 0x49;
const ETHERNET_FLAGS: u16 = 0x1043;
/// linux/if_arp.h
const ARPHRD_ETHER: u16 = 1;
const ARPHRD_LOOPBACK: u16 = 772;

struct Interface {
    name: &'static str,
    index: u32,
    address: Ipv4Cidr,
    flags: u16,
    mtu: u32,
    hardware: (u16, [u8; 6]),
}

fn interfaces() -> Result<[Interface; 2], Errno> {
    let (addresses, own, kind) = {
        let stack = net::lock().ok_or(Errno::EAFNOSUPPORT)?;
        (stack.addresses(), stack.device.nic.address(), stack.device.nic.kind())
    };
    let address = |is_loopback: bool| {
        let found = addresses.iter().find_map(|cidr| match cidr {
            IpCidr::Ipv4(cidr) if cidr.address().is_loopback() == is_loopback => Some(*cidr),
            _ => None,
        });
        found.unwrap_or(Ipv4Cidr::new(Ipv4Address::UNSPECIFIED, 0))
    };
    Ok([
        Interface {
            name: "lo",
            index: 1,
            address: address(true),
            flags: LOOPBACK_FLAGS,
            mtu: 65536,
            hardware: (ARPHRD_LOOPBACK, [0; 6]),
        },
        Interface {
            name: kind.name,
            index: 2,
            address: address(false),
            flags: ETHERNET_FLAGS,
            mtu: kind.mtu.into(),
            hardware: (ARPHRD_ETHER, own),
        },
    ])
}

/// A struct sockaddr_in in the place of a union.
fn address_of(address: Ipv4Address) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    let [low, high] = (AF_INET as u16).to_le_bytes();
    alloc::vec![low, high, 0, 0, a, b, c, d]
}

impl Interface {
    fn named(&self, name: &[u8]) -> bool {
        let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
        name.get(..len) == Some(self.name.as_bytes())
    }

    /// What comes behind the name.
    fn answer(&self, request: u32) -> Option<Vec<u8>> {
        Some(match request {
            request::GIFFLAGS => self.flags.to_le_bytes().to_vec(),
            request::GIFADDR | request::GIFDSTADDR => address_of(self.address.address()),
            request::GIFBRDADDR => {
                address_of(self.address.broadcast().filter(|_| self.index != 1).unwrap_or(Ipv4Address::UNSPECIFIED))
            }
            request::GIFNETMASK => address_of(self.address.netmask()),
            request::GIFMETRIC => alloc::vec![0; 4],
            request::GIFMTU => self.mtu.to_le_bytes().to_vec(),
            request::GIFINDEX => self.index.to_le_bytes().to_vec(),
            request::GIFTXQLEN => 1000u32.to_le_bytes().to_vec(),
            request::GIFHWADDR => {
                let (kind, address) = self.hardware;
                [kind.to_le_bytes().as_slice(), &address].concat()
            }
            _ => return None,
        })
    }

    /// A struct ifreq with its address.
    fn entry(&self) -> [u8; LEN] {
        let mut entry = [0; LEN];
        let parts = [(0, self.name.as_bytes().to_vec()), (NAME, address_of(self.address.address()))];
        for (at, bytes) in parts {
            for (to, from) in entry.iter_mut().skip(at).zip(bytes) {
                *to = from;
            }
        }
        entry
    }
}

/// Answers in a structure at an address. ENOTTY: that is no question about interfaces.
pub fn ioctl(t: &Thread, request: u32, at: u64) -> Outcome {
    match request {
        request::GIFCONF => list(t, at),
        request::GIFNAME => {
            let index = t.memory().read_u32(at.wrapping_add(NAME as u64))?;
            let all = interfaces()?;
            let found = all.iter().find(|i| i.index == index).ok_or(Errno::ENODEV)?;
            let mut name = [0; NAME];
            name.iter_mut().zip(found.name.bytes()).for_each(|(to, from)| *to = from);
            t.memory().write(at, &name)?;
            Ok(0)
        }
        request::GIFFLAGS..=request::GIFTXQLEN => {
            let mut name = [0; NAME];
            t.memory().read(at, &mut name)?;
            let all = interfaces()?;
            let known = |i: &Interface| i.answer(request).is_some();
            if !all.iter().any(known) {
                return Err(Errno::ENOTTY.into());
            }
            let answer = all.iter().find(|i| i.named(&name)).and_then(|i| i.answer(request)).ok_or(Errno::ENODEV)?;
            t.memory().write(at.wrapping_add(NAME as u64), &answer)?;
            Ok(0)
        }
        _ => Err(Errno::ENOTTY.into()),
    }
}

/// A struct ifconf: the length of a buffer, and where it is. Without one, how long it would have to be.
fn list(t: &Thread, at: u64) -> Outcome {
    let room = t.memory().read_u32(at)? as i32;
    let mut pointer = [0; 8];
    t.memory().read(at.wrapping_add(8), &mut pointer)?;
    let buffer = u64::from_le_bytes(pointer);
    let entries: Vec<u8> = interfaces()?.iter().flat_map(Interface::entry).collect();
    let len = if buffer == 0 {
        entries.len()
    } else {
        let whole = usize::try_from(room).unwrap_or(0) / LEN * LEN;
        let shown = entries.get(..whole).unwrap_or(&entries);
        t.memory().write(buffer, shown)?;
        shown.len()
    };
    t.memory().write(at, &(len as u32).to_le_bytes())?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ethernet() -> Interface {
        Interface {
            name: "mmnif",
            index: 2,
            address: Ipv4Cidr::new(Ipv4Address::new(192, 168, 28, 2), 24),
            flags: ETHERNET_FLAGS,
            mtu: 65535,
            hardware: (ARPHRD_ETHER, [2, 3, 4, 5, 6, 7]),
        }
    }

    #[test]
    fn answers_are_those_of_linux() {
        let i = ethernet();
        assert_eq!(i.answer(request::GIFADDR).unwrap(), [2, 0, 0, 0, 192, 168, 28, 2]);
        assert_eq!(i.answer(request::GIFBRDADDR).unwrap(), [2, 0, 0, 0, 192, 168, 28, 255]);
        assert_eq!(i.answer(request::GIFNETMASK).unwrap(), [2, 0, 0, 0, 255, 255, 255, 0]);
        assert_eq!(i.answer(request::GIFHWADDR).unwrap(), [1, 0, 2, 3, 4, 5, 6, 7]);
        assert_eq!(i.answer(0x8914), None, "nothing can be changed");
    }

    #[test]
    fn names_end_at_a_zero() {
        let i = ethernet();
        assert!(i.named(b"mmnif\0xyz") && i.named(b"mmnif") && !i.named(b"mmni\0f") && !i.named(b"mmnif0"));
        let entry = i.entry();
        assert_eq!((&entry[..6], &entry[16..24]), (b"mmnif\0".as_slice(), [2, 0, 0, 0, 192, 168, 28, 2].as_slice()));
    }
}
