//! The vectors: every exception is saved whole, and belongs to an interrupt, to a trial, or to nobody.

use core::arch::{global_asm, naked_asm};

use syndrome::Esr;

use super::{cpu, gic, psci, trial, uart};

/// What an exception interrupted. Offsets are known to the assembly here and in [`trial`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Frame {
    /// x0 to x30.
    pub(crate) x: [u64; 31],
    /// The stack pointer of EL1; when a trial starts, that of EL0.
    pub(crate) sp: u64,
    /// `ELR_EL1`.
    pub(crate) pc: u64,
    /// `SPSR_EL1`.
    pub(crate) pstate: u64,
    /// `ESR_EL1`.
    pub(crate) esr: u64,
    /// `FAR_EL1`.
    pub(crate) far: u64,
    /// Which vector, by offset from `VBAR_EL1`.
    pub(crate) vector: u64,
    /// Keeps the stack aligned.
    unused: u64,
}

/// Bytes of a [`Frame`].
pub(crate) const FRAME_LENGTH: usize = size_of::<Frame>();

const _: () = assert!(FRAME_LENGTH == 304);

impl Frame {
    /// A frame of zeros.
    pub(crate) const ZERO: Self = Self {
        x: [0; 31],
        sp: 0,
        pc: 0,
        pstate: 0,
        esr: 0,
        far: 0,
        vector: 0,
        unused: 0,
    };
}

global_asm!(
    ".section .text.vectors, \"ax\"",
    // VBAR_EL1 ignores its low 11 bits.
    ".balign 2048",
    ".global vectors",
    "vectors:",
    ".irp offset, 0x000, 0x080, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, \
                  0x400, 0x480, 0x500, 0x580, 0x600, 0x680, 0x700, 0x780",
    ".balign 128",
    "sub sp, sp, #304",
    "stp x0, x1, [sp]",
    "mov x0, #\\offset",
    "b {save}",
    ".endr",
    ".text",
    save = sym save,
);

unsafe extern "C" {
    /// The vector table.
    pub(crate) fn vectors();
}

#[unsafe(naked)]
unsafe extern "C" fn save() {
    naked_asm!(
        "stp x2, x3, [sp, #16]",
        "stp x4, x5, [sp, #32]",
        "stp x6, x7, [sp, #48]",
        "stp x8, x9, [sp, #64]",
        "stp x10, x11, [sp, #80]",
        "stp x12, x13, [sp, #96]",
        "stp x14, x15, [sp, #112]",
        "stp x16, x17, [sp, #128]",
        "stp x18, x19, [sp, #144]",
        "stp x20, x21, [sp, #160]",
        "stp x22, x23, [sp, #176]",
        "stp x24, x25, [sp, #192]",
        "stp x26, x27, [sp, #208]",
        "stp x28, x29, [sp, #224]",
        "add x1, sp, #304",
        "stp x30, x1, [sp, #240]",
        "mrs x2, elr_el1",
        "mrs x3, spsr_el1",
        "stp x2, x3, [sp, #256]",
        "mrs x2, esr_el1",
        "mrs x3, far_el1",
        "stp x2, x3, [sp, #272]",
        "str x0, [sp, #288]",
        "mov x0, sp",
        "bl {exception}",
        "ldp x2, x3, [sp, #256]",
        "msr elr_el1, x2",
        "msr spsr_el1, x3",
        "ldp x2, x3, [sp, #16]",
        "ldp x4, x5, [sp, #32]",
        "ldp x6, x7, [sp, #48]",
        "ldp x8, x9, [sp, #64]",
        "ldp x10, x11, [sp, #80]",
        "ldp x12, x13, [sp, #96]",
        "ldp x14, x15, [sp, #112]",
        "ldp x16, x17, [sp, #128]",
        "ldp x18, x19, [sp, #144]",
        "ldp x20, x21, [sp, #160]",
        "ldp x22, x23, [sp, #176]",
        "ldp x24, x25, [sp, #192]",
        "ldp x26, x27, [sp, #208]",
        "ldp x28, x29, [sp, #224]",
        "ldr x30, [sp, #240]",
        "ldp x0, x1, [sp]",
        "add sp, sp, #304",
        "eret",
        exception = sym exception,
    )
}

extern "C" fn exception(frame: &mut Frame) {
    if frame.vector & 0x180 == 0x080 {
        gic::handle();
    } else if !trial::end(frame) {
        unexpected(frame);
    }
}

fn unexpected(frame: &Frame) -> ! {
    uart::print_at_once(format_args!(
        "Bail out! CPU {}: exception at vector {:#05x}: {}\n# pc {:#x} far {:#x} pstate {:#x}\n",
        cpu::number(),
        frame.vector,
        Esr::new(frame.esr),
        frame.pc,
        frame.far,
        frame.pstate,
    ));
    for (number, value) in frame.x.iter().enumerate() {
        uart::print_at_once(format_args!("# x{number} {value:#x}\n"));
    }
    psci::system_off()
}
