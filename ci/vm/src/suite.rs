// SPDX-License-Identifier: MIT OR Apache-2.0
//! Test suites: guest scripts in machines of their own, and crates' tests on the host. Counts it all.
//!
//! A script says in `# vm: NAME=value …` comments which machine it wants, ROOT and SHARE included, and in `# allow: TEXT` comments
//! which kernel messages it provokes, in `# expect: TEXT` comments which messages must be there. It prints `ok - NAME`, `not ok - NAME` and `ok - NAME # SKIP WHY`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};

use crate::explained;
use crate::logs::Logs;
use crate::request::Request;
use crate::session::{self, Outcome, Setup, Streams};
use crate::variables::Variables;
use crate::warnings;

/// Most lines that a failure is explained with once more at the end.
const EXPLAINED: usize = 20;
/// Seconds that a crate's tests may take, building included.
const CRATE_LIMIT: u32 = 1200;
/// What timeout(1) exits with when the time was up.
const TIME_UP: i32 = 124;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u32,
    failed: u32,
    skipped: u32,
    /// What failed, and why, to be said once more at the end.
    failures: Vec<String>,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    /// Prints one result of the suite's own.
    fn report(&mut self, name: &str, problem: Option<&str>) {
        match problem {
            None => {
                self.passed += 1;
                println!("ok - {name}");
            }
            Some(problem) => {
                self.failed += 1;
                println!("not ok - {name}");
                problem.lines().for_each(|line| println!("  # {line}"));
                let lines = problem.lines().take(EXPLAINED).map(|line| format!("\n  # {line}"));
                self.failures.push(std::iter::once(name.to_string()).chain(lines).collect());
            }
        }
    }
}

/// Runs crates' tests, then scripts, one after another; the last line is the count.
pub fn run(setup: &Setup, crates: &[PathBuf], scripts: &[OsString]) -> Result<u8> {
    let mut total = Count::default();
    for dir in crates {
        println!("# tests of {}", dir.display());
        total.add(crate_tests(setup, dir)?);
    }
    for script in scripts {
        let script = Path::new(script);
        println!("# {}", script.display());
        total.add(guest_script(setup, script)?);
    }
    for failure in &total.failures {
        println!("# failed: {failure}");
    }
    let skipped = if total.skipped > 0 { format!(", {} skipped", total.skipped) } else { String::new() };
    println!("{} passed, {} failed{skipped}", total.passed, total.failed);
    Ok(u8::from(total.failed > 0 || total.passed == 0))
}

fn crate_tests(setup: &Setup, dir: &Path) -> Result<Count> {
    fs::create_dir_all(&setup.logs)?;
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    // timeout(1) ends what cargo has started as well, and is ended with us by setpriv(1).
    let output = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "timeout", "--kill-after=10", &CRATE_LIMIT.to_string()])
        .arg(cargo)
        .args(["test", "--locked"])
        .current_dir(dir)
        .output()
        .with_context(|| format!("cannot run cargo test in {}", dir.display()))?;
    let name = dir.display().to_string().replace('/', "-");
    let log = setup.logs.join(format!("cargo-{}.log", name.trim_matches(['.', '-'])));
    fs::write(&log, [output.stdout.as_slice(), &output.stderr].concat())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut count = Count::default();
    for result in text.lines().filter_map(libtest_result) {
        count.add(result);
    }
    count.failures.extend(text.lines().filter_map(libtest_failure).map(|test| format!("{} {test}", dir.display())));
    println!("  # {} passed, {} failed, log in {}", count.passed, count.failed, log.display());
    if !output.status.success() && count.failed == 0 {
        let problem = match output.status.code() {
            Some(TIME_UP) => format!("no end after {CRATE_LIMIT} s{}", libtest_late(&text)),
            _ => "it does not build or it died".to_string(),
        };
        count.report(&format!("cargo test in {}", dir.display()), Some(&problem));
    }
    Ok(count)
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
fn libtest_result(line: &str) -> Option<Count> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |what: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse().ok()
    };
    let (passed, failed, skipped) = (number("passed")?, number("failed")?, number("ignored")?);
    Some(Count { passed, failed, skipped, failures: Vec::new() })
}

