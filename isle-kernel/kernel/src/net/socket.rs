// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sockets of AF_INET and AF_INET6, as system calls see them. Nothing here waits: what would is `None`.

use super::notice::Notice;
use super::ports::{Scope, Use};
use super::stack::Stack;
use super::{address, lock};
use crate::errno::Errno;
use crate::kept::event;
use crate::mem::access::Cursor;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use hermit_plat::time;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::{self, RecvError, State as Tcp};
use smoltcp::socket::udp;
use smoltcp::time::Duration;
use smoltcp::wire::{IpAddress, IpEndpoint};
use spin::{Mutex, MutexGuard};

/// Most bytes of a datagram (RFC 768, RFC 791).
const MAX_DATAGRAM: usize = 65507;
/// A connection that isn't there after so long has timed out; before that, it was refused.
const CONNECT_NS: u64 = super::stack::CONNECT_SECONDS * 1_000_000_000;
/// Fewest connections that wait for accept(2), and most (Linux: net.core.somaxconn).
const BACKLOG: core::ops::RangeInclusive<usize> = 1..=4096;

/// What setsockopt(2) has changed that the socket needs to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// SO_REUSEADDR, SO_REUSEPORT.
    pub shares: [bool; 2],
    pub is_v6_only: bool,
    pub no_delay: bool,
    pub keep_alive: bool,
    /// TCP_KEEPIDLE, in seconds.
    pub keep_idle: u32,
    /// SO_LINGER: on, and seconds.
    pub linger: Option<u32>,
    /// SO_RCVTIMEO, SO_SNDTIMEO, in ns.
    pub timeouts: [Option<u64>; 2],
    /// SO_RCVBUF, SO_SNDBUF: what getsockopt(2) says.
    pub buffers: [Option<u32>; 2],
}

/// What smoltcp has of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    New,
    Listening,
    Stream(SocketHandle),
    Datagram(SocketHandle),
}

#[derive(Debug)]
struct Inner {
    stage: Stage,
    /// Where it is bound to.
    local: Option<(Scope, u16)>,
    /// Whom a connected socket of datagrams talks to.
    peer: Option<IpEndpoint>,
    options: Options,
    /// SO_ERROR.
    error: Option<Errno>,
    /// connect(2) is under way, since then.
    is_connecting: bool,
    began: u64,
    /// Nobody has been told yet that it was successful: the next connect(2) is (Linux: SS_CONNECTING).
    is_untold: bool,
    /// It was connected once.
    was_connected: bool,
    /// The other side's reset was told.
    was_reset: bool,
    /// shutdown(2): of reading.
    is_read_shut: bool,
    is_write_shut: bool,
}

/// A socket.
#[derive(Debug)]
pub struct Socket {
    owner: u64,
    pub is_stream: bool,
    pub is_v6: bool,
    /// O_NONBLOCK.
    pub flags: AtomicUsize,
    pub notice: Arc<Notice>,
    inner: Mutex<Inner>,
}

/// How many bytes have come, from whom, and how many there were.
pub struct Received {
    pub count: usize,
    pub from: Option<IpEndpoint>,
    pub len: usize,
}

impl Socket {
    /// A new one. EAFNOSUPPORT: there is no network.
    pub fn new(is_stream: bool, is_v6: bool) -> Result<Self, Errno> {
        let owner = lock().ok_or(Errno::EAFNOSUPPORT)?.new_owner();
        let options = Options { keep_idle: 7200, ..Options::default() };
        Ok(Self::with(owner, is_stream, is_v6, options, Stage::New, Arc::default()))
    }

    fn with(owner: u64, is_stream: bool, is_v6: bool, options: Options, stage: Stage, notice: Arc<Notice>) -> Self {
        let inner = Inner {
            stage,
            local: None,
            peer: None,
            options,
            error: None,
            is_connecting: false,
            began: 0,
            is_untold: false,
            was_connected: matches!(stage, Stage::Stream(_)),
            was_reset: false,
            is_read_shut: false,
            is_write_shut: false,
        };
        Self { owner, is_stream, is_v6, flags: AtomicUsize::new(0), notice, inner: Mutex::new(inner) }
    }

