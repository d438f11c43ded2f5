//! The monitor's own CPU: it answers the host, whatever the guest is doing.

use super::registers::{mrs, msr, run};
use super::{gic, mailbox};

/// Times a second that it looks for a request, soon after one and otherwise.
const BUSY: u64 = 2000;
const IDLE: u64 = 200;

/// How many looks count as soon after a request.
const SOON: u32 = 1000;

/// Never comes back.
pub(super) fn run(index: usize) -> ! {
    gic::prepare_wakeup(index);
    let frequency = mrs!("cntfrq_el0");
    let mut since_request = SOON;
    loop {
        if mailbox::serve(index) {
            since_request = 0;
        } else {
            since_request = since_request.saturating_add(1);
        }
        let rate = if since_request < SOON { BUSY } else { IDLE };
        sleep(frequency / rate);
    }
}

/// Waits for so many ticks of the timer. The interrupt is never taken: it is pending, which ends
/// WFI, until the timer is set anew.
fn sleep(ticks: u64) {
    let until = mrs!("cntpct_el0") + ticks;
    msr!("cnthp_cval_el2", until);
    msr!("cnthp_ctl_el2", 1);
    run!("isb");
    while mrs!("cntpct_el0") < until {
        if gic::can_wake() {
            run!("wfi");
        } else {
            run!("yield");
        }
    }
}
