//! Firmware: PSCI (Arm DEN 0022).

use core::sync::atomic::{AtomicBool, Ordering};

use smccc::{Hvc, Smc, psci};

static HVC: AtomicBool = AtomicBool::new(false);

/// Says how firmware is called.
pub(super) fn use_hvc(hvc: bool) {
    HVC.store(hvc, Ordering::Relaxed);
}

/// Starts the CPU with this affinity at a physical address, with `context` in x0. Returns why not.
pub(super) fn start_cpu(affinity: u64, entry: u64, context: u64) -> Result<(), &'static str> {
    let result = if HVC.load(Ordering::Relaxed) {
        psci::cpu_on::<Hvc>(affinity, entry, context)
    } else {
        psci::cpu_on::<Smc>(affinity, entry, context)
    };
    result.map_err(|error| match error {
        psci::error::Error::AlreadyOn => "firmware says that it runs already",
        psci::error::Error::InvalidParameters => "firmware knows no such CPU",
        _ => "firmware does not start it",
    })
}

/// Switches the machine off.
pub fn power_off() -> ! {
    let _ = if HVC.load(Ordering::Relaxed) {
        psci::system_off::<Hvc>()
    } else {
        psci::system_off::<Smc>()
    };
    halt()
}

/// Starts the machine anew.
pub fn reset() -> ! {
    let _ = if HVC.load(Ordering::Relaxed) {
        psci::system_reset::<Hvc>()
    } else {
        psci::system_reset::<Smc>()
    };
    halt()
}

/// Does nothing any more.
pub(super) fn halt() -> ! {
    super::registers::run!("msr daifset, #0xf");
    loop {
        super::registers::run!("wfi");
    }
}