    fn open(&self) -> Result<(MutexGuard<'static, Stack>, MutexGuard<'_, Inner>), Errno> {
        let stack = lock().ok_or(Errno::EAFNOSUPPORT)?;
        Ok((stack, self.inner.lock()))
    }

    fn scope_of(&self, address: IpAddress, options: &Options) -> Scope {
        match address {
            address if !address.is_unspecified() => Scope::One(address),
            IpAddress::Ipv4(_) => Scope::Ip4,
            IpAddress::Ipv6(_) if options.is_v6_only => Scope::Ip6,
            IpAddress::Ipv6(_) => Scope::All,
        }
    }

    fn take_port(&self, stack: &mut Stack, inner: &mut Inner, scope: Scope, port: u16) -> Result<u16, Errno> {
        let new = Use {
            owner: self.owner,
            is_stream: self.is_stream,
            port,
            scope,
            shares: inner.options.shares,
            is_listening: false,
        };
        let random = stack.random();
        let port = stack.ports.take(new, random)?;
        inner.local = Some((scope, port));
        Ok(port)
    }

    fn bind_any(&self, stack: &mut Stack, inner: &mut Inner) -> Result<(Scope, u16), Errno> {
        if let Some(local) = inner.local {
            return Ok(local);
        }
        let scope = self.scope_of(address::any(self.is_v6), &inner.options);
        Ok((scope, self.take_port(stack, inner, scope, 0)?))
    }

    pub fn bind(&self, to: IpEndpoint) -> Result<(), Errno> {
        let (mut stack, mut inner) = self.open()?;
        if inner.local.is_some() || inner.stage != Stage::New {
            return Err(Errno::EINVAL);
        }
        if !to.addr.is_unspecified() && !stack.has_address(to.addr) && !is_loopback(to.addr) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        let scope = self.scope_of(to.addr, &inner.options);
        self.take_port(&mut stack, &mut inner, scope, to.port)?;
        if !self.is_stream {
            self.datagram(&mut stack, &mut inner)?;
        }
        Ok(())
    }

    /// What smoltcp has of a socket of datagrams, which it gets when it is first needed.
    fn datagram(&self, stack: &mut Stack, inner: &mut Inner) -> Result<SocketHandle, Errno> {
        if let Stage::Datagram(handle) = inner.stage {
            return Ok(handle);
        }
        let (scope, port) = self.bind_any(stack, inner)?;
        let handle = stack.add_datagram(scope, port, &self.notice)?;
        inner.stage = Stage::Datagram(handle);
        Ok(handle)
    }

    pub fn listen(&self, backlog: i32) -> Result<(), Errno> {
        let (mut stack, mut inner) = self.open()?;
        if !self.is_stream {
            return Err(Errno::EOPNOTSUPP);
        }
        if !matches!(inner.stage, Stage::New | Stage::Listening) {
            return Err(Errno::EINVAL);
        }
        let (scope, port) = self.bind_any(&mut stack, &mut inner)?;
        stack.ports.listen(self.owner)?;
        // As Linux's, one more than is asked for.
        let backlog = usize::try_from(backlog).unwrap_or(0).saturating_add(1).clamp(*BACKLOG.start(), *BACKLOG.end());
        stack.listen(self.owner, scope, port, backlog, &self.notice);
        inner.stage = Stage::Listening;
        Ok(())
    }

    /// Accepts a connection. `None`: there is none yet.
    pub fn accept(&self) -> Result<Option<(Self, IpEndpoint)>, Errno> {
        let (mut stack, inner) = self.open()?;
        if inner.stage != Stage::Listening {
            return Err(if self.is_stream { Errno::EINVAL } else { Errno::EOPNOTSUPP });
        }
        super::work(&mut stack);
        let notice = Arc::default();
        let Some(handle) = stack.accept(self.owner, &notice) else { return Ok(None) };
        let owner = stack.new_owner();
        let options = Options { timeouts: [None; 2], ..inner.options };
        apply(stack.stream(handle), &options);
        let from = stack.stream(handle).remote_endpoint();
        let new = Self::with(owner, true, self.is_v6, options, Stage::Stream(handle), notice);
        // It may be gone again.
        Ok(Some((new, from.unwrap_or(IpEndpoint::new(address::any(self.is_v6), 0)))))
    }

