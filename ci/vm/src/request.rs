// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest is asked to do; it finds this in its initramfs under /request.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::control::request as names;
use crate::cpio::Archive;
use crate::image::{self, Places};
use crate::root::{self, Root};

#[derive(Debug, Default)]
pub struct Request {
    pub argv: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// Executables to put into the guest: where, and what.
    pub programs: Vec<(String, PathBuf)>,
    /// A folder of the host that the guest mounts at /host.
    pub share: Option<PathBuf>,
    /// The guest's root file system, if not the initramfs.
    pub root: Option<Root>,
    /// Power the guest off in an orderly way afterwards, instead of just ending it.
    pub power_off: bool,
    /// If the program takes too long, have the guest's Linux log where everything waits.
    pub explain: bool,
    /// A shell on the console instead of `argv`.
    pub shell: bool,
}

impl Request {
    pub fn write_initrd(&self, to: &Path, list: &Path, places: &Places<'_>) -> Result<()> {
        let file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
        let mut archive = Archive::new(BufWriter::new(file));
        image::write(&mut archive, list, places)?;
        archive.dir("/request", 0o755)?;
        archive.file(names::ARGV, 0o644, &zero_ended(self.argv.iter().cloned()))?;
        let lines = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        archive.file(names::ENVIRONMENT, 0o644, &zero_ended(lines))?;
        if self.power_off {
            archive.file(names::POWER_OFF, 0o644, b"")?;
        }
        if self.shell {
            archive.file(names::SHELL, 0o644, b"")?;
        }
        if let Some(root) = &self.root {
            archive.file(names::MASKS, 0o644, &root::zero_ended(&root.masks))?;
        }
        for (name, source) in &self.programs {
            let data = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
            archive.file(name, 0o755, &data)?;
        }
        archive.finish()?;
        Ok(())
    }
}

fn zero_ended(words: impl Iterator<Item = String>) -> Vec<u8> {
    words.flat_map(|word| word.into_bytes().into_iter().chain([0])).collect()
}

#[cfg(test)]
mod tests {
    use super::zero_ended;

    #[test]
    fn words_keep_newlines_and_blanks() {
        let words = ["a b", "", "c\n"].map(String::from);
        assert_eq!(zero_ended(words.into_iter()), b"a b\0\0c\n\0");
    }
}
