//! A row of the table, and how it is run.

use std::ffi::CStr;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use anyhow::{Result, ensure};

use crate::system_call::raw;

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It fails with this error.
    Errno(i32),
    /// It returns this.
    Value(i64),
    /// The caller dies of this signal.
    Signal(i32),
}

impl Answer {
    /// What a system call returned in X0.
    pub fn of_call(result: i64) -> Self {
        /// Errors are the negative numbers of the last page.
        const ERRORS: std::ops::Range<i64> = -4095..0;
        if ERRORS.contains(&result) {
            Self::Errno(-result as i32)
        } else {
            Self::Value(result)
        }
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "{}", io::Error::from_raw_os_error(*errno)),
            Self::Value(value) => write!(f, "{value}"),
            Self::Signal(libc::SIGALRM) => write!(f, "nothing: the call does not return"),
            Self::Signal(signal) => write!(f, "death by signal {signal}"),
        }
    }
}

/// A system call with bad arguments, and what must come of it.
#[derive(Clone, Debug)]
pub struct Row {
    /// The call as the table has it.
    pub text: &'static str,
    number: i64,
    arguments: [u64; 6],
    expected: Answer,
    /// What our kernel answers instead, and why.
    ours: Option<(Answer, &'static str)>,
}

impl Row {
    /// A row that is the same everywhere.
    pub fn new(text: &'static str, number: i64, arguments: &[u64], expected: Answer) -> Self {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        Self {
            text,
            number,
            arguments: all,
            expected,
            ours: None,
        }
    }

    /// The same row, to which our kernel has another answer.
    pub fn but_ours(self, answer: Answer, reason: &'static str) -> Self {
        Self {
            ours: Some((answer, reason)),
            ..self
        }
    }

    /// The name of the system call, as in `SYS_read`.
    pub fn name(&self) -> &'static str {
        self.text
            .split_once('(')
            .map_or(self.text, |(name, _)| name)
    }

    /// Runs the row in a child. Gives the reason if the answer is different on purpose.
    ///
    /// # Errors
    ///
    /// If the answer is not the expected one.
    pub fn check(&self, slot: &Slot, on_ours: bool) -> Result<Option<&'static str>> {
        let (expected, reason) = match self.ours {
            Some((answer, reason)) if on_ours => (answer, Some(reason)),
            _ => (self.expected, None),
        };
        let answer = self.run(slot)?;
        ensure!(answer == expected, "expected {expected}, got {answer}");
        Ok(reason)
    }

    fn run(&self, slot: &Slot) -> Result<Answer> {
        /// Time for a call that should not block, in seconds.
        const LIMIT: u32 = 5;
        slot.has_returned.store(false, Ordering::SeqCst);
        // SAFETY: this program has one thread; the child makes system calls only.
        let child = unsafe { libc::fork() };
        ensure!(child >= 0, "cannot fork: {}", io::Error::last_os_error());
        if child == 0 {
            // SAFETY: the default action ends the child.
            unsafe { libc::alarm(LIMIT) };
            let result = raw(self.number, self.arguments);
            slot.result.store(result, Ordering::SeqCst);
            slot.has_returned.store(true, Ordering::SeqCst);
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: the result is valid.
        let waited = unsafe { libc::waitpid(child, &mut status, 0) };
        ensure!(waited == child, "cannot wait for the child");
        if libc::WIFSIGNALED(status) {
            return Ok(Answer::Signal(libc::WTERMSIG(status)));
        }
        ensure!(
            slot.has_returned.load(Ordering::SeqCst),
            "the child ended with status {status:#x} inside the call"
        );
        Ok(Answer::of_call(slot.result.load(Ordering::SeqCst)))
    }
}

/// Where a child leaves what its call returned: in memory that it shares with its parent.
#[derive(Debug, Default)]
pub struct Slot {
    has_returned: AtomicBool,
    result: AtomicI64,
}

/// What can stand as an argument in the table.
pub trait Argument {
    /// The register's value. What is pointed to is never freed.
    fn word(self) -> u64;
}

macro_rules! number_is_argument {
    ($($number:ty),*) => {$(
        impl Argument for $number {
            fn word(self) -> u64 {
                self as u64
            }
        }
    )*};
}

number_is_argument!(i32, u32, i64, u64, usize);

impl Argument for &'static CStr {
    fn word(self) -> u64 {
        self.as_ptr().addr() as u64
    }
}

impl<const N: usize> Argument for [u64; N] {
    fn word(self) -> u64 {
        Box::leak(Box::new(self)).as_ptr().addr() as u64
    }
}

/// Makes rows of lines such as `SYS_close(CLOSED) = EBADF;`. `0` and other numbers are values
/// that the call returns; `ours ENOSYS "reason"` behind it is what our kernel answers.
macro_rules! rows {
    ($($call:ident($($argument:expr),* $(,)?) = $kind:ident $answer:expr
        $(, ours $our_kind:ident $our_answer:expr, $reason:literal)?;)*) => {
        vec![$({
            let row = $crate::errno::row::Row::new(
                concat!(stringify!($call), "(", stringify!($($argument),*), ")"),
                libc::$call,
                &[$($crate::errno::row::Argument::word($argument)),*],
                $crate::errno::row::Answer::$kind($answer),
            );
            $(let row = row.but_ours(
                $crate::errno::row::Answer::$our_kind($our_answer),
                $reason,
            );)?
            row
        }),*]
    };
}
pub(super) use rows;
