// SPDX-License-Identifier: MIT OR Apache-2.0

//! What network a virtual machine is on.

use crate::failure::Failure;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

/// How frames get out of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// By QEMU itself, as connections of ours: no root needed. What arrives at these ports is for the application.
    User(Vec<Forward>),
    /// By a tap device that is there already.
    Tap(String),
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of this computer, on all its addresses, and the one of the application's that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    protocol: Protocol,
    outside: u16,
    inside: u16,
}

/// Longest name of a network device (linux/if.h), without the end.
const NAME_MAX: usize = 15;

impl Network {
    /// Reads `HERMIT_NET` and `HERMIT_APP_PORT`.
    pub fn parse(kind: &str, ports: &str) -> Result<Self, Failure> {
        let wrong = || {
            Failure::new(format!(
                "HERMIT_APP_PORT={ports}: write ports such as 8080 or 8080:80,5353/udp (outside:inside)"
            ))
        };
        let is_name = |name: &str| {
            let may_be = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(may_be)
        };
        let forwards = ports.split(',').map(str::trim).filter(|port| !port.is_empty());
        let forwards = forwards.map(Forward::parse).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        let network = match kind.split_once(':') {
            None if kind == "user" => return Ok(Self::User(forwards)),
            None if kind == "none" => Self::None,
            Some(("tap", name)) if is_name(name) => Self::Tap(name.to_owned()),
            _ => return Err(Failure::new(format!("HERMIT_NET={kind}: write user, tap:DEVICE or none"))),
        };
        if !forwards.is_empty() {
            return Err(Failure::new(format!(
                "HERMIT_APP_PORT={ports}: ports are only forwarded with HERMIT_NET=user"
            )));
        }
        Ok(network)
    }

    /// Looks whether ports are free, and the device is there: QEMU would say it in its own words, or make one.
    pub fn check(&self) -> Result<(), Failure> {
        let forwards = match self {
            Self::User(forwards) => forwards,
            Self::Tap(name) if !Path::new("/sys/class/net").join(name).exists() => {
                return Err(Failure::new(format!(
                    "there is no network device {name}: make it (ip tuntap add {name} mode tap user NAME), or set HERMIT_NET to another one"
                )));
            }
            Self::Tap(_) | Self::None => return Ok(()),
        };
        for Forward { protocol, outside, .. } in forwards {
            let at = (Ipv4Addr::UNSPECIFIED, *outside);
            let result = match protocol {
                Protocol::Tcp => TcpListener::bind(at).map(drop),
                Protocol::Udp => UdpSocket::bind(at).map(drop),
            };
            result.map_err(|e| {
                Failure::new(format!(
                    "port {outside}, for the application, can't be had: {e}; set HERMIT_APP_PORT to another one"
                ))
            })?;
        }
        Ok(())
    }

    /// QEMU's `-netdev`.
    pub fn backend(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Tap(name) => Some(format!("tap,id=net,ifname={name},script=no,downscript=no")),
            Self::User(forwards) => {
                let rules = forwards.iter().map(|Forward { protocol, outside, inside }| {
                    let protocol = if *protocol == Protocol::Tcp { "tcp" } else { "udp" };
                    format!(",hostfwd={protocol}::{outside}-:{inside}")
                });
                Some(format!("user,id=net{}", rules.collect::<String>()))
            }
        }
    }
}

impl Forward {
    /// `OUTSIDE[:INSIDE][/udp|/tcp]`
    fn parse(text: &str) -> Option<Self> {
        let (ports, protocol) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.split('/').next()?, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some(_) => return None,
        };
        let (outside, inside) = ports.split_once(':').unwrap_or((ports, ports));
        let port = |text: &str| text.parse().ok().filter(|port| *port != 0);
        Some(Self { protocol, outside: port(outside)?, inside: port(inside)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_ports() {
        let backend = |kind, ports| Network::parse(kind, ports).map(|n| n.backend());
        assert_eq!(backend("none", ""), Ok(None));
        assert_eq!(backend("user", ""), Ok(Some("user,id=net".to_owned())));
        let rules = "user,id=net,hostfwd=tcp::80-:80,hostfwd=tcp::8080-:80,hostfwd=udp::53-:5353";
        assert_eq!(backend("user", "80, 8080:80/tcp,53:5353/udp"), Ok(Some(rules.to_owned())));
        let tap = "tap,id=net,ifname=tap0,script=no,downscript=no";
        assert_eq!(backend("tap:tap0", ""), Ok(Some(tap.to_owned())));
        for kind in ["", "tap", "tap:", "tap:a,b", "tap:0123456789abcdef", "bridge"] {
            let failure = Network::parse(kind, "").unwrap_err();
            assert!(failure.sentence.starts_with(&format!("HERMIT_NET={kind}: ")), "{failure:?}");
        }
        for (kind, ports) in [
            ("user", "0"),
            ("user", "x"),
            ("user", "80:"),
            ("user", "80/sctp"),
            ("user", "70000"),
            ("user", "-1"),
            ("tap:a", "80"),
            ("none", "80"),
        ] {
            let failure = Network::parse(kind, ports).unwrap_err();
            assert!(failure.sentence.starts_with(&format!("HERMIT_APP_PORT={ports}: ")), "{failure:?}");
        }
    }
}
