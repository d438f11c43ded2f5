//! Memory errors: from what the CPU and firmware say to pages that are given up and processes that
//! are told.
//!
//! ```text
//!   vector ──▶ synchronous_abort ── claims firmware's record, queues it ──▶ Verdict
//!   interrupt ─▶ notification ─────┘ (no lock, no allocation)               │
//!                                                                           ▼
//!   task context: finish ──▶ log, memory_failure for each page ──▶ signals to whoever met it
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `abort` | what the CPU says, and what its handler must do |
//! | `sources` | firmware's tables, and taking what its sources report |
//! | `queue` | reports between the two halves, without a lock |
//! | `engine` | both halves |
//! | `corrected` | pages with many corrected errors |
//! | `text` | reports in the words of Linux's log |
//! | `controls` | `/sys`, `/proc/sys` and debugfs: pages given up on request |
//! | `einj` | error injection by ACPI EINJ, behind debugfs |
//!
//! # Who is told
//!
//! Whoever met an error in *user mode* gets SIGBUS with `BUS_MCEERR_AR`, unless the page can be read
//! again. If the *kernel* met it on a program's behalf, its copy ends early, the call returns so,
//! and nobody gets a signal. An error that nobody met is told to those who asked for it
//! (`PR_MCE_KILL`, `vm.memory_failure_early_kill`). The page is given up in all three cases, before
//! the thread goes back to user mode.
//!
//! # If firmware says nothing
//!
//! An abort that no record explains, because there is no firmware that reports or because two CPUs
//! met errors at once and one of them took both records, goes by the address that the CPU gives.

mod abort;
pub mod controls;
mod corrected;
pub mod einj;
mod engine;
mod queue;
mod sources;
mod text;

#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::AtomicBool;

use crate::arch::{self, cpu, time};
use crate::error::{Errno, Result};
use crate::init::kernel_process;
use crate::memory::manager;
use crate::ras::abort::Severity;
pub use crate::ras::abort::{Abort, Mode, Verdict};
use crate::ras::engine::{Engine, Finisher};
use crate::ras::queue::NOBODY;
use crate::ras::sources::Firmware;
use crate::sync::{Mutex, WaitQueue};
use crate::task::signal::force;
use crate::task::{Name, Pid, Thread, Work, current, id, scheduler, try_current};

static ENGINE: spin::Once<Engine<arch::Firmware>> = spin::Once::new();

static EINJ: Mutex<einj::Parameters> = Mutex::new(einj::Parameters::new());

/// Where the worker sleeps.
static WORKER: WaitQueue = WaitQueue::new();

/// Reads firmware's tables. Call it once, when there is a heap. `rsdp` is the physical address of
/// the ACPI root pointer, if there is one; `recovers` is what `recover=` says on the command line.
/// Gives the interrupts (GIC INTIDs) for which [`notification`] must be called.
pub fn initialize(
    platform: arch::Firmware,
    rsdp: Option<u64>,
    recovers: bool,
) -> impl Iterator<Item = u32> {
    let firmware = rsdp.and_then(|rsdp| match Firmware::read(platform, rsdp) {
        Ok(firmware) => {
            log::info!(
                "GHES: {} error sources of firmware's are in use",
                firmware.count()
            );
            Some(firmware)
        }
        Err(error) => {
            log::error!("HEST: firmware's error tables cannot be used: {error}");
            None
        }
    });
    if let Some(firmware) = &firmware {
        firmware.touch();
    }
    let engine = ENGINE.call_once(|| Engine::new(firmware, recovers));
    engine.firmware().into_iter().flat_map(Firmware::interrupts)
}

/// An abort for which [`Abort::of`] has a value. Call it first of all, with the registers saved and
/// interrupts as they are; it may interrupt anything, itself included.
pub fn synchronous_abort(abort: &Abort) -> Verdict {
    let Some(engine) = ENGINE.get() else {
        return Verdict::Panic("memory error before the kernel is ready for one");
    };
    let verdict = engine.synchronous_abort(cpu::id(), owner(), abort);
    note_work();
    verdict
}

