//! CPUs: what each has of its own, starting them, interrupting them.
//!
//! TPIDR_EL1 points to this CPU's [`PerCpu`], for ever. SP_EL0, which the kernel does not use as
//! a stack pointer, holds the running [`Thread`]: as it belongs to the thread, reading it is
//! one instruction that no preemption can split. User mode has both registers for itself (SP_EL0)
//! or does not see them; the entry code puts SP_EL0 back from `PerCpu`.

use core::cell::Cell;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::boot::start_secondary;
use super::layout::image_physical;
use super::registers::{mrs, run};
use super::{features, interrupt, psci, stack};
use crate::task::Thread;

/// How many CPUs there can be.
pub const MAX: usize = 8;

/// What a CPU has of its own. The entry code knows the offsets.
#[repr(C, align(64))]
pub(super) struct PerCpu {
    /// The running thread, or null.
    pub(super) current: Cell<*const Thread>,
    /// Where it starts with a stack: the end of one.
    pub(super) boot_stack: AtomicU64,
    /// The end of the stack for a report that another stack has overflowed.
    pub(super) emergency_stack: AtomicU64,
    id: AtomicUsize,
}

/// All of them.
#[repr(transparent)]
pub(super) struct PerCpus([PerCpu; MAX]);

// SAFETY: each CPU reaches the `Cell` of its own entry only, by `this`.
unsafe impl Sync for PerCpus {}

/// What each CPU has of its own.
pub(super) static PER_CPU: PerCpus = PerCpus(
    [const {
        PerCpu {
            current: Cell::new(ptr::null()),
            boot_stack: AtomicU64::new(0),
            emergency_stack: AtomicU64::new(0),
            id: AtomicUsize::new(0),
        }
    }; MAX],
);

const _: () = assert!(offset_of!(PerCpu, current) == 0);

/// This CPU's own. It is another one's after a preemption: callers mask interrupts, or do not
/// care.
pub(super) fn this() -> &'static PerCpu {
    let address = mrs!("tpidr_el1") as usize;
    // SAFETY: the boot code put the address of an entry of `PER_CPU` there.
    unsafe { &*ptr::with_exposed_provenance(address) }
}

/// The affinity of each CPU (MPIDR_EL1), in the order of their numbers.
static AFFINITIES: [AtomicU64; MAX] = [const { AtomicU64::new(0) }; MAX];
/// How many CPUs run.
static COUNT: AtomicUsize = AtomicUsize::new(1);

/// The affinity fields of MPIDR_EL1.
const AFFINITY: u64 = 0xff_00ff_ffff;

/// How many CPUs there are.
pub fn count() -> usize {
    COUNT.load(Ordering::Acquire)
}

/// The CPU that runs this.
pub fn id() -> usize {
    this().id.load(Ordering::Relaxed)
}

/// Waits for an interrupt. Called with interrupts masked; one that came before ends it too.
pub fn idle() {
    run!("dsb sy", "wfi");
}

/// Interrupts another CPU, so that it looks at its run queue.
pub fn reschedule(cpu: usize) {
    interrupt::send(affinity(cpu), interrupt::RESCHEDULE);
}

/// `AT_HWCAP` and `AT_HWCAP2`: what programs may use.
pub fn capabilities() -> (u64, u64) {
    features::capabilities()
}

/// Stops all other CPUs, for a panic.
pub(super) fn stop_others() {
    for cpu in (0..count()).filter(|cpu| *cpu != id()) {
        interrupt::send(affinity(cpu), interrupt::STOP);
    }
}

/// The affinity of a CPU.
pub(super) fn affinity(cpu: usize) -> u64 {
    AFFINITIES[cpu].load(Ordering::Relaxed)
}

/// The affinity of this CPU.
pub(super) fn own_affinity() -> u64 {
    mrs!("mpidr_el1") & AFFINITY
}

/// What each CPU does for itself first of all; the first CPU has number 0.
pub(super) fn begin(id: usize) {
    this().id.store(id, Ordering::Relaxed);
    AFFINITIES[id].store(own_affinity(), Ordering::Relaxed);
    features::enable();
}

/// Starts the CPU with this affinity, and waits until it runs. Returns why it does not.
pub(super) fn start(affinity: u64) -> Result<(), &'static str> {
    let id = count();
    let entry = PER_CPU
        .0
        .get(id)
        .ok_or("there are more than the kernel was made for")?;
    let boot_stack = stack::new().map_err(|_| "there is no memory for its stack")?;
    entry.boot_stack.store(boot_stack.end(), Ordering::Relaxed);
    // The CPU keeps it: its first thread never ends.
    core::mem::forget(boot_stack);
    give_emergency_stack(id)?;
    // It reads memory with its caches off before it turns them on.
    run!("dsb sy");
    let start = image_physical((start_secondary as *const ()).addr() as u64);
    psci::start_cpu(affinity, start, id as u64)?;
    while count() == id {
        core::hint::spin_loop();
    }
    Ok(())
}

/// Lets the first CPU report on the stack that it boots on, until it has a stack for that: what is
/// there is lost.
pub(super) fn report_on_boot_stack() {
    this()
        .emergency_stack
        .store(stack::boot_end(), Ordering::Relaxed);
}

/// Gives a CPU the stack for the report that another one has overflowed.
pub(super) fn give_emergency_stack(id: usize) -> Result<(), &'static str> {
    let stack = stack::new().map_err(|_| "there is no memory for its emergency stack")?;
    PER_CPU.0[id]
        .emergency_stack
        .store(stack.end(), Ordering::Relaxed);
    core::mem::forget(stack);
    Ok(())
}

/// Says that this CPU runs.
pub(super) fn started(id: usize) {
    COUNT.store(id + 1, Ordering::Release);
}
