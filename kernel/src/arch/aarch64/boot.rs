//! From the first instruction to Rust, on every CPU.
//!
//! A boot loader enters the image at its first byte with the MMU off and x0 the physical address
//! of the device tree (Linux's `booting.rst` for arm64). PSCI enters the other CPUs at
//! `start_secondary`, with their number in x0. Both run where they were loaded until the MMU is
//! on: a table for the lower half maps the code there to itself, and one for the upper half
//! maps the image where it is linked.

use core::arch::global_asm;
use core::mem::offset_of;

use super::cpu::{PER_CPU, PerCpu};
use super::layout::IMAGE;
use super::stack::BOOT_STACK;
use super::tables::{self, Table};
use super::{start, vectors};
use crate::arch::cpu::MAX;

/// The memory types that descriptors choose from (Arm ARM, MAIR_EL1): 0 is normal write-back
/// memory, 1 is Device-nGnRE, 2 is normal memory with tags.
const MAIR: u64 = 0xf0_04_ff;

/// TCR_EL1 without IPS and AS, which depend on the CPU: 48 bits in both halves, 4 KiB granules,
/// walks that are write-back and inner shareable, and a top byte that is ignored in user space.
const TCR: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30 | 1 << 37;

/// SCTLR_EL1: M, C and I; SA, SA0, EOS, nAA-free accesses; TSCXT; EIS; WFI, WFE, DC ZVA, CTR_EL0
/// and cache maintenance for EL0; nTLSMD, LSMAOE. SPAN is 0: PAN is set by every exception.
const SCTLR: u64 = 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 11
    | 1 << 12
    | 1 << 14
    | 1 << 15
    | 1 << 16
    | 1 << 18
    | 1 << 20
    | 1 << 22
    | 1 << 26
    | 1 << 28
    | 1 << 29;

static IDENTITY_0: Table = Table::new();
static IDENTITY_1: Table = Table::new();
static EARLY_0: Table = Table::new();
static EARLY_1: Table = Table::new();
/// The last level of the early map: blocks of 2 MiB.
pub(super) static EARLY_2: Table = Table::new();

/// A block of normal memory that the kernel may do anything with, but not users. It lasts until
/// the real tables are there.
pub(super) const EARLY_BLOCK: u64 = 1 | 3 << 8 | 1 << 10 | 1 << 54;

unsafe extern "C" {
    /// Where PSCI starts the other CPUs.
    pub(super) fn start_secondary();
    /// Goes on with `next` on the stack that ends at `stack`, for good.
    pub(super) fn continue_on(stack: u64, next: extern "C" fn() -> !) -> !;
    /// Replaces the table of the upper half. Must be called where the identity map has it.
    pub(super) fn switch_root(root: u64, empty: u64);
}

