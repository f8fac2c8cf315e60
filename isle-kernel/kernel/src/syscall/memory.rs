// SPDX-License-Identifier: MIT OR Apache-2.0

//! mmap(2) and its relatives.

use crate::app::App;
use crate::offload;
use crate::space::{Result, PAGE};
use hermit_plat::paging::Access;
use linux_raw_sys::errno::{EBADF, EEXIST, EINVAL, ENODEV, ENOMEM};
use linux_raw_sys::general as c;

fn access(protection: u64) -> Access {
    let has = |flag: u32| protection & u64::from(flag) != 0;
    let (write, execute) = (has(c::PROT_WRITE), has(c::PROT_EXEC));
    // On x86 whatever may be written or executed may be read.
    Access { read: has(c::PROT_READ) || write || execute, write, execute }
}

pub fn mmap(app: &mut App, [address, len, protection, flags, fd, offset]: [u64; 6]) -> Result<u64> {
    let has = |flag: u32| flags & u64::from(flag) != 0;
    if len == 0 || !offset.is_multiple_of(PAGE) {
        return Err(EINVAL);
    }
    let anonymous = has(c::MAP_ANONYMOUS);
    let kind = flags & u64::from(c::MAP_TYPE);
    let shared = kind == u64::from(c::MAP_SHARED) || kind == u64::from(c::MAP_SHARED_VALIDATE);
    if !shared && kind != u64::from(c::MAP_PRIVATE) {
        return Err(EINVAL);
    }
    if !anonymous && !app.files.contains(fd as i32) {
        return Err(EBADF);
    }
    if shared && !anonymous && protection & u64::from(c::PROT_WRITE) != 0 {
        // Nothing would be written back yet.
        return Err(ENODEV);
    }
    let access = access(protection);
    let start = if has(c::MAP_FIXED) || has(c::MAP_FIXED_NOREPLACE) {
        if has(c::MAP_FIXED_NOREPLACE) && !app.space.is_free(address, len) {
            return Err(EEXIST);
        }
        app.space.map_at(address, len, access, false)?;
        address
    } else {
        let hint = address & !(PAGE - 1);
        if hint >= crate::space::MIN_ADDRESS && app.space.is_free(hint, len) {
            app.space.map_at(hint, len, access, false)?;
            hint
        } else {
            app.space.map_anywhere(len, access)?
        }
    };
    if !anonymous {
        if let Err(e) = read_in(app, start, len, access, fd as i32, offset) {
            app.space.unmap(start, len)?;
            return Err(e);
        }
    }
    Ok(start)
}

/// Fills a mapping with a file's contents; what is behind its end stays zero.
fn read_in(app: &mut App, start: u64, len: u64, access: Access, fd: i32, offset: u64) -> Result {
    app.space.protect(start, len, Access::READ_WRITE)?;
    let mut done = 0;
    while done < len {
        let n = offload::transfer(app, false, fd, &[(start + done, len - done)], Some(offset + done))?;
        if n == 0 {
            break;
        }
        done += n;
    }
    app.space.protect(start, len, access)
}

pub fn mprotect(app: &mut App, address: u64, len: u64, protection: u64) -> Result<u64> {
    if len == 0 {
        return if address.is_multiple_of(PAGE) { Ok(0) } else { Err(EINVAL) };
    }
    app.space.protect(address, len, access(protection))?;
    Ok(0)
}

pub fn mremap(app: &mut App, [old, old_len, new_len, flags, _, _]: [u64; 6]) -> Result<u64> {
    let known = u64::from(c::MREMAP_MAYMOVE);
    if flags & !known != 0 || new_len == 0 || old_len == 0 {
        return Err(EINVAL);
    }
    app.space.remap(old, old_len, new_len, flags & known != 0)
}

pub fn madvise(app: &mut App, address: u64, len: u64, advice: u64) -> Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    match advice as u32 {
        c::MADV_DONTNEED | c::MADV_FREE => app.space.discard(address, len).map(|()| 0),
        c::MADV_NORMAL
        | c::MADV_RANDOM
        | c::MADV_SEQUENTIAL
        | c::MADV_WILLNEED
        | c::MADV_HUGEPAGE
        | c::MADV_NOHUGEPAGE
        | c::MADV_DONTDUMP
        | c::MADV_DODUMP => {
            if app.space.is_free(address, len) {
                Err(ENOMEM)
            } else {
                Ok(0)
            }
        }
        _ => Err(EINVAL),
    }
}
