// SPDX-License-Identifier: MIT OR Apache-2.0

//! Maps the vDSO into this process, behind a clock page of the test's, finds its functions as C libraries and
//! Go's runtime do, and calls them.

use elf::abi::{
    DT_GNU_HASH, DT_HASH, DT_STRTAB, DT_SYMTAB, DT_VERDEF, DT_VERSYM, PF_R, PF_W, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME,
    PT_LOAD, PT_NOTE, SHT_REL, SHT_RELA, STB_GLOBAL, STB_WEAK, STT_FUNC, VER_FLG_BASE,
};
use elf::endian::LittleEndian;
use elf::hash::{gnu_hash, sysv_hash};
use elf::ElfBytes;
use hermit_abi::clock::{getcpu, Clock, Sample, Steering};
use std::arch::x86_64::{__cpuid, __cpuid_count, _mm_lfence, _rdtsc};
use std::ffi::c_void;
use std::mem::transmute;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const PAGE: usize = 4096;
const NS: u64 = 1_000_000_000;
const NAMES: [&str; 5] = ["clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu"];

// The standard library links the C library anyway.
extern "C" {
    fn mmap(at: *mut c_void, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> *mut c_void;
    fn mprotect(at: *mut c_void, len: usize, prot: i32) -> i32;
    fn munmap(at: *mut c_void, len: usize) -> i32;
    fn sched_getcpu() -> i32;
}

type GetTime = unsafe extern "C" fn(i32, *mut [u64; 2]) -> i32;
type GetTimeOfDay = unsafe extern "C" fn(*mut [u64; 2], *mut [i32; 2]) -> i32;
type GetCpu = unsafe extern "C" fn(*mut u32, *mut u32, *mut u8) -> isize;

/// The clock page and the image, mapped as the isle kernel maps them.
struct Vdso {
    start: *mut u8,
    clock: &'static Clock,
}

// SAFETY: nothing but atomics and constants.
unsafe impl Sync for Vdso {}

impl Vdso {
    fn map() -> Self {
        let len = PAGE + hermit_vdso::LEN;
        // SAFETY: a new mapping; the image is copied into its own part of it before anybody uses that.
        unsafe {
            let start = mmap(std::ptr::null_mut(), len, 3, 0x22, -1, 0).cast::<u8>();
            assert_ne!(start as isize, -1);
            let image = start.add(PAGE);
            image.copy_from_nonoverlapping(hermit_vdso::IMAGE.as_ptr(), hermit_vdso::LEN);
            assert_eq!(mprotect(image.cast(), hermit_vdso::LEN, 5), 0);
            Self { start, clock: &*start.cast::<Clock>() }
        }
    }

    /// What is at an address of the image.
    fn read<T: Copy>(&self, at: u64) -> T {
        assert!(at as usize + size_of::<T>() <= hermit_vdso::LEN);
        // SAFETY: within the image; only used for integers.
        unsafe { self.start.add(PAGE + at as usize).cast::<T>().read_unaligned() }
    }

    fn text(&self, at: u64) -> String {
        (at..).map(|at| self.read::<u8>(at)).take_while(|byte| *byte != 0).map(char::from).collect()
    }

    /// The value of a dynamic entry; found by the program headers, as all that is not a linker does.
    fn dynamic(&self, tag: i64) -> u64 {
        let headers: u64 = self.read(32);
        let header = (0..u64::from(self.read::<u16>(56)))
            .map(|n| headers + n * 56)
            .find(|at| self.read::<u32>(*at) == PT_DYNAMIC)
            .expect("a dynamic segment");
        let table: u64 = self.read(header + 16);
        (0..)
            .map(|n| table + n * 16)
            .take_while(|at| self.read::<i64>(*at) != 0)
            .find(|at| self.read::<i64>(*at) == tag)
            .map(|at| self.read(at + 8))
            .unwrap_or_else(|| panic!("dynamic entry {tag:#x}"))
    }

    /// The address of a symbol if it is the one: as musl's `__vdsosym` (src/internal/vdso.c) and Go's
    /// `vdsoParseSymbols` (runtime/vdso_linux.go) look at it.
    fn symbol(&self, index: u32, name: &str, version: &str) -> Option<u64> {
        let at = self.dynamic(DT_SYMTAB) + u64::from(index) * 24;
        let info: u8 = self.read(at + 4);
        let strings = self.dynamic(DT_STRTAB);
        let fits = info & 0xf == STT_FUNC
            && [STB_GLOBAL, STB_WEAK].contains(&(info >> 4))
            && self.read::<u16>(at + 6) != 0
            && self.text(strings + u64::from(self.read::<u32>(at))) == name;
        let wanted = self.read::<u16>(self.dynamic(DT_VERSYM) + u64::from(index) * 2) & 0x7fff;
        let mut definition = self.dynamic(DT_VERDEF);
        while self.read::<u16>(definition + 2) & VER_FLG_BASE != 0 || self.read::<u16>(definition + 4) != wanted {
            match self.read::<u32>(definition + 16) {
                0 => return None,
                next => definition += u64::from(next),
            }
        }
        let first = definition + u64::from(self.read::<u32>(definition + 12));
        let right = self.read::<u32>(definition + 8) == sysv_hash(version.as_bytes())
            && self.text(strings + u64::from(self.read::<u32>(first))) == version;
        (fits && right).then(|| self.read(at + 8))
    }

    /// By DT_HASH, as musl, Go, and glibc before 2.36 do where there is no other.
    fn find_sysv(&self, name: &str, version: &str) -> Option<u64> {
        let table = self.dynamic(DT_HASH);
        let word = |n: u32| self.read::<u32>(table + u64::from(n) * 4);
        let buckets = word(0);
        let mut index = word(2 + sysv_hash(name.as_bytes()) % buckets);
        while index != 0 {
            if let Some(found) = self.symbol(index, name, version) {
                return Some(found);
            }
            index = word(2 + buckets + index);
        }
        None
    }

    /// By DT_GNU_HASH, as glibc (elf/dl-lookup.c) and Go do, with the Bloom filter that only glibc asks.
    fn find_gnu(&self, name: &str, version: &str) -> Option<u64> {
        let table = self.dynamic(DT_GNU_HASH);
        let [buckets, first, blooms, shift] = [0, 4, 8, 12].map(|at| self.read::<u32>(table + at));
        let hash = gnu_hash(name.as_bytes());
        let bloom: u64 = self.read(table + 16 + u64::from(hash / 64 % blooms) * 8);
        if (bloom >> (hash % 64)) & (bloom >> ((hash >> shift) % 64)) & 1 == 0 {
            return None;
        }
        let bucket = table + 16 + u64::from(blooms) * 8;
        let chain = bucket + u64::from(buckets) * 4;
        let mut index: u32 = self.read(bucket + u64::from(hash % buckets) * 4);
        while index >= first {
            let entry: u32 = self.read(chain + u64::from(index - first) * 4);
            if entry | 1 == hash | 1 {
                if let Some(found) = self.symbol(index, name, version) {
                    return Some(found);
                }
            }
            if entry & 1 != 0 {
                break;
            }
            index += 1;
        }
        None
    }

    fn function(&self, name: &str) -> *const u8 {
        let offset = self.find_gnu(name, "LINUX_2.6").expect("it is exported");
        self.start.wrapping_add(PAGE + offset as usize)
    }

    fn clock_gettime(&self, clock: i32) -> Result<u64, i32> {
        let mut time = [u64::MAX; 2];
        // SAFETY: that is its type; the pointer is good.
        let result =
            unsafe { transmute::<*const u8, GetTime>(self.function("__vdso_clock_gettime"))(clock, &mut time) };
        assert!(result != 0 || time[1] < NS);
        (result == 0).then(|| time[0] * NS + time[1]).ok_or(result)
    }

    fn clock_getres(&self, clock: i32, to: *mut [u64; 2]) -> i32 {
        // SAFETY: that is its type; the pointer is good or null.
        unsafe { transmute::<*const u8, GetTime>(self.function("__vdso_clock_getres"))(clock, to) }
    }

    fn gettimeofday(&self, to: *mut [u64; 2], zone: *mut [i32; 2]) -> i32 {
        // SAFETY: that is its type; the pointers are good or null.
        unsafe { transmute::<*const u8, GetTimeOfDay>(self.function("__vdso_gettimeofday"))(to, zone) }
    }

    fn time(&self, to: *mut u64) -> u64 {
        let function = self.function("__vdso_time");
        // SAFETY: that is its type; the pointer is good or null.
        unsafe { transmute::<*const u8, unsafe extern "C" fn(*mut u64) -> u64>(function)(to) }
    }

    fn getcpu(&self, cpu: *mut u32, node: *mut u32) -> isize {
        let function = self.function("__vdso_getcpu");
        // SAFETY: that is its type; the pointers are good or null.
        unsafe { transmute::<*const u8, GetCpu>(function)(cpu, node, std::ptr::null_mut()) }
    }
}

impl Drop for Vdso {
    fn drop(&mut self) {
        // SAFETY: nobody has references into it any more.
        unsafe { munmap(self.start.cast(), PAGE + hermit_vdso::LEN) };
    }
}

fn tsc() -> u64 {
    // SAFETY: every x86-64 CPU has both.
    unsafe {
        _mm_lfence();
        _rdtsc()
    }
}

fn sample() -> Sample {
    Sample {
        tsc: tsc(),
        monotonic_ns: 5_000 * NS,
        realtime: 1_700_000_000 * NS + 3,
        boottime: 70 * NS,
        tai: 1_700_000_037 * NS + 3,
        pace: 0,
    }
}

/// Mapped, with a clock that runs at 1 GHz, whatever the counter does.
fn vdso() -> (Vdso, Steering) {
    let vdso = Vdso::map();
    let steering = Steering::start(&sample(), 1_000_000);
    vdso.clock.publish(&steering);
    (vdso, steering)
}

#[test]
fn it_is_one_segment_that_needs_nothing() {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(hermit_vdso::IMAGE).unwrap();
    let segments: Vec<_> = elf.segments().unwrap().iter().map(|s| (s.p_type, s.p_flags)).collect();
    assert_eq!(
        segments,
        [(PT_LOAD, PF_R | PF_X), (PT_DYNAMIC, PF_R), (PT_NOTE, PF_R), (PT_GNU_EH_FRAME, PF_R)],
        "{PF_W} is writable"
    );
    assert!(elf.section_headers().unwrap().iter().all(|s| ![SHT_REL, SHT_RELA].contains(&s.sh_type)));
    assert!(elf.symbol_table().unwrap().is_none(), "not stripped");
    assert!(hermit_vdso::IMAGE.as_ptr().addr().is_multiple_of(PAGE));
}

#[test]
fn all_names_are_found_by_all_ways() {
    let (vdso, _) = vdso();
    for name in NAMES {
        let own = format!("__vdso_{name}");
        let found = vdso.find_sysv(&own, "LINUX_2.6");
        assert!(found.is_some(), "{own}");
        assert_eq!(found, vdso.find_gnu(&own, "LINUX_2.6"));
        assert_eq!(found, vdso.find_sysv(name, "LINUX_2.6"));
        assert_eq!(found, vdso.find_gnu(name, "LINUX_2.6"));
        assert_eq!(vdso.find_gnu(name, "LINUX_2.7"), None);
    }
    for name in ["", "clock_page", "__vdso_getrandom", "clock_gettime2"] {
        assert_eq!(vdso.find_sysv(name, "LINUX_2.6"), None);
        assert_eq!(vdso.find_gnu(name, "LINUX_2.6"), None);
    }
}

#[test]
fn hashes_are_those_that_go_has_built_in() {
    // runtime/vdso_linux_amd64.go and vdso_linux.go.
    assert_eq!((sysv_hash(b"__vdso_gettimeofday"), gnu_hash(b"__vdso_gettimeofday")), (0x315_ca59, 0xb01b_ca00));
    assert_eq!((sysv_hash(b"__vdso_clock_gettime"), gnu_hash(b"__vdso_clock_gettime")), (0xd35_ec75, 0x6e43_a318));
    assert_eq!(sysv_hash(b"LINUX_2.6"), 0x3ae_75f6);
}

#[test]
fn clocks_are_those_of_the_page() {
    let (vdso, steering) = vdso();
    let params = steering.params();
    let clocks: [(i32, &dyn Fn(u64) -> u64); 7] = [
        (0, &|tsc| params.realtime_ns(tsc)),
        (1, &|tsc| params.monotonic_ns(tsc)),
        (4, &|tsc| params.monotonic_ns(tsc)),
        (5, &|tsc| params.realtime_ns(tsc)),
        (6, &|tsc| params.monotonic_ns(tsc)),
        (7, &|tsc| params.boottime_ns(tsc)),
        (11, &|tsc| params.tai_ns(tsc)),
    ];
    for _ in 0..1000 {
        for (id, at) in &clocks {
            let low = at(tsc());
            let ns = vdso.clock_gettime(*id).unwrap();
            let high = at(tsc());
            assert!((low..=high).contains(&ns), "clock {id}: {ns} is not from {low} to {high}");
            let mut resolution = [7; 2];
            assert_eq!((vdso.clock_getres(*id, &mut resolution), resolution), (0, [0, 1]));
            assert_eq!(vdso.clock_getres(*id, std::ptr::null_mut()), 0);
        }
    }
}

#[test]
fn the_older_calls_agree() {
    let (vdso, steering) = vdso();
    let now = || steering.params().realtime_ns(tsc());
    let (mut time, mut zone) = ([0; 2], [7; 2]);
    let low = now() / 1000;
    assert_eq!(vdso.gettimeofday(&mut time, &mut zone), 0);
    let us = time[0] * 1_000_000 + time[1];
    assert!((low..=now() / 1000).contains(&us) && time[1] < 1_000_000 && zone == [0, 0]);
    assert_eq!(vdso.gettimeofday(std::ptr::null_mut(), std::ptr::null_mut()), 0);
    let (mut also, low) = (0, now() / NS);
    let seconds = vdso.time(&mut also);
    assert!((low..=now() / NS).contains(&seconds) && also == seconds);
    assert!(vdso.time(std::ptr::null_mut()) >= seconds);
}

#[test]
fn other_clocks_are_the_kernels() {
    const EINVAL: i32 = 22;
    let (vdso, _) = vdso();
    // CLOCK_PROCESS_CPUTIME_ID and CLOCK_THREAD_CPUTIME_ID: of this process, which can't be that old.
    for id in [2, 3] {
        let first = vdso.clock_gettime(id).unwrap();
        assert!(first < 4_000 * NS && vdso.clock_gettime(id).unwrap() >= first);
        let mut resolution = [7; 2];
        assert_eq!((vdso.clock_getres(id, &mut resolution), resolution), (0, [0, 1]));
    }
    for id in [10, 12, 13, 31, 32, 33, 64, i32::MAX, i32::MIN + 1] {
        assert_eq!(vdso.clock_gettime(id), Err(-EINVAL), "{id}");
        assert_eq!(vdso.clock_getres(id, std::ptr::null_mut()), -EINVAL, "{id}");
    }
}

#[test]
fn the_cpu_is_found_in_each_way() {
    let (vdso, _) = vdso();
    let mut ways = vec![getcpu::SYSCALL];
    if __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & (1 << 27) != 0 {
        ways.push(getcpu::RDTSCP);
    }
    if __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & (1 << 22) != 0 {
        ways.push(getcpu::RDPID);
    }
    let mut nodes = Vec::new();
    for way in ways {
        vdso.clock.getcpu.store(way, Ordering::Relaxed);
        assert_eq!(vdso.getcpu(std::ptr::null_mut(), std::ptr::null_mut()), 0);
        let (cpu, node) = loop {
            let (mut cpu, mut node) = (u32::MAX, u32::MAX);
            // SAFETY: no preconditions.
            let before = unsafe { sched_getcpu() };
            assert_eq!(vdso.getcpu(&mut cpu, &mut node), 0);
            // SAFETY: no preconditions.
            if unsafe { sched_getcpu() } == before {
                break (cpu as i32 == before, node);
            }
        };
        assert!(cpu, "way {way}");
        nodes.push(node);
    }
    assert!(nodes.iter().all(|node| *node < 1024));
}

#[test]
fn time_goes_on_through_updates() {
    let (vdso, mut steering) = vdso();
    let (done, newest) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = sample();
    let published = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let before = newest.load(Ordering::SeqCst);
                    let ns = vdso.clock_gettime(1).unwrap();
                    assert!(ns >= before, "{ns} after {before}");
                    newest.fetch_max(ns, Ordering::SeqCst);
                }
            });
        }
        let mut published = 0;
        for turn in 0..300 {
            std::thread::sleep(std::time::Duration::from_millis(2));
            let now = sample();
            // A clock that is now 100 us ahead, now as much behind.
            let passed = now.tsc.wrapping_sub(start.tsc);
            let monotonic_ns = start.monotonic_ns + passed + if turn % 2 == 0 { 100_000 } else { 0 };
            if let Some(next) = steering.steer(&Sample { monotonic_ns, ..now }) {
                if !next.is_late(tsc()) {
                    vdso.clock.publish(&next);
                    steering = next;
                    published += 1;
                }
            }
        }
        done.store(true, Ordering::Relaxed);
        published
    });
    assert!(published > 10, "{published}");
}
