// SPDX-License-Identifier: GPL-2.0

//! Those parts of the module's `kapi` that the fuzzed files use, for the host.

pub mod irq {
    pub trait Bell {
        fn ring(&self) -> Option<u32>;
        fn moved(&self, apic_id: u32, vector: u32);
    }
}

pub mod shm {
    use crate::abi::boot::Range;
    use kernel::prelude::*;

    /// Aligned as memory of an isle is.
    #[derive(Clone)]
    #[repr(C, align(4096))]
    struct Page([u8; 4096]);

    /// Physical memory, which it isn't.
    pub struct Mapping {
        pages: Vec<Page>,
        range: Range,
    }

    impl Mapping {
        pub fn new(range: Range) -> Self {
            Self { pages: vec![Page([0; 4096]); range.len.div_ceil(4096) as usize], range }
        }

        fn at(&self, address: u64, len: u64) -> Result<*const u8> {
            let offset = address.checked_sub(self.range.start).ok_or(EFAULT)?;
            let end = offset.checked_add(len).ok_or(EFAULT)?;
            if end > self.range.len {
                return Err(EFAULT);
            }
            // SAFETY: In bounds.
            Ok(unsafe { self.pages.as_ptr().cast::<u8>().add(offset as usize) })
        }

        pub fn slice<T>(&self, address: u64, count: usize) -> Result<&[T]> {
            let p: *const T = self.at(address, (size_of::<T>() * count) as u64)?.cast();
            assert!(p.is_aligned());
            // SAFETY: In bounds and aligned. The module asks for structures of atomics only.
            Ok(unsafe { std::slice::from_raw_parts(p, count) })
        }

        pub fn get<T>(&self, address: u64) -> Result<&T> {
            self.slice(address, 1)?.first().ok_or(EFAULT)
        }

        pub fn zero(&self, address: u64, len: u64) -> Result {
            for byte in self.slice::<std::sync::atomic::AtomicU8>(address, len as usize)? {
                byte.store(0, std::sync::atomic::Ordering::Relaxed);
            }
            Ok(())
        }
    }
}
