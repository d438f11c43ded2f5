//! Threads of the host that play CPUs: whoever has called [`enter`] is one.

use std::cell::Cell;
use std::thread::sleep;
use std::time::Duration;

/// How many CPUs there can be.
pub const MAX: usize = 8;

thread_local! {
    static ID: Cell<usize> = const { Cell::new(0) };
}

/// How many CPUs there are: all that can be.
pub fn count() -> usize {
    MAX
}

/// The CPU that runs this.
pub fn id() -> usize {
    ID.get()
}

/// Makes the calling thread play CPU `id`.
pub fn enter(id: usize) {
    ID.set(id);
}

/// Waits for an interrupt. Called with interrupts masked; one that came before ends it too.
pub fn idle() {
    sleep(Duration::from_micros(50));
}

/// Interrupts another CPU, so that it looks at its run queue.
pub fn reschedule(_cpu: usize) {}

/// `AT_HWCAP` and `AT_HWCAP2`: what programs may use.
pub fn capabilities() -> (u64, u64) {
    (0, 0)
}
