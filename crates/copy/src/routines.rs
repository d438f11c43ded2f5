//! One implementation of every bulk routine, chosen once.

use crate::arch::{self, Features};
use crate::outcome::{Incomplete, Outcome};

/// Bytes that the page routines move.
pub const PAGE_SIZE: usize = 4096;

pub(crate) type CopyRoutine = unsafe extern "C" fn(*mut u8, *const u8, usize) -> Outcome;
pub(crate) type PageRoutine = unsafe extern "C" fn(*mut u8, *const u8) -> Outcome;
pub(crate) type FillRoutine = unsafe extern "C" fn(*mut u8, usize, usize) -> Outcome;
pub(crate) type CompareRoutine = unsafe extern "C" fn(*const u8, *const u8, usize) -> Outcome;
pub(crate) type ZeroRoutine = unsafe extern "C" fn(*const u8, usize) -> Outcome;

/// One implementation of every bulk routine.
///
/// The routines named `_mc` excuse memory errors only: a wild pointer still faults. Those named
/// `_user` excuse faults on their user side as well. `memcpy` and `copy_page` excuse nothing;
/// they are the same instructions without table entries.
pub struct Routines {
    pub(crate) name: &'static str,
    pub(crate) requires: Features,
    pub(crate) memcpy: CopyRoutine,
    pub(crate) memcpy_mc: CopyRoutine,
    pub(crate) copy_from_user: CopyRoutine,
    pub(crate) copy_to_user: CopyRoutine,
    pub(crate) copy_page: PageRoutine,
    pub(crate) copy_mc_page: PageRoutine,
    pub(crate) fill_mc: FillRoutine,
    pub(crate) clear_user: FillRoutine,
    pub(crate) compare_mc: CompareRoutine,
    pub(crate) is_zero_mc: ZeroRoutine,
}

