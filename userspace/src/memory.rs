//! The operations on raw memory.

use std::mem::MaybeUninit;
use std::mem::transmute_copy;

use copy::{Incomplete, Routines};
use extable::{Report, Side};

use crate::error::MemoryError;
use crate::page;
use crate::plain::Plain;

/// Access to raw memory that may fail. Having one proves that [`install`](crate::install())
/// succeeded.
///
/// An operation costs one indirect call beside the routine itself: no system call, no thread-local
/// storage, no branch that the plain routine would not have. Loads and stores of 1, 2, 4 and 8
/// bytes are single instructions, inlined.
///
/// # What a failure means
///
/// Everything before the unit that failed has been processed ([`MemoryError::copied`]); nothing
/// beyond was written. Poison is touched once.
///
/// Only memory that *fails* is an error. A wild pointer still is SIGSEGV: it is a bug, and hiding
/// it would make it worse.
///
/// # SIGBUS must not be blocked
///
/// A memory error in a thread that has SIGBUS blocked kills the process; no handler can help. Debug
/// builds check the mask in every operation, and panic. Do not call these operations in a handler
/// for SIGBUS that was installed without `SA_NODEFER`.
///
/// # Safety of every operation
///
/// The memory may be unreadable in the sense of this crate, may be changed by others at any time,
/// and need not be aligned. But it must be mapped, with the permission that the operation
/// needs; no Rust reference to it may exist whose promises others can break; and the ranges of a
/// copy must not overlap.
#[derive(Clone, Copy)]
pub struct Memory {
    routines: &'static Routines,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Memory").field(&self.variant()).finish()
    }
}

impl Memory {
    pub(crate) fn new(routines: &'static Routines) -> Self {
        Self { routines }
    }

    /// Name of the routines that suit this CPU best, for reports.
    #[must_use]
    pub fn variant(self) -> &'static str {
        self.routines.name()
    }

    /// Copies `length` bytes.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if either side fails.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read and `destination` written for `length` bytes.
    #[inline]
    pub unsafe fn copy(
        self,
        destination: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { self.routines.memcpy_mc(destination, source, length) };
        result.map_err(|incomplete| stopped(&incomplete, Some(source), Some(destination)))
    }

    /// Sets `length` bytes to `value`.
    ///
    /// # Errors
    ///
    /// [`MemoryError`], with the number of bytes set.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `destination` is written for `length` bytes.
    #[inline]
    pub unsafe fn fill(
        self,
        destination: *mut u8,
        value: u8,
        length: usize,
    ) -> Result<(), MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { self.routines.fill_mc(destination, value, length) };
        result.map_err(|incomplete| stopped(&incomplete, None, Some(destination)))
    }

    /// Offset of the first byte in which two ranges of `length` bytes differ; `None` if none does.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if one fails before a difference; `copied` bytes are equal.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; both are read for `length` bytes, and may overlap.
    #[inline]
    pub unsafe fn compare(
        self,
        first: *const u8,
        second: *const u8,
        length: usize,
    ) -> Result<Option<usize>, MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { self.routines.compare_mc(first, second, length) };
        result.map_err(|incomplete| {
            let failed = if incomplete.report.second_source() {
                second
            } else {
                first
            };
            stopped(&incomplete, Some(failed), None)
        })
    }

    /// Whether all of `length` bytes are zero. Stops at the first that is not.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if memory fails before such a byte; `copied` bytes are zero.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read for `length` bytes.
    #[inline]
    pub unsafe fn is_zero(self, source: *const u8, length: usize) -> Result<bool, MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { self.routines.is_zero_mc(source, length) };
        result
            .map(|found| found.is_none())
            .map_err(|incomplete| stopped(&incomplete, Some(source), None))
    }

    /// Offset of the first of `length` bytes that equals `byte`; `None` if none does.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if memory fails before such a byte; `copied` bytes are different.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read for `length` bytes.
    #[inline]
    pub unsafe fn find_byte(
        self,
        source: *const u8,
        byte: u8,
        length: usize,
    ) -> Result<Option<usize>, MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { copy::find_byte_mc(self.routines, source, byte, length) };
        result.map_err(|incomplete| stopped(&incomplete, Some(source), None))
    }

    /// A 64-bit checksum of `length` bytes, to notice changes; the same on every architecture, but
    /// neither cryptographic nor compatible with anything.
    ///
    /// # Errors
    ///
    /// [`MemoryError`], with the number of bytes that could be read.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read for `length` bytes.
    #[inline]
    pub unsafe fn checksum(self, source: *const u8, length: usize) -> Result<u64, MemoryError> {
        check_mask();
        // SAFETY: the caller's contract is the routine's.
        let result = unsafe { copy::checksum_mc(self.routines, source, length) };
        result.map_err(|incomplete| stopped(&incomplete, Some(source), None))
    }

    /// Loads a value. Like [`read_volatile`](std::ptr::read_volatile), it is never left out,
    /// repeated or merged; up to 8 bytes that are a power of two it is one instruction.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]; `copied` bytes could be read, which is 0 for a single instruction.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `source` is read.
    #[inline]
    pub unsafe fn load<T: Plain>(self, source: *const T) -> Result<T, MemoryError> {
        macro_rules! word {
            ($word:ty) => {{
                check_mask();
                // SAFETY: the caller's contract; the word is as long as `T`.
                let word = match unsafe { copy::load_mc(source.cast::<$word>()) } {
                    Ok(word) => word,
                    // SAFETY: the same memory.
                    Err(report) => return Err(unsafe { word_failed(report, source) }),
                };
                // SAFETY: as long as `T`, for which every pattern of bits is a value.
                Ok(unsafe { transmute_copy(&word) })
            }};
        }
        match size_of::<T>() {
            1 => word!(u8),
            2 => word!(u16),
            4 => word!(u32),
            8 => word!(u64),
            length => {
                let mut value = MaybeUninit::<T>::uninit();
                // SAFETY: the caller's contract for the source; the destination is a local.
                unsafe { self.copy(value.as_mut_ptr().cast(), source.cast(), length) }?;
                // SAFETY: all bytes were written, and every pattern of bits is a value.
                Ok(unsafe { value.assume_init() })
            }
        }
    }

    /// Stores a value; as [`load`](Self::load) otherwise.
    ///
    /// # Errors
    ///
    /// [`MemoryError`]; `copied` bytes were written, which is 0 for a single instruction.
    ///
    /// # Safety
    ///
    /// See [`Memory`]; `destination` is written.
    #[inline]
    pub unsafe fn store<T: Plain>(self, destination: *mut T, value: T) -> Result<(), MemoryError> {
        macro_rules! word {
            ($word:ty) => {{
                check_mask();
                // SAFETY: the word is as long as `T`, which has no padding.
                let word: $word = unsafe { transmute_copy(&value) };
                // SAFETY: the caller's contract.
                match unsafe { copy::store_mc(destination.cast(), word) } {
                    Ok(()) => Ok(()),
                    // SAFETY: the same memory; what Linux lets write, it lets read.
                    Err(report) => Err(unsafe { word_failed(report, destination.cast_const()) }),
                }
            }};
        }
        match size_of::<T>() {
            1 => word!(u8),
            2 => word!(u16),
            4 => word!(u32),
            8 => word!(u64),
            // SAFETY: the caller's contract for the destination; the source is a local.
            length => unsafe { self.copy(destination.cast(), (&raw const value).cast(), length) },
        }
    }
}

