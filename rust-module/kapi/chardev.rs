// SPDX-License-Identifier: GPL-2.0

//! Character devices whose memory can be mapped. C headers: `linux/miscdevice.h`, `linux/fs.h`, `linux/mm.h`.

use super::wait::PollTable;
use crate::abi::{LARGE_PAGE_SIZE, PAGE_SIZE};
use core::mem::MaybeUninit;
use kernel::bindings;
use kernel::error::{from_result, to_result};
use kernel::prelude::*;
use kernel::str::CString;
use kernel::uaccess::UserSlice;

// Lockdep's types are empty without it, which is all right behind a pointer.
#[allow(improper_ctypes)]
extern "C" {
    fn hermit_helper_vm_flags_mod(vma: *mut bindings::vm_area_struct, set: usize, clear: usize);
    fn hermit_helper_insert_pfn_pmd(vmf: *mut bindings::vm_fault, pfn: usize) -> bindings::vm_fault_t;
}

/// POLLIN | POLLRDNORM, and POLLHUP (include/uapi/asm-generic/poll.h).
pub const POLLIN: u32 = 0x41;
pub const POLLHUP: u32 = 0x10;

/// All mappings of the device file that one open file belongs to.
///
/// The inode that it belongs to lives as long as the open file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AddressSpace(*mut bindings::address_space);

// SAFETY: Has its own locks.
unsafe impl Send for AddressSpace {}
// SAFETY: As above.
unsafe impl Sync for AddressSpace {}

impl AddressSpace {
    /// Takes all pages out of all processes that have mapped the device. Later accesses fault anew.
    ///
    /// The open file that this came from must still be open; its session sees to that by
    /// deregistering before it goes away.
    pub fn unmap_all(self) {
        // SAFETY: By the above, the address space lives.
        unsafe { bindings::unmap_mapping_range(self.0, 0, 0, 1) };
    }
}

/// A page fault in a mapping of the device.
pub struct Fault {
    vmf: *mut bindings::vm_fault,
}

impl Fault {
    /// Offset into the device of the page that is missing.
    pub fn offset(&self) -> u64 {
        // SAFETY: Valid for the duration of the fault.
        unsafe { (*self.vmf).__bindgen_anon_1.pgoff as u64 * PAGE_SIZE }
    }

    /// Offset into the device of the page of 2 MiB around the one that is missing. `None`: it isn't in the area as a whole,
    /// or begins at another place in memory than in the device.
    pub fn large_offset(&self) -> Option<u64> {
        // SAFETY: Valid for the duration of the fault.
        let (start, end, first) = unsafe {
            let area = &*(*self.vmf).__bindgen_anon_1.vma;
            let bounds = &area.__bindgen_anon_1.__bindgen_anon_1;
            (bounds.vm_start as u64, bounds.vm_end as u64, area.vm_pgoff as u64 * PAGE_SIZE)
        };
        // SAFETY: As above.
        let address = unsafe { (*self.vmf).__bindgen_anon_1.address } as u64 & !(LARGE_PAGE_SIZE - 1);
        let offset = first.checked_add(address.checked_sub(start)?)?;
        (address.checked_add(LARGE_PAGE_SIZE)? <= end && offset % LARGE_PAGE_SIZE == 0).then_some(offset)
    }

    /// Maps 2 MiB of physical memory that isn't Linux's, to be called with an address that fits `large_offset`.
    pub fn insert_large(&self, address: u64) -> u32 {
        if address % LARGE_PAGE_SIZE != 0 {
            return self.fall_back();
        }
        // SAFETY: The area was set up as VM_PFNMAP in `mmap`; called from its fault handler for a PMD, and the page is
        // in the area as a whole.
        unsafe { hermit_helper_insert_pfn_pmd(self.vmf, (address / PAGE_SIZE) as usize) }
    }

    /// A small page has to do.
    pub fn fall_back(&self) -> u32 {
        bindings::vm_fault_reason_VM_FAULT_FALLBACK
    }

