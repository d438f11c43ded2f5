//! What each thread has done, in memory that the parent sees: the child may not live to tell.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::shared::Shared;

/// Children of a round.
pub const CHILDREN: usize = 2;
/// Threads of a child.
pub const THREADS: usize = 3;
/// How many of its last calls a thread leaves.
const LAST: usize = 8;
/// Numbers of calls that are counted one by one; greater ones are counted together.
const NUMBERS: usize = 512;
/// Error numbers that are counted.
const ERRNOS: usize = 134;

/// One call.
#[derive(Debug)]
struct Made {
    number: AtomicU64,
    arguments: [AtomicU64; 6],
    result: AtomicU64,
}

/// What a result is until the call returns.
const PENDING: u64 = 0x7ead_7ead_7ead_7ead;

/// The calls of one thread.
#[derive(Debug)]
pub struct Log {
    made: AtomicU64,
    is_done: AtomicU32,
    last: [Made; LAST],
}

impl Log {
    /// Writes down a call that is about to be made.
    pub fn begin(&self, number: u64, arguments: [u64; 6]) {
        let slot = self.slot(self.made.fetch_add(1, Ordering::Relaxed));
        slot.number.store(number, Ordering::Relaxed);
        for (to, from) in slot.arguments.iter().zip(arguments) {
            to.store(from, Ordering::Relaxed);
        }
        slot.result.store(PENDING, Ordering::Relaxed);
    }

    /// Writes down its result.
    pub fn end(&self, result: i64) {
        let last = self.made().wrapping_sub(1);
        self.slot(last)
            .result
            .store(result as u64, Ordering::Relaxed);
    }

    /// The thread has made all its calls.
    pub fn finish(&self) {
        self.is_done.store(1, Ordering::Release);
    }

    fn slot(&self, index: u64) -> &Made {
        &self.last[index as usize % LAST]
    }

    fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    fn lines(&self) -> Vec<String> {
        let made = self.made();
        (made.saturating_sub(LAST as u64)..made)
            .map(|index| {
                let slot = self.slot(index);
                let arguments: Vec<_> = slot
                    .arguments
                    .iter()
                    .map(|argument| format!("{:#x}", argument.load(Ordering::Relaxed)))
                    .collect();
                let number = slot.number.load(Ordering::Relaxed);
                let result = match slot.result.load(Ordering::Relaxed) {
                    PENDING => "(has not returned)".to_owned(),
                    result => format!("{}", result as i64),
                };
                format!("{number}({}) = {result}", arguments.join(", "))
            })
            .collect()
    }
}

/// The records of all threads, and the sums.
#[derive(Debug)]
pub struct Record {
    logs: [[Log; THREADS]; CHILDREN],
    calls: [AtomicU64; NUMBERS],
    errnos: [AtomicU64; ERRNOS],
}

// SAFETY: it is made of atomics, of which zeros are values.
unsafe impl Shared for Record {}

impl Record {
    /// The log of a thread.
    #[must_use]
    pub fn log(&self, child: usize, thread: usize) -> &Log {
        &self.logs[child][thread]
    }

    /// Counts a call that has returned.
    pub fn count(&self, number: u64, result: i64) {
        let index = usize::try_from(number).map_or(NUMBERS - 1, |index| index.min(NUMBERS - 1));
        self.calls[index].fetch_add(1, Ordering::Relaxed);
        let errno = usize::try_from(-result).unwrap_or(0);
        if let Some(count) = self.errnos.get(errno) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins a round.
    pub fn clear(&self) {
        for log in self.logs.iter().flatten() {
            log.made.store(0, Ordering::Relaxed);
            log.is_done.store(0, Ordering::Relaxed);
        }
    }

    /// How many calls were begun in this round, and whether all threads are done.
    #[must_use]
    pub fn progress(&self) -> (u64, bool) {
        let logs = self.logs.iter().flatten();
        let made = logs.clone().map(Log::made).sum();
        let mut logs = logs;
        (
            made,
            logs.all(|log| log.is_done.load(Ordering::Acquire) != 0),
        )
    }

    /// The last calls of all threads of this round, line by line.
    #[must_use]
    pub fn last_calls(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (child, logs) in self.logs.iter().enumerate() {
            for (thread, log) in logs.iter().enumerate() {
                lines.push(format!(
                    "child {child} thread {thread}: {} calls",
                    log.made()
                ));
                lines.extend(log.lines().into_iter().map(|line| format!("  {line}")));
            }
        }
        lines
    }

    /// How often each call has returned, by number; the last is all that are greater.
    #[must_use]
    pub fn calls(&self) -> Vec<u64> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.calls.iter().map(load).collect()
    }

    /// How often each error was returned, by number. 0 is success.
    #[must_use]
    pub fn errnos(&self) -> Vec<u64> {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.errnos.iter().map(load).collect()
    }
}
