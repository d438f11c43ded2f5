//! The interrupt controller: a GICv3 (Arm IHI 0069), where QEMU's `virt` has it.

use core::sync::atomic::{AtomicU64, Ordering};

use control::layout::NOTIFY_INTID;

use super::{cpu, registers, timer};

const DISTRIBUTOR: u64 = 0x0800_0000;
const REDISTRIBUTORS: u64 = 0x080a_0000;
const REDISTRIBUTOR_LENGTH: u64 = 0x2_0000;
/// The frame of a redistributor that has the private interrupts.
const SGI_FRAME: u64 = 0x1_0000;

const GICD_CTLR: u64 = 0x0000;
const GICR_WAKER: u64 = 0x0014;
const IGROUPR: u64 = 0x0080;
const ISENABLER: u64 = 0x0100;
const ICENABLER: u64 = 0x0180;
const ICPENDR: u64 = 0x0280;
const IPRIORITYR: u64 = 0x0400;
const ICFGR: u64 = 0x0c00;
const IROUTER: u64 = 0x6000;

/// A software interrupt that wakes a CPU, and does nothing else.
const WAKE: u32 = 0;

static NOTIFICATIONS: AtomicU64 = AtomicU64::new(0);

fn read(address: u64) -> u32 {
    // SAFETY: a register of the interrupt controller, at one of the addresses above.
    unsafe { (address as *const u32).read_volatile() }
}

fn write(address: u64, value: u32) {
    // SAFETY: as in `read`; interrupts only count.
    unsafe { (address as *mut u32).write_volatile(value) }
}

/// Sets up the distributor and the notification interrupt, which goes to CPU 0.
pub(crate) fn init() {
    // ARE_NS, EnableGrp1, EnableGrp1A: affinity routing, non-secure interrupts.
    write(DISTRIBUTOR + GICD_CTLR, 1 << 4 | 1 << 1 | 1);
    let word = u64::from(NOTIFY_INTID / 32) * 4;
    let bit = 1 << (NOTIFY_INTID % 32);
    let group = read(DISTRIBUTOR + IGROUPR + word);
    write(DISTRIBUTOR + IGROUPR + word, group | bit);
    let priorities = DISTRIBUTOR + IPRIORITYR + u64::from(NOTIFY_INTID & !3);
    write(priorities, 0x8080_8080);
    let configuration = DISTRIBUTOR + ICFGR + u64::from(NOTIFY_INTID / 16) * 4;
    let edge = 0b10 << (NOTIFY_INTID % 16 * 2);
    write(configuration, read(configuration) | edge);
    let route = (DISTRIBUTOR + IROUTER + u64::from(NOTIFY_INTID) * 8) as *mut u64;
    // SAFETY: the route of an interrupt: to the CPU with affinity 0.
    unsafe { route.write_volatile(0) }
    write(DISTRIBUTOR + ICPENDR + word, bit);
    write(DISTRIBUTOR + ISENABLER + word, bit);
    init_cpu();
}

/// Sets up this CPU's part.
pub(crate) fn init_cpu() {
    let redistributor = REDISTRIBUTORS + cpu::number() as u64 * REDISTRIBUTOR_LENGTH;
    // ProcessorSleep.
    let waker = read(redistributor + GICR_WAKER);
    write(redistributor + GICR_WAKER, waker & !2);
    while read(redistributor + GICR_WAKER) & 4 != 0 {
        core::hint::spin_loop();
    }
    let private = redistributor + SGI_FRAME;
    write(private + IGROUPR, u32::MAX);
    write(private + IPRIORITYR + 24, 0x8080_8080);
    write(private + IPRIORITYR, 0x8080_8080);
    write(private + ISENABLER, 1 << timer::INTID | 1 << WAKE);
    // ICC_SRE_EL1, ICC_PMR_EL1, ICC_IGRPEN1_EL1.
    registers::write!("s3_0_c12_c12_5", 7);
    registers::write!("s3_0_c4_c6_0", 0xff);
    registers::write!("s3_0_c12_c12_7", 1);
}

/// Takes an interrupt.
pub(crate) fn handle() {
    // ICC_IAR1_EL1.
    let intid = registers::read!("s3_0_c12_c12_0") as u32;
    match intid {
        WAKE => {}
        timer::INTID => timer::handle(),
        NOTIFY_INTID => {
            NOTIFICATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // Spurious: whatever it was is gone. It is not to be ended.
        1020.. => return,
        other => {
            write(
                DISTRIBUTOR + ICENABLER + u64::from(other / 32) * 4,
                1 << (other % 32),
            );
        }
    }
    // ICC_EOIR1_EL1.
    registers::write!("s3_0_c12_c12_1", u64::from(intid));
}

/// Wakes another CPU, one of the first 16.
pub(crate) fn wake(cpu: usize) {
    registers::barrier();
    // ICC_SGI1R_EL1: the interrupt, and a list of targets by the lowest affinity.
    registers::write!("s3_0_c12_c11_5", u64::from(WAKE) << 24 | 1 << cpu);
}

/// Sleeps until an interrupt comes, and takes it.
pub(crate) fn sleep() {
    // SAFETY: a hint. A pending interrupt ends it, masked or not.
    unsafe { core::arch::asm!("dsb sy", "wfi", options(nostack)) }
    poll();
}

/// How many notification interrupts have come.
pub(crate) fn notifications() -> u64 {
    NOTIFICATIONS.load(Ordering::Relaxed)
}

/// Takes the interrupts that are pending.
pub(crate) fn poll() {
    // SAFETY: interrupts are handled by `handle`, and only count.
    unsafe {
        core::arch::asm!(
            "msr daifclr, #2",
            "isb",
            "msr daifset, #2",
            options(nostack)
        );
    }
}
