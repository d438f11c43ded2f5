//! Corrected errors, counted by page: one that keeps having them is given up while its bytes can
//! still be read.

use mm::Pfn;

/// How many corrected errors a page may have within [`WINDOW`].
pub(super) const THRESHOLD: u32 = 8;

/// Errors further apart than this are not counted together: nanoseconds.
pub(super) const WINDOW: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Pages that are watched at once.
const WATCHED: usize = 64;

/// Counts of the pages that had errors last.
#[derive(Debug)]
pub(super) struct Counts {
    pages: [Option<Count>; WATCHED],
}

#[derive(Clone, Copy, Debug)]
struct Count {
    pfn: Pfn,
    errors: u32,
    /// When the first of them came.
    since: u64,
    /// When the last of them came.
    last: u64,
}

impl Counts {
    /// No errors.
    pub(super) const fn new() -> Self {
        Self {
            pages: [None; WATCHED],
        }
    }

    /// Counts an error in a page at time `now`, in nanoseconds. Whether the page had so many that it
    /// must be given up; then it is counted no more.
    pub(super) fn add(&mut self, pfn: Pfn, now: u64) -> bool {
        let found = self
            .pages
            .iter()
            .position(|count| count.is_some_and(|count| count.pfn == pfn));
        let index = found.unwrap_or_else(|| self.least_recent());
        let fresh = Count {
            pfn,
            errors: 0,
            since: now,
            last: now,
        };
        let mut count = match self.pages[index] {
            Some(count) if count.pfn == pfn && now.saturating_sub(count.since) < WINDOW => count,
            _ => fresh,
        };
        count.errors += 1;
        count.last = now;
        let is_over = count.errors >= THRESHOLD;
        self.pages[index] = (!is_over).then_some(count);
        is_over
    }

    fn least_recent(&self) -> usize {
        let age = |index: &usize| self.pages[*index].map(|count| count.last);
        (0..WATCHED).min_by_key(age).unwrap_or(0)
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use mm::Pfn;

    use super::{Counts, THRESHOLD, WATCHED, WINDOW};

    #[test]
    fn a_storm_on_one_page_is_noticed_among_others() {
        let mut counts = Counts::new();
        for round in 1..=u64::from(THRESHOLD) {
            for other in 0..WATCHED as u64 / 2 {
                let storm = counts.add(Pfn(1000 + round * 100 + other), round);
                assert!(!storm);
            }
            assert_eq!(counts.add(Pfn(7), round), round == u64::from(THRESHOLD));
        }
        assert!(!counts.add(Pfn(7), 100), "it starts again");
    }

    #[test]
    fn rare_errors_are_forgotten() {
        let mut counts = Counts::new();
        for day in 0..100 {
            assert!(!counts.add(Pfn(7), day * WINDOW));
        }
    }
}
