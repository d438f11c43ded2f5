//! The guest's memory and translation, as the monitor looks at them.

use monitor::walk::{PhysicalMemory, Purpose, Regime};

use super::cpu::Has;
use super::registers::mrs;
use super::stage2;

/// The guest's RAM, read in place: the monitor's own map is the identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ram;

impl PhysicalMemory for Ram {
    fn read_u64(&self, address: u64) -> Option<u64> {
        let ram = stage2::ram();
        if !ram.contains(&address) || !address.is_multiple_of(8) {
            return None;
        }
        // SAFETY: it is RAM, aligned, and no Rust object lives in the guest's part of it. The guest may
        // write it at any moment, hence volatile.
        Some(unsafe { (address as *const u64).read_volatile() })
    }
}

/// How the guest translates, now, on this CPU.
pub(super) fn regime(has: &Has) -> Regime {
    Regime {
        tcr: mrs!("tcr_el1"),
        tcr2: if has.tcr2 { mrs!("S3_0_C2_C0_3") } else { 0 },
        ttbr0: mrs!("ttbr0_el1"),
        ttbr1: mrs!("ttbr1_el1"),
        sctlr: mrs!("sctlr_el1"),
    }
}

/// The guest-physical address that a virtual address leads to.
pub(super) fn translate(has: &Has, address: u64, purpose: Purpose) -> Option<u64> {
    regime(has).translate(&Ram, address, purpose)
}

/// The instruction at a PC. The flash that EDK2 runs from is not RAM, and holds no poison, but its
/// instructions access RAM that does.
pub(super) fn instruction(has: &Has, pc: u64) -> Option<u32> {
    let address = translate(has, pc, Purpose::Fetch)?;
    if !address.is_multiple_of(4) {
        return None;
    }
    if let Some(word) = Ram.read_u64(address & !7) {
        return Some((word >> (address % 8 * 8)) as u32);
    }
    const FLASH_END: u64 = 0x0800_0000;
    if address >= FLASH_END {
        return None;
    }
    // SAFETY: `virt`'s flash, which nobody but the guest writes; mapped as Device memory.
    Some(unsafe { (address as *const u32).read_volatile() })
}
