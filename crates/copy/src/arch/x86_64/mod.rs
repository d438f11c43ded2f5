//! x86-64.

mod access;
mod features;
mod fill;
mod general;
mod search;
pub(crate) mod single;
mod vector;

pub use features::Features;

use crate::routines::{
    CompareRoutine, CopyRoutine, FillRoutine, PageRoutine, Routines, ZeroRoutine,
};

/// What has no copies: fills, a comparison, a search.
struct Others {
    fills: [FillRoutine; 2],
    compare_mc: CompareRoutine,
    is_zero_mc: ZeroRoutine,
}

const GENERAL: Others = Others {
    fills: [fill::general::fill_mc, fill::general::clear_user],
    compare_mc: search::general::compare_mc,
    is_zero_mc: search::general::is_zero_mc,
};

/// Vectors of 16 bytes serve all that may use vectors: these are limited by their loads or stores.
const VECTOR: Others = Others {
    fills: [fill::vector::fill_mc, fill::vector::clear_user],
    compare_mc: search::vector::compare_mc,
    is_zero_mc: search::vector::is_zero_mc,
};

const fn variant(
    name: &'static str,
    requires: Features,
    [memcpy, memcpy_mc, copy_from_user, copy_to_user]: [CopyRoutine; 4],
    [copy_page, copy_mc_page]: [PageRoutine; 2],
    others: Others,
) -> Routines {
    let [fill_mc, clear_user] = others.fills;
    Routines {
        name,
        requires,
        memcpy,
        memcpy_mc,
        copy_from_user,
        copy_to_user,
        copy_page,
        copy_mc_page,
        fill_mc,
        clear_user,
        compare_mc: others.compare_mc,
        is_zero_mc: others.is_zero_mc,
    }
}

/// A variant whose copies are in one module.
macro_rules! variant_of {
    ($name:literal, $requires:ident, $module:path, $others:ident) => {{
        use $module as copies;
        variant(
            $name,
            Features::$requires,
            [
                copies::memcpy,
                copies::memcpy_mc,
                copies::copy_from_user,
                copies::copy_to_user,
            ],
            [copies::copy_page, copies::copy_mc_page],
            $others,
        )
    }};
}

pub(crate) static VARIANTS: &[Routines] = &[
    variant_of!("fragile", NONE, general::fragile, GENERAL),
    variant_of!("general", FAST_STRINGS, general::general, GENERAL),
    variant_of!("sse2", SSE2, vector::sse2, VECTOR),
    variant_of!("avx", AVX, vector::avx, VECTOR),
    variant_of!("avx512", AVX512, vector::avx512, VECTOR),
];
