// SPDX-License-Identifier: MIT OR Apache-2.0

//! Addresses of sockets as programs write them: struct sockaddr_in and sockaddr_in6 (ip(7), ipv6(7)).

use crate::errno::Errno;
use alloc::vec::Vec;
use linux_raw_sys::net::{AF_INET, AF_INET6};
use smoltcp::wire::{IpAddress, IpEndpoint, Ipv4Address, Ipv6Address};

/// Lengths of the two structures, and the least of the second.
const LEN4: usize = 16;
const LEN6: usize = 28;
const MIN6: usize = 24;

/// The family of an address. EINVAL: there is none.
pub fn family(bytes: &[u8]) -> Result<u32, Errno> {
    bytes.first_chunk().map(|b| u16::from_le_bytes(*b).into()).ok_or(Errno::EINVAL)
}

/// An address for a socket of IPv4 or of IPv6, for which one of IPv4 may be mapped.
pub fn parse(bytes: &[u8], is_v6: bool) -> Result<IpEndpoint, Errno> {
    let is = |wanted: u32| family(bytes).map(|f| f == wanted);
    let (len, wanted) = if is_v6 { (MIN6, AF_INET6) } else { (LEN4, AF_INET) };
    if bytes.len() < len {
        return Err(Errno::EINVAL);
    }
    if !is(wanted)? {
        return Err(Errno::EAFNOSUPPORT);
    }
    let port = bytes.get(2..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_be_bytes(*b));
    let address = if is_v6 {
        let octets: [u8; 16] = bytes.get(8..).and_then(|b| b.first_chunk()).copied().ok_or(Errno::EINVAL)?;
        let address = Ipv6Address::from(octets);
        match address.to_ipv4_mapped() {
            Some(mapped) => IpAddress::Ipv4(mapped),
            None => IpAddress::Ipv6(address),
        }
    } else {
        let octets: [u8; 4] = bytes.get(4..).and_then(|b| b.first_chunk()).copied().ok_or(Errno::EINVAL)?;
        IpAddress::Ipv4(Ipv4Address::from(octets))
    };
    Ok(IpEndpoint::new(address, port))
}

/// The other way round.
pub fn format(endpoint: IpEndpoint, is_v6: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((if is_v6 { AF_INET6 } else { AF_INET } as u16).to_le_bytes());
    bytes.extend(endpoint.port.to_be_bytes());
    match (endpoint.addr, is_v6) {
        (IpAddress::Ipv4(address), false) => bytes.extend(address.octets()),
        // Can't be; all zero then.
        (IpAddress::Ipv6(_), false) => {}
        (address, true) => {
            let address = match address {
                IpAddress::Ipv4(address) => address.to_ipv6_mapped(),
                IpAddress::Ipv6(address) => address,
            };
            bytes.extend([0; 4]);
            bytes.extend(address.octets());
        }
    }
    bytes.resize(if is_v6 { LEN6 } else { LEN4 }, 0);
    // The scope of a link's own address: there is one link.
    let is_link_local = is_v6 && bytes.get(8..10) == Some(&[0xfe, 0x80]);
    if let Some(scope) = bytes.get_mut(24).filter(|_| is_link_local) {
        *scope = 1;
    }
    bytes
}

/// No address in particular.
pub fn any(is_v6: bool) -> IpAddress {
    if is_v6 {
        IpAddress::Ipv6(Ipv6Address::UNSPECIFIED)
    } else {
        IpAddress::Ipv4(Ipv4Address::UNSPECIFIED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        let four = IpEndpoint::new(IpAddress::v4(192, 168, 28, 2), 8080);
        let bytes = format(four, false);
        assert_eq!(bytes, [2, 0, 0x1f, 0x90, 192, 168, 28, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse(&bytes, false), Ok(four));
        assert_eq!(parse(&bytes, true), Err(Errno::EINVAL));
        assert_eq!(parse(&bytes[..15], false), Err(Errno::EINVAL));
        let mapped = format(four, true);
        assert_eq!((mapped.len(), mapped[18], mapped[19], mapped[20]), (28, 0xff, 0xff, 192));
        assert_eq!(parse(&mapped, true), Ok(four));
        assert_eq!(parse(&mapped, false), Err(Errno::EAFNOSUPPORT));
        let six = IpEndpoint::new(IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 1), 1);
        let bytes = format(six, true);
        assert_eq!((bytes.len(), bytes[24]), (28, 1));
        assert_eq!(parse(&bytes, true), Ok(six));
        assert_eq!(family(&[2]), Err(Errno::EINVAL));
    }
}
