//! Lines of translation tables that cannot be read any more.
//!
//! A program whose tables have failed is killed, and its memory is given back. Whoever does that asks
//! here before it reads a descriptor, so that nobody meets the same error again.

use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Bytes that fail together.
const LINE: u64 = 64;

/// How many lines are remembered. Each costs a program its life, and a frame of memory.
const LIMIT: usize = 64;

/// A set of lines, which only grows, and is read without a lock.
#[derive(Debug)]
pub struct LostLines {
    count: AtomicUsize,
    lines: [AtomicU64; LIMIT],
}

static LOST: LostLines = LostLines::new();

/// Those of this machine's translation tables.
pub fn lost_descriptors() -> &'static LostLines {
    &LOST
}

impl LostLines {
    /// None.
    pub const fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            lines: [const { AtomicU64::new(0) }; LIMIT],
        }
    }

    /// Remembers the lines of a range of physical addresses. Returns whether there was room.
    pub fn add(&self, range: RangeInclusive<u64>) -> bool {
        let mut lines = range.start() / LINE..=range.end() / LINE;
        lines.all(|line| self.contains(line * LINE) || self.add_line(line * LINE))
    }

    fn add_line(&self, line: u64) -> bool {
        let room = |count: usize| (count < LIMIT).then_some(count + 1);
        let index = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, room);
        // Until it is stored the place has 0, which is no line of a table.
        index.is_ok_and(|index| {
            self.lines[index].store(line, Ordering::Release);
            true
        })
    }

    /// Whether the line with this physical address is one of them.
    #[inline]
    pub fn contains(&self, address: u64) -> bool {
        let count = self.count.load(Ordering::Relaxed);
        count > 0 && self.is_among(count, address)
    }

    #[cold]
    fn is_among(&self, count: usize, address: u64) -> bool {
        let line = address / LINE * LINE;
        let mut known = self.lines[..count].iter();
        known.any(|known| known.load(Ordering::Acquire) == line)
    }
}

impl Default for LostLines {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, LINE, LostLines};

    #[test]
    fn lines_are_known_once_they_are_added() {
        let lost = LostLines::new();
        assert!(!lost.contains(0x4000_0040));
        assert!(lost.add(0x4000_0048..=0x4000_0049) && lost.add(0x4000_0078..=0x4000_0078));
        assert!(lost.contains(0x4000_0040) && lost.contains(0x4000_007f));
        assert!(!lost.contains(0x4000_0080) && !lost.contains(0x4000_003f));
        let rest = (LIMIT as u64 - 1) * LINE;
        assert!(lost.add(0x5000_0000..=0x5000_0000 + rest - 1));
        assert!(lost.contains(0x5000_0000) && lost.contains(0x5000_0000 + rest - 1));
        assert!(!lost.add(0x6000_0000..=0x6000_003f) && !lost.contains(0x6000_0000));
        assert!(lost.add(0x4000_0040..=0x4000_007f), "it is known");
    }
}