    /// Connects, or looks whether it is connected by now. `None`: not yet. `is_first`: it is called for the first time.
    pub fn connect(&self, to: IpEndpoint, is_first: bool) -> Result<Option<()>, Errno> {
        let (mut stack, mut inner) = self.open()?;
        if !self.is_stream {
            self.datagram(&mut stack, &mut inner)?;
            inner.peer = Some(to);
            return Ok(Some(()));
        }
        match inner.stage {
            Stage::Stream(handle) => {
                super::work(&mut stack);
                inner.note(stack.stream(handle));
                if let Some(errno) = inner.error.take() {
                    return Err(errno);
                }
                match (inner.is_connecting, is_first) {
                    (true, true) if self.is_non_blocking() => Err(Errno::EALREADY),
                    (true, _) => Ok(None),
                    (false, _) if core::mem::take(&mut inner.is_untold) => Ok(Some(())),
                    (false, _) => Err(Errno::EISCONN),
                }
            }
            Stage::New => {
                let to = if to.addr.is_unspecified() { IpEndpoint::new(loopback(to.addr), to.port) } else { to };
                let address = match inner.local {
                    Some((Scope::One(address), _)) => address,
                    _ => stack.source_for(to.addr).ok_or(Errno::ENETUNREACH)?,
                };
                if matches!(address, IpAddress::Ipv4(_)) != matches!(to.addr, IpAddress::Ipv4(_)) {
                    return Err(Errno::ENETUNREACH);
                }
                let (_, port) = self.bind_any(&mut stack, &mut inner)?;
                let handle = stack.connect(IpEndpoint::new(address, port), to, &self.notice)?;
                apply(stack.stream(handle), &inner.options);
                inner.stage = Stage::Stream(handle);
                inner.is_connecting = true;
                inner.is_untold = true;
                inner.began = time::monotonic_ns();
                super::work(&mut stack);
                Ok(None)
            }
            Stage::Listening | Stage::Datagram(_) => Err(Errno::EISCONN),
        }
    }

    /// A socket of datagrams is connected to nobody any more.
    pub fn disconnect(&self) -> Result<(), Errno> {
        if self.is_stream {
            return Err(Errno::EAFNOSUPPORT);
        }
        self.inner.lock().peer = None;
        Ok(())
    }

    pub fn is_non_blocking(&self) -> bool {
        self.flags.load(Ordering::Relaxed) != 0
    }

    /// Sends at most `len` bytes, which the cursor is at, as many as there is room for. `None`: for none.
    pub fn send(&self, from: &mut Cursor<'_>, len: usize, to: Option<IpEndpoint>) -> Result<Option<usize>, Errno> {
        let (mut stack, mut inner) = self.open()?;
        if !self.is_stream {
            return self.send_datagram(&mut stack, &mut inner, from, len, to);
        }
        let Stage::Stream(handle) = inner.stage else { return Err(Errno::EPIPE) };
        inner.note(stack.stream(handle));
        if let Some(errno) = inner.error.take() {
            return Err(errno);
        }
        if inner.is_connecting {
            return Ok(None);
        }
        let socket = stack.stream(handle);
        let mut sent = 0;
        // The room may be in two parts.
        while sent < len {
            let now = socket.send(|room| {
                let now = room.len().min(len - sent);
                let is_there = room.get_mut(..now).is_some_and(|place| from.read(place));
                let now = if is_there { now } else { 0 };
                (now, now)
            });
            match now {
                Ok(0) => break,
                Ok(now) => sent += now,
                Err(_) => return Err(Errno::EPIPE),
            }
        }
        if len == 0 {
            return Ok(Some(0));
        }
        super::work(&mut stack);
        Ok((sent > 0).then_some(sent))
    }

