// SPDX-License-Identifier: MIT OR Apache-2.0

//! The environment variables that HermitCore's users know.

use crate::failure::Failure;
use crate::machine::MachineSettings;
use crate::spin::Spin;
use hermit_abi::door::CPULIST_LEN;
use std::ffi::OsString;
use std::time::Duration;

/// What the environment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `HERMIT_ISLE`
    pub isle: u32,
    /// `HERMIT_CPUS`
    pub cpus: String,
    /// `HERMIT_ISLE=qemu`: a virtual machine, and no isle.
    pub machine: Option<MachineSettings>,
    /// `HERMIT_VERBOSE`
    pub verbose: bool,
    /// `HERMIT_SPIN`: how long the proxy looks for the next call before it sleeps.
    pub spin: Duration,
}

/// In microseconds: about what it costs to sleep and be woken on either side.
const SPIN: &str = "50";

impl Settings {
    pub fn from_env() -> Result<Self, Failure> {
        Self::parse(|name| std::env::var_os(name))
    }

    /// Reads the variables through `get`.
    pub fn parse(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let text = |name: &str, default: &str| match get(name) {
            None => Ok(default.to_owned()),
            Some(value) => value
                .into_string()
                .map(|s| if s.trim().is_empty() { default.to_owned() } else { s.trim().to_owned() })
                .map_err(|_| Failure::new(format!("{name} is not text; unset it or set it again"))),
        };
        let isle = text("HERMIT_ISLE", "0")?;
        let machine = if isle == "qemu" { Some(MachineSettings::parse(text)?) } else { None };
        let number = if machine.is_some() { Ok(0) } else { isle.parse() };
        let isle = number.map_err(|_| {
            Failure::new(format!(
                "HERMIT_ISLE={isle}: neither the number of an isle nor \"qemu\"; see /sys/hermit for the isles there are"
            ))
        })?;
        let cpus = text("HERMIT_CPUS", "1")?;
        let is_list = cpus.bytes().all(|b| b.is_ascii_digit() || b == b',' || b == b'-');
        if machine.is_none() && !is_list || cpus.starts_with('-') || cpus.len() > CPULIST_LEN {
            return Err(Failure::new(format!(
                "HERMIT_CPUS={cpus}: not a list of CPUs such as 1 or 2-3 or 1,3"
            )));
        }
        let verbose = !matches!(text("HERMIT_VERBOSE", "0")?.as_str(), "0" | "no" | "off");
        let spin = text("HERMIT_SPIN", SPIN)?;
        let most = Spin::MAX.as_micros();
        let spin =
            spin.parse().map(Duration::from_micros).ok().filter(|spin| *spin <= Spin::MAX).ok_or_else(
                || Failure::new(format!("HERMIT_SPIN={spin}: not a time in microseconds, at most {most}")),
            )?;
        Ok(Self { isle, cpus, machine, verbose, spin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let vars: Vec<_> = vars.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Settings::parse(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn defaults() {
        let spin = Duration::from_micros(50);
        let expected = Settings { isle: 0, cpus: "1".into(), machine: None, verbose: false, spin };
        assert_eq!(parse(&[]), Ok(expected.clone()));
        assert_eq!(parse(&[("HERMIT_ISLE", ""), ("HERMIT_CPUS", " ")]), Ok(expected));
    }

    #[test]
    fn values() {
        let all =
            [("HERMIT_ISLE", "1"), ("HERMIT_CPUS", "2-3,5"), ("HERMIT_VERBOSE", "1"), ("HERMIT_SPIN", "0")];
        let expected =
            Settings { isle: 1, cpus: "2-3,5".into(), machine: None, verbose: true, spin: Duration::ZERO };
        assert_eq!(parse(&all), Ok(expected));
    }

    #[test]
    fn bad_values_are_named() {
        for (name, value) in [
            ("HERMIT_ISLE", "x"),
            ("HERMIT_ISLE", "-1"),
            ("HERMIT_CPUS", "two"),
            ("HERMIT_CPUS", "-1"),
            ("HERMIT_SPIN", "-1"),
            ("HERMIT_SPIN", "1001"),
            ("HERMIT_SPIN", "99999999999999999999"),
        ] {
            let failure = parse(&[(name, value)]).unwrap_err();
            assert!(failure.sentence.starts_with(&format!("{name}={value}: ")), "{failure:?}");
        }
        assert!(parse(&[("HERMIT_ISLE", "qemu"), ("HERMIT_CPUS", "2-3")]).is_err());
        assert_eq!(parse(&[("HERMIT_ISLE", "qemu"), ("HERMIT_CPUS", "4")]).unwrap().machine.unwrap().cpus, 4);
        let long = "1,".repeat(600);
        assert!(parse(&[("HERMIT_CPUS", &long)]).is_err());
    }

    proptest! {
        #[test]
        fn no_value_panics(isle in ".*", cpus in ".*", verbose in ".*", spin in ".*") {
            let all = [
                ("HERMIT_ISLE", isle.as_str()),
                ("HERMIT_CPUS", &cpus),
                ("HERMIT_VERBOSE", &verbose),
                ("HERMIT_SPIN", &spin),
            ];
            let _ = parse(&all);
            let _ = parse(&all[3..]);
        }
    }
}
