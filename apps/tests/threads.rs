// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads of Rust's library: scopes, channels, locks, parking, panics that are caught, thread-locals with destructors.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::panic;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{mpsc, Arc, Barrier, Condvar, Mutex, Once, OnceLock, RwLock};
use std::thread;
use std::time::{Duration, Instant};

const THREADS: usize = 8;

fn scopes() {
    let mut numbers: Vec<u64> = (0..80_000).collect();
    let sum: u64 = thread::scope(|scope| {
        let parts: Vec<_> = numbers.chunks(10_000).map(|part| scope.spawn(move || part.iter().sum::<u64>())).collect();
        parts.into_iter().map(|part| part.join().expect("join")).sum()
    });
    assert_eq!(sum, 80_000 * 79_999 / 2);
    thread::scope(|scope| {
        for part in numbers.chunks_mut(10_000) {
            scope.spawn(|| part.iter_mut().for_each(|n| *n *= 2));
        }
    });
    assert!(numbers.iter().zip(0..).all(|(n, i)| *n == 2 * i));
}

fn channels() {
    let (sender, receiver) = mpsc::channel();
    let (bounded, answers) = mpsc::sync_channel(2);
    for id in 0..THREADS {
        let sender = sender.clone();
        thread::spawn(move || (0..500).for_each(|n| sender.send((id, n)).expect("send")));
    }
    drop(sender);
    let consumer = thread::spawn(move || {
        let mut next = [0; THREADS];
        for (id, n) in receiver {
            assert_eq!(n, next[id]);
            next[id] += 1;
            bounded.send(n).expect("send");
        }
        next
    });
    assert_eq!(answers.iter().sum::<usize>(), THREADS * (499 * 500 / 2));
    assert_eq!(consumer.join().expect("join"), [500; THREADS]);
    let (sender, receiver) = mpsc::channel::<()>();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(5)), Err(mpsc::RecvTimeoutError::Timeout));
    drop(sender);
    assert_eq!(receiver.recv(), Err(mpsc::RecvError));
}

fn locks() {
    let count = Mutex::new(0);
    let table = RwLock::new((0, 0));
    let barrier = Barrier::new(THREADS);
    let leaders = AtomicUsize::new(0);
    thread::scope(|scope| {
        for id in 0..THREADS {
            let (count, table, barrier, leaders) = (&count, &table, &barrier, &leaders);
            scope.spawn(move || {
                for round in 0..500 {
                    *count.lock().expect("lock") += 1;
                    if id < 2 && round % 5 == 0 {
                        let mut pair = table.write().expect("write");
                        pair.0 += 1;
                        thread::yield_now();
                        pair.1 += 1;
                    } else {
                        let pair = table.read().expect("read");
                        assert_eq!(pair.0, pair.1);
                    }
                }
                for _ in 0..50 {
                    leaders.fetch_add(usize::from(barrier.wait().is_leader()), SeqCst);
                }
            });
        }
    });
    assert_eq!(*count.lock().expect("lock"), THREADS * 500);
    assert_eq!(*table.read().expect("read"), (200, 200));
    assert_eq!(leaders.load(SeqCst), 50);

    let pair = (Mutex::new(0), Condvar::new());
    thread::scope(|scope| {
        for side in 0..2 {
            let (turn, changed) = &pair;
            scope.spawn(move || {
                for _ in 0..500 {
                    let mut turn =
                        changed.wait_while(turn.lock().expect("lock"), |turn| *turn % 2 != side).expect("wait");
                    *turn += 1;
                    changed.notify_one();
                }
            });
        }
    });
    let guard = pair.0.lock().expect("lock");
    assert_eq!(*guard, 1000);
    let (_guard, result) =
        pair.1.wait_timeout_while(guard, Duration::from_millis(5), |turn| *turn == 1000).expect("wait");
    assert!(result.timed_out());
}

fn once() {
    static ONCE: Once = Once::new();
    static CELL: OnceLock<String> = OnceLock::new();
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                ONCE.call_once(|| {
                    thread::sleep(Duration::from_millis(5));
                    RUNS.fetch_add(1, SeqCst);
                });
                assert_eq!(RUNS.load(SeqCst), 1);
                assert_eq!(CELL.get_or_init(|| "made once".to_owned()), "made once");
            });
        }
    });
}

