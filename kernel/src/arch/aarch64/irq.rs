//! Masking this CPU's interrupts.

use super::registers::{mrs, run};

/// PSTATE.I in DAIF.
const MASKED: u64 = 1 << 7;

/// Whether interrupts were on.
#[derive(Clone, Copy, Debug)]
pub struct Flags(bool);

/// Masks interrupts of this CPU, and returns how it was.
pub fn disable() -> Flags {
    let on = mrs!("daif") & MASKED == 0;
    run!("msr daifset, #2");
    Flags(on)
}

/// Whether this CPU takes interrupts.
pub fn is_enabled() -> bool {
    mrs!("daif") & MASKED == 0
}

/// Puts it back.
pub fn restore(Flags(on): Flags) {
    if on {
        run!("msr daifclr, #2");
    }
}

/// Unmasks interrupts and asynchronous errors of this CPU, as a handler may when it has read the
/// registers that say why it was called.
pub(super) fn enable() {
    run!("msr daifclr, #6");
}

/// Masks both again, before a handler returns.
pub(super) fn mask() {
    run!("msr daifset, #6");
}
