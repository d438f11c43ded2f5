//! Fills.

/// Fills `length` bytes with the low byte of `value`. Returns `destination`.
///
/// # Safety
///
/// `destination` must be valid for writes of `length` bytes of normal memory.
#[unsafe(naked)]
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
pub unsafe extern "C" fn memset(destination: *mut u8, value: i32, length: usize) -> *mut u8 {
    // x4 is the end, x1 eight times the byte.
    core::arch::naked_asm!(
        "
        bti     c
        and     w1, w1, #255
        orr     w1, w1, w1, lsl #8
        orr     w1, w1, w1, lsl #16
        orr     x1, x1, x1, lsl #32
        add     x4, x0, x2
        cmp     x2, #16
        b.lo    10f
        stp     x1, x1, [x0]
        cmp     x2, #64
        b.hi    20f
        // 16 to 64 bytes.
        stp     x1, x1, [x4, #-16]
        cmp     x2, #32
        b.ls    13f
        stp     x1, x1, [x0, #16]
        stp     x1, x1, [x4, #-32]
        ret

    10: tbz     x2, #3, 11f
        str     x1, [x0]
        str     x1, [x4, #-8]
        ret
    11: tbz     x2, #2, 12f
        str     w1, [x0]
        str     w1, [x4, #-4]
        ret
    12: cbz     x2, 13f
        // One to three bytes: the first, the middle and the last.
        lsr     x5, x2, #1
        strb    w1, [x0]
        strb    w1, [x0, x5]
        strb    w1, [x4, #-1]
    13: ret

        // More: the first 16 align the rest, and the last 64 are stored from the end.
    20: add     x3, x0, #16
        and     x3, x3, #-16
        sub     x2, x4, #64
        cmp     x3, x2
        b.hs    22f
        .balign 16
    21: stp     x1, x1, [x3]
        stp     x1, x1, [x3, #16]
        stp     x1, x1, [x3, #32]
        stp     x1, x1, [x3, #48]
        add     x3, x3, #64
        cmp     x3, x2
        b.lo    21b
    22: stp     x1, x1, [x4, #-64]
        stp     x1, x1, [x4, #-48]
        stp     x1, x1, [x4, #-32]
        stp     x1, x1, [x4, #-16]
        ret
        "
    )
}