    /// Maps a page of physical memory that isn't Linux's.
    pub fn insert(&self, address: u64) -> u32 {
        // SAFETY: The area was set up as VM_PFNMAP in `mmap`; called from its fault handler.
        unsafe {
            bindings::vmf_insert_pfn(
                (*self.vmf).__bindgen_anon_1.vma,
                (*self.vmf).__bindgen_anon_1.address,
                (address / PAGE_SIZE) as usize,
            )
        }
    }

    /// The process gets SIGBUS.
    pub fn refuse(&self) -> u32 {
        bindings::vm_fault_reason_VM_FAULT_SIGBUS
    }
}

/// One open file.
pub trait Session: Sized + Send + Sync {
    type Device: Send + Sync + Clone;

    fn open(device: &Self::Device, mappings: AddressSpace) -> Result<KBox<Self>>;
    /// `argument` is a pointer to `_IOC_SIZE` bytes of user memory where the command has any.
    fn ioctl(&self, command: u32, argument: usize) -> Result<isize>;
    /// May this part of the device be mapped?
    fn check_mmap(&self, offset: u64, len: u64) -> Result;
    fn fault(&self, fault: &Fault) -> u32;
    /// Comes before `fault`, where nothing is mapped in a range of 2 MiB yet.
    fn large_fault(&self, fault: &Fault) -> u32;
    fn poll(&self, table: &PollTable) -> u32;
}

/// Reads from user memory.
pub fn read_user(argument: usize, bytes: &mut [u8]) -> Result {
    UserSlice::new(argument as _, bytes.len()).reader().read_slice(bytes)
}

/// Writes to user memory.
pub fn write_user<T: super::shm::Plain>(argument: usize, value: &T) -> Result {
    // SAFETY: `Plain` has no padding.
    let bytes = unsafe { core::slice::from_raw_parts((value as *const T).cast::<u8>(), core::mem::size_of::<T>()) };
    UserSlice::new(argument as _, bytes.len()).writer().write_slice(bytes)
}

/// A device file, removed on drop.
pub struct Registration<S: Session> {
    inner: KBox<Inner<S>>,
}

#[repr(C)]
struct Inner<S: Session> {
    misc: bindings::miscdevice,
    fops: bindings::file_operations,
    device: S::Device,
    name: CString,
    node: CString,
}

// SAFETY: Not changed while registered.
unsafe impl<S: Session> Send for Registration<S> {}
// SAFETY: As above.
unsafe impl<S: Session> Sync for Registration<S> {}

