//! Several tables, registered while others search: one for each image or shared object.

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::{Abort, Fixup, Table};

/// Up to `N` registered tables. Searching takes no lock and allocates nothing, so it is fit for
/// a signal handler and for an abort handler that interrupted anything.
pub struct Tables<const N: usize> {
    slots: [AtomicPtr<Table<'static>>; N],
}

/// All slots are taken: the constant `N` of [`Tables`] is too small for this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no room to register another exception table: unregister one, or raise `N`")
    }
}

impl core::error::Error for Full {}

impl<const N: usize> Tables<N> {
    /// No table yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const { AtomicPtr::new(ptr::null_mut()) }; N],
        }
    }

    /// Adds `table`; from the return on every search sees it.
    ///
    /// # Errors
    ///
    /// [`Full`] if `N` tables are registered.
    pub fn register(&self, table: &'static Table<'static>) -> Result<(), Full> {
        let new = ptr::from_ref(table).cast_mut();
        let free = |slot: &AtomicPtr<_>| {
            slot.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        };
        if self.slots.iter().any(free) {
            Ok(())
        } else {
            Err(Full)
        }
    }

    /// Removes `table`; says whether it was there.
    ///
    /// A search that runs on another CPU may still use it, so its code may be unmapped only
    /// when no thread can be inside it.
    pub fn unregister(&self, table: &'static Table<'static>) -> bool {
        let old = ptr::from_ref(table).cast_mut();
        self.slots.iter().any(|slot| {
            slot.compare_exchange(old, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        })
    }

    /// The registered tables.
    pub fn iter(&self) -> impl Iterator<Item = &'static Table<'static>> {
        self.slots.iter().filter_map(|slot| {
            // SAFETY: `register` alone fills a slot, with a reference that is valid for ever.
            unsafe { slot.load(Ordering::Acquire).as_ref() }
        })
    }

    /// The fixup for `abort`, taken at `pc`, if an entry of any table excuses it.
    #[inline]
    #[must_use]
    pub fn find(&self, pc: usize, abort: &Abort) -> Option<Fixup> {
        self.iter().find_map(|table| table.find(pc, abort))
    }
}

impl<const N: usize> Default for Tables<N> {
    fn default() -> Self {
        Self::new()
    }
}
