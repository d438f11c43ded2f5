//! Threads of the host.

use std::cell::Cell;
use std::thread::{Thread, current as this, park as sleep};

/// Wakes one thread.
#[derive(Clone, Debug)]
pub struct Waker(Thread);

impl PartialEq for Waker {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Waker {
    /// Makes the thread's next or present [`park`] return.
    pub fn wake(&self) {
        self.0.unpark();
    }
}

/// The waker of the running thread.
pub fn current() -> Waker {
    Waker(this())
}

/// Sleeps until a waker of this thread is used, or was used since the last sleep. May also
/// return without.
pub fn park() {
    sleep();
}

thread_local! {
    static SIGNAL: Cell<bool> = const { Cell::new(false) };
}

/// Whether a signal for the running thread waits to be delivered.
pub fn has_signal() -> bool {
    SIGNAL.get()
}

/// Makes [`has_signal`] say so.
pub fn set_signal(pending: bool) {
    SIGNAL.set(pending);
}
