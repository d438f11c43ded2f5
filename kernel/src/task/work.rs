//! What a thread must look at before it goes back to user mode.

use core::sync::atomic::{AtomicU32, Ordering};

/// A set of reasons. The way back to user mode costs one load when it is empty.
#[derive(Debug, Default)]
pub struct Work(AtomicU32);

impl Work {
    /// A signal can be delivered, or the process ends or stops.
    pub const SIGNAL: u32 = 1;
    /// Another thread should run.
    pub const RESCHEDULE: u32 = 2;
    /// Memory failed under this thread: the claim of the error is to be finished.
    pub const MEMORY_FAILURE: u32 = 4;
    /// The thread has not run yet.
    pub const START: u32 = 8;
    /// The thread is the first process's, and has no program yet.
    pub const FIRST_PROGRAM: u32 = 16;

    /// Adds reasons.
    pub fn set(&self, reasons: u32) {
        self.0.fetch_or(reasons, Ordering::SeqCst);
    }

    /// Takes reasons away.
    pub fn clear(&self, reasons: u32) {
        self.0.fetch_and(!reasons, Ordering::SeqCst);
    }

    /// Whether one of `reasons` is there.
    pub fn has(&self, reasons: u32) -> bool {
        self.0.load(Ordering::SeqCst) & reasons != 0
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
}
