//! Identification registers, which programs may not read but do: the read traps, and is done
//! for them (`HWCAP_CPUID`). They see what the kernel lets them use. Linux,
//! `Documentation/arch/arm64/cpu-feature-registers.rst`.

use super::features;
use super::registers::mrs;
use super::user;
use crate::arch::Registers;
use crate::memory::UserAddress;

/// `MRS` of a register with Op0 3, Op1 0 and CRn 0: Arm ARM DDI 0487, C6.2.
const MASK: u32 = 0xffff_f000;
const READ: u32 = 0xd538_0000;

/// Does the instruction that trapped, if it is such a read. Whether it was.
pub(super) fn emulate(registers: &mut Registers) -> bool {
    let Ok(instruction) = user::get::<u32>(UserAddress(registers.pc)) else {
        return false;
    };
    let (main, second) = (instruction >> 8 & 0xf, instruction >> 5 & 7);
    if instruction & MASK != READ {
        return false;
    }
    let Some(value) = value(main, second) else {
        return false;
    };
    // Register 31 is the zero register.
    if let Some(target) = registers.x.get_mut(instruction as usize & 0x1f) {
        *target = value;
    }
    registers.pc += 4;
    true
}

/// What programs see of the register with this CRm and Op2. What is unknown or reserved reads as
/// zero, as on a CPU that does not have it.
fn value(main: u32, second: u32) -> Option<u64> {
    Some(match (main, second) {
        // MIDR_EL1.
        (0, 0) => mrs!("midr_el1"),
        // MPIDR_EL1: that it exists.
        (0, 5) => 1 << 31,
        (0, 6) => 0,
        (0, _) => return None,
        // ID_AA64PFR0_EL1.
        (4, 0) => features::visible_pfr0(),
        // ID_AA64ISAR0_EL1, ID_AA64ISAR1_EL1, ID_AA64ISAR2_EL1.
        (6, 0) => features::visible_isar0(),
        (6, 1) => features::visible_isar1(),
        (6, 2) => features::visible_isar2(),
        (1..=7, _) => 0,
        _ => return None,
    })
}
