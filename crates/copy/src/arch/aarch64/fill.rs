//! Filling memory with one byte value.

use super::access::{access, base_registers, narrow_side, side, user_side};
use crate::outcome::Outcome;

/// INPUTS x0 destination, x1 value (0 to 255), x2 length. OUTPUTS x0 bytes not filled, x1 report.
/// CLOBBERS x2 to x17, flags.
macro_rules! fill_routine {
    ($name:ident, $accesses:expr, $last:literal, $kind:ident) => {
        #[unsafe(naked)]
        pub(super) unsafe extern "C" fn $name(
            destination: *mut u8,
            value: usize,
            length: usize,
        ) -> Outcome {
            core::arch::naked_asm!(
                base_registers!(),
                $accesses,
                access!(store "_last", "a", $last, "0", "94f", $kind),
                "
                bti     c
                add     x4, x0, x2
                mov     x3, #0x0101010101010101
                mul     x1, x1, x3
                cmp     x2, #16
                b.lo    10f
                store16 x1, x1, x0, 0
                cmp     x2, #32
                b.ls    33f
                cmp     x2, #64
                b.hi    30f
                store16 x1, x1, x0, 16
                b       32f

            10: tbz     x2, #3, 11f
                store8  x1, x0, 0
                store8  x1, x4, -8
                mov     x0, #0
                ret
            11: tbz     x2, #2, 12f
                store4  w1, x0, 0
                store4  w1, x4, -4
                mov     x0, #0
                ret
            12: cbz     x2, 13f
                // One to three bytes: the first, the middle and the last.
                add     x6, x0, x2, lsr #1
                store1  w1, x0, 0
                store1  w1, x6, 0
                store1  w1, x4, -1
            13: mov     x0, #0
                ret

                // More than 64 bytes: the first 16 are there and align the rest.
            30: add     x0, x0, #16
                and     x0, x0, #-16
                sub     x3, x4, #64
                cmp     x0, x3
                b.hs    34f
            31: store16 x1, x1, x0, 0
                store16 x1, x1, x0, 16
                store16 x1, x1, x0, 32
                store16 x1, x1, x0, 48
                add     x0, x0, #64
                cmp     x0, x3
                b.lo    31b
            34: store16 x1, x1, x4, -64
                store16 x1, x1, x4, -48
            32: store16 x1, x1, x4, -32
            33: store16 x1, x1, x4, -16
                mov     x0, #0
                ret

            92: subs    x3, x16, x0
                b.ls    94f
                sub     x2, x4, x0
                cmp     x3, x2
                csel    x3, x3, x2, lo
                cbz     x3, 94f
            96:
                store_last w1, x0, 0
                add     x0, x0, #1
                subs    x3, x3, #1
                b.ne    96b
            94: sub     x0, x4, x0
                mov     x1, x17
                ret
                .purgem store1
                .purgem store4
                .purgem store8
                .purgem store16
                .purgem store_last
                ",
            )
        }
    };
}

fill_routine!(
    fill_mc,
    side!(store, "92f", KernelAccess),
    "rb \\a",
    KernelAccess
);
fill_routine!(clear_user, user_side!(store, "92f"), "trb \\a", UserAccess);