/// An SError with this syndrome (`ESR_EL1`), as above.
pub fn serror(mode: Mode, esr: u64) -> Verdict {
    let severity = Severity::of_serror(esr);
    let Some(engine) = ENGINE.get() else {
        return Verdict::Panic("SError before the kernel is ready for one");
    };
    let verdict = engine.serror(cpu::id(), owner(), mode, severity);
    note_work();
    verdict
}

/// An interrupt of those that [`initialize`] named. To be called from the timer as well, about once a
/// second: for sources that must be asked, and for what an SError left.
///
/// # Panics
///
/// If firmware says that the system cannot go on.
pub fn notification() {
    let Some(engine) = ENGINE.get() else {
        return;
    };
    match engine.notification(cpu::id()) {
        Ok(()) if engine.is_pending_for(NOBODY) => WORKER.wake_all(),
        Ok(()) => {}
        Err(why) => panic!("{why}"),
    }
}

/// Finishes what concerns the running thread. Call it on the way back to user mode while the
/// thread's work has [`Work::MEMORY_FAILURE`], before signals are looked at.
pub fn finish() {
    let thread = current();
    thread.work.clear(Work::MEMORY_FAILURE);
    let space = thread.process.space();
    if let Some(engine) = ENGINE.get() {
        let finisher = Finisher {
            owner: thread.id().0,
            space: space.as_ref().map(|space| space.handle()),
            now: time::now(),
        };
        engine.finish(&manager(), &finisher, force);
    }
}

/// Whether this interrupt (GIC INTID) is one that [`initialize`] named.
pub fn is_notification(interrupt: u32) -> bool {
    let firmware = ENGINE.get().and_then(Engine::firmware);
    firmware.is_some_and(|firmware| firmware.interrupts().any(|number| number == interrupt))
}

/// Starts the thread that finishes what nobody met.
///
/// # Errors
///
/// `ENOMEM`.
pub fn start() -> Result<()> {
    let state = arch::thread::State::kernel(work, 0)?;
    let thread = Thread::new(id::allocate()?, kernel_process(), state);
    *thread.name.lock() = Name::new(b"memory_failure");
    scheduler::start(&Arc::new(thread))
}

fn work(_: usize) {
    loop {
        let engine =
            WORKER.wait_until(|| ENGINE.get().filter(|engine| engine.is_pending_for(NOBODY)));
        let finisher = Finisher {
            owner: NOBODY,
            space: None,
            now: time::now(),
        };
        // What nobody met raises no signal for this thread.
        engine.finish(&manager(), &finisher, |_, _| {});
    }
}

/// Whether the system goes on after a page has failed (`vm.memory_failure_recovery`). `None` before
/// [`initialize`].
pub fn goes_on() -> Option<&'static AtomicBool> {
    ENGINE.get().map(Engine::goes_on)
}

/// What one of [`einj::FILES`] says.
///
/// # Errors
///
/// `ENOENT`: firmware offers no error injection. Otherwise as [`einj::Parameters::read`].
pub fn read_einj(file: &str) -> Result<String> {
    EINJ.lock().read(&injector()?, file)
}

/// Writes to one of them.
///
/// # Errors
///
/// `ENOENT`: firmware offers no error injection. Otherwise as [`einj::Parameters::write`].
pub fn write_einj(file: &str, text: &[u8]) -> Result<()> {
    EINJ.lock().write(&injector()?, file, text)
}

fn injector() -> Result<einj::Injector<'static, arch::Firmware>> {
    let firmware = ENGINE.get().and_then(Engine::firmware);
    let injector = firmware.and_then(|firmware| {
        Some(einj::Injector {
            table: firmware.einj()?,
            platform: firmware.platform(),
        })
    });
    injector.ok_or(Errno::ENOENT)
}

/// Finishes what the running thread has met while it ended, after which it never goes back to user
/// mode.
pub fn finish_last() {
    if current().work.has(Work::MEMORY_FAILURE) {
        finish();
    }
}

/// Whose errors those are that happen now. Threads of the kernel's do not go back to user mode.
fn owner() -> u32 {
    let thread = try_current().filter(|thread| thread.process.id != Pid::NONE);
    thread.map_or(NOBODY, |thread| thread.id().0)
}

fn note_work() {
    if let Some(thread) = try_current() {
        thread.work.set(Work::MEMORY_FAILURE);
    }
}
