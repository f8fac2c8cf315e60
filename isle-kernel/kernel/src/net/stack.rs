// SPDX-License-Identifier: MIT OR Apache-2.0

//! smoltcp, and what it leaves to its user: listening sockets with a queue of connections, and connections that nobody has any
//! more but that have yet to end.

use super::device::Device;
use super::lease::Lease;
use super::nic::Nic;
use super::notice::{self, Notice};
use super::ports::{Ports, Scope};
use super::windows::{self, Found};
use crate::errno::Errno;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use hermit_plat::abi::net::Addresses;
use hermit_plat::{heap_left, heap_size, time};
use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint, IpListenEndpoint, Ipv4Address, Ipv6Address,
    TcpPacket,
};

/// Most frames that are taken in before what has come of them is sent, and how often at most that is done at once: others may
/// wait for the lock.
const BURST: usize = 64;
const ROUNDS: usize = 4;
/// Look again for room to send after so long.
const FULL_NS: u64 = 100_000;
/// How long a connection without an owner may wait for the other side's end (Linux: net.ipv4.tcp_fin_timeout).
const ORPHAN_NS: u64 = 60_000_000_000;
/// Most ended connections that keep their memory for late segments (TIME_WAIT).
const MAX_LATE: usize = 16;
/// How long it is tried to connect (Linux: net.ipv4.tcp_syn_retries).
pub const CONNECT_SECONDS: u64 = 127;
/// How long a connection may be half open.
const HALF_OPEN: Duration = Duration::from_secs(60);

/// A listening socket.
struct Listener {
    port: u16,
    scope: Scope,
    backlog: usize,
    notice: Arc<Notice>,
    /// Connections that nobody has accepted yet, the eldest first.
    pending: Vec<SocketHandle>,
}

/// What a notice is about.
#[derive(Clone, Copy)]
enum Subject {
    Stream(SocketHandle),
    Datagram(SocketHandle),
    Listener(u64),
}

/// A connection without an owner.
struct Orphan {
    handle: SocketHandle,
    until: u64,
}

/// The network of the isle.
pub struct Stack {
    pub device: Device,
    interface: Interface,
    /// If it has to ask for its address.
    pub lease: Option<Lease>,
    pub sockets: SocketSet<'static>,
    pub ports: Ports,
    listeners: BTreeMap<u64, Listener>,
    orphans: Vec<Orphan>,
    subjects: BTreeMap<usize, Subject>,
    serial: u64,
    random: u64,
}

fn now() -> Instant {
    Instant::from_micros((time::monotonic_ns() / 1000) as i64)
}

fn make_interface(device: &mut Device, addresses: &Addresses, seed: u64) -> Interface {
    let own = EthernetAddress(device.nic.address());
    let mut config = Config::new(HardwareAddress::Ethernet(own));
    config.random_seed = seed;
    let mut interface = Interface::new(config, device, now());
    set_addresses(&mut interface, &cidrs(own, addresses));
    let routes = interface.routes_mut();
    // There is room for a route of either kind.
    if addresses.prefix4 != 0 {
        let _ = routes.add_default_ipv4_route(Ipv4Address::from(addresses.gateway4));
    }
    if addresses.prefix6 != 0 {
        let _ = routes.add_default_ipv6_route(Ipv6Address::from(addresses.gateway6));
    }
    interface
}

fn set_addresses(interface: &mut Interface, own: &[IpCidr]) {
    interface.update_ip_addrs(|list| {
        list.clear();
        for cidr in own {
            // There is room for eight.
            let _ = list.push(*cidr);
        }
    });
}

