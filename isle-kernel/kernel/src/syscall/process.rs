// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls about the application itself and where it runs.

use crate::app::App;
use crate::space::Result;
use hermit_plat::{cpu, info};
use linux_raw_sys::errno::{EAGAIN, EINTR, EINVAL, ENOSYS, EPERM, ETIMEDOUT};
use linux_raw_sys::general as c;

const ARCH_SET_GS: u64 = 0x1001;
const ARCH_SET_FS: u64 = 0x1002;
const ARCH_GET_FS: u64 = 0x1003;
const ARCH_GET_GS: u64 = 0x1004;

pub fn arch_prctl(app: &mut App, code: u64, address: u64) -> Result<u64> {
    let (fs, gs) = cpu::user_bases();
    match code {
        ARCH_SET_FS => cpu::set_fs_base(address).ok_or(EPERM)?,
        ARCH_SET_GS => cpu::set_gs_base(address).ok_or(EPERM)?,
        ARCH_GET_FS => app.space.write(address, &fs.to_le_bytes())?,
        ARCH_GET_GS => app.space.write(address, &gs.to_le_bytes())?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// The application runs on one CPU, and sees that one only.
pub fn affinity(app: &mut App, len: u64, to: u64) -> Result<u64> {
    let index = cpu::index();
    let bytes = (index / 64 + 1) * 8;
    if !len.is_multiple_of(8) || len < bytes as u64 {
        return Err(EINVAL);
    }
    let mut mask = alloc::vec![0u8; bytes];
    if let Some(byte) = mask.get_mut(index / 8) {
        *byte = 1 << (index % 8);
    }
    app.space.write(to, &mask)?;
    Ok(bytes as u64)
}

pub fn getcpu(app: &mut App, to_cpu: u64, to_node: u64) -> Result<u64> {
    if to_cpu != 0 {
        app.space.write(to_cpu, &(cpu::index() as u32).to_le_bytes())?;
    }
    if to_node != 0 {
        app.space.write(to_node, &0u32.to_le_bytes())?;
    }
    Ok(0)
}

/// With a single thread nobody can be waiting, and nobody would ever wake who waits.
pub fn futex(app: &mut App, [address, operation, value, timeout, ..]: [u64; 6]) -> Result<u64> {
    match operation as u32 & c::FUTEX_CMD_MASK as u32 {
        c::FUTEX_WAKE | c::FUTEX_WAKE_BITSET => Ok(0),
        c::FUTEX_WAIT | c::FUTEX_WAIT_BITSET => {
            let mut word = [0; 4];
            app.space.read(address, &mut word)?;
            if u32::from_le_bytes(word) != value as u32 {
                return Err(EAGAIN);
            }
            if timeout != 0 {
                // No timer yet; to say so early is allowed.
                return Err(ETIMEDOUT);
            }
            while !app.must_end() {
                cpu::wait_unless(|| app.must_end());
            }
            Err(EINTR)
        }
        _ => Err(ENOSYS),
    }
}

pub fn uname(app: &mut App, to: u64) -> Result<u64> {
    const FIELD: usize = 65;
    let version = alloc::format!("HermitCore isle {}", info::boot_info().isle);
    let fields = ["Linux", "isle", "6.12.0-hermit", &version, "x86_64", "(none)"];
    let mut bytes = [0; FIELD * 6];
    for (place, text) in bytes.chunks_exact_mut(FIELD).zip(fields) {
        place.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    }
    app.space.write(to, &bytes)?;
    Ok(0)
}

pub fn prlimit(app: &mut App, which: u64, new: u64, old: u64) -> Result<u64> {
    const INFINITY: u64 = u64::MAX;
    let limit = match which as u32 {
        c::RLIMIT_STACK => crate::space::STACK_LIMIT,
        c::RLIMIT_NOFILE => crate::files::MAX_FILES as u64,
        c::RLIMIT_CORE => 0,
        n if n < c::RLIM_NLIMITS => INFINITY,
        _ => return Err(EINVAL),
    };
    if new != 0 {
        // Nothing is enforced but what is said above.
        let wanted = app.space.read_u64(new)?;
        if wanted > limit {
            return Err(EPERM);
        }
    }
    if old != 0 {
        app.space.write(old, &limit.to_le_bytes())?;
        app.space.write(old + 8, &limit.to_le_bytes())?;
    }
    Ok(0)
}

pub fn sysinfo(app: &mut App, to: u64) -> Result<u64> {
    let total: u64 = info::app_memory().iter().map(|r| r.len).sum();
    let uptime = hermit_plat::time::since_boot_ns() / 1_000_000_000;
    // uptime, 3 loads, total, free, shared, buffers, swap total, swap free, procs, high total, high free, unit
    let mut words = [0u64; 14];
    words[0] = uptime;
    words[4] = total;
    words[5] = total;
    words[10] = 1;
    words[13] = 1;
    let bytes: alloc::vec::Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    app.space.write(to, &bytes)?;
    Ok(0)
}

pub fn rusage(app: &mut App, to: u64) -> Result<u64> {
    let ns = hermit_plat::time::monotonic_ns() - app.start_ns;
    let mut words = [0u64; 18];
    words[0] = ns / 1_000_000_000;
    words[1] = ns % 1_000_000_000 / 1000;
    let bytes: alloc::vec::Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    app.space.write(to, &bytes)?;
    Ok(0)
}

pub fn prctl(app: &mut App, [option, argument, ..]: [u64; 6]) -> Result<u64> {
    const PR_SET_NAME: u64 = 15;
    match option {
        PR_SET_NAME => app.space.string_len(argument, 16).map(|_| 0),
        _ => Err(EINVAL),
    }
}
