// SPDX-License-Identifier: MIT OR Apache-2.0

//! The command line.

use crate::failure::Failure;
use std::ffi::OsString;
use std::path::PathBuf;

pub const HELP: &str = "\
Runs a Linux program on an isle of HermitCore.

Usage: proxy [--] PROGRAM [ARGUMENT...]
       proxy --brand FILE...

PROGRAM is an x86-64 Linux program, linked statically or dynamically. Its files, working directory,
environment and standard input and output are the proxy's; so is its exit status.

  --brand FILE...  mark programs, so that binfmt_misc runs them through the proxy
  -h, --help       print this
  -V, --version    print the version

Environment:
  HERMIT_ISLE      number of the isle (default 0), or qemu: a virtual machine of its own, for which
                   HERMIT_QEMU is the QEMU to run (default qemu-system-x86_64), HERMIT_CPUS how many
                   CPUs it has (default 1), HERMIT_MEM its memory, such as 512M or 6G (default 2G),
                   HERMIT_MACHINE q35 (default) or microvm,
                   HERMIT_PORT a port of the loopback (default 18766; the next one is QEMU's monitor),
                   HERMIT_KERNEL the isle kernel (default: isle-kernel beside the proxy)
  HERMIT_CPUS      CPUs to start the isle on if it doesn't run yet: 1, 2-3, 1,3 (default 1)
  HERMIT_VERBOSE   1: print the isle's log when the program ends
  HERMIT_SPIN      microseconds, up to 1000, that the proxy looks for the next call before it
                   sleeps (default 50), and the isle four times that; 0 saves CPU time

Exit status: the program's, or 125 if proxy, module or isle failed, 126 if PROGRAM can't be
run, 127 if it isn't there. If a signal ended the program, the same signal ends the proxy.
";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// The program's file and its arguments, `argv[0]` included.
    Run {
        program: PathBuf,
        argv: Vec<OsString>,
    },
    Brand(Vec<PathBuf>),
    Help,
    Version,
}

/// Reads the command line, without the proxy's own name. `keeps_argv0`: binfmt_misc's flag P is set, so
/// that the program's name is followed by its `argv[0]`.
pub fn parse(args: impl IntoIterator<Item = OsString>, keeps_argv0: bool) -> Result<Command, Failure> {
    use lexopt::Arg::{Long, Short, Value};
    let usage = |e: lexopt::Error| Failure::new(format!("{e}; see proxy --help"));
    let mut parser = lexopt::Parser::from_args(args);
    match parser.next().map_err(usage)? {
        None => Err(Failure::new("which program? See proxy --help")),
        Some(Short('h') | Long("help")) => Ok(Command::Help),
        Some(Short('V') | Long("version")) => Ok(Command::Version),
        Some(Long("brand")) => {
            let mut files = Vec::new();
            let mut add = |file: OsString| files.push(PathBuf::from(file));
            if let Some(file) = parser.optional_value() {
                add(file);
            }
            parser.raw_args().map_err(usage)?.skip_while(|arg| arg == "--").for_each(&mut add);
            if files.is_empty() {
                return Err(Failure::new("--brand: which file? See proxy --help"));
            }
            Ok(Command::Brand(files))
        }
        Some(Value(program)) => {
            let mut rest: Vec<_> = parser.raw_args().map_err(usage)?.collect();
            if !keeps_argv0 || rest.is_empty() {
                rest.insert(0, program.clone());
            }
            Ok(Command::Run { program: program.into(), argv: rest })
        }
        Some(other) => Err(usage(other.unexpected())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str], keeps_argv0: bool) -> Result<Command, Failure> {
        parse(args.iter().map(OsString::from), keeps_argv0)
    }

    fn run(program: &str, argv: &[&str]) -> Result<Command, Failure> {
        let argv = argv.iter().map(OsString::from).collect();
        Ok(Command::Run { program: program.into(), argv })
    }

    #[test]
    fn options_after_the_program_are_its_own() {
        assert_eq!(of(&["./a", "--help", "-V", "--"], false), run("./a", &["./a", "--help", "-V", "--"]));
        assert_eq!(of(&["--", "-a", "--", "b"], false), run("-a", &["-a", "--", "b"]));
        assert_eq!(of(&["a"], false), run("a", &["a"]));
    }

    #[test]
    fn binfmt_misc_with_and_without_argv0() {
        assert_eq!(of(&["/bin/a", "x"], false), run("/bin/a", &["/bin/a", "x"]));
        assert_eq!(of(&["/bin/a", "a", "x"], true), run("/bin/a", &["a", "x"]));
    }

    #[test]
    fn other_commands() {
        assert_eq!(of(&["--help"], false), Ok(Command::Help));
        assert_eq!(of(&["-V"], false), Ok(Command::Version));
        let brand = Ok(Command::Brand(vec!["a".into(), "b".into()]));
        assert_eq!(of(&["--brand", "a", "b"], false), brand);
        assert_eq!(of(&["--brand=a", "b"], false), brand);
        assert_eq!(of(&["--brand", "--", "a", "b"], false), brand);
    }

    #[test]
    fn misuse() {
        for args in [&[][..], &["--"], &["--brand"], &["--nonsense"], &["-x", "a"], &["--help=3"]] {
            assert!(matches!(of(args, false), Err(_) | Ok(Command::Help)), "{args:?}");
        }
        assert!(of(&[], false).is_err() && of(&["--brand"], false).is_err());
    }
}
