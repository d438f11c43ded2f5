//! Copies of memory tags (FEAT_MTE2). Loading a tag can fail as loading data can.

use super::access::{access, base_registers};
use crate::outcome::{Incomplete, Outcome};
use crate::routines::PAGE_SIZE;

/// Bytes that share one tag.
const GRANULE: usize = 16;

/// Copies the memory tags of a page in the largest blocks that the CPU has. For kernels: the
/// instructions, `LDGM` and `STGM`, are undefined at EL0.
///
/// # Errors
///
/// [`Incomplete`] for a memory error. All blocks before the one that failed have their tags;
/// `copied` is their size in bytes of memory, a multiple of 16.
///
/// # Safety
///
/// The CPU has [`Features::TAGS`](super::Features::TAGS) and runs at EL1 or above. Both must be
/// aligned to [`PAGE_SIZE`], mapped as tagged memory, `source` for reads and `destination` for
/// writes, and not the same.
pub unsafe fn copy_mc_page_tags(destination: *mut u8, source: *const u8) -> Result<(), Incomplete> {
    // SAFETY: this function's contract.
    unsafe { copy_blocks(destination, source) }.of(PAGE_SIZE)
}

/// Copies the memory tags of `length` bytes, one granule of 16 bytes after the other, at any
/// exception level. Memory that is not mapped as tagged has tag 0, and ignores what it is given.
///
/// # Errors
///
/// [`Incomplete`] for a memory error. All granules before the one that failed have their tags;
/// `copied` is their size in bytes of memory, a multiple of 16.
///
/// # Panics
///
/// If `length` is not a multiple of 16.
///
/// # Safety
///
/// The CPU has [`Features::TAGS`](super::Features::TAGS). Both must be aligned to 16, `source`
/// mapped for reads and `destination` for writes of `length` bytes, and they must not overlap.
pub unsafe fn copy_mc_tags(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> Result<(), Incomplete> {
    assert!(
        length.is_multiple_of(GRANULE),
        "memory tags are copied in granules of 16 bytes, not {length}"
    );
    // SAFETY: this function's contract.
    unsafe { copy_granules(destination, source, length) }.of(length)
}

/// INPUTS x0 destination, x1 source. OUTPUTS x0 bytes whose tags were not copied, x1 report.
/// CLOBBERS x2 to x4, x16, x17, flags.
///
/// The entries say 16 bytes; an instruction reads the tags of up to 256. The limit is not used.
#[unsafe(naked)]
unsafe extern "C" fn copy_blocks(destination: *mut u8, source: *const u8) -> Outcome {
    core::arch::naked_asm!(
        "
        bti     c
        .arch_extension memtag
        add     x4, x0, #4096
        // GMID_EL1.BS: base-2 logarithm of the block in words.
        mrs     x2, gmid_el1
        and     x2, x2, #0xf
        mov     x3, #4
        lsl     x3, x3, x2
    1:  ldgm    x2, [x1]
    2:  stgm    x2, [x0]
        add     x1, x1, x3
        add     x0, x0, x3
        cmp     x0, x4
        b.lo    1b
        .arch_extension nomemtag
        mov     x0, #0
        ret
    94: sub     x0, x4, x0
        mov     x1, x17
        ret
        ",
        extable::entry!("1b", "94b", KernelAccess, "(1 << 5 | 4 << 2)"),
        extable::entry!("2b", "94b", KernelAccess, "(0 << 5 | 4 << 2 | 1)"),
    )
}

/// INPUTS x0 destination, x1 source, x2 length. OUTPUTS x0 bytes whose tags were not copied, x1
/// report. CLOBBERS x2 to x4, x16, x17, flags.
#[unsafe(naked)]
unsafe extern "C" fn copy_granules(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> Outcome {
    core::arch::naked_asm!(
        base_registers!(),
        access!(load "_tag", "a", "g \\a", "4", "94f", KernelAccess),
        access!(store "_tag", "a", "g \\a", "4", "94f", KernelAccess),
        "
        bti     c
        .arch_extension memtag
        add     x4, x0, x2
        cbz     x2, 2f
    1:
        load_tag x2, x1, 0
        store_tag x2, x0, 0
        add     x1, x1, #16
        add     x0, x0, #16
        cmp     x0, x4
        b.lo    1b
    2:  mov     x0, #0
        .arch_extension nomemtag
        ret
    94: sub     x0, x4, x0
        mov     x1, x17
        ret
        .purgem load_tag
        .purgem store_tag
        ",
    )
}
