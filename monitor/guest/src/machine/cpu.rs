//! CPUs: what each has of its own, and giving work to the others.

use core::cell::Cell;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use control::MAX_CPUS;

use super::exception::Frame;
use super::{boot, gic, psci, registers};

/// What a CPU has of its own.
pub(crate) struct Cpu {
    /// The stack pointer to return to from a trial, or 0 if none runs.
    pub(crate) trial_stack: Cell<u64>,
    /// How the last trial ended.
    pub(crate) outcome: Cell<Frame>,
}

struct Cpus([Cpu; MAX_CPUS]);

// SAFETY: each CPU reaches its own entry only, by `current`.
unsafe impl Sync for Cpus {}

static CPUS: Cpus = Cpus(
    [const {
        Cpu {
            trial_stack: Cell::new(0),
            outcome: Cell::new(Frame::ZERO),
        }
    }; MAX_CPUS],
);

/// How many CPUs run.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

/// The work of each CPU, or null: a function, called with the number of the CPU.
static WORK: [AtomicPtr<()>; MAX_CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS];

static ARGUMENT: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Work for a CPU; it is given its argument.
pub(crate) type Work = fn(u64);

/// The number of this CPU.
pub(crate) fn number() -> usize {
    registers::read!("tpidr_el1") as usize
}

/// This CPU's own.
pub(crate) fn current() -> &'static Cpu {
    &CPUS.0[number()]
}

/// How many CPUs run.
pub(crate) fn running() -> usize {
    RUNNING.load(Ordering::Acquire)
}

/// Starts the CPU `mpidr`, and returns whether it came up.
pub(crate) fn start(mpidr: u64) -> bool {
    let number = running();
    if number == MAX_CPUS {
        return false;
    }
    let entry = boot::start_secondary as *const () as u64;
    if psci::start_cpu(mpidr, entry, number as u64) != 0 {
        return false;
    }
    while running() == number {
        core::hint::spin_loop();
    }
    true
}

/// The first Rust on the other CPUs.
pub(crate) extern "C" fn secondary(number: u64) -> ! {
    gic::init_cpu();
    super::vector::init();
    RUNNING.store(number as usize + 1, Ordering::Release);
    loop {
        let work = WORK[number as usize].load(Ordering::Acquire);
        if work.is_null() {
            gic::sleep();
            continue;
        }
        // SAFETY: only `give` stores there, and it stores a `Work`.
        let work = unsafe { core::mem::transmute::<*mut (), Work>(work) };
        work(ARGUMENT[number as usize].load(Ordering::Relaxed));
        WORK[number as usize].store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// Has another CPU, which has no work, call `work(argument)`.
pub(crate) fn give(cpu: usize, work: Work, argument: u64) {
    ARGUMENT[cpu].store(argument, Ordering::Relaxed);
    WORK[cpu].store(work as *mut (), Ordering::Release);
    gic::wake(cpu);
}

/// Whether another CPU has done its work.
pub(crate) fn is_idle(cpu: usize) -> bool {
    WORK[cpu].load(Ordering::Acquire).is_null()
}

/// Waits until all other CPUs have done their work.
pub(crate) fn wait_for_others() {
    for cpu in 1..running() {
        while !is_idle(cpu) {
            core::hint::spin_loop();
        }
    }
}
