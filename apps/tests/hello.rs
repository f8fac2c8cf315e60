// SPDX-License-Identifier: MIT OR Apache-2.0

//! As hello.c, in Rust.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::{env, fs};

fn file_test() -> io::Result<bool> {
    let name = env::temp_dir().join(format!("hello-rust.{}", std::process::id()));
    let text: String = (0..100).map(|i| format!("line {i} of a file\n")).collect();
    fs::write(&name, &text)?;
    let back = fs::read_to_string(&name)?;
    fs::remove_file(&name)?;
    Ok(back == text && !name.exists())
}

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().collect();
    args[0] = args[0].rsplit('/').next().unwrap_or_default().to_owned();
    println!("hello from Rust");
    for (i, arg) in args.iter().enumerate() {
        println!("argv[{i}] = {arg}");
    }
    println!("HELLO_ENV = {}", env::var("HELLO_ENV").as_deref().unwrap_or("(not set)"));
    if args.iter().any(|arg| arg == "-") {
        for line in io::stdin().lock().lines() {
            println!("stdin: {}", line.expect("stdin"));
        }
    }
    // A hash map takes its keys from getrandom(2).
    let lengths: HashMap<_, _> = ["isle", "proxy", "doorbell"].map(|word| (word, word.len())).into();
    println!("doorbell {}", lengths["doorbell"]);
    let good = match file_test() {
        Ok(good) => good,
        Err(e) => {
            eprintln!("{e}");
            false
        }
    };
    println!("file: {}", if good { "ok" } else { "FAILED" });
    io::stdout().flush().expect("stdout");
    let status = args.iter().position(|arg| arg == "--exit").and_then(|i| args.get(i + 1)?.parse().ok());
    ExitCode::from(if good { status.unwrap_or(0) } else { 1 })
}
