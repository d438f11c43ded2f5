//! The numbers of threads and processes.

use core::fmt;

use crate::error::{Errno, Result};
use crate::sync::SpinLock;

/// The number of a thread. That of a process is the one of its first thread; those of a process
/// group and a session are the ones of the processes that made them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

impl Pid {
    /// The process that starts all others.
    pub const INIT: Self = Self(1);
    /// No process: idle threads and the like.
    pub const NONE: Self = Self(0);
}

impl fmt::Debug for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

/// One more than the greatest number, as `/proc/sys/kernel/pid_max` shows it.
pub const PID_MAX: u32 = 32768;

/// After the first round numbers below this are left to the system's own processes.
const FIRST_OF_LATER_ROUNDS: u32 = 300;

const WORDS: usize = PID_MAX as usize / 64;

/// Which numbers are taken. They are given out in rounds, so that one that was just freed is not
/// the next to be given.
#[derive(Debug)]
struct Numbers {
    taken: [u64; WORDS],
    last: u32,
}

impl Numbers {
    const fn new() -> Self {
        Self {
            // Zero stands for no process.
            taken: {
                let mut words = [0; WORDS];
                words[0] = 1;
                words
            },
            last: 0,
        }
    }

    fn is_taken(&self, number: u32) -> bool {
        self.taken[number as usize / 64] & 1 << (number % 64) != 0
    }

    fn flip(&mut self, number: u32) {
        self.taken[number as usize / 64] ^= 1 << (number % 64);
    }

    fn allocate(&mut self) -> Option<u32> {
        let later = FIRST_OF_LATER_ROUNDS..=self.last;
        let number = (self.last + 1..PID_MAX)
            .chain(later)
            .find(|number| !self.is_taken(*number))?;
        self.flip(number);
        self.last = number;
        Some(number)
    }

    fn free(&mut self, number: u32) {
        debug_assert!(self.is_taken(number));
        self.flip(number);
    }
}

static NUMBERS: SpinLock<Numbers> = SpinLock::new(Numbers::new());

/// Takes a number that nobody has.
///
/// # Errors
///
/// `EAGAIN`: all are taken.
pub fn allocate() -> Result<Pid> {
    NUMBERS.lock().allocate().map(Pid).ok_or(Errno::EAGAIN)
}

/// Gives a number back.
pub fn free(pid: Pid) {
    NUMBERS.lock().free(pid.0);
}

#[cfg(test)]
mod tests {
    use super::{FIRST_OF_LATER_ROUNDS, Numbers, PID_MAX};

    #[test]
    fn numbers_go_round_and_are_unique() {
        let mut numbers = Numbers::new();
        for expected in 1..PID_MAX {
            assert_eq!(numbers.allocate(), Some(expected));
        }
        assert_eq!(numbers.allocate(), None);
        numbers.free(7);
        numbers.free(FIRST_OF_LATER_ROUNDS + 5);
        assert_eq!(numbers.allocate(), Some(FIRST_OF_LATER_ROUNDS + 5));
        assert_eq!(numbers.allocate(), None);
    }
}