/// The isle's own addresses: those it is given, if any, come first, so that it speaks with these.
fn cidrs(own: EthernetAddress, addresses: &Addresses) -> Vec<IpCidr> {
    let [a, b, c, d, e, f] = own.0;
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    // RFC 4291, appendix A.
    let link = Ipv6Address::new(0xfe80, 0, 0, 0, word(a ^ 2, b), word(c, 0xff), word(0xfe, d), word(e, f));
    // smoltcp belongs to no group of ::1's, by which it finds where that is, but to that of any other address which ends so.
    let ends_in_1 = Ipv6Address::new(0xfe80, 0, 0, 0, word(a, b), word(c, d), word(e, f), 1);
    let given = [
        IpCidr::new(Ipv4Address::from(addresses.ip4).into(), addresses.prefix4 as u8),
        IpCidr::new(Ipv6Address::from(addresses.ip6).into(), addresses.prefix6 as u8),
    ];
    let always = [
        IpCidr::new(link.into(), 64),
        IpCidr::new(ends_in_1.into(), 64),
        IpCidr::new(Ipv4Address::LOCALHOST.into(), 8),
        IpCidr::new(Ipv6Address::LOCALHOST.into(), 128),
    ];
    given.into_iter().filter(|cidr| cidr.prefix_len() != 0).chain(always).collect()
}

/// Memory for a buffer, all zero. ENOMEM if there is none.
fn zeroed(len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = crate::mem::buffer(len)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// How large a socket's buffers are: smaller, the less memory is left.
fn buffer_len() -> Result<usize, Errno> {
    match heap_left() / (heap_size() / 100).max(1) {
        85.. => Ok(1 << 20),
        70.. => Ok(256 << 10),
        60.. => Ok(64 << 10),
        40.. => Ok(16 << 10),
        8.. => Ok(4 << 10),
        _ => Err(Errno::ENOMEM),
    }
}

/// A socket of smoltcp's for a connection.
fn new_stream() -> Result<tcp::Socket<'static>, Errno> {
    let len = buffer_len()?;
    let [receive, send] = [zeroed(len)?, zeroed(len)?].map(tcp::SocketBuffer::new);
    let mut socket = tcp::Socket::new(receive, send);
    socket.set_congestion_control(tcp::CongestionControl::None);
    Ok(socket)
}

/// The ends of a TCP segment that wants to open a connection: ours and theirs.
fn opens(frame: &[u8]) -> Option<(IpEndpoint, IpEndpoint)> {
    let Found { source, destination, at } = windows::find(frame)?;
    let tcp = TcpPacket::new_checked(frame.get(at..)?).ok()?;
    let wants = tcp.syn() && !tcp.ack() && !tcp.rst() && !tcp.fin();
    wants.then(|| (IpEndpoint::new(destination, tcp.dst_port()), IpEndpoint::new(source, tcp.src_port())))
}

impl Stack {
    pub fn new(nic: Box<dyn Nic>, addresses: &Addresses) -> Self {
        let seed = hermit_plat::random::hardware().unwrap_or(0) ^ time::tsc();
        let own = cidrs(EthernetAddress(nic.address()), addresses).iter().map(IpCidr::address).collect();
        let mut device = Device::new(nic, own);
        let interface = make_interface(&mut device, addresses, seed);
        let mut sockets = SocketSet::new(Vec::new());
        let lease = (addresses.prefix4 == 0).then(|| Lease::new(&mut sockets));
        Self {
            device,
            interface,
            lease,
            sockets,
            ports: Ports::default(),
            listeners: BTreeMap::new(),
            orphans: Vec::new(),
            subjects: BTreeMap::new(),
            serial: 0,
            random: seed | 1,
        }
    }

