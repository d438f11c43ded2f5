//! Corrected errors: a frame that has many of them is taken out of use before it loses a line.
//!
//! The count belongs to the memory, not to what is in it: it outlives the frame's users.

use core::sync::atomic::Ordering;

use crate::{Errno, Machine, Memory, Pfn};

/// The threshold at first: what Linux's collector of corrected errors starts with.
pub(crate) const DEFAULT_THRESHOLD: u16 = 1023;

/// What was done about a corrected error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrected {
    /// It was counted: so many the frame has had.
    Counted(u16),
    /// The frame has had too many. Its page has moved, and it is out of use.
    Offlined,
}

impl<M: Machine> Memory<M> {
    /// Counts a corrected error of a frame, and takes it out of use with
    /// [`soft_offline`](Self::soft_offline) when they are too many.
    ///
    /// # Errors
    ///
    /// `ENXIO`: the frame is not ours. Otherwise they are too many, and the errors are those of
    /// `soft_offline`; the next corrected error tries again.
    pub fn corrected_error(&self, pfn: Pfn) -> Result<Corrected, Errno> {
        let count = {
            let mut frame = self.frames.find(pfn).ok_or(Errno::ENXIO)?;
            frame.corrected = frame.corrected.saturating_add(1);
            frame.corrected
        };
        if count < self.failures.corrected_threshold.load(Ordering::Relaxed) {
            return Ok(Corrected::Counted(count));
        }
        self.soft_offline(pfn).map(|()| Corrected::Offlined)
    }

    /// Sets how many corrected errors a frame may have had when it is taken out of use.
    pub fn set_corrected_threshold(&self, threshold: u16) {
        self.failures
            .corrected_threshold
            .store(threshold, Ordering::Relaxed);
    }

    /// Halves the counts of all frames. Called once a day or so, it makes the threshold one of a
    /// rate.
    pub fn age_corrected_errors(&self) {
        for mut frame in self.frames.all().filter_map(|pfn| self.frames.find(pfn)) {
            frame.corrected /= 2;
        }
    }
}
