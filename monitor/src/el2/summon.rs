//! Getting another CPU of the guest into the monitor, whatever it is doing.
//!
//! Interrupts go past the monitor. But a CPU whose tables say that there is no memory comes by itself,
//! with its next instruction; one that waits for an interrupt comes when it wakes.

use core::sync::atomic::{AtomicU64, Ordering};

use control::MAX_CPUS;
use syndrome::AsyncErrorType;

use super::cpu::{Cpu, HCR_VSE};
use super::registers::{mrs, msr};
use super::{hit, stage2};

/// The SError that waits for a CPU, as 1 + AET; 0 if none does.
static SERRORS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Makes a virtual SError pending: on CPU `cpu` if the guest has it and it is the one that runs this, else
/// on the guest's first.
pub(super) fn serror(cpu: usize, error_type: AsyncErrorType) {
    if stage2::view(cpu).is_some() {
        pend(error_type);
    } else {
        SERRORS[0].store(1 + u64::from(error_type.bits()), Ordering::Release);
        stage2::withdraw(0);
    }
}

/// What a CPU does first when it has come. Gives whether it was called.
pub(super) fn come(cpu: &Cpu) -> bool {
    if !cpu.view.give_back() {
        return false;
    }
    if let Some(bits) = SERRORS[cpu.index].swap(0, Ordering::Acquire).checked_sub(1) {
        pend(AsyncErrorType::from_bits(bits as u8));
    }
    true
}

fn pend(error_type: AsyncErrorType) {
    hit::set_serror(error_type);
    msr!("hcr_el2", mrs!("hcr_el2") | HCR_VSE);
}
