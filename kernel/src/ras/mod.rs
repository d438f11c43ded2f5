//! Memory errors: from the exception that reports one to the page's isolation.
//!
//! * In user mode: the page is isolated at once, in the context of the thread that needed it, and
//!   the thread gets `SIGBUS` unless its access can be repeated.
//! * In a copy of the kernel's: the copy has ended with an error, and its caller goes on. The page
//!   is isolated before the thread returns to user mode. Nobody is signalled.
//! * Elsewhere in the kernel: nothing can be done; the report names the page.
//!
//! What runs in the exception takes no lock and allocates nothing: it may have interrupted anything.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mm::{Consumer, Context, Errno, PAGE_SHIFT, Pfn, Report, VirtualAddress};
use syndrome::{AsyncErrorType, SError};

use crate::memory::manager;
use crate::task::signal::{self, Fault, Info, Signal};
use crate::task::{Work, current, preemption, try_current};

/// What an exception says of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryError {
    /// ESR_EL1.
    pub syndrome: u64,
    /// The virtual address at which it was met, if the CPU knows.
    pub address: Option<u64>,
    /// The physical address, if the virtual one leads to one.
    pub physical: Option<u64>,
    /// It was met in a translation table.
    pub on_walk: bool,
}

impl MemoryError {
    /// The frame that failed, if that is known.
    pub fn frame(&self) -> Option<Pfn> {
        self.physical.map(|address| Pfn(address >> PAGE_SHIFT))
    }
}

static RECOVERS: AtomicBool = AtomicBool::new(true);

/// Whether the kernel survives errors in its own copies. `recover=off` on the command line turns it
/// off, for comparison.
pub fn recovers() -> bool {
    RECOVERS.load(Ordering::Relaxed)
}

/// Obeys the command line.
pub fn configure(command_line: &str) {
    let off = command_line.split_ascii_whitespace().any(|word| word == "recover=off");
    RECOVERS.store(!off, Ordering::Relaxed);
}

/// Frames that failed in copies, plus 1, until someone isolates them. 0 is a free place.
static QUEUE: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

/// Remembers a frame for [`isolate_queued`]. When there is no room it is left to the next access.
fn queue(frame: Pfn) {
    let value = frame.0 + 1;
    let claim = |place: &AtomicU64| {
        let taken = place.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed);
        taken.is_ok() || taken == Err(value)
    };
    if QUEUE.iter().any(claim)
        && let Some(thread) = try_current()
    {
        thread.work.set(Work::MEMORY_FAILURE);
    }
}

/// Isolates what failed in copies of the kernel's. In the context of a thread that may take locks.
pub fn isolate_queued() {
    for place in &QUEUE {
        let value = place.swap(0, Ordering::AcqRel);
        if value != 0 {
            // Whatever it finds, nobody here needs the page.
            let _ = isolate(Pfn(value - 1), None);
        }
    }
}

fn isolate(frame: Pfn, consumer: Option<Consumer>) -> Result<Report, Errno> {
    let context = Context {
        consumer,
        ..Context::default()
    };
    let report = {
        let _guard = preemption::disable();
        manager().memory_failure(frame, context)
    };
    match &report {
        Ok(report) => log::error!(
            "Memory failure: {:#x}: recovery action for {}: {}",
            frame.0,
            report.page,
            report.action
        ),
        Err(error) => log::error!("Memory failure: {:#x}: {error:?}", frame.0),
    }
    report
}

/// The running program met an error.
pub fn in_user(error: MemoryError, fault: Fault) {
    let lost = Info::fault(Signal::SIGBUS, signal::code::OBJECT, error.address.unwrap_or(0));
    let (Some(frame), Ok(space)) = (error.frame(), current().space()) else {
        return signal::force(lost, Some(fault));
    };
    let consumer = Consumer {
        space: space.id(),
        address: VirtualAddress(error.address.unwrap_or(0)),
    };
    match isolate(frame, Some(consumer)) {
        Ok(report) => {
            if let Some(bus) = report.signal {
                signal::force(Info::memory(bus), Some(fault));
            }
        }
        // Isolated before: the access is repeated, and finds what that left.
        Err(Errno::EHWPOISON) => {}
        Err(_) => signal::force(lost, Some(fault)),
    }
}

/// The kernel met an error, and `recovered` if that was in a copy.
pub fn in_kernel(error: MemoryError, recovered: bool) {
    if recovered && let Some(frame) = error.frame() {
        queue(frame);
    }
}

/// An error came by itself. Returns whether the kernel can go on.
pub fn asynchronous(error: SError) -> bool {
    match error.error_type() {
        Some(AsyncErrorType::Corrected | AsyncErrorType::Restartable) => {
            log::warn!("SError {error:?}");
            true
        }
        _ => false,
    }
}
