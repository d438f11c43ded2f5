//! Holding a CPU up in the middle of an operation, so that a test can do something meanwhile.

use std::sync::{Arc, Barrier, Mutex};

use super::machine::locked;

/// Where a CPU can be held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Before an allocation.
    Allocation,
    /// Before a page is copied.
    Copy,
    /// After a frame was filled from the store of a file, before it is in the cache.
    StoreRead,
    /// After a page was read to be written to the store of its file, before the store has it.
    StoreWrite,
}

/// Where the next CPU is to be held up, if at all.
#[derive(Debug, Default)]
pub(super) struct Hold(Mutex<Option<(Held, Arc<Barrier>)>>);

impl Hold {
    pub(super) fn next(&self, at: Held) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        *locked(&self.0) = Some((at, Arc::clone(&barrier)));
        barrier
    }

    /// A CPU is here.
    pub(super) fn reached(&self, at: Held) {
        let held = locked(&self.0).take_if(|(place, _)| *place == at);
        if let Some((_, barrier)) = held {
            barrier.wait();
            barrier.wait();
        }
    }
}
