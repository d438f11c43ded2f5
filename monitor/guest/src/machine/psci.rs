//! PSCI (Arm DEN 0022): starting CPUs and switching the machine off.

use core::sync::atomic::{AtomicBool, Ordering};

const VERSION: u64 = 0x8400_0000;
const CPU_ON: u64 = 0xc400_0003;
const SYSTEM_OFF: u64 = 0x8400_0008;

static BY_HVC: AtomicBool = AtomicBool::new(false);

/// Says how to call: QEMU takes HVC where there is no EL2, and SMC where there is.
pub(crate) fn use_hvc(by_hvc: bool) {
    BY_HVC.store(by_hvc, Ordering::Relaxed);
}

fn call(function: u64, arguments: [u64; 3]) -> i64 {
    let [a, b, c] = arguments;
    let result: u64;
    if BY_HVC.load(Ordering::Relaxed) {
        // SAFETY: the SMC calling convention (Arm DEN 0028): x0 to x17 may change. CPU_ON starts a
        // CPU at the address that `start_cpu` gives.
        unsafe {
            core::arch::asm!("hvc #0", inout("x0") function => result, in("x1") a, in("x2") b,
                in("x3") c, clobber_abi("C"), options(nostack));
        }
    } else {
        // SAFETY: as above.
        unsafe {
            core::arch::asm!("smc #0", inout("x0") function => result, in("x1") a, in("x2") b,
                in("x3") c, clobber_abi("C"), options(nostack));
        }
    }
    result as i64
}

/// The version, which is the cheapest call there is.
pub(crate) fn version() -> i64 {
    call(VERSION, [0; 3])
}

/// Starts the CPU `mpidr` at `entry` with `context` in x0; 0 if it was.
pub(crate) fn start_cpu(mpidr: u64, entry: u64, context: u64) -> i64 {
    call(CPU_ON, [mpidr, entry, context])
}

/// Switches the machine off.
pub(crate) fn system_off() -> ! {
    call(SYSTEM_OFF, [0; 3]);
    loop {
        core::hint::spin_loop();
    }
}
