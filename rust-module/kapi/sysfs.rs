// SPDX-License-Identifier: GPL-2.0

//! Directories and files in /sys. C headers: `linux/kobject.h`, `linux/sysfs.h`.

use super::text::Text;
use core::mem::MaybeUninit;
use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_char;
use kernel::prelude::*;
use kernel::sync::Arc;

extern "C" {
    fn hermit_helper_sysfs_attr_init(attr: *mut bindings::attribute);
}

/// A directory, removed on drop.
pub struct Directory(*mut bindings::kobject);

// SAFETY: A kobject is reference counted and belongs to no task.
unsafe impl Send for Directory {}
// SAFETY: As above.
unsafe impl Sync for Directory {}

impl Directory {
    /// A directory in `parent`, or in /sys itself.
    pub fn new(name: &CStr, parent: Option<&Directory>) -> Result<Self> {
        let parent = parent.map_or(core::ptr::null_mut(), |p| p.0);
        // SAFETY: `name` is copied; `parent` is a live kobject or NULL.
        let kobj = unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent) };
        if kobj.is_null() {
            return Err(ENOMEM);
        }
        Ok(Self(kobj))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: Holds the reference from `new`. Deletes the directory at once, even if
        // somebody else holds the object.
        unsafe {
            bindings::kobject_del(self.0);
            bindings::kobject_put(self.0);
        }
    }
}

/// What a file does. `T` is what it is about.
pub struct Ops<T: 'static> {
    pub name: &'static CStr,
    pub show: fn(&T, &mut Text<'_>) -> Result,
    pub store: Option<fn(&T, &[u8]) -> Result>,
}

/// A text file of at most a page, removed on drop.
pub struct File<T: 'static> {
    inner: KBox<FileInner<T>>,
    dir: *mut bindings::kobject,
}

#[repr(C)]
struct FileInner<T: 'static> {
    attr: bindings::kobj_attribute,
    owner: Arc<T>,
    ops: &'static Ops<T>,
}

// SAFETY: The attribute isn't changed while registered.
unsafe impl<T: Send + Sync> Send for File<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for File<T> {}

impl<T: Send + Sync> File<T> {
    /// Makes the file. `dir` must be dropped after it.
    pub fn new(dir: &Directory, owner: Arc<T>, ops: &'static Ops<T>) -> Result<Self> {
        // SAFETY: All zeroes is a valid `kobj_attribute`.
        let mut attr: bindings::kobj_attribute = unsafe { MaybeUninit::zeroed().assume_init() };
        attr.attr.name = ops.name.as_char_ptr();
        attr.attr.mode = if ops.store.is_some() { 0o644 } else { 0o444 };
        attr.show = Some(Self::show);
        attr.store = Some(Self::store);
        let mut inner = KBox::new(FileInner { attr, owner, ops }, GFP_KERNEL)?;
        // SAFETY: The attribute stays where it is until `drop` has removed the file, which waits for
        // callbacks that are running.
        unsafe {
            hermit_helper_sysfs_attr_init(&mut inner.attr.attr);
            to_result(bindings::sysfs_create_file_ns(dir.0, &inner.attr.attr, core::ptr::null()))?;
        }
        Ok(Self { inner, dir: dir.0 })
    }

    extern "C" fn show(_: *mut bindings::kobject, attr: *mut bindings::kobj_attribute, page: *mut c_char) -> isize {
        // SAFETY: `attr` is the first field of a `FileInner<T>`, alive while callbacks run; sysfs
        // gives a page to write to.
        let (inner, page) = unsafe {
            let page = core::slice::from_raw_parts_mut(page.cast::<u8>(), crate::abi::PAGE_SIZE as usize);
            (&*attr.cast::<FileInner<T>>(), page)
        };
        let mut text = Text::new(page);
        match (inner.ops.show)(&inner.owner, &mut text) {
            Ok(()) => text.len() as isize,
            Err(e) => e.to_errno() as isize,
        }
    }

    extern "C" fn store(
        _: *mut bindings::kobject,
        attr: *mut bindings::kobj_attribute,
        data: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: As in `show`; `data` has `len` bytes.
        let (inner, data) =
            unsafe { (&*attr.cast::<FileInner<T>>(), core::slice::from_raw_parts(data.cast::<u8>(), len)) };
        match inner.ops.store.ok_or(EACCES).and_then(|store| store(&inner.owner, data)) {
            Ok(()) => len as isize,
            Err(e) => e.to_errno() as isize,
        }
    }
}

impl<T> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: Created in `new`; the directory still lives.
        unsafe { bindings::sysfs_remove_file_ns(self.dir, &self.inner.attr.attr, core::ptr::null()) };
    }
}

/// What a file of any length does: reads from an offset into a buffer.
pub struct BinOps<T: 'static> {
    pub name: &'static CStr,
    pub read: fn(&T, u64, &mut [u8]) -> Result<usize>,
}

/// A read-only file of any length, removed on drop.
pub struct BinFile<T: 'static> {
    inner: KBox<BinInner<T>>,
    dir: *mut bindings::kobject,
}

#[repr(C)]
struct BinInner<T: 'static> {
    attr: bindings::bin_attribute,
    owner: Arc<T>,
    ops: &'static BinOps<T>,
}

// SAFETY: The attribute isn't changed while registered.
unsafe impl<T: Send + Sync> Send for BinFile<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for BinFile<T> {}

impl<T: Send + Sync> BinFile<T> {
    /// Makes the file. `dir` must be dropped after it.
    pub fn new(dir: &Directory, owner: Arc<T>, ops: &'static BinOps<T>) -> Result<Self> {
        // SAFETY: All zeroes is a valid `bin_attribute`.
        let mut attr: bindings::bin_attribute = unsafe { MaybeUninit::zeroed().assume_init() };
        attr.attr.name = ops.name.as_char_ptr();
        attr.attr.mode = 0o444;
        attr.read = Some(Self::read);
        let mut inner = KBox::new(BinInner { attr, owner, ops }, GFP_KERNEL)?;
        // SAFETY: As in `File::new`.
        unsafe {
            hermit_helper_sysfs_attr_init(&mut inner.attr.attr);
            to_result(bindings::sysfs_create_bin_file(dir.0, &inner.attr))?;
        }
        Ok(Self { inner, dir: dir.0 })
    }

    extern "C" fn read(
        _: *mut bindings::file,
        _: *mut bindings::kobject,
        attr: *mut bindings::bin_attribute,
        buffer: *mut c_char,
        offset: bindings::loff_t,
        len: usize,
    ) -> isize {
        // SAFETY: As in `File::show`; `buffer` has room for `len` bytes.
        let (inner, buffer) =
            unsafe { (&*attr.cast::<BinInner<T>>(), core::slice::from_raw_parts_mut(buffer.cast::<u8>(), len)) };
        match (inner.ops.read)(&inner.owner, offset as u64, buffer) {
            Ok(n) => n as isize,
            Err(e) => e.to_errno() as isize,
        }
    }
}

impl<T> Drop for BinFile<T> {
    fn drop(&mut self) {
        // SAFETY: Created in `new`; the directory still lives.
        unsafe { bindings::sysfs_remove_bin_file(self.dir, &self.inner.attr) };
    }
}
