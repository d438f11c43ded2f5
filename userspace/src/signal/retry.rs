//! Which imprecise reports were already answered by running on.
//!
//! A thread that fails again at the same instruction with the same address is in a loop, and its
//! signal must go to whoever else wants it. Kept without a lock, for a signal handler; losing a
//! note to another thread costs one more turn.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::kernel::thread_id;

/// Notes of more threads than this at once push out the oldest.
const NOTES: usize = 64;

/// A thread, 0 for none, and where it was.
struct Note {
    thread: AtomicU32,
    place: AtomicU64,
}

static TAKEN: [Note; NOTES] = [const {
    Note {
        thread: AtomicU32::new(0),
        place: AtomicU64::new(0),
    }
}; NOTES];
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Whether any note may be there, so that a fixup costs one load.
static ANY: AtomicU32 = AtomicU32::new(0);

/// Whether this is the first report to this thread at this program counter and address. The second
/// is not, and ends the matter.
#[cold]
pub(super) fn is_first(program_counter: usize, address: usize) -> bool {
    let (thread, place) = (thread_id(), place(program_counter, address));
    let again = TAKEN.iter().find(|note| {
        note.thread.load(Ordering::Relaxed) == thread && note.place.load(Ordering::Relaxed) == place
    });
    if let Some(note) = again {
        note.thread.store(0, Ordering::Relaxed);
        return false;
    }
    let note = &TAKEN[NEXT.fetch_add(1, Ordering::Relaxed) % NOTES];
    note.thread.store(0, Ordering::Relaxed);
    note.place.store(place, Ordering::Relaxed);
    note.thread.store(thread, Ordering::Relaxed);
    ANY.store(1, Ordering::Relaxed);
    true
}

/// An access of this thread was fixed up: what came before it is settled.
#[inline]
pub(super) fn settle() {
    if ANY.load(Ordering::Relaxed) != 0 {
        forget();
    }
}

#[cold]
fn forget() {
    let thread = thread_id();
    let mut left = 0;
    for note in &TAKEN {
        match note.thread.load(Ordering::Relaxed) {
            0 => {}
            owner if owner == thread => note.thread.store(0, Ordering::Relaxed),
            _ => left = 1,
        }
    }
    // A note that another thread makes meanwhile stays; only its settling may be missed.
    ANY.store(left, Ordering::Relaxed);
}

/// Two addresses in one word. Multiplying by an odd number loses nothing, so that two places
/// collide only if their distances happen to cancel.
fn place(program_counter: usize, address: usize) -> u64 {
    (program_counter as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ address as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_report_is_answered_once() {
        assert!(is_first(0x1000, 0x2000));
        assert!(is_first(0x1004, 0x2000));
        assert!(!is_first(0x1000, 0x2000));
        // The matter is closed, so a later report is a new one.
        assert!(is_first(0x1000, 0x2000));
        settle();
        assert!(is_first(0x1000, 0x2000));
        assert!(is_first(0x1004, 0x2000));
        settle();
    }

    #[test]
    fn threads_do_not_answer_for_each_other() {
        assert!(is_first(0x7000, 0x8000));
        std::thread::spawn(|| {
            assert!(is_first(0x7000, 0x8000));
            settle();
        })
        .join()
        .unwrap();
        assert!(!is_first(0x7000, 0x8000));
    }
}
