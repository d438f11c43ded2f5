//! Copies through general registers: the plainest variant, and the one for kernels.

use super::access::{
    access, base_registers, copy_accesses, copy_landing_pads, end_copy_accesses, narrow_side, side,
    user_side,
};
use crate::outcome::Outcome;

/// The text of a copy.
///
/// INPUTS x0 destination, x1 source, x2 length. OUTPUTS x0 bytes not copied, x1 report.
/// CLOBBERS x2 to x17, flags.
///
/// Up to 128 bytes it is a ladder of accesses at both ends that overlap in the middle. Beyond
/// that 16 bytes align the destination, because stores that cross 16 bytes cost more on these
/// cores than loads that cross a line; then the loop keeps 64 bytes in registers, ahead of the
/// stores; and the last 64 bytes are copied from the end, without a loop for what is left over.
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
        // 16 to 32 bytes.
        load16  x6, x7, x1, 0
        load16  x8, x9, x5, -16
        store16 x6, x7, x0, 0
        store16 x8, x9, x4, -16
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

        // 33 to 128 bytes.
    20: cmp     x2, #128
        b.hi    30f
        load16  x6, x7, x1, 0
        load16  x8, x9, x1, 16
        cmp     x2, #64
        b.hi    21f
        load16  x10, x11, x5, -32
        load16  x12, x13, x5, -16
        store16 x6, x7, x0, 0
        store16 x8, x9, x0, 16
        store16 x10, x11, x4, -32
        store16 x12, x13, x4, -16
        mov     x0, #0
        ret
    21: load16  x10, x11, x1, 32
        load16  x12, x13, x1, 48
        store16 x6, x7, x0, 0
        store16 x8, x9, x0, 16
        store16 x10, x11, x0, 32
        store16 x12, x13, x0, 48
        b       33f

        // More than 128 bytes.
    30: load16  x6, x7, x1, 0
        store16 x6, x7, x0, 0
        add     x3, x0, #16
        and     x3, x3, #-16
        sub     x2, x3, x0
        mov     x0, x3
        add     x1, x1, x2
        load16  x6, x7, x1, 0
        load16  x8, x9, x1, 16
        load16  x10, x11, x1, 32
        load16  x12, x13, x1, 48
        sub     x3, x4, #128
        cmp     x0, x3
        b.hi    32f
        .balign 16
    31: store16 x6, x7, x0, 0
        load16  x6, x7, x1, 64
        store16 x8, x9, x0, 16
        load16  x8, x9, x1, 80
        store16 x10, x11, x0, 32
        load16  x10, x11, x1, 96
        store16 x12, x13, x0, 48
        load16  x12, x13, x1, 112
        add     x1, x1, #64
        add     x0, x0, #64
        cmp     x0, x3
        b.ls    31b
    32: store16 x6, x7, x0, 0
        store16 x8, x9, x0, 16
        store16 x10, x11, x0, 32
        store16 x12, x13, x0, 48
    33: load16  x6, x7, x5, -64
        load16  x8, x9, x5, -48
        load16  x10, x11, x5, -32
        load16  x12, x13, x5, -16
        store16 x6, x7, x4, -64
        store16 x8, x9, x4, -48
        store16 x10, x11, x4, -32
        store16 x12, x13, x4, -16
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
                copy_accesses!($flavour),
                copy_text!(),
                end_copy_accesses!(),
                copy_landing_pads!($flavour),
            )
        }
    };
}

copy_routine!(memcpy, plain);
copy_routine!(memcpy_mc, mc);
copy_routine!(copy_from_user, from_user);
copy_routine!(copy_to_user, to_user);

/// Copies a page, 192 bytes a turn, with loads 64 bytes ahead of stores that do not allocate.
///
/// INPUTS x0 destination, x1 source. OUTPUTS x0 bytes not copied, x1 report.
/// CLOBBERS x2 to x17, flags.
///
/// A page is 64 bytes and 21 turns, so nothing is left over. The stores say that the copy will
/// not be read soon: a page that is copied is rarely read as a whole by the one who copies it.
macro_rules! page_routine {
    ($name:ident, $flavour:ident, $kind:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(destination: *mut u8, source: *const u8) -> Outcome {
            core::arch::naked_asm!(
                base_registers!(),
                access!(load "16", "a, b", "p \\a, \\b", "4", "91f", $kind),
                access!(store "16", "a, b", "np \\a, \\b", "4", "92f", $kind),
                "
                bti     c
                add     x4, x0, #4096
                sub     x3, x4, #64
                load16  x6, x7, x1, 0
                load16  x8, x9, x1, 16
                load16  x10, x11, x1, 32
                load16  x12, x13, x1, 48
                .balign 16
            1:  store16 x6, x7, x0, 0
                load16  x6, x7, x1, 64
                store16 x8, x9, x0, 16
                load16  x8, x9, x1, 80
                store16 x10, x11, x0, 32
                load16  x10, x11, x1, 96
                store16 x12, x13, x0, 48
                load16  x12, x13, x1, 112
                store16 x6, x7, x0, 64
                load16  x6, x7, x1, 128
                store16 x8, x9, x0, 80
                load16  x8, x9, x1, 144
                store16 x10, x11, x0, 96
                load16  x10, x11, x1, 160
                store16 x12, x13, x0, 112
                load16  x12, x13, x1, 176
                store16 x6, x7, x0, 128
                load16  x6, x7, x1, 192
                store16 x8, x9, x0, 144
                load16  x8, x9, x1, 208
                store16 x10, x11, x0, 160
                load16  x10, x11, x1, 224
                store16 x12, x13, x0, 176
                load16  x12, x13, x1, 240
                add     x1, x1, #192
                add     x0, x0, #192
                cmp     x0, x3
                b.ne    1b
                store16 x6, x7, x0, 0
                store16 x8, x9, x0, 16
                store16 x10, x11, x0, 32
                store16 x12, x13, x0, 48
                mov     x0, #0
                ret
                .purgem load16
                .purgem store16
                ",
                copy_landing_pads!($flavour),
            )
        }
    };
}

page_routine!(copy_page, plain, none);
page_routine!(copy_mc_page, mc, KernelAccess);
