// SPDX-License-Identifier: MIT OR Apache-2.0
//! The make variables of a request, given as `NAME=value` words.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};

use crate::root::Root;
use crate::shape::Shape;
use crate::words;

#[derive(Debug, Default)]
pub struct Variables {
    pub shape: Shape,
    pub app: Option<PathBuf>,
    pub script: Option<PathBuf>,
    args: String,
    isle: Option<String>,
    cpus: Option<String>,
    share: Option<PathBuf>,
    root: Option<PathBuf>,
}

impl Variables {
    /// An empty value is as good as none, so that a Makefile can name every variable.
    pub fn parse(operands: Vec<OsString>, timeout: u64) -> Result<Variables> {
        let mut variables = Variables::default();
        variables.shape.timeout = Duration::from_secs(timeout);
        for operand in operands {
            let Ok(operand) = operand.into_string() else {
                bail!("a variable is not valid UTF-8: rename the file or link to it")
            };
            let (name, value) = operand.split_once('=').with_context(|| format!("{operand}: write NAME=value"))?;
            if variables.shape.set(name, value)? {
                continue;
            }
            let given = (!value.is_empty()).then(|| value.to_string());
            match name {
                "APP" => variables.app = given.map(PathBuf::from),
                "SCRIPT" => variables.script = given.map(PathBuf::from),
                "SHARE" => variables.share = given.map(PathBuf::from),
                "ROOT" => variables.root = given.map(PathBuf::from),
                "ARGS" => variables.args = value.into(),
                "ISLE" => variables.isle = given,
                "CPUS" => variables.cpus = given,
                _ => bail!("{name} is not a variable of this command"),
            }
        }
        Ok(variables)
    }

    pub fn args(&self) -> Result<Vec<String>> {
        words::split(&self.args)
    }

    pub fn share(&self) -> Result<Option<PathBuf>> {
        let Some(share) = &self.share else { return Ok(None) };
        ensure!(share.is_dir(), "SHARE={}: there is no such folder", share.display());
        Ok(Some(share.canonicalize()?))
    }

    pub fn root(&self) -> Result<Option<Root>> {
        self.root.as_deref().map(Root::find).transpose()
    }

    /// For a program on an isle: where it runs, by default on the last CPUs' node.
    pub fn environment_of_run(&self) -> Vec<(String, String)> {
        let isle = if self.shape.nodes > 1 { "1" } else { "0" };
        let cpus = if self.shape.vcpus > 3 { "2-3" } else { "1" };
        let mut environment = vec![
            ("HERMIT_ISLE".into(), self.isle.clone().unwrap_or(isle.into())),
            ("HERMIT_CPUS".into(), self.cpus.clone().unwrap_or(cpus.into())),
        ];
        environment.extend(verbose());
        environment
    }

    /// For a script or a person: only what was said.
    pub fn environment_as_given(&self) -> Vec<(String, String)> {
        let isle = self.isle.clone().map(|isle| ("HERMIT_ISLE".into(), isle));
        let cpus = self.cpus.clone().map(|cpus| ("HERMIT_CPUS".into(), cpus));
        [isle, cpus, verbose()].into_iter().flatten().collect()
    }
}

fn verbose() -> Option<(String, String)> {
    let name = "HERMIT_VERBOSE";
    std::env::var(name).ok().map(|value| (name.into(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Variables> {
        Variables::parse(words.iter().map(OsString::from).collect(), 60)
    }

    #[test]
    fn values_may_hold_equals_signs_and_be_empty() {
        let variables = parse(&["ARGS=--x=1 'a b'", "APP=", "MEM=1G"]).unwrap();
        assert_eq!(variables.args().unwrap(), ["--x=1", "a b"]);
        assert!(variables.app.is_none());
        assert_eq!(variables.shape.mem_mib, 1024);
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(parse(&["VCPU=3"]).is_err());
        assert!(parse(&["hello"]).is_err());
    }

    #[test]
    fn a_root_is_looked_at_when_it_is_wanted() {
        assert_eq!(parse(&["ROOT="]).unwrap().root().unwrap(), None);
        assert!(parse(&["ROOT=/nonexistent"]).unwrap().root().is_err());
    }

    #[test]
    fn a_small_machine_gets_an_isle_that_it_has() {
        let small = parse(&["VCPUS=2", "NODES=1"]).unwrap().environment_of_run();
        assert!(small.contains(&("HERMIT_ISLE".into(), "0".into())));
        assert!(small.contains(&("HERMIT_CPUS".into(), "1".into())));
        let usual = parse(&[]).unwrap().environment_of_run();
        assert!(usual.contains(&("HERMIT_CPUS".into(), "2-3".into())));
    }
}
