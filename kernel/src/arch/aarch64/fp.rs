//! The SIMD and floating-point registers: nobody's but user programs'.
//!
//! The kernel is compiled without them, so they stay as the running program left them through
//! system calls, faults and interrupts, and are saved only when another program's are to come. SVE and
//! SME are not enabled.

use core::arch::naked_asm;
use core::mem::offset_of;

use crate::arch::FpRegisters;

const _: () = assert!(offset_of!(FpRegisters, status) == 512);
const _: () = assert!(offset_of!(FpRegisters, control) == 516);

/// Those of the running user thread.
pub fn read(into: &mut FpRegisters) {
    // SAFETY: it writes the fields of `into`.
    unsafe { save(into) }
}

/// Gives the running user thread these.
pub fn write(from: &FpRegisters) {
    // SAFETY: it reads the fields of `from`; no Rust code keeps anything in the registers.
    unsafe { load(from) }
}

#[unsafe(naked)]
unsafe extern "C" fn save(into: *mut FpRegisters) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "stp q0, q1, [x0]",
        "stp q2, q3, [x0, #32]",
        "stp q4, q5, [x0, #64]",
        "stp q6, q7, [x0, #96]",
        "stp q8, q9, [x0, #128]",
        "stp q10, q11, [x0, #160]",
        "stp q12, q13, [x0, #192]",
        "stp q14, q15, [x0, #224]",
        "stp q16, q17, [x0, #256]",
        "stp q18, q19, [x0, #288]",
        "stp q20, q21, [x0, #320]",
        "stp q22, q23, [x0, #352]",
        "stp q24, q25, [x0, #384]",
        "stp q26, q27, [x0, #416]",
        "stp q28, q29, [x0, #448]",
        "stp q30, q31, [x0, #480]",
        "mrs x1, fpsr",
        "mrs x2, fpcr",
        "add x0, x0, #512",
        "stp w1, w2, [x0]",
        "ret",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn load(from: *const FpRegisters) {
    naked_asm!(
        ".arch_extension fp",
        ".arch_extension simd",
        "ldp q0, q1, [x0]",
        "ldp q2, q3, [x0, #32]",
        "ldp q4, q5, [x0, #64]",
        "ldp q6, q7, [x0, #96]",
        "ldp q8, q9, [x0, #128]",
        "ldp q10, q11, [x0, #160]",
        "ldp q12, q13, [x0, #192]",
        "ldp q14, q15, [x0, #224]",
        "ldp q16, q17, [x0, #256]",
        "ldp q18, q19, [x0, #288]",
        "ldp q20, q21, [x0, #320]",
        "ldp q22, q23, [x0, #352]",
        "ldp q24, q25, [x0, #384]",
        "ldp q26, q27, [x0, #416]",
        "ldp q28, q29, [x0, #448]",
        "ldp q30, q31, [x0, #480]",
        "add x0, x0, #512",
        "ldp w1, w2, [x0]",
        "msr fpsr, x1",
        "msr fpcr, x2",
        "ret",
    )
}
