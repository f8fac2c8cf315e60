// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the benchmarks left: a folder of files whose names tell method, system and run.
//!
//! ```text
//! METHOD.SYSTEM.RUN.txt          lines "name value unit", as the programs print them with -m
//! METHOD.SYSTEM.PROGRAM.samples  lines "when length", both in ns
//! ```

use std::fs;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use indexmap::IndexMap;
use serde::Serialize;

/// How time was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Icount,
    Mttcg,
}

impl Method {
    pub const ALL: [Method; 2] = [Method::Icount, Method::Mttcg];

    pub fn name(self) -> &'static str {
        match self {
            Method::Icount => "icount",
            Method::Mttcg => "mttcg",
        }
    }

    fn named(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// What the benchmark ran on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum System {
    Linux,
    LinuxIsolated,
    Isle,
}

impl System {
    pub const ALL: [System; 3] = [System::Linux, System::LinuxIsolated, System::Isle];

    pub fn name(self) -> &'static str {
        match self {
            System::Linux => "linux",
            System::LinuxIsolated => "linux_isolated",
            System::Isle => "isle",
        }
    }

    fn named(name: &str) -> Option<System> {
        System::ALL.into_iter().find(|system| system.name() == name)
    }
}

/// Values of one name by one method, of all runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    pub unit: String,
    values: [Vec<f64>; 3],
}

impl Measured {
    pub fn values(&self, system: System) -> &[f64] {
        &self.values[system as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub at_ns: f64,
    pub length_ns: f64,
}

/// Everything, in the order in which the programs told it.
#[derive(Debug, Default)]
pub struct Results {
    pub measured: IndexMap<(Method, String), Measured>,
    pub samples: IndexMap<(Method, System, String), Vec<Sample>>,
    /// What could not be understood; a program that died may leave half a line.
    pub problems: Vec<String>,
}

impl Results {
    /// Reads all files of the folder; what isn't there or makes no sense is left out.
    pub fn read(folder: &Path) -> Result<Results> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let parts: Vec<&str> = name.split('.').collect();
            let [method, system, run, kind @ ("txt" | "samples")] = parts[..] else { continue };
            let (Some(method), Some(system)) = (Method::named(method), System::named(system)) else { continue };
            files.push((method, run.to_string(), system, kind == "samples", path));
        }
        // Linux has all names, and its first run has them in their order.
        files.sort();
        let mut results = Results::default();
        for (method, run, system, are_samples, path) in files {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if are_samples {
                let samples = text.lines().filter_map(sample).collect();
                results.samples.insert((method, system, run), samples);
            } else {
                results.add(method, system, &text);
            }
        }
        Ok(results)
    }

    pub fn add(&mut self, method: Method, system: System, text: &str) {
        for line in text.lines() {
            if let Err(problem) = self.add_line(method, system, line) {
                self.problems.push(format!("{} by {}: {problem:#}", system.name(), method.name()));
            }
        }
    }

    fn add_line(&mut self, method: Method, system: System, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let &[name, value, unit] = &words[..] else { bail!("not \"name value unit\": {line}") };
        let value: f64 = value.parse().with_context(|| format!("not a value: {line}"))?;
        ensure!(value.is_finite(), "not a value: {line}");
        let measured = self.measured.entry((method, name.into())).or_default();
        if measured.unit.is_empty() {
            measured.unit = unit.into();
        }
        ensure!(measured.unit == unit, "{name} is in {unit} here and in {} elsewhere", measured.unit);
        measured.values[system as usize].push(value);
        Ok(())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (at, length) = line.split_once(' ')?;
    Some(Sample { at_ns: at.parse().ok()?, length_ns: length.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_runs_are_kept_in_order() {
        let mut results = Results::default();
        results.add(Method::Icount, System::Linux, "getpid 227 ns\nstream_copy_t1 9.5e3 MB/s\n");
        results.add(Method::Icount, System::Linux, "getpid 228 ns\n");
        results.add(Method::Mttcg, System::Isle, "getpid 25 ns\n");
        let getpid = &results.measured[&(Method::Icount, "getpid".into())];
        assert_eq!(getpid.values(System::Linux), [227.0, 228.0]);
        assert!(getpid.values(System::Isle).is_empty());
        assert_eq!(results.measured.len(), 3);
    }

    #[test]
    fn nonsense_is_left_out_and_told() {
        let mut results = Results::default();
        let text = "getpid 227\ngetpid x ns\ngetpid nan ns\ngetpid 1 ns more\na 1 ns\na 1 us\nmalloc_1";
        results.add(Method::Icount, System::Isle, text);
        assert_eq!(results.problems.len(), 6, "{:?}", results.problems);
        assert!(results.problems[4].contains("a is in us here and in ns elsewhere"));
        assert_eq!(results.measured.len(), 1);
        assert_eq!(
            (sample("1 2"), sample("3"), sample("4 x")),
            (Some(Sample { at_ns: 1.0, length_ns: 2.0 }), None, None)
        );
    }

    #[test]
    fn a_folder_is_read_by_the_names_of_its_files() {
        let folder = std::env::temp_dir().join(format!("hermit-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in [
            ("mttcg.linux.1.txt", "getpid 200 ns\n"),
            ("mttcg.linux_isolated.1.txt", "getpid 300 ns\n"),
            ("mttcg.isle.1.txt", ""),
            ("mttcg.isle.noise.txt", "noise_switches_t1 0 count/60s\n"),
            ("mttcg.isle.hg.samples", "100 5\n"),
            ("errors.log", "whatever"),
            ("kvm.linux.1.txt", "getpid 1 ns\n"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let results = Results::read(&folder);
        fs::remove_dir_all(&folder).unwrap();
        let results = results.unwrap();
        assert_eq!(results.measured.len(), 2);
        assert_eq!(results.measured[0].values(System::LinuxIsolated), [300.0]);
        let samples = &results.samples[&(Method::Mttcg, System::Isle, "hg".into())];
        assert_eq!(samples[..], [Sample { at_ns: 100.0, length_ns: 5.0 }]);
    }
}
