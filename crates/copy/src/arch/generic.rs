//! The fallback: plain accesses with the signatures of the covered ones. They recover from
//! nothing, so nothing ever reports a failure.

use core::ptr;

use crate::outcome::Outcome;
use crate::routines::{PAGE_SIZE, Routines};

/// Nothing to choose from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(());

impl Features {
    /// What this CPU has.
    #[must_use]
    pub fn detect() -> Self {
        Self(())
    }

    /// The same without vector registers, which a kernel may not use.
    #[must_use]
    pub fn without_vectors(self) -> Self {
        self
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, _other: Self) -> bool {
        true
    }
}

pub(crate) static VARIANTS: &[Routines] = &[Routines {
    name: "generic",
    requires: Features(()),
    memcpy,
    memcpy_mc: memcpy,
    copy_from_user: memcpy,
    copy_to_user: memcpy,
    copy_page,
    copy_mc_page: copy_page,
    fill_mc: fill,
    clear_user: fill,
    compare_mc,
    is_zero_mc,
}];

const DONE: Outcome = Outcome { rest: 0, report: 0 };

unsafe extern "C" fn memcpy(destination: *mut u8, source: *const u8, length: usize) -> Outcome {
    // SAFETY: the caller's contract: both ranges are mapped and do not overlap.
    unsafe { ptr::copy_nonoverlapping(source, destination, length) };
    DONE
}

unsafe extern "C" fn copy_page(destination: *mut u8, source: *const u8) -> Outcome {
    // SAFETY: the caller's contract: both pages are mapped and are not the same.
    unsafe { memcpy(destination, source, PAGE_SIZE) }
}

unsafe extern "C" fn fill(destination: *mut u8, value: usize, length: usize) -> Outcome {
    // SAFETY: the caller's contract: the range is mapped for writes.
    unsafe { ptr::write_bytes(destination, value as u8, length) };
    DONE
}

unsafe extern "C" fn compare_mc(first: *const u8, second: *const u8, length: usize) -> Outcome {
    let differs = (0..length).find(|&offset| {
        // SAFETY: the caller's contract: `offset` is inside the range, which is mapped.
        let first = unsafe { first.wrapping_add(offset).read_volatile() };
        // SAFETY: as above.
        let second = unsafe { second.wrapping_add(offset).read_volatile() };
        first != second
    });
    Outcome {
        rest: differs.map_or(0, |offset| length - offset),
        report: 0,
    }
}

unsafe extern "C" fn is_zero_mc(source: *const u8, length: usize) -> Outcome {
    let other = (0..length).find(|&offset| {
        // SAFETY: the caller's contract: `offset` is inside the range, which is mapped.
        unsafe { source.wrapping_add(offset).read_volatile() != 0 }
    });
    Outcome {
        rest: other.map_or(0, |offset| length - offset),
        report: 0,
    }
}

/// Accesses of one word.
pub(crate) mod single {
    macro_rules! widths {
        ($($width:ident: $type:ty),*) => {
            pub(crate) mod load_mc {
                $(pub(crate) unsafe fn $width(source: *const $type) -> ($type, usize) {
                    // SAFETY: the caller's contract: the word is mapped for reads.
                    (unsafe { source.read_unaligned() }, 0)
                })*
            }
            pub(crate) mod store_mc {
                $(pub(crate) unsafe fn $width(destination: *mut $type, value: $type) -> usize {
                    // SAFETY: the caller's contract: the word is mapped for writes.
                    unsafe { destination.write_unaligned(value) };
                    0
                })*
            }
        };
    }
    widths!(byte: u8, half: u16, word: u32, double: u64);

    pub(crate) use load_mc as get_user;
    pub(crate) use store_mc as put_user;

    pub(crate) unsafe fn cmpxchg_mc(target: *mut u32, old: u32, new: u32) -> (u32, usize) {
        use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
        // SAFETY: the caller's contract: the word is mapped and aligned, and is accessed by
        // other means than Rust's references.
        let target = unsafe { AtomicU32::from_ptr(target) };
        let (Ok(was) | Err(was)) = target.compare_exchange(old, new, SeqCst, SeqCst);
        (was, 0)
    }

    pub(crate) use cmpxchg_mc as cmpxchg_user;
}
