// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hermit-bench FOLDER`: reads what the benchmarks left in FOLDER/results, writes report.json and report.html
//! into FOLDER, and prints the comparison.

use std::process::ExitCode;
use std::{env, fs, path::Path};

use anyhow::{bail, Context, Result};
use hermit_bench::{figures, page, results::Results};

fn main() -> ExitCode {
    match report() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hermit-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn report() -> Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(folder), None) = (arguments.next(), arguments.next()) else { bail!("usage: hermit-bench FOLDER") };
    let folder = Path::new(&folder);
    let results = Results::read(&folder.join("results"))?;
    // Without these the report just says less.
    let [about, errors] =
        ["about.txt", "errors.txt"].map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    let figures = figures::compare(&results);
    write(&folder.join("report.json"), &format!("{}\n", serde_json::to_string_pretty(&figures)?))?;
    write(&folder.join("report.html"), &page::render(&figures, &results, &about, &errors)?)?;
    print!("{}", figures::table(&figures));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
