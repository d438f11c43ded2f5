//! Parts of the kernel in which the running thread stays on its CPU.

use core::marker::PhantomData;
use core::sync::atomic::Ordering;

use crate::arch::irq;
use crate::task::{Thread, scheduler, try_current};

/// Preemption of the running thread is off as long as this lives. It stays where it was made.
#[derive(Debug)]
#[must_use = "preemption comes back at once"]
pub struct Guard {
    here: PhantomData<*const ()>,
}

/// Keeps the running thread on its CPU. These nest.
pub fn disable() -> Guard {
    begin_one();
    Guard { here: PhantomData }
}

/// Allows preemption while `action` runs, in the middle of a part that has one guard: where the
/// memory manager, which must not be preempted, lets its caller copy, and a page fault may sleep.
pub fn allow<T>(action: impl FnOnce() -> T) -> T {
    change(|thread| debug_assert_eq!(thread.preemption_off.load(Ordering::Relaxed), 1));
    end_one();
    let result = action();
    begin_one();
    result
}

// Only its own thread changes the count, and an interrupt leaves it as it was: a load and a store
// do.

fn begin_one() {
    change(|thread| {
        let count = thread.preemption_off.load(Ordering::Relaxed);
        thread.preemption_off.store(count + 1, Ordering::Relaxed);
    });
}

fn end_one() {
    let mut due = false;
    change(|thread| {
        let count = thread.preemption_off.load(Ordering::Relaxed);
        thread.preemption_off.store(count - 1, Ordering::Relaxed);
        due = count == 1 && thread.work.has(crate::task::Work::RESCHEDULE);
    });
    // With interrupts masked, the next one will see to it.
    if due && irq::is_enabled() {
        scheduler::reschedule();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        end_one();
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
