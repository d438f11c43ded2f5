//! Parts of the kernel in which the running thread stays on its CPU.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use crate::task::{Thread, scheduler, try_current};

/// Preemption of the running thread is off as long as this lives. It stays where it was made.
#[derive(Debug)]
#[must_use = "preemption comes back at once"]
pub struct Guard {
    here: PhantomData<*const ()>,
}

/// Keeps the running thread on its CPU. These nest.
pub fn disable() -> Guard {
    change(|thread| {
        thread.preemption_off.fetch_add(1, Ordering::Relaxed);
    });
    Guard { here: PhantomData }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut due = false;
        change(|thread| {
            due = thread.preemption_off.fetch_sub(1, Ordering::Relaxed) == 1
                && thread.work.has(crate::task::Work::RESCHEDULE);
        });
        if due {
            scheduler::reschedule();
        }
    }
}

/// Whether an interrupt may switch to another thread now.
pub fn is_enabled() -> bool {
    try_current().is_some_and(|thread| thread.preemption_off.load(Ordering::Relaxed) == 0)
}

/// Before a CPU has its first thread nothing can be preempted.
fn change(change: impl FnOnce(&Thread)) {
    if let Some(thread) = try_current() {
        change(&thread);
    }
}