impl Routines {
    /// Every implementation for this architecture, the plainest first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        arch::VARIANTS
    }

    /// The fastest implementation that `features` allow. There always is one.
    #[must_use]
    pub fn select(features: Features) -> &'static Self {
        let fits = |routines: &&Self| features.contains(routines.requires);
        Self::all()
            .iter()
            .rev()
            .find(fits)
            .unwrap_or(&Self::all()[0])
    }

    /// A short name for reports, e.g. `avx512`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What the CPU and the caller must allow for these to be called.
    #[must_use]
    pub fn requires(&self) -> Features {
        self.requires
    }

    /// The entry points of all routines by name, for whoever disassembles or profiles them.
    pub fn code(&self) -> impl Iterator<Item = (&'static str, usize)> {
        [
            ("memcpy", self.memcpy as *const () as usize),
            ("memcpy_mc", self.memcpy_mc as *const () as usize),
            ("copy_from_user", self.copy_from_user as *const () as usize),
            ("copy_to_user", self.copy_to_user as *const () as usize),
            ("copy_page", self.copy_page as *const () as usize),
            ("copy_mc_page", self.copy_mc_page as *const () as usize),
            ("fill_mc", self.fill_mc as *const () as usize),
            ("clear_user", self.clear_user as *const () as usize),
            ("compare_mc", self.compare_mc as *const () as usize),
            ("is_zero_mc", self.is_zero_mc as *const () as usize),
        ]
        .into_iter()
    }

    /// Copies `length` bytes. Memory errors on either side are reported; faults are not excused.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] with the exact number of bytes that arrived.
    ///
    /// # Safety
    ///
    /// `source` must be mapped for reads and `destination` for writes of `length` bytes, and they
    /// must not overlap. The memory itself may fail. Rust must not hold a reference to either.
    #[inline]
    pub unsafe fn memcpy_mc(
        &self,
        destination: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.memcpy_mc)(destination, source, length) }.of(length)
    }

    /// Copies `length` bytes from memory that a user maps.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] for a fault or memory error in the source, or a memory error in the
    /// destination, with the exact number of bytes that arrived.
    ///
    /// # Safety
    ///
    /// `source` must be below the limit of user addresses for `length` bytes and the architecture
    /// must permit user access now (x86 `stac`; the aarch64 routines use unprivileged loads).
    /// `destination` must be valid for writes, and overlap neither the source nor any reference.
    #[inline]
    pub unsafe fn copy_from_user(
        &self,
        destination: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.copy_from_user)(destination, source, length) }.of(length)
    }

    /// Copies `length` bytes to memory that a user maps.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] for a fault or memory error in the destination, or a memory error in the
    /// source, with the exact number of bytes that arrived.
    ///
    /// # Safety
    ///
    /// As for [`copy_from_user`](Self::copy_from_user), with the sides exchanged.
    #[inline]
    pub unsafe fn copy_to_user(
        &self,
        destination: *mut u8,
        source: *const u8,
        length: usize,
    ) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.copy_to_user)(destination, source, length) }.of(length)
    }

    /// Copies a page of [`PAGE_SIZE`] bytes; as [`memcpy_mc`](Self::memcpy_mc) otherwise.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] with the exact number of bytes that arrived.
    ///
    /// # Safety
    ///
    /// As for [`memcpy_mc`](Self::memcpy_mc). The pointers should be aligned to [`PAGE_SIZE`]; only
    /// the speed depends on it.
    #[inline]
    pub unsafe fn copy_mc_page(
        &self,
        destination: *mut u8,
        source: *const u8,
    ) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.copy_mc_page)(destination, source) }.of(PAGE_SIZE)
    }

    /// Copies `length` bytes and excuses nothing: for memory that is known to be good.
    ///
    /// # Safety
    ///
    /// As for [`core::ptr::copy_nonoverlapping`].
    #[inline]
    pub unsafe fn memcpy(&self, destination: *mut u8, source: *const u8, length: usize) {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.memcpy)(destination, source, length) };
    }

    /// Copies a page of [`PAGE_SIZE`] bytes and excuses nothing.
    ///
    /// # Safety
    ///
    /// As for [`core::ptr::copy_nonoverlapping`]. The pointers should be aligned to [`PAGE_SIZE`];
    /// only the speed depends on it.
    #[inline]
    pub unsafe fn copy_page(&self, destination: *mut u8, source: *const u8) {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.copy_page)(destination, source) };
    }

    /// Fills `length` bytes with `value`.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] for a memory error, with the exact number of bytes filled.
    ///
    /// # Safety
    ///
    /// `destination` must be mapped for writes of `length` bytes, and no reference to it exist.
    #[inline]
    pub unsafe fn fill_mc(
        &self,
        destination: *mut u8,
        value: u8,
        length: usize,
    ) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.fill_mc)(destination, usize::from(value), length) }.of(length)
    }

    /// Clears `length` bytes of memory that a user maps.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] for a fault or a memory error, with the exact number of bytes cleared.
    ///
    /// # Safety
    ///
    /// As for the destination of [`copy_to_user`](Self::copy_to_user).
    #[inline]
    pub unsafe fn clear_user(&self, destination: *mut u8, length: usize) -> Result<(), Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.clear_user)(destination, 0, length) }.of(length)
    }

    /// Offset of the first byte in which two ranges differ, `None` if they are equal.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] if a memory error comes before any difference; `copied` bytes are equal.
    ///
    /// # Safety
    ///
    /// Both must be mapped for reads of `length` bytes.
    #[inline]
    pub unsafe fn compare_mc(
        &self,
        first: *const u8,
        second: *const u8,
        length: usize,
    ) -> Result<Option<usize>, Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.compare_mc)(first, second, length) }.found(length)
    }

    /// Offset of the first byte that is not zero, `None` if all are.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] if a memory error comes before any such byte; `copied` bytes are zero.
    ///
    /// # Safety
    ///
    /// `source` must be mapped for reads of `length` bytes.
    #[inline]
    pub unsafe fn is_zero_mc(
        &self,
        source: *const u8,
        length: usize,
    ) -> Result<Option<usize>, Incomplete> {
        // SAFETY: the caller's contract is the routine's.
        unsafe { (self.is_zero_mc)(source, length) }.found(length)
    }
}
