//! The scheduler on CPUs that threads of the host play: threads of the kernel's run one at a time
//! on each, and hand it on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kernel::arch::{cpu, thread::State};
use kernel::fs::tmpfs::Tmpfs;
use kernel::fs::{Context, Namespace};
use kernel::task::process::Process;
use kernel::task::scheduler::{self, Waker};
use kernel::task::{Pid, Thread, current};

const CPUS: usize = 3;
const THREADS: usize = 8;
const ROUNDS: usize = 50;

static OVER: AtomicBool = AtomicBool::new(false);
static ENDED: AtomicUsize = AtomicUsize::new(0);
/// Where the token is in the ring, and how far it came.
static TOKEN: AtomicUsize = AtomicUsize::new(0);
static WAKERS: Mutex<Vec<Option<Waker>>> = Mutex::new(Vec::new());
/// How many threads run on each CPU: never two.
static RUNNING: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];
static SEEN: [AtomicUsize; CPUS] = [const { AtomicUsize::new(0) }; CPUS];

fn process() -> Arc<Process> {
    let namespace = Namespace::new(Tmpfs::new("rootfs", 1 << 20));
    Arc::new(Process::new(
        Pid::NONE,
        Arc::new(Context::new(namespace)),
        0,
    ))
}

/// Does something that takes a moment, alone on its CPU.
fn work() {
    let here = cpu::id();
    assert_eq!(RUNNING[here].fetch_add(1, Ordering::SeqCst), 0);
    SEEN[here].fetch_add(1, Ordering::SeqCst);
    std::thread::yield_now();
    RUNNING[here].fetch_sub(1, Ordering::SeqCst);
}

/// A member of a ring: waits for the token, and hands it to the next one.
fn member(index: usize) {
    WAKERS.lock().unwrap()[index] = Some(Waker::of_current());
    for round in 0..ROUNDS {
        let mine = round * THREADS + index;
        while TOKEN.load(Ordering::SeqCst) < mine {
            scheduler::park();
        }
        work();
        TOKEN.fetch_add(1, Ordering::SeqCst);
        let next = WAKERS.lock().unwrap()[(index + 1) % THREADS].clone();
        if let Some(next) = next {
            next.wake();
        }
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
    scheduler::exit();
}

/// A thread that only computes, and lets others run.
fn computer(_: usize) {
    for _ in 0..ROUNDS {
        work();
        scheduler::yield_now();
    }
    ENDED.fetch_add(1, Ordering::SeqCst);
    scheduler::exit();
}

fn play_cpu(id: usize, process: Arc<Process>) {
    cpu::enter(id);
    let idle = Thread::new(Pid::NONE, process, State::boot());
    scheduler::enter(Arc::new(idle));
    scheduler::idle(|| !OVER.load(Ordering::SeqCst));
}

#[test]
fn threads_take_turns_on_all_cpus() {
    let process = process();
    *WAKERS.lock().unwrap() = vec![None; THREADS];
    let cpus: Vec<_> = (0..CPUS)
        .map(|id| {
            let process = Arc::clone(&process);
            std::thread::spawn(move || play_cpu(id, process))
        })
        .collect();
    while scheduler::online() != (1 << CPUS) - 1 {
        std::thread::yield_now();
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|index| (member as fn(usize), index))
        .chain((0..3).map(|index| (computer as fn(usize), index)))
        .map(|(entry, index)| {
            let state = State::kernel(entry, index).unwrap();
            let thread = Arc::new(Thread::new(Pid::NONE, Arc::clone(&process), state));
            scheduler::start(&thread).unwrap();
            thread
        })
        .collect();
    // One thread may only use the last CPU.
    threads[THREADS]
        .entity
        .set_affinity(1 << (CPUS - 1))
        .unwrap();
    assert!(threads[0].entity.set_affinity(1 << 60).is_err());

    let start = Instant::now();
    while ENDED.load(Ordering::SeqCst) < threads.len() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the ring stands still"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    OVER.store(true, Ordering::SeqCst);
    for cpu in cpus {
        cpu.join().unwrap();
    }
    assert_eq!(TOKEN.load(Ordering::SeqCst), THREADS * ROUNDS);
    assert!(SEEN.iter().all(|seen| seen.load(Ordering::SeqCst) > 0));
    assert!(
        std::panic::catch_unwind(|| current().id()).is_err(),
        "this thread is no CPU"
    );
    // Threads that ended are forgotten by the scheduler.
    let held = threads.iter().map(Arc::strong_count).collect::<Vec<_>>();
    WAKERS.lock().unwrap().clear();
    assert!(
        threads.iter().all(|thread| Arc::strong_count(thread) == 1),
        "{held:?}"
    );
}