    /// A number that no other socket has.
    pub fn new_owner(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// A number that nobody can tell before.
    pub fn random(&mut self) -> u32 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    /// Whether an address is the isle's own.
    pub fn has_address(&self, address: IpAddress) -> bool {
        self.interface.has_ip_addr(address)
    }

    /// The isle's own addresses.
    pub fn addresses(&self) -> Vec<IpCidr> {
        self.interface.ip_addrs().to_vec()
    }

    /// The address from which the isle speaks to another.
    pub fn source_for(&self, to: IpAddress) -> Option<IpAddress> {
        self.interface.get_source_address(&to)
    }

    pub fn stream(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub fn datagram(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Adds a socket of datagrams that is bound there.
    pub fn add_datagram(&mut self, scope: Scope, port: u16, notice: &Arc<Notice>) -> Result<SocketHandle, Errno> {
        // The longest datagram has to fit.
        let len = buffer_len()?.clamp(68 << 10, 256 << 10);
        let packets = || -> Result<Vec<udp::PacketMetadata>, Errno> {
            let mut list = crate::mem::buffer(256)?;
            list.resize(256, udp::PacketMetadata::EMPTY);
            Ok(list)
        };
        let receive = udp::PacketBuffer::new(packets()?, zeroed(len)?);
        let send = udp::PacketBuffer::new(packets()?, zeroed(len)?);
        let mut socket = udp::Socket::new(receive, send);
        let addr = match scope {
            Scope::One(address) => Some(address),
            _ => None,
        };
        socket.bind(IpListenEndpoint { addr, port }).map_err(|_| Errno::EINVAL)?;
        let handle = self.sockets.add(socket);
        self.set_subject(notice, Subject::Datagram(handle));
        Ok(handle)
    }

    /// Begins to connect.
    pub fn connect(&mut self, from: IpEndpoint, to: IpEndpoint, notice: &Arc<Notice>) -> Result<SocketHandle, Errno> {
        let mut socket = new_stream()?;
        socket.connect(self.interface.context(), to, from).map_err(|_| Errno::EADDRNOTAVAIL)?;
        socket.set_timeout(Some(Duration::from_secs(CONNECT_SECONDS)));
        let handle = self.sockets.add(socket);
        self.set_subject(notice, Subject::Stream(handle));
        Ok(handle)
    }

    /// Begins to listen, or changes the backlog.
    pub fn listen(&mut self, owner: u64, scope: Scope, port: u16, backlog: usize, notice: &Arc<Notice>) {
        let new = || Listener { port, scope, backlog, notice: notice.clone(), pending: Vec::new() };
        self.listeners.entry(owner).or_insert_with(new).backlog = backlog;
        self.set_subject(notice, Subject::Listener(owner));
    }

    /// Whether a connection waits to be accepted.
    pub fn can_accept(&self, owner: u64) -> bool {
        self.listeners.get(&owner).is_some_and(|l| l.pending.iter().any(|h| is_established(self.sockets.get(*h))))
    }

    /// Accepts a connection, whose news are for `notice` from now on.
    pub fn accept(&mut self, owner: u64, notice: &Arc<Notice>) -> Option<SocketHandle> {
        let listener = self.listeners.get_mut(&owner)?;
        let sockets = &self.sockets;
        let at = listener.pending.iter().position(|handle| is_established(sockets.get(*handle)))?;
        let handle = listener.pending.remove(at);
        self.stream(handle).set_timeout(None);
        self.set_subject(notice, Subject::Stream(handle));
        Some(handle)
    }

    /// Nobody listens any more: who has not been accepted is refused.
    pub fn end_listening(&mut self, owner: u64, notice: &Arc<Notice>) {
        self.subjects.remove(&key(notice));
        for handle in self.listeners.remove(&owner).map(|l| l.pending).unwrap_or_default() {
            self.stream(handle).abort();
            self.orphan(handle);
        }
    }

    /// A connection has no owner any more.
    pub fn end_stream(&mut self, handle: SocketHandle, notice: &Arc<Notice>, abort: bool) {
        self.subjects.remove(&key(notice));
        let socket = self.stream(handle);
        // Who has not read everything can't say that all is well (RFC 2525, 2.17).
        if abort || socket.recv_queue() > 0 {
            socket.abort();
        } else {
            socket.close();
        }
        self.orphan(handle);
    }

    fn orphan(&mut self, handle: SocketHandle) {
        self.orphans.push(Orphan { handle, until: time::monotonic_ns().saturating_add(ORPHAN_NS) });
    }

    pub fn end_datagram(&mut self, handle: SocketHandle, notice: &Arc<Notice>) {
        self.subjects.remove(&key(notice));
        // What is still to be sent is sent now, or never.
        self.egress();
        self.sockets.remove(handle);
    }

    fn set_subject(&mut self, notice: &Arc<Notice>, subject: Subject) {
        self.subjects.insert(key(notice), subject);
        self.register(notice, subject);
    }

    /// Has smoltcp say when there are news: it does so once each time.
    fn register(&mut self, notice: &Arc<Notice>, subject: Subject) {
        let waker = notice.waker();
        match subject {
            Subject::Stream(handle) => {
                let socket = self.stream(handle);
                socket.register_recv_waker(&waker);
                socket.register_send_waker(&waker);
            }
            Subject::Datagram(handle) => {
                let socket = self.datagram(handle);
                socket.register_recv_waker(&waker);
                socket.register_send_waker(&waker);
            }
            Subject::Listener(owner) => {
                let pending = self.listeners.get(&owner).map(|l| l.pending.clone()).unwrap_or_default();
                for handle in pending {
                    let socket = self.stream(handle);
                    socket.register_recv_waker(&waker);
                    socket.register_send_waker(&waker);
                }
            }
        }
    }

    /// Deals with all that has come in, and sends what is to be sent. Returns when to do so again, in ns.
    pub fn poll(&mut self) -> Option<u64> {
        self.interface.poll_maintenance(now());
        for _ in 0..ROUNDS {
            self.ingress();
            self.egress();
            self.follow_lease();
            self.settle();
            if !self.device.has_looped() && !self.device.nic.has_news() {
                break;
            }
        }
        self.deadline()
    }

    /// The isle is called as it is told to be called.
    fn follow_lease(&mut self) {
        let Some(terms) = self.lease.as_mut().and_then(|lease| lease.poll(&mut self.sockets)) else { return };
        match (terms.address, terms.router) {
            (Some(address), Some(router)) => log::info!("network: {address}, router {router}"),
            (Some(address), None) => log::info!("network: {address}"),
            (None, _) => log::warn!("network: the address is not ours any more"),
        }
        let given = terms.address.map(IpCidr::from);
        let own = EthernetAddress(self.device.nic.address());
        let all: Vec<_> = given.into_iter().chain(cidrs(own, &Addresses::default())).collect();
        set_addresses(&mut self.interface, &all);
        self.device.set_own(all.iter().map(IpCidr::address).collect());
        let routes = self.interface.routes_mut();
        match terms.router {
            // There is room for a route.
            Some(router) => drop(routes.add_default_ipv4_route(router)),
            None => drop(routes.remove_default_ipv4_route()),
        }
    }

    fn ingress(&mut self) {
        let now = now();
        for _ in 0..BURST {
            let Some(frame) = self.device.stage() else { break };
            if let Some((to, from)) = opens(frame) {
                self.admit(to, from);
            }
            self.interface.poll_ingress_single(now, &mut self.device, &mut self.sockets);
            self.device.unstage();
        }
    }

    fn egress(&mut self) {
        for _ in 0..BURST {
            if self.interface.poll_egress(now(), &mut self.device, &mut self.sockets) == PollResult::None {
                break;
            }
        }
    }

    /// Somebody wants a connection to us: if anybody listens, a socket is made for it.
    fn admit(&mut self, to: IpEndpoint, from: IpEndpoint) {
        let listens = |l: &&mut Listener| l.port == to.port && l.scope.has(to.addr);
        // One that listens at this very address comes first.
        let exact = self.listeners.values().position(|l| l.port == to.port && l.scope == Scope::One(to.addr));
        let listener = match exact {
            Some(at) => self.listeners.values_mut().nth(at),
            None => self.listeners.values_mut().find(listens),
        };
        let Some(listener) = listener else { return };
        let sockets = &mut self.sockets;
        let known =
            |socket: &tcp::Socket<'_>| socket.remote_endpoint() == Some(from) && socket.local_endpoint() == Some(to);
        let late = |h: &SocketHandle| sockets.get::<tcp::Socket<'_>>(*h).state() == tcp::State::TimeWait;
        let same = sockets.iter().find_map(|(handle, socket)| match socket {
            smoltcp::socket::Socket::Tcp(socket) if known(socket) => Some(handle),
            _ => None,
        });
        match same {
            // It was said before; or the same ends are used again soon, which may be.
            Some(handle) if !late(&handle) => return,
            Some(handle) => {
                self.orphans.retain(|o| o.handle != handle);
                sockets.remove(handle);
            }
            None => {}
        }
        let mut socket = new_stream();
        if listener.pending.len() >= listener.backlog || socket.is_err() {
            // Who is only half there makes way; else the other side tries again.
            let half = |h: &SocketHandle| !is_established(sockets.get(*h));
            let Some(at) = listener.pending.iter().position(half) else { return self.device.unstage() };
            let handle = listener.pending.remove(at);
            sockets.remove(handle);
            socket = socket.or_else(|_| new_stream());
        }
        let Ok(mut socket) = socket else { return self.device.unstage() };
        if socket.listen(IpListenEndpoint::from(to)).is_err() {
            return;
        }
        socket.set_timeout(Some(HALF_OPEN));
        let waker = listener.notice.waker();
        socket.register_recv_waker(&waker);
        socket.register_send_waker(&waker);
        listener.pending.push(sockets.add(socket));
    }

    /// Tells whoever waits, and forgets what is over.
    fn settle(&mut self) {
        for notice in notice::take_told() {
            let Some(&subject) = self.subjects.get(&key(&notice)) else { continue };
            if let Subject::Listener(owner) = subject {
                let sockets = &mut self.sockets;
                if let Some(listener) = self.listeners.get_mut(&owner) {
                    listener.pending.retain(|handle| {
                        let state = sockets.get::<tcp::Socket<'_>>(*handle).state();
                        let is_over = matches!(state, tcp::State::Closed | tcp::State::Listen);
                        if is_over {
                            sockets.remove(*handle);
                        }
                        !is_over
                    });
                }
            }
            self.register(&notice, subject);
            notice.tell();
        }
        if !self.orphans.is_empty() {
            self.bury();
        }
    }

    fn bury(&mut self) {
        let now = time::monotonic_ns();
        let sockets = &mut self.sockets;
        let mut late = 0;
        // The youngest first: the eldest of those that are late go.
        let mut keep: Vec<bool> = Vec::new();
        for orphan in self.orphans.iter().rev() {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(orphan.handle);
            // One that was aborted has ends until its reset is sent.
            let is_over = match socket.state() {
                tcp::State::Closed => socket.remote_endpoint().is_none(),
                tcp::State::Listen => true,
                tcp::State::TimeWait => {
                    late += 1;
                    late > MAX_LATE
                }
                _ => false,
            };
            keep.push(!is_over && now < orphan.until);
        }
        let mut keep = keep.into_iter().rev();
        self.orphans.retain(|orphan| {
            let keeps = keep.next().unwrap_or(true);
            if !keeps {
                sockets.remove(orphan.handle);
            }
            keeps
        });
    }

    fn deadline(&mut self) -> Option<u64> {
        let mut next = self.interface.poll_at(now(), &self.sockets).map(|at| at.total_micros() as u64 * 1000);
        if core::mem::take(&mut self.device.was_full) {
            next = Some(time::monotonic_ns().saturating_add(FULL_NS));
        }
        if self.device.nic.has_news() || self.device.has_looped() {
            next = Some(0);
        }
        let orphans = self.orphans.iter().map(|o| o.until).min();
        [next, orphans].into_iter().flatten().min()
    }
}

/// Past the handshake.
fn is_established(socket: &tcp::Socket<'_>) -> bool {
    use tcp::State::{Closed, Listen, SynReceived, SynSent};
    !matches!(socket.state(), Closed | Listen | SynReceived | SynSent)
}

/// What a notice is known by.
fn key(notice: &Arc<Notice>) -> usize {
    Arc::as_ptr(notice) as usize
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