fn parks() {
    let ready = Arc::new(AtomicBool::new(false));
    let sleeper = thread::spawn({
        let ready = Arc::clone(&ready);
        move || {
            while !ready.load(SeqCst) {
                thread::park();
            }
        }
    });
    thread::sleep(Duration::from_millis(5));
    ready.store(true, SeqCst);
    sleeper.thread().unpark();
    sleeper.join().expect("join");
    // An unpark that comes first isn't lost.
    thread::current().unpark();
    thread::park();
    let before = Instant::now();
    thread::sleep(Duration::from_millis(10));
    assert!(before.elapsed() >= Duration::from_millis(10));
}

fn panics() {
    let mutex = Arc::new(Mutex::new(1));
    let result = thread::spawn({
        let mutex = Arc::clone(&mutex);
        move || {
            let _guard = mutex.lock();
            panic!("with number {}", black_box(7));
        }
    })
    .join();
    let text = result.err().and_then(|e| e.downcast_ref::<String>().cloned());
    assert_eq!(text.as_deref(), Some("with number 7"));
    assert!(mutex.is_poisoned() && mutex.lock().is_err());
    assert_eq!(*mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner()), 1);
    let caught = thread::scope(|scope| {
        let all: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    (0..100).filter(|&n| panic::catch_unwind(|| [1, 2, 3][black_box(n + 3)]).is_err()).count()
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("join")).sum::<usize>()
    });
    assert_eq!(caught, THREADS * 100);
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Dropped(Cell<usize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        DROPPED.fetch_add(self.0.get(), SeqCst);
    }
}

thread_local! {
    static OWN: Dropped = const { Dropped(Cell::new(0)) };
    static TEXT: RefCell<String> = RefCell::new("initial".to_owned());
}

fn thread_locals() {
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        let all = (1..=THREADS).map(|id| {
            let barrier = &barrier;
            scope.spawn(move || {
                OWN.with(|own| own.0.set(id));
                TEXT.with_borrow_mut(|text| text.push_str(&id.to_string()));
                barrier.wait();
                assert!(TEXT.with_borrow(|text| *text == format!("initial{id}")));
            })
        });
        // A scope doesn't wait for destructors, a join does.
        all.collect::<Vec<_>>().into_iter().for_each(|one| one.join().expect("join"));
    });
    assert_eq!(DROPPED.load(SeqCst), THREADS * (THREADS + 1) / 2);
    assert!(TEXT.with_borrow(|text| text == "initial"));
}

fn builders() {
    let thread = thread::Builder::new().name("a name".to_owned()).stack_size(1 << 20);
    let name = thread.spawn(|| thread::current().name().map(str::to_owned)).expect("spawn").join().expect("join");
    assert_eq!(name.as_deref(), Some("a name"));
    assert!(thread::available_parallelism().expect("CPUs").get() >= 1);
    let mut ids: Vec<_> = (0..200).map(|_| thread::spawn(|| thread::current().id()).join().expect("join")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 200);
}

fn main() -> ExitCode {
    let parts: [(&str, fn()); 8] = [
        ("scopes", scopes),
        ("channels", channels),
        ("locks", locks),
        ("once", once),
        ("parks", parks),
        ("panics", panics),
        ("thread-locals", thread_locals),
        ("builders", builders),
    ];
    let mut status = ExitCode::SUCCESS;
    let usual = panic::take_hook();
    for (name, run) in parts {
        // Those that are meant to be caught need not be seen.
        if name == "panics" {
            panic::set_hook(Box::new(|_| {}));
        }
        let good = panic::catch_unwind(run).is_ok();
        if name == "panics" {
            let _ = panic::take_hook();
        }
        println!("{name}: {}", if good { "ok" } else { "FAILED" });
        if !good {
            eprintln!("{name} failed");
            status = ExitCode::FAILURE;
        }
    }
    panic::set_hook(usual);
    status
}