/// The test's name in `test NAME ... FAILED`.
fn libtest_failure(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// Tests that are said to run for long, and whose end isn't.
fn libtest_late(text: &str) -> String {
    let is_open = |test: &&str| !text.lines().any(|line| line.starts_with(&format!("test {test} ... ")));
    let late = text.lines().filter_map(|line| line.strip_prefix("test ")?.split_once(" has been running for over "));
    late.map(|(test, _)| test).filter(is_open).map(|test| format!("\n{test} has not ended")).collect()
}

fn guest_script(setup: &Setup, script: &Path) -> Result<Count> {
    let text = fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
    let words = header(&text, "# vm:").flat_map(str::split_whitespace).map(OsString::from).collect();
    let variables = Variables::parse(words, 300)?;
    let name = script.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let logs = Logs::open(&setup.logs, &name)?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inside = format!("/app/{name}.sh");
    let request = Request {
        argv: vec!["/bin/sh".into(), inside.clone()],
        programs: vec![(inside, script.to_path_buf())],
        environment: variables.environment_as_given(),
        share: variables.share()?,
        root: variables.root()?,
        power_off: true,
        explain: true,
        ..Request::default()
    };
    let run = || {
        let streams = Streams {
            stdin: Box::new(io::empty()),
            stdout: Box::new(Tee(Arc::clone(&seen))),
            stderr: Box::new(io::stderr()),
        };
        session::run(setup, &variables.shape, &request, &logs, streams, |_| Ok(()))
    };
    let printed = || seen.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut outcome = run();
    if outcome.is_err() && printed().is_empty() {
        if let Some(assertion) = logs.emulator_bug() {
            println!("# QEMU died of a bug of its own before the script began ({assertion}): another machine");
            outcome = run();
        }
    }
    let printed = printed();
    let mut count = results(&printed);
    let kernel = fs::read(&logs.kernel)?;
    let kernel = String::from_utf8_lossy(&kernel);
    let problem = match outcome {
        Ok(Outcome::Exited(0)) if count != Count::default() => None,
        Ok(Outcome::Exited(0)) => Some("it printed no result".to_string()),
        Ok(Outcome::Exited(status)) => Some(format!("exit status {status}")),
        Ok(other) => Some(format!("{other:?}\n{}{}", explained::summary(&kernel), logs.tail())),
        Err(error) => Some(format!("{error:#}")),
    };
    count.report(&format!("{name}: the script ran to its end"), problem.as_deref());

    // The last messages before the machine goes off get to the console alone.
    let console = fs::read(&logs.console)?;
    let console = String::from_utf8_lossy(&console);
    for text in header(&text, "# expect:").map(str::trim) {
        let there = kernel.contains(text) || console.contains(text);
        let problem = (!there).then(|| format!("logs: {} and {}", logs.kernel.display(), logs.console.display()));
        count.report(&format!("{name}: Linux's log has: {text}"), problem.as_deref());
    }
    let allowed: Vec<String> = header(&text, "# allow:").map(|text| text.trim().to_string()).collect();
    let found = warnings::find(explained::before(&kernel), &allowed);
    let problem = (!found.is_empty()).then(|| format!("{}\nlog: {}", found.join("\n"), logs.kernel.display()));
    count.report(&format!("{name}: nothing in Linux's log"), problem.as_deref());
    Ok(count)
}

fn header<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .take_while(|line| line.starts_with('#') || line.is_empty())
        .filter_map(move |line| line.strip_prefix(start))
}

fn results(printed: &str) -> Count {
    let mut count = Count::default();
    // How many lines of explanation the last result may still have.
    let mut explained = 0;
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix("not ok ") {
            count.failed += 1;
            count.failures.push(name.trim_start_matches("- ").to_string());
            explained = EXPLAINED;
            continue;
        }
        if line.starts_with("  # ") && explained > 0 {
            explained -= 1;
            if let Some(failure) = count.failures.last_mut() {
                failure.push('\n');
                failure.push_str(line);
            }
            continue;
        }
        explained = 0;
        if line.starts_with("ok ") && line.contains("# SKIP") {
            count.skipped += 1;
        } else if line.starts_with("ok ") {
            count.passed += 1;
        }
    }
    count
}

/// Shows what a script prints, and keeps it.
struct Tee(Arc<Mutex<Vec<u8>>>);

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Ok(mut seen) = self.0.lock() {
            seen.extend_from_slice(bytes);
        }
        io::stdout().write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted() {
        let printed = "ok - a\nnot ok - b\n  # why\nok - c # SKIP no such thing\n  # about c\nnoise ok - d\nokay\n";
        let failures = vec!["b\n  # why".to_string()];
        assert_eq!(results(printed), Count { passed: 1, failed: 1, skipped: 1, failures });
    }

    #[test]
    fn libtest_lines_are_understood() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out";
        let count = Count { passed: 12, failed: 3, skipped: 1, failures: Vec::new() };
        assert_eq!(libtest_result(line), Some(count));
        assert_eq!(libtest_result("test a::b ... ok"), None);
        assert_eq!(libtest_failure("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(libtest_failure("test a::b ... ok"), None);
    }

    #[test]
    fn late_tests_are_named() {
        let late = |test: &str| format!("test {test} has been running for over 60 seconds\n");
        let text = format!("test a ... ok\n{}{}test b ... ok\n", late("b"), late("m::c"));
        assert_eq!(libtest_late(&text), "\nm::c has not ended");
        assert_eq!(libtest_late("test a ... ok\n"), "");
    }

    #[test]
    fn headers_end_with_the_comments() {
        let text = "#!/bin/sh\n# vm: VCPUS=2\n# vm: MEM=1G\n\necho\n# vm: NODES=9\n";
        assert_eq!(header(text, "# vm:").collect::<Vec<_>>(), [" VCPUS=2", " MEM=1G"]);
    }
}
