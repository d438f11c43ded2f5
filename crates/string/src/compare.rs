//! Comparisons.

/// Compares `length` bytes: less than, equal to or greater than zero, as the first byte that
/// differs is less in `left` than in `right`, there is none, or it is greater.
///
/// # Safety
///
/// Both must be valid for reads of `length` bytes of normal memory.
#[unsafe(naked)]
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    core::arch::naked_asm!(
        "
        bti     c
        cmp     x2, #16
        b.lo    20f
        // 16 bytes a turn; the last turn is the last 16 bytes, whether seen before or not.
        add     x4, x0, x2
        add     x5, x1, x2
        sub     x4, x4, #16
        sub     x5, x5, #16
        .balign 16
    10: ldp     x6, x7, [x0], #16
        ldp     x8, x9, [x1], #16
        cmp     x6, x8
        ccmp    x7, x9, #0, eq
        b.ne    12f
        cmp     x0, x4
        b.lo    10b
        ldp     x6, x7, [x4]
        ldp     x8, x9, [x5]
        cmp     x6, x8
        ccmp    x7, x9, #0, eq
        b.ne    12f
    11: mov     w0, #0
        ret
        // The half in which they differ, then the first byte of it in the highest place.
    12: cmp     x6, x8
        csel    x6, x7, x6, eq
        csel    x8, x9, x8, eq
    13: rev     x6, x6
        rev     x8, x8
        cmp     x6, x8
        mov     w0, #1
        cneg    w0, w0, lo
        ret

    20: tbz     x2, #3, 21f
        ldr     x6, [x0], #8
        ldr     x8, [x1], #8
        cmp     x6, x8
        b.ne    13b
    21: tbz     x2, #2, 22f
        ldr     w6, [x0], #4
        ldr     w8, [x1], #4
        cmp     x6, x8
        b.ne    13b
    22: tbz     x2, #1, 23f
        ldrh    w6, [x0], #2
        ldrh    w8, [x1], #2
        cmp     x6, x8
        b.ne    13b
    23: tbz     x2, #0, 11b
        ldrb    w6, [x0]
        ldrb    w8, [x1]
        cmp     x6, x8
        b.ne    13b
        mov     w0, #0
        ret
        "
    )
}
