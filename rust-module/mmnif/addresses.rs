// SPDX-License-Identifier: GPL-2.0

//! The addresses of isles, as the module's parameters `ip4` and `ip6` say. Depends on the shared layouts only, so it is tested
//! on the host, but for the parameters themselves.

use crate::abi::net::Addresses;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str;

/// An address and the length of its prefix: `192.168.28.1/24`.
fn parse(text: &[u8]) -> Option<(IpAddr, u32)> {
    let (address, prefix) = str::from_utf8(text).ok()?.trim().split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    // There have to be others than Linux.
    (1..bits).contains(&prefix).then_some((address, prefix))
}

/// The addresses of an isle, where Linux has these. `None` if there is none in the prefix.
fn plan(ip4: &[u8], ip6: &[u8], isle: u32) -> Option<Addresses> {
    let (IpAddr::V4(linux4), prefix4) = parse(ip4)? else { return None };
    let (IpAddr::V6(linux6), prefix6) = parse(ip6)? else { return None };
    let own4 = u32::from(linux4).checked_add(isle)?.checked_add(1)?;
    let own6 = u128::from(linux6).checked_add(isle.into())?.checked_add(1)?;
    let hosts4 = u32::MAX >> prefix4;
    let hosts6 = u128::MAX >> prefix6;
    let is_inside4 = own4 & !hosts4 == u32::from(linux4) & !hosts4 && own4 & hosts4 != hosts4;
    let is_inside6 = own6 & !hosts6 == u128::from(linux6) & !hosts6;
    (is_inside4 && is_inside6).then(|| Addresses {
        ip4: Ipv4Addr::from(own4).octets(),
        gateway4: linux4.octets(),
        ip6: Ipv6Addr::from(own6).octets(),
        gateway6: linux6.octets(),
        prefix4,
        prefix6,
    })
}

#[cfg(not(test))]
mod parameters {
    use super::*;
    use crate::kapi::net::address_parameters;
    use kernel::prelude::*;

    /// EINVAL if the parameters are no addresses.
    pub fn check() -> Result {
        of_isle(0).map(|_| ())
    }

    /// The addresses of an isle.
    pub fn of_isle(isle: u32) -> Result<Addresses> {
        let [ip4, ip6] = address_parameters();
        plan(ip4, ip6, isle).ok_or_else(|| {
            pr_err!("the parameters ip4 and ip6 are not addresses such as 192.168.28.1/24 with room for isle {isle}\n");
            EINVAL
        })
    }
}

#[cfg(not(test))]
pub use parameters::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isles_follow_linux() {
        let of = |isle| plan(b"192.168.28.1/24\n", b"fd00:c0a8:1c::1/64", isle);
        let first = of(0).unwrap();
        assert_eq!((first.ip4, first.gateway4, first.prefix4), ([192, 168, 28, 2], [192, 168, 28, 1], 24));
        assert_eq!((first.ip6[15], first.gateway6[15], first.prefix6), (2, 1, 64));
        assert_eq!(of(252).unwrap().ip4, [192, 168, 28, 254]);
        assert_eq!(of(253), None, "that is for all");
        assert_eq!(of(254), None, "that is another network");
        assert_eq!(of(u32::MAX), None);
    }

    #[test]
    fn nonsense_is_refused() {
        for (ip4, ip6) in [
            ("192.168.28.1", "fd00::1/64"),
            ("192.168.28.1/32", "fd00::1/64"),
            ("192.168.28.1/0", "fd00::1/64"),
            ("192.168.28.256/24", "fd00::1/64"),
            ("fd00::1/64", "192.168.28.1/24"),
            ("192.168.28.1/24", "fd00::1/129"),
            ("192.168.28.1/24", "fd00::1/-1"),
            ("", ""),
        ] {
            assert_eq!(plan(ip4.as_bytes(), ip6.as_bytes(), 0), None, "{ip4} {ip6}");
        }
        assert_eq!(plan(&[0xff], b"fd00::1/64", 0), None);
    }
}