    fn send_datagram(
        &self,
        stack: &mut Stack,
        inner: &mut Inner,
        from: &mut Cursor<'_>,
        len: usize,
        to: Option<IpEndpoint>,
    ) -> Result<Option<usize>, Errno> {
        let mut to = to.or(inner.peer).ok_or(Errno::EDESTADDRREQ)?;
        if len > MAX_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        if inner.is_write_shut {
            return Err(Errno::EPIPE);
        }
        if to.addr.is_unspecified() {
            to.addr = loopback(to.addr);
        }
        let handle = self.datagram(stack, inner)?;
        match stack.datagram(handle).send(len, udp::UdpMetadata::from(to)) {
            Ok(place) => {
                if !from.read(place) {
                    place.fill(0);
                }
            }
            Err(udp::SendError::BufferFull) => {
                super::work(stack);
                return Ok(None);
            }
            Err(udp::SendError::Unaddressable) => return Err(Errno::EINVAL),
        }
        super::work(stack);
        Ok(Some(len))
    }

    /// Receives at most `room` bytes to where the cursor is. `None`: nothing is there yet.
    pub fn receive(&self, to: &mut Cursor<'_>, room: usize, peeks: bool) -> Result<Option<Received>, Errno> {
        let (mut stack, mut inner) = self.open()?;
        match inner.stage {
            Stage::Stream(handle) => {
                let received = inner.receive_stream(stack.stream(handle), to, room, peeks)?;
                if received.is_some() {
                    if super::has_work() || !peeks {
                        super::work(&mut stack);
                    }
                    return Ok(received);
                }
                super::work(&mut stack);
                inner.receive_stream(stack.stream(handle), to, room, peeks)
            }
            _ if self.is_stream => Err(Errno::ENOTCONN),
            _ => {
                let handle = self.datagram(&mut stack, &mut inner)?;
                super::work(&mut stack);
                inner.receive_datagram(stack.datagram(handle), to, room, peeks, self.is_v6)
            }
        }
    }

    pub fn shutdown(&self, read: bool, write: bool) -> Result<(), Errno> {
        let (mut stack, mut inner) = self.open()?;
        match inner.stage {
            Stage::Stream(handle) if !inner.is_connecting => {
                if stack.stream(handle).remote_endpoint().is_none() {
                    return Err(Errno::ENOTCONN);
                }
                if write {
                    stack.stream(handle).close();
                }
            }
            Stage::Listening if read => {
                stack.end_listening(self.owner, &self.notice);
                inner.stage = Stage::New;
            }
            Stage::Datagram(_) if inner.peer.is_some() => {}
            _ => return Err(Errno::ENOTCONN),
        }
        inner.is_read_shut |= read;
        inner.is_write_shut |= write;
        super::work(&mut stack);
        drop(inner);
        self.notice.tell();
        Ok(())
    }

    /// Its own address.
    pub fn local(&self) -> Result<IpEndpoint, Errno> {
        let (mut stack, inner) = self.open()?;
        if let Stage::Stream(handle) = inner.stage {
            if let Some(endpoint) = stack.stream(handle).local_endpoint() {
                return Ok(endpoint);
            }
        }
        let (scope, port) = inner.local.unwrap_or((Scope::All, 0));
        let address = match (scope, inner.peer) {
            (Scope::One(address), _) => address,
            (_, Some(peer)) => stack.source_for(peer.addr).unwrap_or(address::any(self.is_v6)),
            _ => address::any(self.is_v6),
        };
        Ok(IpEndpoint::new(address, port))
    }

    /// The other side's.
    pub fn peer(&self) -> Result<IpEndpoint, Errno> {
        let (mut stack, inner) = self.open()?;
        let peer = match inner.stage {
            Stage::Stream(handle) if !inner.is_connecting => stack.stream(handle).remote_endpoint(),
            _ => inner.peer,
        };
        peer.ok_or(Errno::ENOTCONN)
    }

    /// SO_ERROR, which is none afterwards.
    pub fn take_error(&self) -> Option<Errno> {
        let (mut stack, mut inner) = self.open().ok()?;
        if let Stage::Stream(handle) = inner.stage {
            super::work(&mut stack);
            inner.note(stack.stream(handle));
        }
        inner.error.take()
    }

    pub fn options(&self) -> Options {
        self.inner.lock().options
    }

