//! TLB maintenance of a guest whose only running CPU this is.
//!
//! A broadcast makes QEMU stop every other CPU of the machine, the monitor's own too, and a kernel that
//! boots sends thousands. As long as no other CPU has run the guest, none can hold anything of it: the
//! instruction is trapped (HCR_EL2.TTLB), which is cheaper, and flushes this CPU alone.

use core::sync::atomic::{AtomicBool, Ordering};

use syndrome::SystemRegister;

use super::registers::{mrs, msr, run, run_with};
use super::vectors::Frame;

/// `HCR_EL2.TTLB`.
const TTLB: u64 = 1 << 25;

/// Whether a second CPU has been started for the guest.
static SHARED: AtomicBool = AtomicBool::new(false);

/// Has this CPU's maintenance trapped, if it is the only one.
pub(super) fn prepare() {
    if !SHARED.load(Ordering::Acquire) {
        msr!("hcr_el2", mrs!("hcr_el2") | TTLB);
    }
}

/// A further CPU is about to run the guest: called by the one that starts it, which is the only one if this
/// is the first time.
pub(super) fn share() {
    if !SHARED.swap(true, Ordering::AcqRel) {
        msr!("hcr_el2", mrs!("hcr_el2") & !TTLB);
        run!("isb");
    }
}

/// Whether a trapped system instruction is TLB maintenance: CRn 8, or 9 for those of `FEAT_XS`.
pub(super) fn is_maintenance(target: SystemRegister) -> bool {
    target.op0 == 1 && matches!(target.crn, 8 | 9)
}

/// Does on this CPU what a trapped instruction asks for. Without `nXS`, which only makes it wait for more.
///
/// Arm ARM (DDI 0487), C5.5: CRm is 1 (outer shareable), 3 (inner shareable) or 7 (this CPU) for
/// one address, 2, 5 or 6 for a range.
pub(super) fn maintain(frame: &Frame, register: u8, target: SystemRegister) {
    let by_range = matches!(target.crm, 2 | 5 | 6);
    let value = frame.get(register);
    match (by_range, target.op2) {
        (false, 1) => run_with!("tlbi vae1, {}", value),
        (false, 2) => run_with!("tlbi aside1, {}", value),
        (false, 3) => run_with!("tlbi vaae1, {}", value),
        (false, 5) => run_with!("tlbi vale1, {}", value),
        (false, 7) => run_with!("tlbi vaale1, {}", value),
        (true, 1) => run_with!("sys #0, c8, c6, #1, {}", value),
        (true, 3) => run_with!("sys #0, c8, c6, #3, {}", value),
        (true, 5) => run_with!("sys #0, c8, c6, #5, {}", value),
        (true, 7) => run_with!("sys #0, c8, c6, #7, {}", value),
        // VMALLE1, and what there may be one day: everything.
        _ => run!("tlbi vmalle1"),
    }
}
