//! How many huge pages the pool has, which of them wait, and how many are reserved.

use crate::Errno;
use crate::bitmap::Bitmap;

/// Counts of huge pages, as in `/proc/meminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HugetlbStatistics {
    /// All of the pool, in use or not (`HugePages_Total`).
    pub total: u64,
    /// Those that wait (`HugePages_Free`).
    pub free: u64,
    /// Those that are promised and not handed out yet (`HugePages_Rsvd`). They are more than wait
    /// only if memory failed.
    pub reserved: u64,
    /// Those above the size that was set, which go with their users (`HugePages_Surp`).
    pub surplus: u64,
}

/// The pool. Its lock is held by nobody who takes another.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The huge pages that wait, by their number from the first frame.
    waiting: Bitmap,
    pub(crate) counts: HugetlbStatistics,
    /// How many there may be above the size that was set.
    pub(crate) overcommit: u64,
}

impl Pool {
    /// An empty pool, for memory of so many blocks.
    pub(crate) fn new(blocks: usize) -> Result<Self, Errno> {
        Ok(Self {
            waiting: Bitmap::new(blocks)?,
            counts: HugetlbStatistics::default(),
            overcommit: 0,
        })
    }

    /// How many wait and are not reserved.
    pub(crate) fn available(&self) -> u64 {
        self.counts.free.saturating_sub(self.counts.reserved)
    }

    /// The size that was set, as far as it was reached.
    pub(crate) fn persistent(&self) -> u64 {
        self.counts.total - self.counts.surplus
    }

    /// Whether it may have another huge page: by its limit, or to keep a promise.
    pub(crate) fn may_overcommit(&self) -> bool {
        self.counts.surplus < self.overcommit || self.counts.reserved > self.counts.free
    }

    /// A huge page joins.
    pub(crate) fn add(&mut self, block: usize, surplus: bool) {
        self.waiting.insert(block);
        self.counts.total += 1;
        self.counts.free += 1;
        self.counts.surplus += u64::from(surplus);
    }

    /// Hands one out, by a reservation or without.
    pub(crate) fn take(&mut self, reserved: bool) -> Option<usize> {
        if !reserved && self.available() == 0 {
            return None;
        }
        let block = self.next()?;
        self.counts.reserved -= u64::from(reserved);
        Some(block)
    }

    fn next(&mut self) -> Option<usize> {
        let block = self.waiting.first()?;
        self.waiting.remove(block);
        self.counts.free -= 1;
        Some(block)
    }

    /// One that is in use joins.
    pub(crate) fn join(&mut self) {
        self.counts.total += 1;
    }

    /// Whether one that comes back, with its reservation if it has one, is wanted: surplus goes,
    /// unless it is all there is for those who reserved.
    pub(crate) fn keeps(&self, reserved: bool) -> bool {
        reserved || self.counts.surplus == 0 || self.counts.free < self.counts.reserved
    }

    /// One that is kept comes back.
    pub(crate) fn give_back(&mut self, block: usize, reserved: bool) {
        self.waiting.insert(block);
        self.counts.free += 1;
        self.counts.reserved += u64::from(reserved);
    }

    /// One that is not kept comes back.
    pub(crate) fn drop_surplus(&mut self) {
        self.counts.total -= 1;
        self.counts.surplus -= 1;
    }

    /// One that was handed out is lost. The reservation it was for remains.
    pub(crate) fn lose(&mut self, reserved: bool) {
        self.counts.total -= 1;
        self.counts.surplus = self.counts.surplus.min(self.counts.total);
        self.counts.reserved += u64::from(reserved);
    }

    /// Takes out one that waits, if it does.
    pub(crate) fn withdraw(&mut self, block: usize) -> bool {
        if !self.waiting.contains(block) {
            return false;
        }
        self.waiting.remove(block);
        self.counts.free -= 1;
        self.lose(false);
        true
    }

    /// Takes out one that nobody reserved.
    pub(crate) fn shrink(&mut self) -> Option<usize> {
        if self.available() == 0 {
            return None;
        }
        let block = self.next()?;
        self.lose(false);
        Some(block)
    }

    /// Takes out one that nobody reserved, if there are more than were set.
    pub(crate) fn trim(&mut self) -> Option<usize> {
        if self.counts.surplus == 0 || self.available() == 0 {
            return None;
        }
        let block = self.next()?;
        self.drop_surplus();
        Some(block)
    }

    /// Promises so many. Returns whether there are as many.
    pub(crate) fn reserve(&mut self, count: u64) -> bool {
        let can = count <= self.available();
        if can {
            self.counts.reserved += count;
        }
        can
    }

    pub(crate) fn unreserve(&mut self, count: u64) {
        self.counts.reserved -= count;
    }
}
