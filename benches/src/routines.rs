//! The routines of this project as contestants: called as a user of the library calls them, and
//! their results looked at.

use copy::{PAGE_SIZE, Routines};

use crate::memory::{FILL, Operation};
use crate::race::Contestant;

/// A routine that can be raced, in any variant.
pub(crate) struct Routine {
    pub(crate) name: &'static str,
    pub(crate) operation: Operation,
    /// The only number of bytes it works on, if there is but one.
    pub(crate) only: Option<usize>,
    contestant: fn(String, &'static Routines) -> Contestant,
}

impl Routine {
    /// Its name in reports: `memcpy_mc/avx512`.
    pub(crate) fn full_name(&self, variant: &Routines) -> String {
        format!("{}/{}", self.name, variant.name())
    }

    /// This routine of one variant.
    pub(crate) fn of(&self, variant: &'static Routines) -> Contestant {
        (self.contestant)(self.full_name(variant), variant)
    }
}

/// A routine under the name of the method that calls it.
macro_rules! routine {
    ($operation:ident, $only:expr, |$place:ident| $method:ident($($argument:expr),*) $works:pat) => {
        Routine {
            name: stringify!($method),
            operation: Operation::$operation,
            only: $only,
            contestant: |name, variant| {
                Contestant::new(name, move |$place| {
                    // SAFETY: both ranges of a place are mapped, are the process's own, do not
                    // overlap, and no reference to them exists during a race.
                    matches!(unsafe { variant.$method($($argument),*) }, $works)
                })
            },
        }
    };
}

/// Every routine that has a rival.
pub(crate) static ROUTINES: &[Routine] = &[
    routine!(Copy, None, |place| memcpy_mc(place.destination, place.source, place.length) Ok(())),
    routine!(Copy, None, |place| copy_from_user(place.destination, place.source, place.length) Ok(())),
    routine!(Copy, None, |place| copy_to_user(place.destination, place.source, place.length) Ok(())),
    routine!(Copy, Some(PAGE_SIZE), |place| copy_mc_page(place.destination, place.source) Ok(())),
    routine!(Fill, None, |place| fill_mc(place.destination, FILL, place.length) Ok(())),
    routine!(Compare, None, |place| compare_mc(place.destination, place.source, place.length) Ok(None)),
    routine!(ZeroTest, None, |place| is_zero_mc(place.destination, place.length) Ok(None)),
];
