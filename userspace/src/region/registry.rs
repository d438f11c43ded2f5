//! Every region of the process: the list that a rescan walks, and the addresses that the signal
//! handler asks about.

use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{RegionId, Shared};

/// Poison that a [`rescan`] found and that was not known before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where.
    pub region: RegionId,
    /// Which bytes, from the start of the region.
    pub range: Range<usize>,
}

static REGIONS: Mutex<Vec<Arc<Shared>>> = Mutex::new(Vec::new());

fn regions() -> MutexGuard<'static, Vec<Arc<Shared>>> {
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn add(shared: Arc<Shared>) {
    let mut regions = regions();
    insert(shared.addresses());
    regions.push(shared);
}

/// From the return on nobody but the caller accesses the memory of `shared` through this list: a
/// rescan holds the lock for as long as it lasts.
pub(super) fn remove(shared: &Arc<Shared>) {
    let mut regions = regions();
    regions.retain(|other| !Arc::ptr_eq(shared, other));
    delete(&shared.addresses());
}

/// Looks for poison in what is resident of every region, and remembers it.
///
/// A notice of poison is only a hint: SIGBUS is not queued, so two may arrive as one, and a page
/// that is mapped twice is reported once. Costs about 0.1 µs per resident page; pages that are not
/// resident cannot be poisoned, and are not brought in. Needs Linux 5.14.
#[must_use]
pub fn rescan() -> Vec<Lost> {
    let lost = |shared: &Arc<Shared>| {
        let region = shared.id;
        let found = shared.rescan().into_iter();
        found.map(move |range| Lost { region, range })
    };
    regions().iter().flat_map(lost).collect()
}

/// The addresses of some regions. A handler reads them while they change, and may see the start of
/// one with the end of another. It then takes a foreign address for ours, once.
struct Block {
    ranges: [(AtomicUsize, AtomicUsize); 32],
    next: AtomicPtr<Self>,
}

impl Block {
    const fn new() -> Self {
        Self {
            ranges: [const { (AtomicUsize::new(0), AtomicUsize::new(0)) }; 32],
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn next(&self) -> Option<&'static Self> {
        // SAFETY: `insert` alone sets this, to a block that lives for ever.
        unsafe { self.next.load(Ordering::Acquire).as_ref() }
    }
}

static BLOCKS: Block = Block::new();

fn blocks() -> impl Iterator<Item = &'static Block> {
    std::iter::successors(Some(&BLOCKS), |block| block.next())
}

/// Whether `address` is in a region. For a signal handler: no lock.
pub(crate) fn contains(address: usize) -> bool {
    blocks().any(|block| {
        block.ranges.iter().any(|(start, end)| {
            start.load(Ordering::Relaxed) <= address && address < end.load(Ordering::Relaxed)
        })
    })
}

/// The caller holds the lock of the list, so that slots are taken one at a time.
fn insert(addresses: Range<usize>) {
    if addresses.is_empty() {
        return;
    }
    let mut last = &BLOCKS;
    for block in blocks() {
        last = block;
        if let Some(free) = block
            .ranges
            .iter()
            .find(|(_, end)| end.load(Ordering::Relaxed) == 0)
        {
            free.0.store(addresses.start, Ordering::Relaxed);
            free.1.store(addresses.end, Ordering::Relaxed);
            return;
        }
    }
    let block = Block::new();
    block.ranges[0].0.store(addresses.start, Ordering::Relaxed);
    block.ranges[0].1.store(addresses.end, Ordering::Relaxed);
    let block = Box::leak(Box::new(block));
    last.next.store(block, Ordering::Release);
}

/// The caller holds the lock of the list.
fn delete(addresses: &Range<usize>) {
    let taken = blocks()
        .flat_map(|block| &block.ranges)
        .find(|(start, end)| {
            start.load(Ordering::Relaxed) == addresses.start
                && end.load(Ordering::Relaxed) == addresses.end
        });
    if let Some((start, end)) = taken {
        end.store(0, Ordering::Relaxed);
        start.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_while_they_are_registered() {
        // Not addresses of anything, so that no test that runs beside this one has them.
        let ranges: Vec<_> = (1..=100).map(|n| n * 0x100..n * 0x100 + 0x80).collect();
        for range in &ranges {
            let _list = regions();
            insert(range.clone());
        }
        for range in &ranges {
            assert!(contains(range.start) && contains(range.end - 1));
            assert!(!contains(range.end) && !contains(range.start - 1));
        }
        for range in &ranges {
            let _list = regions();
            delete(range);
            assert!(!contains(range.start));
        }
    }
}
