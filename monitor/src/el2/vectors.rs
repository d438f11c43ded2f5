//! EL2's exception vectors, and the registers they save.

use core::arch::naked_asm;

/// The registers of the interrupted program. It leaves EL2 with what is in here.
///
/// No vector or floating-point register is among them: the monitor has none of its own.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Frame {
    /// `x0` to `x30`.
    pub(super) x: [u64; 31],
    /// `ELR_EL2`: where it goes on.
    pub(super) pc: u64,
    /// `SPSR_EL2`: its PSTATE.
    pub(super) pstate: u64,
    _alignment: u64,
}

const _: () = assert!(size_of::<Frame>() == 272);

impl Frame {
    /// Register `number`, where 31 is the zero register.
    pub(super) fn get(&self, number: u8) -> u64 {
        self.x.get(usize::from(number)).copied().unwrap_or(0)
    }

    /// Goes on behind an instruction that the monitor has carried out.
    pub(super) fn skip_instruction(&mut self) {
        self.pc = self.pc.wrapping_add(4);
        // BTYPE and SS are as after any instruction. If the guest is stepping, its exception is next.
        self.pstate &= !(0b11 << 10 | 1 << 21);
    }

    /// Sets register `number`, unless it is the zero register.
    pub(super) fn set(&mut self, number: u8, value: u64) {
        if let Some(register) = self.x.get_mut(usize::from(number)) {
            *register = value;
        }
    }
}

/// The vectors. `VBAR_EL2` holds their address, so they are aligned to 2 KiB.
#[unsafe(naked)]
#[unsafe(link_section = ".text.vectors")]
pub(super) unsafe extern "C" fn vectors() {
    naked_asm!(
        ".balign 0x800",
        // From EL2 itself, on either stack: the monitor's own mistake.
        "mov x0, #0",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #1",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #2",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #3",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #4",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #5",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #6",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #7",
        "b {from_el2}",
        // From a lower level, AArch64: synchronous, IRQ, FIQ, SError.
        ".balign 0x80",
        "sub sp, sp, #272",
        "stp x0, x1, [sp]",
        "adr x0, {synchronous}",
        "b 1f",
        ".balign 0x80",
        "mov x0, #9",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #10",
        "b {from_el2}",
        ".balign 0x80",
        "sub sp, sp, #272",
        "stp x0, x1, [sp]",
        "adr x0, {serror}",
        "b 1f",
        // From a lower level, AArch32.
        ".balign 0x80",
        "sub sp, sp, #272",
        "stp x0, x1, [sp]",
        "adr x0, {synchronous}",
        "b 1f",
        ".balign 0x80",
        "mov x0, #13",
        "b {from_el2}",
        ".balign 0x80",
        "mov x0, #14",
        "b {from_el2}",
        ".balign 0x80",
        "sub sp, sp, #272",
        "stp x0, x1, [sp]",
        "adr x0, {serror}",
        "1:",
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
        "mrs x1, elr_el2",
        "stp x30, x1, [sp, #240]",
        "mrs x1, spsr_el2",
        "str x1, [sp, #256]",
        "mov x1, x0",
        "mov x0, sp",
        "blr x1",
        "ldr x1, [sp, #256]",
        "msr spsr_el2, x1",
        "ldp x30, x1, [sp, #240]",
        "msr elr_el2, x1",
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
        "ldp x0, x1, [sp], #272",
        "eret",
        from_el2 = sym super::trap::from_el2,
        synchronous = sym super::trap::synchronous,
        serror = sym super::trap::serror,
    )
}
