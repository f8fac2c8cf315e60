// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes initramfs archives: cpio in the "newc" format.
//!
//! Format: Linux's Documentation/driver-api/early-userspace/buffer-format.rst. Device nodes are
//! mere entries in it, so no root is needed.

use std::io::{self, Write};

const S_IFREG: u32 = 0o100000;
const S_IFDIR: u32 = 0o040000;
const S_IFLNK: u32 = 0o120000;
const S_IFCHR: u32 = 0o020000;

/// An archive being written; `finish` must be called, else the kernel reports a truncated image.
pub struct Archive<W: Write> {
    out: W,
    written: u64,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Archive { out, written: 0, inode: 0 }
    }

    pub fn dir(&mut self, name: &str, mode: u32) -> io::Result<()> {
        self.entry(name, S_IFDIR | mode, (0, 0), &[])
    }

    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.entry(name, S_IFREG | mode, (0, 0), data)
    }

    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(name, S_IFLNK | 0o777, (0, 0), target.as_bytes())
    }

    pub fn char_device(&mut self, name: &str, mode: u32, major: u32, minor: u32) -> io::Result<()> {
        self.entry(name, S_IFCHR | mode, (major, minor), &[])
    }

    /// Writes the trailer and pads to a multiple of 512 bytes.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.pad(512)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, rdev: (u32, u32), data: &[u8]) -> io::Result<()> {
        let name = name.trim_start_matches('/');
        let size = u32::try_from(data.len()).map_err(|_| io::Error::other(format!("{name} is larger than 4 GiB")))?;
        self.inode += 1;
        let header = [
            self.inode,
            mode,
            0, // uid
            0, // gid
            1, // links
            0, // mtime
            size,
            0, // device
            0,
            rdev.0,
            rdev.1,
            name.len() as u32 + 1,
            0, // checksum, unused in newc
        ];
        self.raw(b"070701")?;
        for field in header {
            self.raw(format!("{field:08x}").as_bytes())?;
        }
        self.raw(name.as_bytes())?;
        self.raw(&[0])?;
        self.pad(4)?;
        self.raw(data)?;
        self.pad(4)
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self, to: u64) -> io::Result<()> {
        let missing = self.written.next_multiple_of(to) - self.written;
        self.raw(&vec![0; missing as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_named_without_slash() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/bc", 0o755, b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.starts_with("070701"));
        // 110 bytes of header and 5 of name: data starts at the next multiple of four, 116.
        assert_eq!(&bytes[110..121], b"a/bc\0\0hello");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(text.contains("TRAILER!!!"));
    }

    #[test]
    fn header_fields_are_where_the_kernel_looks() {
        let mut archive = Archive::new(Vec::new());
        archive.char_device("dev/console", 0o600, 5, 1).unwrap();
        let bytes = archive.finish().unwrap();
        let field = |n: usize| std::str::from_utf8(&bytes[6 + 8 * n..14 + 8 * n]).unwrap();
        assert_eq!(field(1), format!("{:08x}", 0o020600));
        assert_eq!((field(9), field(10)), ("00000005", "00000001"));
        assert_eq!(field(11), format!("{:08x}", "dev/console".len() + 1));
    }
}