    /// Changes options.
    pub fn change(&self, change: impl FnOnce(&mut Options)) -> Result<(), Errno> {
        let (mut stack, mut inner) = self.open()?;
        change(&mut inner.options);
        if let Stage::Stream(handle) = inner.stage {
            apply(stack.stream(handle), &inner.options);
        }
        Ok(())
    }

    pub fn is_listening(&self) -> bool {
        self.inner.lock().stage == Stage::Listening
    }

    /// Bytes of its buffers: for receiving and sending.
    pub fn buffers(&self) -> [usize; 2] {
        let Ok((mut stack, inner)) = self.open() else { return [0; 2] };
        match inner.stage {
            Stage::Stream(handle) => {
                let socket = stack.stream(handle);
                [socket.recv_capacity(), socket.send_capacity()]
            }
            Stage::Datagram(handle) => {
                let socket = stack.datagram(handle);
                [socket.payload_recv_capacity(), socket.payload_send_capacity()]
            }
            _ => [1 << 20; 2],
        }
    }

    /// FIONREAD: bytes that can be read. SIOCOUTQ: bytes that are not acknowledged.
    pub fn queued(&self) -> Result<(usize, usize), Errno> {
        let (mut stack, inner) = self.open()?;
        super::work(&mut stack);
        Ok(match inner.stage {
            Stage::Stream(handle) => {
                let socket = stack.stream(handle);
                (socket.recv_queue(), socket.send_queue())
            }
            Stage::Datagram(handle) => {
                let socket = stack.datagram(handle);
                let next = socket.peek().map_or(0, |(bytes, _)| bytes.len());
                (next, socket.send_queue())
            }
            _ => (0, 0),
        })
    }

    /// Events of poll(2).
    pub fn readiness(&self) -> u16 {
        let Ok((mut stack, mut inner)) = self.open() else { return event::ERR };
        if super::has_work() {
            super::work(&mut stack);
        }
        let (input, output) = (event::IN | event::RDNORM, event::OUT | event::WRNORM);
        match inner.stage {
            Stage::New if self.is_stream => output | event::HUP,
            Stage::New => output,
            Stage::Listening if stack.can_accept(self.owner) => input,
            Stage::Listening => 0,
            Stage::Datagram(handle) => {
                let socket = stack.datagram(handle);
                let mut ready = 0;
                if socket.can_recv() || inner.is_read_shut {
                    ready |= input;
                }
                if socket.can_send() {
                    ready |= output;
                }
                ready
            }
            Stage::Stream(handle) => {
                let socket = stack.stream(handle);
                inner.note(socket);
                let mut ready = 0;
                if inner.error.is_some() {
                    ready |= event::ERR | event::HUP | input | output;
                }
                if inner.is_connecting {
                    return ready;
                }
                if socket.can_recv() || !socket.may_recv() || inner.is_read_shut {
                    ready |= input;
                }
                if !socket.may_recv() || inner.is_read_shut {
                    ready |= event::RDHUP;
                }
                if socket.can_send() || !socket.may_send() {
                    ready |= output;
                }
                if !socket.may_send() && !socket.may_recv() {
                    ready |= event::HUP;
                }
                ready
            }
        }
    }
}

impl Inner {
    /// Notes what has become of a connection.
    fn note(&mut self, socket: &mut tcp::Socket<'_>) {
        match socket.state() {
            Tcp::SynSent | Tcp::SynReceived => {}
            Tcp::Closed if self.is_connecting => {
                self.is_connecting = false;
                let is_late = time::monotonic_ns().saturating_sub(self.began) >= CONNECT_NS;
                self.error = Some(if is_late { Errno::ETIMEDOUT } else { Errno::ECONNREFUSED });
            }
            Tcp::Closed if self.was_connected && !self.was_reset && !self.is_write_shut => {
                let is_reset = !matches!(socket.peek(1), Err(RecvError::Finished) | Ok(_));
                if is_reset {
                    self.was_reset = true;
                    self.error = Some(Errno::ECONNRESET);
                }
            }
            _ if self.is_connecting => {
                self.is_connecting = false;
                self.was_connected = true;
                socket.set_timeout(None);
            }
            _ => {}
        }
    }

