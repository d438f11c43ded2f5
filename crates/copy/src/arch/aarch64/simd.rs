//! Copies through vector registers, for processes.
//!
//! User flavours are missing on purpose: there is no unprivileged load or store of a vector, and
//! a kernel must not read user memory with its own privilege. This variant takes them from
//! [`general`](super::general).

use super::access::{access, base_registers, copy_landing_pads, end_copy_accesses, narrow_side};
use crate::outcome::Outcome;

/// The accesses of one side up to 8 bytes, and one or two vector registers.
macro_rules! simd_side {
    ($side:ident, $pad:literal, $kind:ident) => {
        concat!(
            narrow_side!($side, $pad, $kind),
            access!($side "16", "a", "r \\a", "4", $pad, $kind),
            access!($side "32", "a, b", "p \\a, \\b", "5", $pad, $kind),
        )
    };
}

/// Defines the macros of a copy for one flavour.
macro_rules! simd_accesses {
    (plain) => {
        concat!(simd_side!(load, "", none), simd_side!(store, "", none))
    };
    (mc) => {
        concat!(
            base_registers!(),
            simd_side!(load, "91f", KernelAccess),
            simd_side!(store, "92f", KernelAccess),
        )
    };
}

/// Removes what [`simd_accesses`] defined.
macro_rules! end_simd_accesses {
    () => {
        concat!(end_copy_accesses!(), ".purgem load32\n.purgem store32\n")
    };
}

/// The text of a copy, as that of [`general`](super::general) with accesses twice as wide.
///
/// INPUTS x0 destination, x1 source, x2 length. OUTPUTS x0 bytes not copied, x1 report.
/// CLOBBERS x2 to x17, v0 to v7, v16 to v23, flags.
macro_rules! copy_text {
    () => {
        "
        bti     c
        add     x4, x0, x2
        add     x5, x1, x2
        cmp     x2, #16
        b.lo    10f
        cmp     x2, #32
        b.hi    20f
        load16  q0, x1, 0
        load16  q1, x5, -16
        store16 q0, x0, 0
        store16 q1, x4, -16
        mov     x0, #0
        ret

    10: tbz     x2, #3, 11f
        load8   x6, x1, 0
        load8   x7, x5, -8
        store8  x6, x0, 0
        store8  x7, x4, -8
        mov     x0, #0
        ret
    11: tbz     x2, #2, 12f
        load4   w6, x1, 0
        load4   w7, x5, -4
        store4  w6, x0, 0
        store4  w7, x4, -4
        mov     x0, #0
        ret
    12: cbz     x2, 13f
        // One to three bytes: the first, the middle and the last.
        add     x6, x1, x2, lsr #1
        add     x7, x0, x2, lsr #1
        load1   w8, x1, 0
        load1   w9, x6, 0
        load1   w10, x5, -1
        store1  w8, x0, 0
        store1  w9, x7, 0
        store1  w10, x4, -1
    13: mov     x0, #0
        ret

        // 33 to 256 bytes.
    20: cmp     x2, #64
        b.hi    21f
        load32  q0, q1, x1, 0
        load32  q2, q3, x5, -32
        store32 q0, q1, x0, 0
        store32 q2, q3, x4, -32
        mov     x0, #0
        ret
    21: cmp     x2, #128
        b.hi    22f
        load32  q0, q1, x1, 0
        load32  q2, q3, x1, 32
        load32  q4, q5, x5, -64
        load32  q6, q7, x5, -32
        store32 q0, q1, x0, 0
        store32 q2, q3, x0, 32
        store32 q4, q5, x4, -64
        store32 q6, q7, x4, -32
        mov     x0, #0
        ret
    22: cmp     x2, #256
        b.hi    30f
        load32  q0, q1, x1, 0
        load32  q2, q3, x1, 32
        load32  q4, q5, x1, 64
        load32  q6, q7, x1, 96
        b       32f

        // More than 256 bytes: 16 align the destination, then 128 a turn, loaded ahead.
    30: load16  q0, x1, 0
        store16 q0, x0, 0
        add     x3, x0, #16
        and     x3, x3, #-16
        sub     x2, x3, x0
        mov     x0, x3
        add     x1, x1, x2
        load32  q0, q1, x1, 0
        load32  q2, q3, x1, 32
        load32  q4, q5, x1, 64
        load32  q6, q7, x1, 96
        sub     x3, x4, #256
        cmp     x0, x3
        b.hi    32f
        .balign 16
    31: store32 q0, q1, x0, 0
        load32  q0, q1, x1, 128
        store32 q2, q3, x0, 32
        load32  q2, q3, x1, 160
        store32 q4, q5, x0, 64
        load32  q4, q5, x1, 192
        store32 q6, q7, x0, 96
        load32  q6, q7, x1, 224
        add     x1, x1, #128
        add     x0, x0, #128
        cmp     x0, x3
        b.ls    31b
    32: load32  q16, q17, x5, -128
        load32  q18, q19, x5, -96
        load32  q20, q21, x5, -64
        load32  q22, q23, x5, -32
        store32 q0, q1, x0, 0
        store32 q2, q3, x0, 32
        store32 q4, q5, x0, 64
        store32 q6, q7, x0, 96
        store32 q16, q17, x4, -128
        store32 q18, q19, x4, -96
        store32 q20, q21, x4, -64
        store32 q22, q23, x4, -32
        mov     x0, #0
        ret
        "
    };
}

macro_rules! copy_routine {
    ($name:ident, $flavour:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(
            destination: *mut u8,
            source: *const u8,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                simd_accesses!($flavour),
                copy_text!(),
                end_simd_accesses!(),
                copy_landing_pads!($flavour),
            )
        }
    };
}

copy_routine!(memcpy, plain);
copy_routine!(memcpy_mc, mc);

/// A page, 192 bytes a turn, as that of [`general`](super::general).
///
/// INPUTS x0 destination, x1 source. OUTPUTS x0 bytes not copied, x1 report.
/// CLOBBERS x2 to x17, v0 to v3, flags.
macro_rules! page_routine {
    ($name:ident, $flavour:ident, $kind:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(destination: *mut u8, source: *const u8) -> Outcome {
            core::arch::naked_asm!(
                base_registers!(),
                access!(load "32", "a, b", "p \\a, \\b", "5", "91f", $kind),
                access!(store "32", "a, b", "np \\a, \\b", "5", "92f", $kind),
                "
                bti     c
                add     x4, x0, #4096
                sub     x3, x4, #64
                load32  q0, q1, x1, 0
                load32  q2, q3, x1, 32
                .balign 16
            1:  store32 q0, q1, x0, 0
                load32  q0, q1, x1, 64
                store32 q2, q3, x0, 32
                load32  q2, q3, x1, 96
                store32 q0, q1, x0, 64
                load32  q0, q1, x1, 128
                store32 q2, q3, x0, 96
                load32  q2, q3, x1, 160
                store32 q0, q1, x0, 128
                load32  q0, q1, x1, 192
                store32 q2, q3, x0, 160
                load32  q2, q3, x1, 224
                add     x1, x1, #192
                add     x0, x0, #192
                cmp     x0, x3
                b.ne    1b
                store32 q0, q1, x0, 0
                store32 q2, q3, x0, 32
                mov     x0, #0
                ret
                .purgem load32
                .purgem store32
                ",
                copy_landing_pads!($flavour),
            )
        }
    };
}

page_routine!(copy_page, plain, none);
page_routine!(copy_mc_page, mc, KernelAccess);
