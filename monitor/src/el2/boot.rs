//! From QEMU's reset to Rust: find a place, move there, turn on the MMU.
//!
//! The first CPU starts at `start` at the address the image is linked at, at EL2, with the MMU off and
//! whatever QEMU has put into RAM. The image moves to the end of RAM, so that the guest may have
//! the rest from its start. Further CPUs start at `start_secondary`, in the moved image.

use core::arch::global_asm;

use control::layout;

use super::cpu::STACK;
use super::{device_tree, uart};

/// Where things are in the monitor's part of RAM, as offsets from its start.
pub(super) mod place {
    /// The mailbox: [`control::mailbox`].
    pub(in super::super) const MAILBOX: u64 = 0;
    /// Memory behind the firmware window.
    pub(in super::super) const WINDOW: u64 = control::mailbox::LENGTH;
    /// The moved image, and what it needs zeroed.
    pub(in super::super) const IMAGE: u64 = WINDOW + control::layout::FIRMWARE_LENGTH;
}

/// Entries of the table that maps the first 512 GiB for EL2, each 1 GiB.
#[repr(C, align(4096))]
struct Map([u64; 512]);

const fn map() -> Map {
    // Stage 1 blocks (Arm ARM D8.3): AF, inner shareable, AP[1] RES1; attribute 0 is Normal
    // write-back, attribute 1 is Device. The first GiB holds `virt`'s devices.
    const NORMAL: u64 = 1 | 1 << 6 | 3 << 8 | 1 << 10;
    const DEVICE: u64 = 1 | 1 << 2 | 1 << 6 | 1 << 10 | 1 << 54;
    let mut entries = [0; 512];
    let mut index = 0;
    while index < entries.len() {
        let attributes = if index == 0 { DEVICE } else { NORMAL };
        entries[index] = (index as u64) << 30 | attributes;
        index += 1;
    }
    Map(entries)
}

#[unsafe(no_mangle)]
static BOOT_MAP: Map = map();

/// Stack of the first CPU until the image has moved.
#[repr(C, align(16))]
struct EarlyStack([u8; 0x4000]);

#[unsafe(no_mangle)]
#[unsafe(link_section = ".data.early_stack")]
static EARLY_STACK: EarlyStack = EarlyStack([0; 0x4000]);

global_asm!(
    r#"
    .section .text.start, "ax"
    .global start
    start:
        msr     daifset, #0xf
        mrs     x1, CurrentEL
        cmp     x1, #(2 << 2)
        b.ne    5f
        adrp    x1, {early_stack}
        add     x1, x1, :lo12:{early_stack}
        add     sp, x1, #0x4000
        bl      {choose_place}

        // x19: where the image goes; x20: where it is; x21: its end; x22: how far it moves.
        mov     x19, x0
        adrp    x20, __image_start
        adrp    x21, __image_end
        sub     x22, x19, x20
        mov     x2, x20
        mov     x3, x19
    1:  ldp     x4, x5, [x2], #16
        stp     x4, x5, [x3], #16
        cmp     x2, x21
        b.lo    1b

        // What starts as zero follows the copy.
        adrp    x4, __bss_end
        add     x4, x4, x22
    2:  cmp     x3, x4
        b.hs    3f
        stp     xzr, xzr, [x3], #16
        b       2b

        // Elf64_Rela: offset, info, addend. Every one is R_AARCH64_RELATIVE.
    3:  adrp    x2, __rela_start
        add     x2, x2, :lo12:__rela_start
        adrp    x3, __rela_end
        add     x3, x3, :lo12:__rela_end
    4:  cmp     x2, x3
        b.hs    6f
        ldr     x4, [x2]
        ldr     x5, [x2, #16]
        add     x5, x5, x22
        str     x5, [x4, x22]
        add     x2, x2, #24
        b       4b

    5:  bl      {not_el2}

        // To the same place in the copy.
    6:  dsb     sy
        ic      iallu
        dsb     sy
        isb
        adr     x4, moved
        add     x4, x4, x22
        br      x4
    moved:
        bl      enable_mmu
        mov     x0, #0
        bl      use_stack
        mov     x0, x20
        mov     x1, x21
        b       {main}

    .global start_secondary
    start_secondary:
        msr     daifset, #0xf
        mov     x19, x0
        bl      enable_mmu
        mov     x0, x19
        bl      use_stack
        mov     x0, x19
        b       {secondary_main}

        // x0: index of this CPU.
    use_stack:
        adrp    x1, {stacks}
        add     x1, x1, :lo12:{stacks}
        mov     x2, #{stack}
        madd    x1, x0, x2, x1
        add     sp, x1, x2
        ret

    enable_mmu:
        adrp    x0, {map}
        add     x0, x0, :lo12:{map}
        msr     ttbr0_el2, x0
        // Attribute 0: Normal, write-back, both. Attribute 1: Device-nGnRnE.
        mov     x0, #0x00ff
        msr     mair_el2, x0
        // T0SZ 25 (39 bits), write-back walks, inner shareable, 4 KiB, PS 40 bits, RES1 23 and 31.
        ldr     x0, =((1 << 31) | (1 << 23) | (2 << 16) | (3 << 12) | (1 << 10) | (1 << 8) | 25)
        msr     tcr_el2, x0
        adrp    x0, {vectors}
        add     x0, x0, :lo12:{vectors}
        msr     vbar_el2, x0
        // Nothing of EL2 goes to AArch32, and no host extensions: before the MMU is on.
        mov     x0, #(1 << 31)
        msr     hcr_el2, x0
        isb
        tlbi    alle2
        dsb     ish
        isb
        // RES1, and M, C, I.
        ldr     x0, =(0x30c50830 | (1 << 0) | (1 << 2) | (1 << 12))
        msr     sctlr_el2, x0
        isb
        ret
    "#,
    early_stack = sym EARLY_STACK,
    choose_place = sym choose_place,
    not_el2 = sym not_el2,
    main = sym super::main,
    secondary_main = sym super::secondary_main,
    stacks = sym super::cpu::STACKS,
    stack = const STACK,
    map = sym BOOT_MAP,
    vectors = sym super::vectors::vectors,
);

/// Where the image is to go. Runs before it moves: with the MMU off, so all memory is Device memory
/// to this code, and nothing that starts as zero exists yet.
extern "C" fn choose_place() -> u64 {
    match device_tree::ram() {
        Ok(ram) => ram.end - layout::RESERVED_LENGTH + place::IMAGE,
        Err(reason) => uart::refuse(format_args!("{reason}")),
    }
}

extern "C" fn not_el2() -> ! {
    uart::refuse(format_args!(
        "it was not started at EL2: give QEMU -machine virt,virtualization=on"
    ))
}

/// Where the moved image ends, what it needs zeroed included.
pub(super) fn image_end() -> u64 {
    unsafe extern "C" {
        /// From the linker script.
        static __bss_end: u8;
    }
    &raw const __bss_end as u64
}
