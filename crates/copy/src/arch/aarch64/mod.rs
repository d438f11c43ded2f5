//! AArch64.

mod access;
mod features;
mod fill;
mod general;
mod search;
pub(crate) mod single;

pub use features::Features;

use crate::routines::Routines;

pub(crate) static VARIANTS: &[Routines] = &[Routines {
    name: "general",
    requires: Features::NONE,
    memcpy: general::memcpy,
    memcpy_mc: general::memcpy_mc,
    copy_from_user: general::copy_from_user,
    copy_to_user: general::copy_to_user,
    copy_page: general::copy_page,
    copy_mc_page: general::copy_mc_page,
    fill_mc: fill::fill_mc,
    clear_user: fill::clear_user,
    compare_mc: search::compare_mc,
    is_zero_mc: search::is_zero_mc,
}];