impl<S: Session> Registration<S> {
    const VM_OPS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        fault: Some(Self::fault),
        huge_fault: Some(Self::huge_fault),
        // SAFETY: All zeroes is valid: no other operation.
        ..unsafe { MaybeUninit::zeroed().assume_init() }
    };
    const VM_OPS_REF: &'static bindings::vm_operations_struct = &Self::VM_OPS;

    /// Makes the device `name`, at /dev/`node`, for root alone.
    pub fn new(name: CString, node: CString, device: S::Device, module: &'static ThisModule) -> Result<Self> {
        // SAFETY: All zeroes is valid for both.
        let (misc, fops) = unsafe {
            (
                MaybeUninit::<bindings::miscdevice>::zeroed().assume_init(),
                MaybeUninit::<bindings::file_operations>::zeroed().assume_init(),
            )
        };
        let mut inner = KBox::new(Inner { misc, fops, device, name, node }, GFP_KERNEL)?;
        // While a file is open, the module stays.
        inner.fops.owner = module.as_ptr();
        inner.fops.open = Some(Self::open);
        inner.fops.release = Some(Self::release);
        inner.fops.unlocked_ioctl = Some(Self::ioctl);
        inner.fops.mmap = Some(Self::mmap);
        inner.fops.poll = Some(Self::poll);
        inner.misc.minor = bindings::MISC_DYNAMIC_MINOR as i32;
        inner.misc.mode = 0o600;
        let p: *mut Inner<S> = &mut *inner;
        // SAFETY: `inner` stays where it is until `drop` has deregistered the device.
        unsafe {
            (*p).misc.name = (*p).name.as_char_ptr();
            (*p).misc.nodename = (*p).node.as_char_ptr();
            (*p).misc.fops = &(*p).fops;
            to_result(bindings::misc_register(&mut (*p).misc))?;
        }
        Ok(Self { inner })
    }

    unsafe extern "C" fn open(_: *mut bindings::inode, file: *mut bindings::file) -> i32 {
        from_result(|| {
            // SAFETY: `misc_open` has put the address of `misc`, the first field of a live `Inner`, there.
            let inner = unsafe { &*(*file).private_data.cast::<Inner<S>>() };
            // SAFETY: Set for every open file.
            let mappings = AddressSpace(unsafe { (*file).f_mapping });
            let session = S::open(&inner.device, mappings)?;
            // SAFETY: The file is ours until `release`.
            unsafe { (*file).private_data = KBox::into_raw(session).cast() };
            Ok(0)
        })
    }

    unsafe extern "C" fn release(_: *mut bindings::inode, file: *mut bindings::file) -> i32 {
        // SAFETY: Put there by `open`; this is the last call for the file.
        drop(unsafe { KBox::from_raw((*file).private_data.cast::<S>()) });
        0
    }

    unsafe extern "C" fn ioctl(file: *mut bindings::file, command: u32, argument: usize) -> isize {
        // SAFETY: Put there by `open`, freed by `release` only.
        let session = unsafe { &*(*file).private_data.cast::<S>() };
        match session.ioctl(command, argument) {
            Ok(n) => n,
            Err(e) => e.to_errno() as isize,
        }
    }

    unsafe extern "C" fn mmap(file: *mut bindings::file, vma: *mut bindings::vm_area_struct) -> i32 {
        from_result(|| {
            // SAFETY: As in `ioctl`; the area is ours to set up.
            unsafe {
                let session = &*(*file).private_data.cast::<S>();
                let area = &mut *vma;
                let start = area.__bindgen_anon_1.__bindgen_anon_1.vm_start as u64;
                let end = area.__bindgen_anon_1.__bindgen_anon_1.vm_end as u64;
                let offset = (area.vm_pgoff as u64).checked_mul(PAGE_SIZE).ok_or(EINVAL)?;
                let flags = area.__bindgen_anon_2.vm_flags;
                if flags & (bindings::VM_SHARED as bindings::vm_flags_t) == 0
                    || flags & (bindings::VM_EXEC as bindings::vm_flags_t) != 0
                {
                    return Err(EINVAL);
                }
                session.check_mmap(offset, end - start)?;
                let set = bindings::VM_PFNMAP
                    | bindings::VM_IO
                    | bindings::VM_DONTEXPAND
                    | bindings::VM_DONTCOPY
                    | bindings::VM_DONTDUMP;
                hermit_helper_vm_flags_mod(vma, set as usize, bindings::VM_MAYEXEC as usize);
                area.vm_ops = Self::VM_OPS_REF;
                area.vm_private_data = (*file).private_data;
                Ok(0)
            }
        })
    }

    unsafe extern "C" fn fault(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: `vm_private_data` is the session of the file that the area holds a reference to.
        let session = unsafe { &*(*(*vmf).__bindgen_anon_1.vma).vm_private_data.cast::<S>() };
        session.fault(&Fault { vmf })
    }

    unsafe extern "C" fn huge_fault(vmf: *mut bindings::vm_fault, order: u32) -> bindings::vm_fault_t {
        // SAFETY: As in `fault`.
        let session = unsafe { &*(*(*vmf).__bindgen_anon_1.vma).vm_private_data.cast::<S>() };
        let fault = Fault { vmf };
        // PMD_ORDER. Linux may ask for pages of 1 GiB, too.
        if u64::from(order) == (LARGE_PAGE_SIZE / PAGE_SIZE).trailing_zeros().into() {
            session.large_fault(&fault)
        } else {
            fault.fall_back()
        }
    }

    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: As in `ioctl`.
        let session = unsafe { &*(*file).private_data.cast::<S>() };
        session.poll(&PollTable { file, table })
    }
}

impl<S: Session> Drop for Registration<S> {
    fn drop(&mut self) {
        // SAFETY: Registered in `new`. No file is open: each holds a reference to the module.
        unsafe { bindings::misc_deregister(&mut self.inner.misc) };
    }
}