#[cold]
fn stopped(
    incomplete: &Incomplete,
    source: Option<*const u8>,
    destination: Option<*mut u8>,
) -> MemoryError {
    let start = match incomplete.side() {
        Some(Side::Source) => source.map(<*const u8>::addr),
        Some(Side::Destination) => destination.map(<*mut u8>::addr),
        None => None,
    };
    let address = start.map(|start| start.wrapping_add(incomplete.copied));
    MemoryError::new(incomplete.report, incomplete.copied, address)
}

/// The error of one instruction that accessed a word at `start`.
///
/// A word may lie in two pages, and the handler does not say which of them failed; only then they
/// are touched again.
///
/// # Safety
///
/// The word must be mapped for reads.
#[cold]
unsafe fn word_failed<T>(report: Report, start: *const T) -> MemoryError {
    let first = start.cast::<u8>();
    let last = first.wrapping_add(size_of::<T>() - 1);
    let page = page::around(first.addr()..first.addr() + 1);
    let failed = if page.contains(&last.addr()) {
        Some(first)
    } else {
        // SAFETY: both bytes are of the word.
        let fails = |byte: &*const u8| unsafe { copy::load_mc(*byte) }.is_err();
        [first, last].into_iter().find(fails)
    };
    MemoryError::new(report, 0, failed.map(<*const u8>::addr))
}

/// In debug builds, makes sure that a memory error in this thread would reach our handler.
#[inline(always)]
fn check_mask() {
    if cfg!(debug_assertions) {
        assert_sigbus_is_not_blocked();
    }
}

#[track_caller]
fn assert_sigbus_is_not_blocked() {
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: nothing to set, and room for the answer.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr()) };
    // SAFETY: a set is plain integers: zero, or what the call wrote.
    let mask = unsafe { mask.assume_init() };
    // SAFETY: a valid set and a valid signal.
    let blocked = unsafe { libc::sigismember(&raw const mask, libc::SIGBUS) } == 1;
    assert!(
        !blocked,
        "SIGBUS is blocked in this thread, so a memory error would kill the process: \
         unblock it with pthread_sigmask before using seaworthy"
    );
}
