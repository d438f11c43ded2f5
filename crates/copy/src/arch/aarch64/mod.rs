//! AArch64.

mod access;
mod features;
mod fill;
mod general;
mod mops;
mod search;
#[cfg(target_feature = "neon")]
mod simd;
pub(crate) mod single;
mod tags;

pub use features::Features;
pub use tags::{copy_mc_page_tags, copy_mc_tags};

use crate::routines::{CopyRoutine, PageRoutine, Routines};

/// Fills and searches need no more than general registers to keep up with memory, so all variants
/// share them.
const fn variant(
    name: &'static str,
    requires: Features,
    [memcpy, memcpy_mc]: [CopyRoutine; 2],
    [copy_from_user, copy_to_user]: [CopyRoutine; 2],
    [copy_page, copy_mc_page]: [PageRoutine; 2],
) -> Routines {
    Routines {
        name,
        requires,
        memcpy,
        memcpy_mc,
        copy_from_user,
        copy_to_user,
        copy_page,
        copy_mc_page,
        fill_mc: fill::fill_mc,
        clear_user: fill::clear_user,
        compare_mc: search::compare_mc,
        is_zero_mc: search::is_zero_mc,
    }
}

/// The last that is allowed is chosen. The copy instructions come last because each CPU that has
/// them runs them in the way that is best for it, at any size, in kernels and processes alike.
///
/// A target without vector registers, for kernels, does not get the `simd` variant at all.
pub(crate) static VARIANTS: &[Routines] = &[
    variant(
        "general",
        Features::NONE,
        [general::memcpy, general::memcpy_mc],
        [general::copy_from_user, general::copy_to_user],
        [general::copy_page, general::copy_mc_page],
    ),
    #[cfg(target_feature = "neon")]
    variant(
        "simd",
        Features::VECTORS,
        [simd::memcpy, simd::memcpy_mc],
        [general::copy_from_user, general::copy_to_user],
        [simd::copy_page, simd::copy_mc_page],
    ),
    variant(
        "mops",
        Features::MOPS,
        [mops::memcpy, mops::memcpy_mc],
        [mops::copy_from_user, mops::copy_to_user],
        [mops::copy_page, mops::copy_mc_page],
    ),
];
