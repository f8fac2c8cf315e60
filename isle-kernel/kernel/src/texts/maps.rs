// SPDX-License-Identifier: MIT OR Apache-2.0

//! `/proc/self/maps`: proc_pid_maps(5).

use crate::errno::Errno;
use crate::mem::areas::Kind as AreaKind;
use crate::mem::buffer;
use crate::mem::space::Space;
use crate::thread::Thread;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.saturating_add(text.len());
        Ok(())
    }
}

/// Fills a buffer that is large enough.
struct Fill(Vec<u8>);

impl Write for Fill {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.capacity() - self.0.len() < text.len() {
            return Err(fmt::Error);
        }
        self.0.extend(text.bytes());
        Ok(())
    }
}

/// proc_pid_maps(5). The text may be long: it is measured before memory is taken for it.
pub fn maps(t: &Thread) -> Result<Vec<u8>, Errno> {
    let program = t.process.program();
    let path = String::from_utf8_lossy(&program.path);
    let space = t.space();
    let mut length = Length(0);
    write_maps(&space, &path, &mut length).map_err(|_| Errno::EIO)?;
    let mut text = Fill(buffer(length.0)?);
    write_maps(&space, &path, &mut text).map_err(|_| Errno::EIO)?;
    Ok(text.0)
}

fn write_maps(space: &Space, path: &str, to: &mut impl Write) -> fmt::Result {
    for area in space.areas.iter() {
        let flag = |on: bool, c: char| if on { c } else { '-' };
        let name = match area.kind {
            AreaKind::Program => path,
            AreaKind::Heap => "[heap]",
            AreaKind::Stack => "[stack]",
            AreaKind::ThreadStack | AreaKind::Mapping | AreaKind::File => "",
            AreaKind::Clock => "[vvar]",
            AreaKind::Vdso => "[vdso]",
        };
        let (r, w, x) = (flag(area.prot.read, 'r'), flag(area.prot.write, 'w'), flag(area.prot.exec, 'x'));
        writeln!(to, "{:08x}-{:08x} {r}{w}{x}p 00000000 00:00 0 {name}", area.start, area.end)?;
    }
    Ok(())
}
