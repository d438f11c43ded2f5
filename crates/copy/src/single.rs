//! Accesses of one word, inlined into their callers.

use extable::Report;

use crate::arch::single;

mod sealed {
    pub trait Sealed: Sized {
        unsafe fn load_mc(source: *const Self) -> (Self, usize);
        unsafe fn store_mc(destination: *mut Self, value: Self) -> usize;
        unsafe fn get_user(source: *const Self) -> (Self, usize);
        unsafe fn put_user(destination: *mut Self, value: Self) -> usize;
    }
}

/// An unsigned integer of 1, 2, 4 or 8 bytes.
pub trait Word: sealed::Sealed + Copy {}

macro_rules! word {
    ($type:ty, $width:ident) => {
        impl Word for $type {}
        impl sealed::Sealed for $type {
            #[inline(always)]
            unsafe fn load_mc(source: *const Self) -> (Self, usize) {
                // SAFETY: the caller of `load_mc` keeps the contract.
                unsafe { single::load_mc::$width(source) }
            }
            #[inline(always)]
            unsafe fn store_mc(destination: *mut Self, value: Self) -> usize {
                // SAFETY: the caller of `store_mc` keeps the contract.
                unsafe { single::store_mc::$width(destination, value) }
            }
            #[inline(always)]
            unsafe fn get_user(source: *const Self) -> (Self, usize) {
                // SAFETY: the caller of `get_user` keeps the contract.
                unsafe { single::get_user::$width(source) }
            }
            #[inline(always)]
            unsafe fn put_user(destination: *mut Self, value: Self) -> usize {
                // SAFETY: the caller of `put_user` keeps the contract.
                unsafe { single::put_user::$width(destination, value) }
            }
        }
    };
}

word!(u8, byte);
word!(u16, half);
word!(u32, word);
word!(u64, double);

/// Loads a word; a memory error is reported, a fault is not excused.
///
/// # Errors
///
/// The [`Report`] of the abort.
///
/// # Safety
///
/// `source` must be mapped for reads. It need not be aligned, where the CPU permits that.
#[inline(always)]
pub unsafe fn load_mc<T: Word>(source: *const T) -> Result<T, Report> {
    // SAFETY: this function's contract.
    let (value, report) = unsafe { T::load_mc(source) };
    Report::from_word(report).map_or(Ok(value), Err)
}

/// Stores a word; a memory error is reported, a fault is not excused.
///
/// # Errors
///
/// The [`Report`] of the abort.
///
/// # Safety
///
/// `destination` must be mapped for writes. It need not be aligned, where the CPU permits that.
#[inline(always)]
pub unsafe fn store_mc<T: Word>(destination: *mut T, value: T) -> Result<(), Report> {
    // SAFETY: this function's contract.
    let report = unsafe { T::store_mc(destination, value) };
    Report::from_word(report).map_or(Ok(()), Err)
}

/// Loads a word that a user maps.
///
/// # Errors
///
/// The [`Report`] of the fault or memory error.
///
/// # Safety
///
/// `source` must be a user address, and the architecture must permit user access now.
#[inline(always)]
pub unsafe fn get_user<T: Word>(source: *const T) -> Result<T, Report> {
    // SAFETY: this function's contract.
    let (value, report) = unsafe { T::get_user(source) };
    Report::from_word(report).map_or(Ok(value), Err)
}

/// Stores a word that a user maps.
///
/// # Errors
///
/// The [`Report`] of the fault or memory error.
///
/// # Safety
///
/// `destination` must be a user address, and the architecture must permit user access now.
#[inline(always)]
pub unsafe fn put_user<T: Word>(destination: *mut T, value: T) -> Result<(), Report> {
    // SAFETY: this function's contract.
    let report = unsafe { T::put_user(destination, value) };
    Report::from_word(report).map_or(Ok(()), Err)
}

/// Atomically replaces `*target` by `new` if it is `old`, and returns what it was. Sequentially
/// consistent. A memory error is reported, a fault is not excused.
///
/// # Errors
///
/// The [`Report`] of the abort; the word is then unchanged.
///
/// # Safety
///
/// `target` must be mapped for reads and writes and aligned to 4 bytes.
#[inline(always)]
pub unsafe fn cmpxchg_mc(target: *mut u32, old: u32, new: u32) -> Result<u32, Report> {
    // SAFETY: this function's contract.
    let (value, report) = unsafe { single::cmpxchg_mc(target, old, new) };
    Report::from_word(report).map_or(Ok(value), Err)
}

/// [`cmpxchg_mc`] on a word that a user maps, for futexes.
///
/// # Errors
///
/// The [`Report`] of the fault or memory error; the word is then unchanged.
///
/// # Safety
///
/// `target` must be a user address, aligned to 4 bytes, and the architecture must permit user
/// access with ordinary instructions now (x86 `stac`, aarch64 `PSTATE.PAN` = 0).
#[inline(always)]
pub unsafe fn cmpxchg_user(target: *mut u32, old: u32, new: u32) -> Result<u32, Report> {
    // SAFETY: this function's contract.
    let (value, report) = unsafe { single::cmpxchg_user(target, old, new) };
    Report::from_word(report).map_or(Ok(value), Err)
}
