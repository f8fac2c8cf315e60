// SPDX-License-Identifier: GPL-2.0

//! Reading a whole file. C header: `linux/kernel_read_file.h`.

use core::ptr;
use kernel::bindings;
use kernel::prelude::*;

/// The contents of a file.
pub struct Contents {
    data: *mut core::ffi::c_void,
    len: usize,
}

impl Contents {
    /// Reads at most `max` bytes; a longer file is an error (EFBIG).
    pub fn read(path: &CStr, max: usize) -> Result<Self> {
        let mut data = ptr::null_mut();
        let mut size = 0usize;
        // SAFETY: `path` is a C string; the callee allocates `data`, which `drop` frees.
        let len = unsafe {
            bindings::kernel_read_file_from_path(
                path.as_char_ptr(),
                0,
                &mut data,
                max,
                &mut size,
                bindings::kernel_read_file_id_READING_UNKNOWN,
            )
        };
        if len < 0 {
            return Err(Error::from_errno(len as i32));
        }
        Ok(Self { data, len: len as usize })
    }

    pub fn bytes(&self) -> &[u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: The callee in `read` filled `len` bytes, which nobody else has.
        unsafe { core::slice::from_raw_parts(self.data.cast(), self.len) }
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        // SAFETY: Allocated by vmalloc in `kernel_read_file`, or NULL.
        unsafe { bindings::vfree(self.data) };
    }
}

/// Whether a file can be opened for reading.
pub fn check_readable(path: &CStr) -> Result {
    // SAFETY: `path` is a C string.
    let file = unsafe { bindings::filp_open(path.as_char_ptr(), bindings::O_RDONLY as i32, 0) };
    let file = kernel::error::from_err_ptr(file)?;
    // SAFETY: `file` was just opened here and nobody else has it.
    unsafe { bindings::filp_close(file, ptr::null_mut()) };
    Ok(())
}
