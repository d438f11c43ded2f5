//! The little that the monitor does with the GIC, all of which belongs to the guest otherwise.
//!
//! Arm GIC architecture specification (IHI 0069), chapter 12. `virt` has one security state
//! (GICD_CTLR.DS is 1).

use control::layout::NOTIFY_INTID;

use super::registers::{msr, run};

const DISTRIBUTOR: u64 = 0x0800_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
/// Two frames of 64 KiB for each CPU.
const REDISTRIBUTOR_STRIDE: u64 = 0x2_0000;
const SGI_FRAME: u64 = 0x1_0000;

const GICD_CTLR: u64 = 0x0;
const GICD_ISPENDR: u64 = 0x200;
const ENABLE_GROUP_1: u32 = 1 << 1;
const AFFINITY_ROUTING: u32 = 1 << 4;

const GICR_WAKER: u64 = 0x14;
const PROCESSOR_SLEEP: u32 = 1 << 1;
const CHILDREN_ASLEEP: u32 = 1 << 2;
const GICR_IGROUPR0: u64 = 0x80;
const GICR_ISENABLER0: u64 = 0x100;
const GICR_IPRIORITYR: u64 = 0x400;

/// The interrupt of EL2's physical timer.
const TIMER: u64 = 26;

fn load(address: u64) -> u32 {
    // SAFETY: `virt` has a GIC there, mapped as Device memory.
    unsafe { (address as *const u32).read_volatile() }
}

fn store(address: u64, value: u32) {
    // SAFETY: as above; the registers written are of the GIC, and move no memory.
    unsafe { (address as *mut u32).write_volatile(value) };
}

/// Makes the notification interrupt pending, as the hardware that it stands for would.
pub(super) fn notify() {
    let register = DISTRIBUTOR + GICD_ISPENDR + u64::from(NOTIFY_INTID / 32 * 4);
    store(register, 1 << (NOTIFY_INTID % 32));
}

/// Lets the timer of EL2 wake CPU `index`, which the guest does not have.
pub(super) fn prepare_wakeup(index: usize) {
    // Reset leaves interrupts off. A guest sets this register up itself before it relies on it.
    store(
        DISTRIBUTOR + GICD_CTLR,
        load(DISTRIBUTOR + GICD_CTLR) | ENABLE_GROUP_1 | AFFINITY_ROUTING,
    );
    let frame = REDISTRIBUTORS + index as u64 * REDISTRIBUTOR_STRIDE;
    store(
        frame + GICR_WAKER,
        load(frame + GICR_WAKER) & !PROCESSOR_SLEEP,
    );
    while load(frame + GICR_WAKER) & CHILDREN_ASLEEP != 0 {}
    let own = frame + SGI_FRAME;
    store(own + GICR_IGROUPR0, load(own + GICR_IGROUPR0) | 1 << TIMER);
    store(own + GICR_IPRIORITYR + TIMER / 4 * 4, 0x8080_8080);
    store(own + GICR_ISENABLER0, 1 << TIMER);
    // ICC_SRE_EL2, ICC_PMR_EL1, ICC_IGRPEN1_EL1.
    msr!("S3_4_C12_C9_5", 0xf);
    run!("isb");
    msr!("S3_0_C4_C6_0", 0xff);
    msr!("S3_0_C12_C12_7", 1);
    run!("isb");
}

/// Whether an interrupt can wake the CPU: not while the guest has the distributor off.
pub(super) fn can_wake() -> bool {
    load(DISTRIBUTOR + GICD_CTLR) & ENABLE_GROUP_1 != 0
}
