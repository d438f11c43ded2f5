//! PSCI: the guest's SMC calls, of which only those that start CPUs are changed.
//!
//! Power State Coordination Interface (Arm DEN 0022). QEMU answers calls from EL2; a CPU that the
//! guest starts must come up in the monitor first.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use control::MAX_CPUS;
use spin::Mutex;

use super::vectors::Frame;
use super::{stage2, tlb};

const CPU_ON_32: u32 = 0x8400_0003;
const CPU_ON_64: u32 = 0xc400_0003;
const AFFINITY_INFO_32: u32 = 0x8400_0004;
const AFFINITY_INFO_64: u32 = 0xc400_0004;
const SYSTEM_OFF: u32 = 0x8400_0008;

const INVALID_PARAMETERS: i64 = -2;
const ALREADY_ON: i64 = -4;
const ON_PENDING: i64 = -5;
const INVALID_ADDRESS: i64 = -9;

/// What AFFINITY_INFO answers.
const ON: u64 = 0;
const OFF: u64 = 1;

static STARTING: Mutex<()> = Mutex::new(());

/// Where a CPU that has been started enters the guest, and with what in x0.
struct Entry {
    pc: AtomicU64,
    argument: AtomicU64,
}

static ENTRIES: [Entry; MAX_CPUS] = [const {
    Entry {
        pc: AtomicU64::new(0),
        argument: AtomicU64::new(0),
    }
}; MAX_CPUS];

/// Serves an SMC of the guest. It was trapped, so the PC is still at it.
pub(super) fn call(frame: &mut Frame) {
    let function = frame.x[0] as u32;
    match function {
        CPU_ON_32 | CPU_ON_64 => {
            let wide = function == CPU_ON_64;
            let clip = |value: u64| if wide { value } else { value & 0xffff_ffff };
            let result = cpu_on(clip(frame.x[1]), clip(frame.x[2]), clip(frame.x[3]));
            frame.x[0] = result as u64;
        }
        AFFINITY_INFO_32 | AFFINITY_INFO_64 if guest_cpu(frame.x[1]).is_none() => {
            frame.x[0] = INVALID_PARAMETERS as u64;
        }
        _ => forward(frame),
    }
    frame.skip_instruction();
}

/// The index of a CPU that the guest has, by its affinity.
fn guest_cpu(affinity: u64) -> Option<usize> {
    let index = usize::try_from(affinity).ok()?;
    stage2::view(index).map(|_| index)
}

fn cpu_on(affinity: u64, pc: u64, argument: u64) -> i64 {
    let Some(index) = guest_cpu(affinity) else {
        return INVALID_PARAMETERS;
    };
    if !pc.is_multiple_of(4) {
        return INVALID_ADDRESS;
    }
    // A call that fails must not disturb a CPU on its way up, which has yet to read where to go.
    let _one_at_a_time = STARTING.lock();
    match affinity_info(index) {
        OFF => {}
        ON => return ALREADY_ON,
        _ => return ON_PENDING,
    }
    tlb::share();
    ENTRIES[index].pc.store(pc, Ordering::Relaxed);
    ENTRIES[index].argument.store(argument, Ordering::Release);
    start(index)
}

/// Starts a CPU in the monitor. Gives PSCI's status.
pub(super) fn start(index: usize) -> i64 {
    unsafe extern "C" {
        /// In `boot`.
        static start_secondary: u8;
    }
    let mut frame = [
        u64::from(CPU_ON_64),
        index as u64,
        &raw const start_secondary as u64,
        index as u64,
        0,
        0,
        0,
        0,
    ];
    smc(&mut frame);
    frame[0] as i64
}

fn affinity_info(index: usize) -> u64 {
    let mut frame = [u64::from(AFFINITY_INFO_64), index as u64, 0, 0, 0, 0, 0, 0];
    smc(&mut frame);
    frame[0]
}

/// Where CPU `index` enters the guest, and its x0.
pub(super) fn entry(index: usize) -> (u64, u64) {
    let argument = ENTRIES[index].argument.load(Ordering::Acquire);
    (ENTRIES[index].pc.load(Ordering::Relaxed), argument)
}

/// Switches the machine off.
pub(super) fn system_off() -> ! {
    loop {
        smc(&mut [u64::from(SYSTEM_OFF), 0, 0, 0, 0, 0, 0, 0]);
    }
}

fn forward(frame: &mut Frame) {
    let mut registers = [0; 8];
    registers.copy_from_slice(&frame.x[..8]);
    smc(&mut registers);
    // SMCCC 1.0: results in x0 to x3.
    frame.x[..4].copy_from_slice(&registers[..4]);
}

fn smc(x: &mut [u64; 8]) {
    // SAFETY: QEMU's PSCI does not touch the caller's memory. It preserves what SMCCC says it
    // may change, but the clobbers say what SMCCC allows.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") x[0],
            inout("x1") x[1],
            inout("x2") x[2],
            inout("x3") x[3],
            inout("x4") x[4] => _,
            inout("x5") x[5] => _,
            inout("x6") x[6] => _,
            inout("x7") x[7] => _,
            out("x8") _, out("x9") _, out("x10") _, out("x11") _,
            out("x12") _, out("x13") _, out("x14") _, out("x15") _,
            out("x16") _, out("x17") _,
            options(nostack)
        );
    }
}
