// SPDX-License-Identifier: MIT OR Apache-2.0

//! The address of a virtual machine, which it asks for by DHCP (RFC 2131).

use super::notice::Notice;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::time;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::dhcpv4;
use smoltcp::wire::{Ipv4Address, Ipv4Cidr};

/// What is known of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub address: Option<Ipv4Cidr>,
    pub router: Option<Ipv4Address>,
    /// Servers that know names.
    pub servers: Vec<Ipv4Address>,
}

/// The address, and who waits for it.
pub struct Lease {
    handle: SocketHandle,
    pub terms: Terms,
    notice: Arc<Notice>,
    began: u64,
}

impl Lease {
    /// Begins to ask.
    pub fn new(sockets: &mut SocketSet<'static>) -> Self {
        let handle = sockets.add(dhcpv4::Socket::new());
        Self { handle, terms: Terms::default(), notice: Arc::default(), began: time::monotonic_ns() }
    }

    /// Looks whether there is an answer: the new terms, if they have changed.
    pub fn poll(&mut self, sockets: &mut SocketSet<'static>) -> Option<&Terms> {
        let terms = match sockets.get_mut::<dhcpv4::Socket<'_>>(self.handle).poll()? {
            dhcpv4::Event::Configured(config) => Terms {
                address: Some(config.address),
                router: config.router,
                servers: config.dns_servers.iter().copied().collect(),
            },
            dhcpv4::Event::Deconfigured => Terms::default(),
        };
        if terms == self.terms {
            return None;
        }
        self.terms = terms;
        self.notice.tell();
        Some(&self.terms)
    }

    /// What says that there is an address, and since when that is waited for; `None` if there is one.
    pub fn awaited(&self) -> Option<(Arc<Notice>, u64)> {
        self.terms.address.is_none().then(|| (self.notice.clone(), self.began))
    }
}
