//! Copies.

/// Up to 64 bytes, which all fit in registers: everything is loaded before anything is stored, so
/// overlap does no harm. Falls through for more.
///
/// INPUTS x0 destination, x1 source, x2 length. OUTPUTS x4, x5 their ends. CLOBBERS x6 to x13,
/// flags.
macro_rules! up_to_64 {
    () => {
        "
        bti     c
        add     x4, x0, x2
        add     x5, x1, x2
        cmp     x2, #16
        b.lo    10f
        cmp     x2, #32
        b.hi    20f
        // 16 to 32 bytes: the first 16 and the last.
        ldp     x6, x7, [x1]
        ldp     x8, x9, [x5, #-16]
        stp     x6, x7, [x0]
        stp     x8, x9, [x4, #-16]
        ret

    10: tbz     x2, #3, 11f
        ldr     x6, [x1]
        ldr     x7, [x5, #-8]
        str     x6, [x0]
        str     x7, [x4, #-8]
        ret
    11: tbz     x2, #2, 12f
        ldr     w6, [x1]
        ldr     w7, [x5, #-4]
        str     w6, [x0]
        str     w7, [x4, #-4]
        ret
    12: cbz     x2, 13f
        // One to three bytes: the first, the middle and the last.
        lsr     x10, x2, #1
        ldrb    w6, [x1]
        ldrb    w7, [x1, x10]
        ldrb    w8, [x5, #-1]
        strb    w6, [x0]
        strb    w7, [x0, x10]
        strb    w8, [x4, #-1]
    13: ret

    20: cmp     x2, #64
        b.hi    30f
        // 33 to 64 bytes: the first 32 and the last.
        ldp     x6, x7, [x1]
        ldp     x8, x9, [x1, #16]
        ldp     x10, x11, [x5, #-32]
        ldp     x12, x13, [x5, #-16]
        stp     x6, x7, [x0]
        stp     x8, x9, [x0, #16]
        stp     x10, x11, [x4, #-32]
        stp     x12, x13, [x4, #-16]
        ret
    30:
        "
    };
}

/// Copies `length` bytes. Returns `destination`.
///
/// # Safety
///
/// `source` must be valid for reads and `destination` for writes of `length` bytes of normal
/// memory, and they must not overlap.
#[unsafe(naked)]
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
pub unsafe extern "C" fn memcpy(destination: *mut u8, source: *const u8, length: usize) -> *mut u8 {
    core::arch::naked_asm!(
        up_to_64!(),
        "
        // 16 bytes align the destination; the last 64 bytes are copied from the end.
        ldp     x6, x7, [x1]
        stp     x6, x7, [x0]
        add     x3, x0, #16
        and     x3, x3, #-16
        sub     x8, x3, x0
        add     x1, x1, x8
        sub     x2, x4, #64
        cmp     x3, x2
        b.hs    32f
        .balign 16
    31: ldp     x6, x7, [x1]
        ldp     x8, x9, [x1, #16]
        ldp     x10, x11, [x1, #32]
        ldp     x12, x13, [x1, #48]
        add     x1, x1, #64
        stp     x6, x7, [x3]
        stp     x8, x9, [x3, #16]
        stp     x10, x11, [x3, #32]
        stp     x12, x13, [x3, #48]
        add     x3, x3, #64
        cmp     x3, x2
        b.lo    31b
    32: ldp     x6, x7, [x5, #-64]
        ldp     x8, x9, [x5, #-48]
        ldp     x10, x11, [x5, #-32]
        ldp     x12, x13, [x5, #-16]
        stp     x6, x7, [x4, #-64]
        stp     x8, x9, [x4, #-48]
        stp     x10, x11, [x4, #-32]
        stp     x12, x13, [x4, #-16]
        ret
        "
    )
}

/// Copies `length` bytes as if by way of a buffer: the two may overlap. Returns `destination`.
///
/// # Safety
///
/// `source` must be valid for reads and `destination` for writes of `length` bytes of normal
/// memory.
#[unsafe(naked)]
#[cfg_attr(target_os = "none", unsafe(no_mangle))]
pub unsafe extern "C" fn memmove(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> *mut u8 {
    core::arch::naked_asm!(
        up_to_64!(),
        "
        // The end at which the loop stops is loaded before the loop may store to it.
        sub     x3, x0, x1
        cmp     x3, x2
        b.lo    40f
        // The destination does not begin in the source: upwards.
        ldp     x10, x11, [x5, #-32]
        ldp     x12, x13, [x5, #-16]
        sub     x2, x4, #32
        mov     x3, x0
        .balign 16
    31: ldp     x6, x7, [x1]
        ldp     x8, x9, [x1, #16]
        add     x1, x1, #32
        stp     x6, x7, [x3]
        stp     x8, x9, [x3, #16]
        add     x3, x3, #32
        cmp     x3, x2
        b.lo    31b
        stp     x10, x11, [x4, #-32]
        stp     x12, x13, [x4, #-16]
        ret
        // Downwards.
    40: ldp     x10, x11, [x1]
        ldp     x12, x13, [x1, #16]
        add     x2, x0, #32
        .balign 16
    41: ldp     x6, x7, [x5, #-32]
        ldp     x8, x9, [x5, #-16]
        sub     x5, x5, #32
        stp     x6, x7, [x4, #-32]
        stp     x8, x9, [x4, #-16]
        sub     x4, x4, #32
        cmp     x4, x2
        b.hi    41b
        stp     x10, x11, [x0]
        stp     x12, x13, [x0, #16]
        ret
        "
    )
}
