//! Comparing two ranges, and looking for a byte that is not zero.
//!
//! The result registers: x0 holds how many bytes remain from the place found, or from the first
//! that cannot be read; x1 is 0 in the first case and the report in the second.

use super::access::{access, base_registers, narrow_side, side};
use crate::outcome::Outcome;

/// INPUTS x0 first, x1 second, x2 length. OUTPUTS x0 bytes from the first difference or failure
/// on, x1 report or 0. CLOBBERS x2 to x17, flags.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn compare_mc(
    first: *const u8,
    second: *const u8,
    length: usize,
) -> Outcome {
    core::arch::naked_asm!(
        base_registers!(),
        side!(load, "91f", KernelAccess),
        access!(load "1_second", "a", "rb \\a", "0", "92f", KernelAccess),
        access!(load "8_second", "a", "r \\a", "3", "92f", KernelAccess),
        access!(load "16_second", "a, b", "p \\a, \\b", "4", "92f", KernelAccess),
        access!(load "_last", "a", "rb \\a", "0", "94f", KernelAccess),
        access!(load "_last_second", "a", "rb \\a", "0", "93f", KernelAccess),
        "
        bti     c
        add     x4, x0, x2
        subs    x2, x2, #32
        b.lo    2f
        // 32 bytes a turn; a turn that finds a difference leaves it to the next loop.
    1:  load16  x6, x7, x0, 0
        load16  x8, x9, x0, 16
        load16_second x10, x11, x1, 0
        load16_second x12, x13, x1, 16
        cmp     x6, x10
        ccmp    x7, x11, #0, eq
        ccmp    x8, x12, #0, eq
        ccmp    x9, x13, #0, eq
        b.ne    2f
        add     x0, x0, #32
        add     x1, x1, #32
        subs    x2, x2, #32
        b.hs    1b
    2:  add     x2, x2, #32
    3:  subs    x2, x2, #8
        b.lo    4f
        load8   x6, x0, 0
        load8_second x7, x1, 0
        eor     x6, x6, x7
        cbnz    x6, 6f
        add     x0, x0, #8
        add     x1, x1, #8
        b       3b
    4:  adds    x2, x2, #8
        b.eq    7f
    5:  load1   w6, x0, 0
        load1_second w7, x1, 0
        cmp     w6, w7
        b.ne    7f
        add     x0, x0, #1
        add     x1, x1, #1
        subs    x2, x2, #1
        b.ne    5b
        b       7f
        // The lowest address is in the lowest bits.
    6:  rbit    x6, x6
        clz     x6, x6
        add     x0, x0, x6, lsr #3
    7:  sub     x0, x4, x0
        mov     x1, #0
        ret

        // A load of the second range failed, and the limit lies there.
    92: orr     x17, x17, #{second}
        subs    x3, x16, x1
        b.hi    95f
        b       94f
    91: subs    x3, x16, x0
        b.ls    94f
    95: sub     x2, x4, x0
        cmp     x3, x2
        csel    x3, x3, x2, lo
        cbz     x3, 94f
    96: load_last w6, x0, 0
        load_last_second w7, x1, 0
        cmp     w6, w7
        b.ne    7b
        add     x0, x0, #1
        add     x1, x1, #1
        subs    x3, x3, #1
        b.ne    96b
        b       94f
    93: orr     x17, x17, #{second}
    94: sub     x0, x4, x0
        mov     x1, x17
        ret
        .purgem load1
        .purgem load4
        .purgem load8
        .purgem load16
        .purgem load1_second
        .purgem load8_second
        .purgem load16_second
        .purgem load_last
        .purgem load_last_second
        ",
        second = const extable::Report::SECOND_SOURCE,
    )
}

/// INPUTS x0 source, x1 length. OUTPUTS x0 bytes from the first that is not zero, or the first
/// failure, on; x1 report or 0. CLOBBERS x2 to x17, flags.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn is_zero_mc(source: *const u8, length: usize) -> Outcome {
    core::arch::naked_asm!(
        base_registers!(),
        side!(load, "91f", KernelAccess),
        access!(load "_last", "a", "rb \\a", "0", "94f", KernelAccess),
        "
        bti     c
        add     x4, x0, x1
        subs    x1, x1, #64
        b.lo    2f
        // 64 bytes a turn; a turn that finds something leaves it to the next loop.
    1:  load16  x6, x7, x0, 0
        load16  x8, x9, x0, 16
        load16  x10, x11, x0, 32
        load16  x12, x13, x0, 48
        orr     x6, x6, x7
        orr     x8, x8, x9
        orr     x10, x10, x11
        orr     x12, x12, x13
        orr     x6, x6, x8
        orr     x10, x10, x12
        orr     x6, x6, x10
        cbnz    x6, 2f
        add     x0, x0, #64
        subs    x1, x1, #64
        b.hs    1b
    2:  add     x1, x1, #64
    3:  subs    x1, x1, #8
        b.lo    4f
        load8   x6, x0, 0
        cbnz    x6, 6f
        add     x0, x0, #8
        b       3b
    4:  adds    x1, x1, #8
        b.eq    7f
    5:  load1   w6, x0, 0
        cbnz    w6, 7f
        add     x0, x0, #1
        subs    x1, x1, #1
        b.ne    5b
        b       7f
        // The lowest address is in the lowest bits.
    6:  rbit    x6, x6
        clz     x6, x6
        add     x0, x0, x6, lsr #3
    7:  sub     x0, x4, x0
        mov     x1, #0
        ret

    91: subs    x3, x16, x0
        b.ls    94f
        sub     x2, x4, x0
        cmp     x3, x2
        csel    x3, x3, x2, lo
        cbz     x3, 94f
    96: load_last w6, x0, 0
        cbnz    w6, 7b
        add     x0, x0, #1
        subs    x3, x3, #1
        b.ne    96b
    94: sub     x0, x4, x0
        mov     x1, x17
        ret
        .purgem load1
        .purgem load4
        .purgem load8
        .purgem load16
        .purgem load_last
        ",
    )
}
