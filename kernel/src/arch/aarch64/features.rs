//! What this CPU has, and turning on what the kernel uses: Arm ARM DDI 0487, D24.2.

use copy::{Features, Routines};
use spin::Once;

use super::registers::{mrs, run};

/// SCTLR_EL1.MSCEn: memory copy and set instructions at EL0.
const SCTLR_MSCEN: u64 = 1 << 33;
/// SCTLR_EL1.EPAN: PAN also covers pages that user space can only execute.
const SCTLR_EPAN: u64 = 1 << 57;

static ROUTINES: Once<&'static Routines> = Once::new();

/// The copies for this machine.
pub(super) fn routines() -> &'static Routines {
    ROUTINES.call_once(|| Routines::select(Features::detect().without_vectors()))
}

fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 0xf
}

/// Whether there is PAN.
pub(super) fn has_pan() -> bool {
    field(mrs!("id_aa64mmfr1_el1"), 20) >= 1
}

/// How many address space identifiers there are.
pub(super) fn asids() -> usize {
    if field(mrs!("id_aa64mmfr0_el1"), 4) >= 2 { 1 << 16 } else { 1 << 8 }
}

/// Turns on what this CPU has.
pub(super) fn enable() {
    let mut sctlr = mrs!("sctlr_el1");
    if field(mrs!("id_aa64isar2_el1"), 16) >= 1 {
        sctlr |= SCTLR_MSCEN;
    }
    if field(mrs!("id_aa64mmfr1_el1"), 20) >= 3 {
        sctlr |= SCTLR_EPAN;
    }
    // SAFETY: both bits concern EL0 only.
    unsafe {
        core::arch::asm!("msr sctlr_el1, {}", "isb", in(reg) sctlr, options(nostack, preserves_flags));
    }
    if has_pan() {
        run!(".arch_extension pan", "msr pan, #1");
    }
    // EL0 reads the virtual counter (CNTKCTL_EL1.EL0VCTEN), and nothing else of timers.
    super::registers::msr!("cntkctl_el1", 1 << 1);
    // Errors that come by themselves are wanted at once.
    run!("msr daifclr, #4");
}
