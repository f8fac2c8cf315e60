// SPDX-License-Identifier: MIT OR Apache-2.0

//! Options of sockets of AF_INET and AF_INET6: socket(7), tcp(7), ip(7), ipv6(7). Those that only hint, and those for what can't
//! happen here, are accepted and have no effect.

use super::{time, Outcome};
use crate::errno::Errno;
use crate::net::socket::Socket;
use crate::thread::Thread;
use alloc::vec::Vec;
use linux_raw_sys::net::*;

const SOL_TCP: u32 = 6;
const SOL_UDP: u32 = 17;
const SOL_IP: u32 = 0;
const SOL_IPV6: u32 = 41;

/// struct tcp_info, as far as programs look.
const TCP_INFO_LEN: usize = 104;

pub fn setsockopt(t: &mut Thread, socket: &Socket, [_, level, option, at, len, _]: [u64; 6]) -> Outcome {
    let (level, option, len) = (level as u32, option as u32, len as u32);
    if (len as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    if level == SOL_SOCKET && matches!(option, SO_RCVTIMEO | SO_SNDTIMEO) {
        if len < 16 {
            return Err(Errno::EINVAL.into());
        }
        let [seconds, us] = t.memory().read_words(at)?;
        if us >= 1_000_000 {
            return Err(Errno::EINVAL.into());
        }
        let ns = seconds.saturating_mul(time::NS).saturating_add(us * 1000);
        let which = usize::from(option == SO_SNDTIMEO);
        socket.change(|o| {
            if let Some(place) = o.timeouts.get_mut(which) {
                *place = (ns != 0 && (seconds as i64) >= 0).then_some(ns);
            }
        })?;
        return Ok(0);
    }
    if level == SOL_SOCKET && option == SO_LINGER {
        if len < 8 {
            return Err(Errno::EINVAL.into());
        }
        let word = t.memory().read_u64(at)?;
        socket.change(|o| o.linger = (word as u32 != 0).then_some((word >> 32) as u32))?;
        return Ok(0);
    }
    // The name of an algorithm: there is none to choose.
    if level == SOL_TCP && option == TCP_CONGESTION {
        return Err(Errno::ENOENT.into());
    }
    let value = match len {
        0 if level == SOL_IP => 0,
        0 => return Err(Errno::EINVAL.into()),
        // ip(7): a byte will do there.
        1..4 if level == SOL_IP => {
            let mut byte = [0];
            t.memory().read(at, &mut byte)?;
            byte[0].into()
        }
        1..4 => return Err(Errno::EINVAL.into()),
        _ => t.memory().read_u32(at)?,
    };
    let on = value != 0;
    match (level, option) {
        (SOL_SOCKET, SO_REUSEADDR) => socket.change(|o| o.shares[0] = on)?,
        (SOL_SOCKET, SO_REUSEPORT) => socket.change(|o| o.shares[1] = on)?,
        (SOL_SOCKET, SO_KEEPALIVE) => socket.change(|o| o.keep_alive = on)?,
        // Linux doubles it, for what it needs besides.
        (SOL_SOCKET, SO_RCVBUF | SO_RCVBUFFORCE) => {
            socket.change(|o| o.buffers[0] = Some(value.clamp(1152, 1 << 29) * 2))?
        }
        (SOL_SOCKET, SO_SNDBUF | SO_SNDBUFFORCE) => {
            socket.change(|o| o.buffers[1] = Some(value.clamp(2304, 1 << 29) * 2))?
        }
        (
            SOL_SOCKET,
            SO_BROADCAST | SO_DONTROUTE | SO_OOBINLINE | SO_PRIORITY | SO_NO_CHECK | SO_RCVLOWAT | SO_BUSY_POLL
            | SO_MARK | SO_INCOMING_CPU | SO_MAX_PACING_RATE,
        ) => {}
        (SOL_SOCKET, SO_TYPE | SO_ERROR | SO_DOMAIN | SO_PROTOCOL | SO_ACCEPTCONN) => {
            return Err(Errno::ENOPROTOOPT.into())
        }
        (SOL_TCP, TCP_NODELAY) if socket.is_stream => socket.change(|o| o.no_delay = on)?,
        (SOL_TCP, TCP_KEEPIDLE) if socket.is_stream => {
            if !(1..=32767).contains(&value) {
                return Err(Errno::EINVAL.into());
            }
            socket.change(|o| o.keep_idle = value)?
        }
        (
            SOL_TCP,
            TCP_CORK | TCP_KEEPINTVL | TCP_KEEPCNT | TCP_SYNCNT | TCP_LINGER2 | TCP_DEFER_ACCEPT | TCP_WINDOW_CLAMP
            | TCP_QUICKACK | TCP_USER_TIMEOUT | TCP_MAXSEG | TCP_NOTSENT_LOWAT,
        ) if socket.is_stream => {}
        (SOL_IP, IP_TOS | IP_TTL | IP_MTU_DISCOVER | IP_RECVERR | IP_FREEBIND | IP_BIND_ADDRESS_NO_PORT) => {}
        (SOL_IP, IP_MULTICAST_TTL | IP_MULTICAST_LOOP) => {}
        (SOL_IPV6, IPV6_V6ONLY) if socket.is_v6 => socket.change(|o| o.is_v6_only = on)?,
        (SOL_IPV6, IPV6_UNICAST_HOPS | IPV6_MTU_DISCOVER | IPV6_RECVERR | IPV6_TCLASS) if socket.is_v6 => {}
        _ => return Err(Errno::ENOPROTOOPT.into()),
    }
    Ok(0)
}

pub fn getsockopt(t: &mut Thread, socket: &Socket, [_, level, option, to, len_at, _]: [u64; 6]) -> Outcome {
    let room = t.memory().read_u32(len_at)?;
    if (room as i32) < 0 {
        return Err(Errno::EINVAL.into());
    }
    let value = value(socket, level as u32, option as u32)?;
    let there = value.get(..room as usize).unwrap_or(&value);
    t.memory().write(to, there)?;
    t.memory().write(len_at, &(there.len() as u32).to_le_bytes())?;
    Ok(0)
}

fn value(socket: &Socket, level: u32, option: u32) -> Result<Vec<u8>, Errno> {
    let options = socket.options();
    let [receive, send] = socket.buffers();
    let timeout = |which: usize| {
        let ns = options.timeouts.get(which).copied().flatten().unwrap_or(0);
        [ns / time::NS, ns % time::NS / 1000].iter().flat_map(|w| w.to_le_bytes()).collect()
    };
    let number: u32 = match (level, option) {
        (SOL_SOCKET, SO_RCVTIMEO) => return Ok(timeout(0)),
        (SOL_SOCKET, SO_SNDTIMEO) => return Ok(timeout(1)),
        (SOL_SOCKET, SO_LINGER) => {
            let words = [u32::from(options.linger.is_some()), options.linger.unwrap_or(0)];
            return Ok(words.iter().flat_map(|w| w.to_le_bytes()).collect());
        }
        (SOL_SOCKET, SO_ERROR) => {
            socket.take_error().map_or(0, |errno| (errno.as_result() as i64).unsigned_abs() as u32)
        }
        (SOL_SOCKET, SO_TYPE) if socket.is_stream => SOCK_STREAM,
        (SOL_SOCKET, SO_TYPE) => SOCK_DGRAM,
        (SOL_SOCKET, SO_DOMAIN) if socket.is_v6 => AF_INET6,
        (SOL_SOCKET, SO_DOMAIN) => AF_INET,
        (SOL_SOCKET, SO_PROTOCOL) if socket.is_stream => SOL_TCP,
        (SOL_SOCKET, SO_PROTOCOL) => SOL_UDP,
        (SOL_SOCKET, SO_ACCEPTCONN) => socket.is_listening().into(),
        (SOL_SOCKET, SO_REUSEADDR) => options.shares[0].into(),
        (SOL_SOCKET, SO_REUSEPORT) => options.shares[1].into(),
        (SOL_SOCKET, SO_KEEPALIVE) => options.keep_alive.into(),
        (SOL_SOCKET, SO_RCVBUF) => options.buffers[0].unwrap_or(receive as u32),
        (SOL_SOCKET, SO_SNDBUF) => options.buffers[1].unwrap_or(send as u32),
        (SOL_SOCKET, SO_RCVLOWAT | SO_SNDLOWAT) => 1,
        (SOL_SOCKET, SO_BROADCAST | SO_DONTROUTE | SO_OOBINLINE | SO_PRIORITY | SO_NO_CHECK | SO_MARK) => 0,
        (SOL_TCP, TCP_NODELAY) if socket.is_stream => options.no_delay.into(),
        (SOL_TCP, TCP_KEEPIDLE) if socket.is_stream => options.keep_idle,
        (SOL_TCP, TCP_MAXSEG) if socket.is_stream => 1460,
        (SOL_TCP, TCP_CORK | TCP_QUICKACK | TCP_USER_TIMEOUT) if socket.is_stream => 0,
        (SOL_TCP, TCP_CONGESTION) if socket.is_stream => {
            let mut name = Vec::from(*b"none");
            name.resize(16, 0);
            return Ok(name);
        }
        (SOL_TCP, TCP_INFO) if socket.is_stream => {
            // TCP_ESTABLISHED; the rest isn't counted.
            let mut info = alloc::vec![0; TCP_INFO_LEN];
            if let Some(state) = info.first_mut() {
                *state = 1;
            }
            return Ok(info);
        }
        (SOL_IP, IP_TTL) => 64,
        (SOL_IP, IP_TOS | IP_MTU_DISCOVER | IP_RECVERR) => 0,
        (SOL_IPV6, IPV6_V6ONLY) if socket.is_v6 => options.is_v6_only.into(),
        (SOL_IPV6, IPV6_UNICAST_HOPS) if socket.is_v6 => 64,
        _ => return Err(Errno::ENOPROTOOPT),
    };
    Ok(Vec::from(number.to_le_bytes()))
}