    fn receive_stream(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        to: &mut Cursor<'_>,
        room: usize,
        peeks: bool,
    ) -> Result<Option<Received>, Errno> {
        self.note(socket);
        let of = |count: usize| Received { count, len: count, from: None };
        if self.is_connecting {
            return Ok(None);
        }
        if socket.recv_queue() > 0 {
            let len = room.min(socket.recv_queue());
            if peeks {
                let mut bytes: Vec<u8> = crate::mem::buffer(len)?;
                bytes.resize(len, 0);
                let got = socket.peek_slice(&mut bytes).unwrap_or(0);
                return match bytes.get(..got).is_some_and(|bytes| to.write(bytes)) {
                    true => Ok(Some(of(got))),
                    false => Err(Errno::EFAULT),
                };
            }
            // They may be in two parts.
            let mut done = 0;
            while done < len {
                let took = socket.recv(|part| {
                    let now = part.get(..len - done).unwrap_or(part);
                    let took = if to.write(now) { now.len() } else { 0 };
                    (took, took)
                });
                match took {
                    Ok(took) if took > 0 => done += took,
                    _ => break,
                }
            }
            return if done > 0 || room == 0 { Ok(Some(of(done))) } else { Err(Errno::EFAULT) };
        }
        if let Some(errno) = self.error.take() {
            return Err(errno);
        }
        if !self.was_connected {
            return Err(Errno::ENOTCONN);
        }
        let is_at_end = !socket.may_recv() || self.is_read_shut || room == 0;
        Ok(is_at_end.then(|| of(0)))
    }

    fn receive_datagram(
        &mut self,
        socket: &mut udp::Socket<'_>,
        to: &mut Cursor<'_>,
        room: usize,
        peeks: bool,
        is_v6: bool,
    ) -> Result<Option<Received>, Errno> {
        let wanted = |from: IpEndpoint| {
            self.peer.is_none_or(|peer| peer == from) && (is_v6 || matches!(from.addr, IpAddress::Ipv4(_)))
        };
        loop {
            let Ok((bytes, metadata)) = socket.peek() else {
                return Ok(self.is_read_shut.then_some(Received { count: 0, from: None, len: 0 }));
            };
            let (from, len) = (metadata.endpoint, bytes.len());
            if !wanted(from) {
                // It was there before the socket was connected to another.
                let _ = socket.recv();
                continue;
            }
            let now = bytes.get(..room.min(len)).unwrap_or(bytes);
            let (count, is_written) = (now.len(), to.write(now));
            if !peeks {
                let _ = socket.recv();
            }
            return if is_written { Ok(Some(Received { count, from: Some(from), len })) } else { Err(Errno::EFAULT) };
        }
    }
}

/// Tells smoltcp of options.
fn apply(socket: &mut tcp::Socket<'_>, options: &Options) {
    socket.set_nagle_enabled(!options.no_delay);
    let idle = Duration::from_secs(options.keep_idle.into());
    socket.set_keep_alive(options.keep_alive.then_some(idle));
}

fn is_loopback(address: IpAddress) -> bool {
    match address {
        IpAddress::Ipv4(address) => address.is_loopback(),
        IpAddress::Ipv6(address) => address.is_loopback(),
    }
}

/// The isle itself, where an address says nobody (Linux takes it for that).
fn loopback(unspecified: IpAddress) -> IpAddress {
    match unspecified {
        IpAddress::Ipv4(_) => IpAddress::v4(127, 0, 0, 1),
        IpAddress::Ipv6(_) => IpAddress::v6(0, 0, 0, 0, 0, 0, 0, 1),
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let Some(mut stack) = lock() else { return };
        let inner = self.inner.get_mut();
        stack.ports.release(self.owner);
        match inner.stage {
            Stage::New => return,
            Stage::Listening => stack.end_listening(self.owner, &self.notice),
            Stage::Stream(handle) => stack.end_stream(handle, &self.notice, inner.options.linger == Some(0)),
            Stage::Datagram(handle) => stack.end_datagram(handle, &self.notice),
        }
        super::work(&mut stack);
    }
}
