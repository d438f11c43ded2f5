//! Copies by the memory copy instructions (FEAT_MOPS; Arm ARM C3.2.14, C6.2 `CPYFP`).
//!
//! Always the forward-only forms: the contract has no overlap, and only they make progress from
//! the start. The instructions come in threes (prologue, main, epilogue), each with an entry.
//!
//! # Progress
//!
//! An implementation keeps its state between the three in one of two ways. With option A the
//! addresses stay at the ends of the ranges and X2 counts up from minus what is left; with option
//! B the addresses advance and X2 counts down. Before the prologue has begun, X2 is what is left.
//! So what is left is the absolute value of X2 in every state, and the addresses follow from the
//! ends, which X4 and X5 keep: no need to know the option or the stage.
//!
//! X2 may lag behind what was stored, but no byte before the place it tells is missing. The pad's
//! byte loop goes on from there, and finds the exact place at the cost of a second failure where
//! the abort did not tell the address.

use super::access::{access, base_registers, copy_landing_pads};
use crate::outcome::Outcome;

/// One of the three instructions from `x1` to `x0`, with an entry.
macro_rules! stage {
    (plain, $instruction:literal) => {
        concat!($instruction, " [x0]!, [x1]!, x2!\n")
    };
    (mc, $instruction:literal) => {
        stage!(@ $instruction, KernelAccess, "0")
    };
    (from_user, $instruction:literal) => {
        stage!(@ $instruction, UserCopy, "0")
    };
    (to_user, $instruction:literal) => {
        stage!(@ $instruction, UserCopy, "4")
    };
    (@ $instruction:literal, $kind:ident, $user_is_destination:literal) => {
        concat!(
            "81: ", $instruction, " [x0]!, [x1]!, x2!\n",
            // From x1 to x0, with an unknown reach.
            extable::entry!("81b", "93f", $kind, "(0 << 10 | 1 << 5 | 1 << 3 | 2 | ", $user_is_destination, ")"),
        )
    };
}

/// The landing pad of all three, in front of those of a copy.
macro_rules! stage_landing_pad {
    (plain) => {
        ""
    };
    ($flavour:ident) => {
        "
    93: cmp     x2, #0
        cneg    x2, x2, mi
        sub     x0, x4, x2
        sub     x1, x5, x2
        // Bit 2 of the report: the limit is in the destination. If no side is known, it is the
        // largest number, and the loop finds the place.
        tbnz    x17, #2, 92f
        "
    };
}

/// INPUTS x0 destination, x1 source, x2 length. OUTPUTS x0 bytes not copied, x1 report.
/// CLOBBERS x2 to x5, x16, x17, flags.
macro_rules! copy_text {
    ($flavour:ident, $prologue:literal, $main:literal, $epilogue:literal) => {
        concat!(
            "
            add     x4, x0, x2
            add     x5, x1, x2
            .arch_extension mops
            ",
            stage!($flavour, $prologue),
            stage!($flavour, $main),
            stage!($flavour, $epilogue),
            "
            .arch_extension nomops
            mov     x0, #0
            ret
            ",
            stage_landing_pad!($flavour),
        )
    };
}

macro_rules! copy_routine {
    ($name:ident, $flavour:ident, $($stage:literal),*) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                "bti c",
                copy_text!($flavour, $($stage),*),
                copy_landing_pads!($flavour),
            )
        }
    };
}

copy_routine!(memcpy, plain, "cpyfp", "cpyfm", "cpyfe");
copy_routine!(memcpy_mc, mc, "cpyfp", "cpyfm", "cpyfe");
// Reads, or writes, with the privilege of user mode.
copy_routine!(copy_from_user, from_user, "cpyfprt", "cpyfmrt", "cpyfert");
copy_routine!(copy_to_user, to_user, "cpyfpwt", "cpyfmwt", "cpyfewt");

macro_rules! page_routine {
    ($name:ident, $flavour:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(destination: *mut u8, source: *const u8) -> Outcome {
            core::arch::naked_asm!(
                "bti c",
                "mov x2, #4096",
                // The writes say that the copy will not be read soon.
                copy_text!($flavour, "cpyfpwn", "cpyfmwn", "cpyfewn"),
                copy_landing_pads!($flavour),
            )
        }
    };
}

page_routine!(copy_page, plain);
page_routine!(copy_mc_page, mc);
