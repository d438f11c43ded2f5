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
    if field(mrs!("id_aa64mmfr0_el1"), 4) >= 2 {
        1 << 16
    } else {
        1 << 8
    }
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

/// Bits of AT_HWCAP and AT_HWCAP2 (Linux, `asm/hwcap.h` for arm64), with the register field that
/// says that the CPU has the feature: shift and least value. Only features without state that the
/// kernel would have to keep.
const ISAR0: &[(u32, u32, u64)] = &[
    (3, 4, 1),   // AES
    (4, 4, 2),   // PMULL
    (5, 8, 1),   // SHA1
    (6, 12, 1),  // SHA2
    (21, 12, 2), // SHA512
    (7, 16, 1),  // CRC32
    (8, 20, 2),  // ATOMICS
    (12, 28, 1), // ASIMDRDM
    (17, 32, 1), // SHA3
    (18, 36, 1), // SM3
    (19, 40, 1), // SM4
    (20, 44, 1), // ASIMDDP
    (23, 48, 1), // ASIMDFHM
    (27, 52, 1), // FLAGM
];
const ISAR1: &[(u32, u32, u64)] = &[
    (16, 0, 1),  // DCPOP
    (13, 12, 1), // JSCVT
    (14, 16, 1), // FCMA
    (15, 20, 1), // LRCPC
    (26, 20, 2), // ILRCPC
    (29, 36, 1), // SB
];
/// AT_HWCAP2's MOPS.
const MOPS: u64 = 1 << 43;
/// AT_HWCAP's FP and ASIMD, their half precision, and CPUID.
const FP: u64 = 0b11;
const HALF: u64 = 1 << 9 | 1 << 10;
const CPUID: u64 = 1 << 11;

/// The fields of a register that a table names; programs see no others.
fn visible(register: u64, table: &[(u32, u32, u64)]) -> u64 {
    table
        .iter()
        .fold(0, |seen, (_, shift, _)| seen | register & 0xf << shift)
}

/// ID_AA64ISAR0_EL1 for programs.
pub(super) fn visible_isar0() -> u64 {
    visible(mrs!("id_aa64isar0_el1"), ISAR0)
}

/// ID_AA64ISAR1_EL1 for programs.
pub(super) fn visible_isar1() -> u64 {
    visible(mrs!("id_aa64isar1_el1"), ISAR1)
}

/// ID_AA64ISAR2_EL1 for programs: memory copy and set.
pub(super) fn visible_isar2() -> u64 {
    mrs!("id_aa64isar2_el1") & 0xf << 16
}

/// ID_AA64PFR0_EL1 for programs: FP and AdvSIMD, and that EL0 and EL1 are AArch64 only.
pub(super) fn visible_pfr0() -> u64 {
    mrs!("id_aa64pfr0_el1") & 0xff << 16 | 0x11
}

/// `AT_HWCAP` and `AT_HWCAP2`.
pub(super) fn capabilities() -> (u64, u64) {
    let of = |register: u64, table: &[(u32, u32, u64)]| {
        let has = table
            .iter()
            .filter(|(_, shift, least)| field(register, *shift) >= *least);
        has.fold(0, |bits, (bit, ..)| bits | 1 << bit)
    };
    // FP and ASIMD are there, because the kernel would not have started without. With half
    // precision the fields are 1.
    let half = field(mrs!("id_aa64pfr0_el1"), 16) == 1;
    let base = FP | CPUID | if half { HALF } else { 0 };
    let first = base | of(mrs!("id_aa64isar0_el1"), ISAR0) | of(mrs!("id_aa64isar1_el1"), ISAR1);
    let mops = field(mrs!("id_aa64isar2_el1"), 16) >= 1;
    (first, if mops { MOPS } else { 0 })
}