global_asm!(
    r#"
    .section .text.start, "ax"
    .global start
    start:
        b       start_primary
        .long   0
        .quad   0                   // text_offset
        .quad   __image_size
        .quad   0b1010              // little-endian, 4 KiB pages, anywhere in memory
        .quad   0, 0, 0
        .ascii  "ARM\x64"
        .long   0

    .global continue_on
    continue_on:
        mov     sp, x0
        mov     x29, xzr
        mov     x30, xzr
        br      x1

    start_primary:
        msr     daifset, #0xf
        mov     x20, x0
        mrs     x1, CurrentEL
        cmp     x1, #(1 << 2)
        b.ne    5f

        adrp    x1, __bss_start
        adrp    x2, __bss_end
    1:  cmp     x1, x2
        b.hs    2f
        stp     xzr, xzr, [x1], #16
        b       1b

        // x21: where the image is. A block of 1 GiB maps the code here to itself.
    2:  adrp    x21, __image_start
        adrp    x1, {identity_0}
        adrp    x2, {identity_1}
        orr     x3, x2, #3
        ubfx    x4, x21, #39, #9
        str     x3, [x1, x4, lsl #3]
        lsr     x4, x21, #30
        lsl     x3, x4, #30
        ldr     x5, ={block}
        orr     x3, x3, x5
        and     x4, x4, #511
        str     x3, [x2, x4, lsl #3]

        adrp    x1, {early_0}
        adrp    x2, {early_1}
        adrp    x3, {early_2}
        orr     x4, x2, #3
        str     x4, [x1, #({index_0} * 8)]
        orr     x4, x3, #3
        str     x4, [x2, #({index_1} * 8)]
        orr     x4, x21, x5
        adrp    x6, __image_end
    3:  str     x4, [x3], #8
        add     x4, x4, #0x200000
        bic     x7, x4, x5
        cmp     x7, x6
        b.lo    3b

        adrp    x0, {identity_0}
        bl      enable_mmu
        ldr     x1, =4f
        br      x1
    4:  ldr     x1, ={boot_stack} + {stack_length}
        mov     sp, x1
        ldr     x1, ={per_cpu}
        msr     tpidr_el1, x1
        mov     x0, x20
        mov     x1, x21
        ldr     x2, ={main}
        b       enter

        // Only EL1: whoever has EL2 keeps it.
    5:  wfe
        b       5b

    .global start_secondary
    start_secondary:
        msr     daifset, #0xf
        mov     x20, x0
        adrp    x0, {identity_0}
        adrp    x1, {root}
        bl      enable_mmu
        ldr     x1, =6f
        br      x1
    6:  ldr     x1, ={per_cpu}
        mov     x2, #{per_cpu_length}
        madd    x1, x20, x2, x1
        msr     tpidr_el1, x1
        ldr     x2, [x1, #{boot_sp}]
        mov     sp, x2
        mov     x0, x20
        ldr     x2, ={secondary_main}

        // To the function x2, with nobody to return to and no thread yet.
    enter:
        ldr     x3, ={vectors}
        msr     vbar_el1, x3
        msr     sp_el0, xzr
        isb
        mov     x29, xzr
        mov     x30, xzr
        br      x2

        // x0: table of the lower half; x1: of the upper half.
    enable_mmu:
        ldr     x2, ={mair}
        msr     mair_el1, x2
        ldr     x2, ={tcr}
        mrs     x3, id_aa64mmfr0_el1
        // PARange, but at most 48 bits: more would take other descriptors.
        and     x4, x3, #0xf
        mov     x5, #5
        cmp     x4, x5
        csel    x4, x4, x5, lo
        orr     x2, x2, x4, lsl #32
        // ASIDBits is 2 where there are 16.
        ubfx    x4, x3, #5, #1
        orr     x2, x2, x4, lsl #36
        msr     tcr_el1, x2
        msr     ttbr0_el1, x0
        msr     ttbr1_el1, x1
        // FP and SIMD are not trapped, SVE and SME are.
        mov     x2, #(3 << 20)
        msr     cpacr_el1, x2
        msr     mdscr_el1, xzr
        msr     oslar_el1, xzr
        isb
        tlbi    vmalle1
        dsb     nsh
        isb
        ldr     x2, ={sctlr}
        msr     sctlr_el1, x2
        isb
        ret

    .global switch_root
    switch_root:
        msr     ttbr1_el1, x1
        isb
        tlbi    vmalle1
        dsb     nsh
        isb
        msr     ttbr1_el1, x0
        isb
        ret
        .ltorg
    "#,
    identity_0 = sym IDENTITY_0,
    identity_1 = sym IDENTITY_1,
    early_0 = sym EARLY_0,
    early_1 = sym EARLY_1,
    early_2 = sym EARLY_2,
    root = sym tables::ROOT,
    block = const EARLY_BLOCK,
    index_0 = const IMAGE >> 39 & 511,
    index_1 = const IMAGE >> 30 & 511,
    boot_stack = sym BOOT_STACK,
    stack_length = const super::stack::SLOT,
    per_cpu = sym PER_CPU,
    per_cpu_length = const size_of::<[PerCpu; MAX]>() / MAX,
    boot_sp = const offset_of!(PerCpu, boot_stack),
    main = sym start::main,
    secondary_main = sym start::secondary_main,
    vectors = sym vectors::vectors,
    mair = const MAIR,
    tcr = const TCR,
    sctlr = const SCTLR,
);
