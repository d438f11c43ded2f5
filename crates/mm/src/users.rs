//! Counting the users of what goes with the last of them.
//!
//! The one place where CPUs agree on something by an atomic alone. All others are statistics,
//! settings, sources of numbers, or are only changed with a lock held.

#[cfg(not(under_loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(under_loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

/// How many there are.
#[derive(Debug)]
pub(crate) struct Users(AtomicU32);

impl Users {
    /// One, who is making the thing.
    pub(crate) fn one() -> Self {
        Self(AtomicU32::new(1))
    }

    /// A user gets itself company: so there is one, and nothing needs an order.
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// A user leaves. Returns whether it was the last, who then sees what all others did.
    pub(crate) fn remove(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Interleavings: `RUSTFLAGS="--cfg under_loom" cargo test -p seaworthy-mm --lib loom`.
#[cfg(all(test, under_loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::thread;

    use super::Users;

    const THREADS: usize = 3;

    struct Shared {
        users: Users,
        /// What each thread did as a user.
        done: [AtomicU32; THREADS],
        ended: AtomicU32,
    }

    impl Shared {
        /// A thread works, and leaves.
        fn use_it(&self, thread: usize) {
            // As who maps a part of what it has mapped, and unmaps it.
            self.users.add();
            assert!(!self.users.remove(), "this thread uses it");
            self.done[thread].store(1, Ordering::Relaxed);
            if self.users.remove() {
                for done in &self.done {
                    assert_eq!(done.load(Ordering::Relaxed), 1, "somebody still works");
                }
                self.ended.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn the_last_of_all_users_ends_it_once_and_sees_what_the_others_did() {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let shared = Arc::new(Shared {
                users: Users::one(),
                done: [(); THREADS].map(|()| AtomicU32::new(0)),
                ended: AtomicU32::new(0),
            });
            let threads: Vec<_> = (1..THREADS)
                .map(|thread| {
                    shared.users.add();
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.use_it(thread))
                })
                .collect();
            shared.use_it(0);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(shared.ended.load(Ordering::Relaxed), 1);
        });
    }
}
