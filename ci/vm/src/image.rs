// SPDX-License-Identifier: MIT OR Apache-2.0
//! The guest's initramfs, written anew for each machine from a list of what belongs in it.
//!
//! The list (`ci/guest/image.list`) has the format of Linux's usr/gen_init_cpio.c, without owners:
//!
//! ```text
//! dir NAME MODE
//! file NAME SOURCE MODE
//! file? NAME SOURCE MODE      left out where there is no SOURCE
//! tree NAME SOURCE MODE       every file of the directory SOURCE, below NAME
//! slink NAME TARGET
//! nod NAME MODE c MAJOR MINOR
//! ```
//!
//! `{word}` in it stands for a folder that the launcher knows.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{bail, Context, Result};

use crate::cpio::Archive;

/// Names that may be written as `{name}` in the list, and what they stand for.
pub type Places<'a> = [(&'a str, &'a Path)];

pub fn write<W: Write>(archive: &mut Archive<W>, list: &Path, places: &Places<'_>) -> Result<()> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    for (number, line) in text.lines().enumerate() {
        let words: Vec<String> = line.split_whitespace().map(|word| expand(word, places)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        entry(archive, &words).with_context(|| format!("{}:{}", list.display(), number + 1))?;
    }
    Ok(())
}

fn entry<W: Write>(archive: &mut Archive<W>, words: &[&str]) -> Result<()> {
    match *words {
        [] => {}
        [comment, ..] if comment.starts_with('#') => {}
        ["dir", name, mode] => archive.dir(name, octal(mode)?)?,
        ["file?" | "tree?", _, source, _] if !Path::new(source).exists() => {}
        ["file" | "file?", name, source, mode] => file(archive, name, Path::new(source), octal(mode)?)?,
        ["tree" | "tree?", name, source, mode] => tree(archive, name, Path::new(source), octal(mode)?)?,
        ["slink", name, target] => archive.symlink(name, target)?,
        ["nod", name, mode, "c", major, minor] => {
            archive.char_device(name, octal(mode)?, major.parse()?, minor.parse()?)?
        }
        _ => bail!("not an entry of an image list: {}", words.join(" ")),
    }
    Ok(())
}

fn file<W: Write>(archive: &mut Archive<W>, name: &str, source: &Path, mode: u32) -> Result<()> {
    let data = fs::read(source).with_context(|| format!("{name} needs {}: build it first", source.display()))?;
    Ok(archive.file(name, mode, &data)?)
}

fn tree<W: Write>(archive: &mut Archive<W>, name: &str, source: &Path, mode: u32) -> Result<()> {
    let entries = fs::read_dir(source).with_context(|| format!("{name} needs the folder {}", source.display()))?;
    let mut files: Vec<_> = entries.collect::<Result<_, _>>()?;
    files.sort_by_key(|entry| entry.file_name());
    for entry in files {
        if entry.file_type()?.is_file() {
            let below = format!("{name}/{}", entry.file_name().to_string_lossy());
            file(archive, &below, &entry.path(), mode)?;
        }
    }
    Ok(())
}

fn octal(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).with_context(|| format!("{text} is not an octal mode"))
}

fn expand(word: &str, places: &Places<'_>) -> String {
    places
        .iter()
        .fold(word.to_string(), |word, (name, path)| word.replace(&format!("{{{name}}}"), &path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_expanded() {
        let places: &Places<'_> = &[("build", Path::new("/b"))];
        assert_eq!(expand("{build}/proxy", places), "/b/proxy");
        assert_eq!(expand("{other}", places), "{other}");
    }

    #[test]
    fn wrong_lines_and_missing_files_are_errors() {
        let mut archive = Archive::new(Vec::new());
        assert!(entry(&mut archive, &["dir", "/x"]).is_err());
        assert!(entry(&mut archive, &["dir", "/x", "0999"]).is_err());
        assert!(entry(&mut archive, &["file", "/x", "/nonexistent/x", "0644"]).is_err());
        assert!(entry(&mut archive, &["#", "comment"]).is_ok());
    }
}
