//! x86-64.

mod access;
mod features;
mod fill;
mod general;
mod search;
pub(crate) mod single;
mod vector;

pub use features::Features;

use crate::routines::Routines;

/// Fills and searches need no vector registers to keep up with memory, so all variants share them.
const fn variant(
    name: &'static str,
    requires: Features,
    copies: [crate::routines::CopyRoutine; 4],
    pages: [crate::routines::PageRoutine; 2],
) -> Routines {
    let [memcpy, memcpy_mc, copy_from_user, copy_to_user] = copies;
    let [copy_page, copy_mc_page] = pages;
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

macro_rules! copies {
    ($module:path) => {{
        use $module::{copy_from_user, copy_to_user, memcpy, memcpy_mc};
        [memcpy, memcpy_mc, copy_from_user, copy_to_user]
    }};
}

pub(crate) static VARIANTS: &[Routines] = &[
    variant(
        "fragile",
        Features::NONE,
        copies!(general::fragile),
        [general::fragile_copy_page, general::fragile_copy_mc_page],
    ),
    variant(
        "general",
        Features::FAST_STRINGS,
        copies!(general::general),
        PAGES,
    ),
    variant("sse2", Features::SSE2, copies!(vector::sse2), PAGES),
    variant("avx", Features::AVX, copies!(vector::avx), PAGES),
    variant("avx512", Features::AVX512, copies!(vector::avx512), PAGES),
];

const PAGES: [crate::routines::PageRoutine; 2] = [general::copy_page, general::copy_mc_page];
