// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which ports are in use by whom.

use crate::errno::Errno;
use alloc::vec::Vec;
use smoltcp::wire::IpAddress;

/// Ports that are given to whoever names none (Linux: net.ipv4.ip_local_port_range).
const FIRST: u16 = 32768;
const COUNT: u16 = 60999 - FIRST + 1;

/// Which addresses a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    One(IpAddress),
    /// All of IPv4, or all of IPv6.
    Ip4,
    Ip6,
    All,
}

impl Scope {
    /// Whether an address is one of these.
    pub fn has(self, address: IpAddress) -> bool {
        match self {
            Self::One(one) => one == address,
            Self::Ip4 => matches!(address, IpAddress::Ipv4(_)),
            Self::Ip6 => matches!(address, IpAddress::Ipv6(_)),
            Self::All => true,
        }
    }

    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::One(one), other) | (other, Self::One(one)) => other.has(one),
            (Self::Ip4, Self::Ip6) | (Self::Ip6, Self::Ip4) => false,
            _ => true,
        }
    }
}

/// A port that a socket has.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub owner: u64,
    pub is_stream: bool,
    pub port: u16,
    pub scope: Scope,
    /// SO_REUSEADDR, SO_REUSEPORT.
    pub shares: [bool; 2],
    pub is_listening: bool,
}

impl Use {
    /// As socket(7) has it.
    fn excludes(&self, other: &Self) -> bool {
        let both = |which: usize| [self, other].iter().all(|user| user.shares.get(which).is_some_and(|shares| *shares));
        let may_share = both(1) || both(0) && !(self.is_stream && (self.is_listening || other.is_listening));
        self.is_stream == other.is_stream
            && self.port == other.port
            && self.owner != other.owner
            && self.scope.overlaps(other.scope)
            && !may_share
    }
}

/// All ports in use.
#[derive(Default)]
pub struct Ports(Vec<Use>);

impl Ports {
    /// Takes a port; 0 stands for any. `random` chooses where to begin to look for one. Returns the port.
    pub fn take(&mut self, mut new: Use, random: u32) -> Result<u16, Errno> {
        self.0.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        if new.port == 0 {
            let start = random % u32::from(COUNT);
            let ports = (0..u32::from(COUNT)).map(|n| FIRST + ((start + n) % u32::from(COUNT)) as u16);
            // Nobody shares one that he didn't ask for.
            let mut used: Vec<u16> = crate::mem::buffer(self.0.len())?;
            used.extend(self.0.iter().filter(|used| used.is_stream == new.is_stream).map(|used| used.port));
            used.sort_unstable();
            let is_free = |port: &u16| used.binary_search(port).is_err();
            new.port = ports.into_iter().find(is_free).ok_or(Errno::EADDRINUSE)?;
        } else if self.0.iter().any(|used| used.excludes(&new)) {
            return Err(Errno::EADDRINUSE);
        }
        self.0.push(new);
        Ok(new.port)
    }

    /// Its owner listens from now on.
    pub fn listen(&mut self, owner: u64) -> Result<(), Errno> {
        let Some(mine) = self.0.iter().find(|used| used.owner == owner) else { return Ok(()) };
        let new = Use { is_listening: true, ..*mine };
        if self.0.iter().any(|used| used.is_listening && used.excludes(&new)) {
            return Err(Errno::EADDRINUSE);
        }
        if let Some(mine) = self.0.iter_mut().find(|used| used.owner == owner) {
            *mine = new;
        }
        Ok(())
    }

    /// Its owner doesn't need it any more.
    pub fn release(&mut self, owner: u64) {
        self.0.retain(|used| used.owner != owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(owner: u64, port: u16, scope: Scope, shares: bool) -> Use {
        Use { owner, is_stream: true, port, scope, shares: [shares, false], is_listening: false }
    }

    #[test]
    fn ports_are_shared_only_by_who_wants_to() {
        let one = Scope::One(IpAddress::v4(127, 0, 0, 1));
        let mut ports = Ports::default();
        assert_eq!(ports.take(user(1, 80, Scope::All, true), 0), Ok(80));
        assert_eq!(ports.take(user(2, 80, one, false), 0), Err(Errno::EADDRINUSE));
        assert_eq!(ports.take(user(2, 80, one, true), 0), Ok(80));
        assert_eq!(ports.take(Use { is_stream: false, ..user(3, 80, one, false) }, 0), Ok(80));
        assert_eq!(ports.listen(1), Ok(()));
        assert_eq!(ports.listen(2), Err(Errno::EADDRINUSE));
        assert_eq!(ports.take(user(4, 80, one, true), 0), Err(Errno::EADDRINUSE), "somebody listens");
        ports.release(1);
        assert_eq!(ports.listen(2), Ok(()));
        let other = Scope::One(IpAddress::v4(127, 0, 0, 2));
        assert_eq!(ports.take(user(5, 80, other, false), 0), Ok(80));
        assert_eq!(ports.take(user(6, 80, Scope::Ip6, false), 0), Ok(80));
        assert_eq!(ports.take(user(7, 80, Scope::Ip4, false), 0), Err(Errno::EADDRINUSE));
    }

    #[test]
    fn any_port_is_one_that_nobody_has() {
        let mut ports = Ports::default();
        assert_eq!(ports.take(user(1 << 40, 0, Scope::All, true), 7), Ok(FIRST + 7));
        assert_eq!(ports.take(user(1 << 41, 0, Scope::All, true), 7), Ok(FIRST + 8));
        ports.0 = (0..COUNT).map(|n| user(n.into(), FIRST + n, Scope::All, true)).collect();
        assert_eq!(ports.take(user(1 << 40, 0, Scope::All, true), 7), Err(Errno::EADDRINUSE));
        ports.release(5);
        assert_eq!(ports.take(user(1 << 40, 0, Scope::All, true), 9), Ok(FIRST + 5));
    }
}
