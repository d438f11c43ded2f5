//! Notices that a signal comes round: the handler above us got it from us and calls us with it.
//!
//! That handler may also leave by `longjmp` and never give its turn back. The two are told
//! apart by the stack. A call that comes round has the context we passed on, and runs deeper in
//! the same stack; a new signal has another context or starts at the top of the alternate stack.

use std::ffi::c_void;
use std::hint;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::kernel::thread_id;

/// More threads than this inside of a handler above us at once: those too many pass it over.
const TURNS: usize = 64;

/// The thread, 0 for none, and what tells its call from a later one. Only that thread writes it.
struct Slot {
    thread: AtomicU32,
    context: AtomicUsize,
    stack: AtomicUsize,
}

static SLOTS: [Slot; TURNS] = [const {
    Slot {
        thread: AtomicU32::new(0),
        context: AtomicUsize::new(0),
        stack: AtomicUsize::new(0),
    }
}; TURNS];

/// The calling thread is inside of the handler above us.
pub(super) struct Turn(&'static Slot);

impl Turn {
    /// `None` if the signal with this context comes round, or if there is no room to know.
    #[inline(never)]
    pub(super) fn take(context: *mut c_void) -> Option<Self> {
        let (here, context) = (stack_address(), context.addr());
        let thread = thread_id();
        let own = |slot: &&Slot| slot.thread.load(Ordering::Relaxed) == thread;
        let free = |slot: &&Slot| {
            slot.thread
                .compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        let slot = if let Some(slot) = SLOTS.iter().find(own) {
            if slot.context.load(Ordering::Relaxed) == context
                && here < slot.stack.load(Ordering::Relaxed)
            {
                return None;
            }
            slot
        } else {
            SLOTS.iter().find(free)?
        };
        slot.context.store(context, Ordering::Relaxed);
        slot.stack.store(here, Ordering::Relaxed);
        Some(Self(slot))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Relaxed);
    }
}

/// How deep in its stack the calling function is.
#[inline(always)]
fn stack_address() -> usize {
    let here = 0_u8;
    hint::black_box(&raw const here).addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    /// Calls `then` from deeper in the stack.
    #[inline(never)]
    fn deeper<T>(then: impl FnOnce() -> T) -> T {
        let room = hint::black_box([0_u8; 256]);
        let result = then();
        hint::black_box(room);
        result
    }

    #[test]
    fn only_the_same_signal_deeper_in_the_stack_comes_round() {
        let context = ptr::without_provenance_mut(0x1000);
        let other = ptr::without_provenance_mut(0x2000);
        let turn = Turn::take(context).unwrap();
        assert!(deeper(|| Turn::take(context)).is_none());
        // A nested signal, at another place in the stack.
        assert!(deeper(|| Turn::take(other)).is_some());
        drop(turn);
        assert!(deeper(|| Turn::take(context)).is_some());
    }

    #[test]
    fn a_turn_that_was_never_given_back_is_no_obstacle() {
        let context = ptr::without_provenance_mut(0x3000);
        std::mem::forget(deeper(|| Turn::take(context)).unwrap());
        assert!(Turn::take(context).is_some());
    }
}
