// SPDX-License-Identifier: MIT OR Apache-2.0

//! Calls about signals. Handlers are kept, and not called yet.

use crate::app::App;
use crate::space::Result;
use core::sync::atomic::Ordering;
use hermit_plat::info;
use linux_raw_sys::errno::{EINVAL, EPERM, ESRCH};

pub fn action(app: &mut App, [signal, new, old, set_size, ..]: [u64; 6]) -> Result<u64> {
    let before = app.signals.action(signal as u32).ok_or(EINVAL)?;
    if set_size != 8 {
        return Err(EINVAL);
    }
    if new != 0 {
        let mut action = [0; 4];
        for (i, word) in action.iter_mut().enumerate() {
            *word = app.space.read_u64(new + 8 * i as u64)?;
        }
        app.signals.set_action(signal as u32, action).ok_or(EINVAL)?;
    }
    if old != 0 {
        for (i, word) in before.iter().enumerate() {
            app.space.write(old + 8 * i as u64, &word.to_le_bytes())?;
        }
    }
    Ok(0)
}

pub fn mask(app: &mut App, [how, new, old, set_size, ..]: [u64; 6]) -> Result<u64> {
    if set_size != 8 {
        return Err(EINVAL);
    }
    let before = app.signals.blocked;
    if new != 0 {
        let set = app.space.read_u64(new)?;
        app.signals.set_blocked(match how {
            0 => before | set,
            1 => before & !set,
            2 => set,
            _ => return Err(EINVAL),
        });
    }
    if old != 0 {
        app.space.write(old, &before.to_le_bytes())?;
    }
    Ok(0)
}

pub fn pending(app: &mut App, [set, ..]: [u64; 6]) -> Result<u64> {
    let pending = slot_signals(app)?.load(Ordering::Acquire) & app.signals.blocked;
    app.space.write(set, &pending.to_le_bytes())?;
    Ok(0)
}

fn slot_signals(app: &App) -> Result<&'static core::sync::atomic::AtomicU64> {
    info::apps().get(app.slot()).map(|slot| &slot.signals).ok_or(EINVAL)
}

/// To itself only: nobody else can be seen from here.
pub fn kill(app: &mut App, to: i32, signal: u64) -> Result<u64> {
    if signal > 64 {
        return Err(EINVAL);
    }
    match to {
        0 => {}
        to if to == app.pid() as i32 || to == -(app.pid() as i32) => {}
        -1 | 1 => return Err(EPERM),
        _ => return Err(ESRCH),
    }
    if signal != 0 {
        // Looked at before ring 3 goes on.
        slot_signals(app)?.fetch_or(1 << (signal - 1), Ordering::AcqRel);
    }
    Ok(0)
}

pub fn alternate_stack(app: &mut App, new: u64, old: u64) -> Result<u64> {
    let before = app.signals.alternate_stack;
    if new != 0 {
        let mut stack = [0; 3];
        for (i, word) in stack.iter_mut().enumerate() {
            *word = app.space.read_u64(new + 8 * i as u64)?;
        }
        app.signals.alternate_stack = stack;
    }
    if old != 0 {
        for (i, word) in before.iter().enumerate() {
            app.space.write(old + 8 * i as u64, &word.to_le_bytes())?;
        }
    }
    Ok(0)
}
