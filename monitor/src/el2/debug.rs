//! The debug registers, which the monitor borrows from the guest for one instruction.
//!
//! A step needs MDSCR_EL1 and watchpoints, a run-through breakpoints. The guest must not notice:
//! what it had comes back, what it would have been told it is told, and an instruction that looks at
//! the registers meanwhile is trapped and sees what the guest wrote.

use super::cpu::Has;
use super::registers::{mrs, msr};

/// The most watchpoints, or breakpoints, that an implementation has.
pub(super) const SLOTS: usize = 16;

/// `MDSCR_EL1`: single step, monitor debug events, kernel debug events.
const SS: u64 = 1 << 0;
const KDE: u64 = 1 << 13;
const MDE: u64 = 1 << 15;

/// `MDCR_EL2`: debug exceptions come to EL2, accesses to debug registers are trapped.
const TDE: u64 = 1 << 8;
const TRAPS: u64 = 0b111 << 9;

/// The enable bit of a control register.
const ENABLED: u64 = 1;

/// `SPSR`: debug exceptions masked; the exception level.
const PSTATE_D: u64 = 1 << 9;
const PSTATE_EL: u64 = 0b1100;

macro_rules! banked {
    ($read:ident, $write:ident: $($number:literal $name:literal),*) => {
        fn $read(slot: usize) -> u64 {
            match slot {
                $($number => mrs!($name),)*
                _ => 0,
            }
        }

        fn $write(slot: usize, value: u64) {
            match slot {
                $($number => msr!($name, value),)*
                _ => {}
            }
        }
    };
}

banked!(read_wvr, write_wvr:
    0 "dbgwvr0_el1", 1 "dbgwvr1_el1", 2 "dbgwvr2_el1", 3 "dbgwvr3_el1",
    4 "dbgwvr4_el1", 5 "dbgwvr5_el1", 6 "dbgwvr6_el1", 7 "dbgwvr7_el1",
    8 "dbgwvr8_el1", 9 "dbgwvr9_el1", 10 "dbgwvr10_el1", 11 "dbgwvr11_el1",
    12 "dbgwvr12_el1", 13 "dbgwvr13_el1", 14 "dbgwvr14_el1", 15 "dbgwvr15_el1");
banked!(read_wcr, write_wcr:
    0 "dbgwcr0_el1", 1 "dbgwcr1_el1", 2 "dbgwcr2_el1", 3 "dbgwcr3_el1",
    4 "dbgwcr4_el1", 5 "dbgwcr5_el1", 6 "dbgwcr6_el1", 7 "dbgwcr7_el1",
    8 "dbgwcr8_el1", 9 "dbgwcr9_el1", 10 "dbgwcr10_el1", 11 "dbgwcr11_el1",
    12 "dbgwcr12_el1", 13 "dbgwcr13_el1", 14 "dbgwcr14_el1", 15 "dbgwcr15_el1");
banked!(read_bvr, write_bvr:
    0 "dbgbvr0_el1", 1 "dbgbvr1_el1", 2 "dbgbvr2_el1", 3 "dbgbvr3_el1",
    4 "dbgbvr4_el1", 5 "dbgbvr5_el1", 6 "dbgbvr6_el1", 7 "dbgbvr7_el1",
    8 "dbgbvr8_el1", 9 "dbgbvr9_el1", 10 "dbgbvr10_el1", 11 "dbgbvr11_el1",
    12 "dbgbvr12_el1", 13 "dbgbvr13_el1", 14 "dbgbvr14_el1", 15 "dbgbvr15_el1");
banked!(read_bcr, write_bcr:
    0 "dbgbcr0_el1", 1 "dbgbcr1_el1", 2 "dbgbcr2_el1", 3 "dbgbcr3_el1",
    4 "dbgbcr4_el1", 5 "dbgbcr5_el1", 6 "dbgbcr6_el1", 7 "dbgbcr7_el1",
    8 "dbgbcr8_el1", 9 "dbgbcr9_el1", 10 "dbgbcr10_el1", 11 "dbgbcr11_el1",
    12 "dbgbcr12_el1", 13 "dbgbcr13_el1", 14 "dbgbcr14_el1", 15 "dbgbcr15_el1");

/// A pair of value and control register that the monitor may overwrite.
#[derive(Clone, Copy, Debug)]
struct Slot {
    value: u64,
    control: u64,
    /// Whether what is in the registers now is not what the guest wrote.
    borrowed: bool,
}

/// The guest's debug registers, while the monitor uses them.
#[derive(Debug)]
pub(super) struct Borrowed {
    mdscr: u64,
    mdcr: u64,
    locked: bool,
    /// Whether the guest's own breakpoints and watchpoints would fire where it is.
    live: bool,
    watchpoints: [Slot; SLOTS],
    breakpoints: [Slot; SLOTS],
}

impl Slot {
    const fn new(control: u64) -> Self {
        Self {
            value: 0,
            control,
            borrowed: false,
        }
    }
}

impl Borrowed {
    /// Nothing borrowed.
    pub(super) const fn new() -> Self {
        Self {
            mdscr: 0,
            mdcr: 0,
            locked: false,
            live: false,
            watchpoints: [Slot::new(0); SLOTS],
            breakpoints: [Slot::new(0); SLOTS],
        }
    }

    /// Takes the registers: from here on debug exceptions come to EL2, and one comes after the next
    /// instruction if `step`. None of the guest's own fires that would not have.
    pub(super) fn take(&mut self, has: &Has, pstate: u64, step: bool) {
        self.mdscr = mrs!("mdscr_el1");
        self.mdcr = mrs!("mdcr_el2");
        self.locked = mrs!("oslsr_el1") & 0b10 != 0;
        let from_el1 = pstate & PSTATE_EL != 0;
        let masked = from_el1 && (self.mdscr & KDE == 0 || pstate & PSTATE_D != 0);
        self.live = self.mdscr & MDE != 0 && !self.locked && !masked;
        for slot in 0..has.watchpoints {
            self.watchpoints[slot] = Slot::new(read_wcr(slot));
            if !self.live && self.watchpoints[slot].control & ENABLED != 0 {
                self.borrow_watchpoint(slot);
                write_wcr(slot, 0);
            }
        }
        for slot in 0..has.breakpoints {
            self.breakpoints[slot] = Slot::new(read_bcr(slot));
            // One at this very instruction has fired before the access did.
            if !self.live && self.breakpoints[slot].control & ENABLED != 0 {
                self.borrow_breakpoint(slot);
                write_bcr(slot, 0);
            }
        }
        if self.locked {
            // A locked OS lock would stop the step, and the page would stay open.
            msr!("oslar_el1", 0);
        }
        msr!("mdcr_el2", self.mdcr | TDE | TRAPS);
        let step = if step { SS } else { 0 };
        msr!("mdscr_el1", self.mdscr & !SS | MDE | step);
    }

    /// How many watchpoints the monitor can have. The guest's own that are live stay, but for two.
    pub(super) fn free_watchpoints(&self, has: &Has) -> usize {
        let kept = (0..has.watchpoints).filter(|&slot| self.is_kept(has, slot));
        has.watchpoints - kept.count()
    }

    /// Whether the guest's own watchpoint in this slot would fire.
    fn is_live(&self, slot: usize) -> bool {
        self.live && self.watchpoints[slot].control & ENABLED != 0
    }

    /// Whether the guest's own watchpoint in this slot stays armed. Two slots are the monitor's
    /// whatever the guest does with the rest: so many tell any contiguous load from its neighbours.
    fn is_kept(&self, has: &Has, slot: usize) -> bool {
        let before = (0..slot).filter(|&slot| self.is_live(slot)).count();
        self.is_live(slot) && before + 2 < has.watchpoints
    }

    /// Arms these watchpoints on loads, in place of any that the monitor had. Gives whether one of the
    /// guest's had to give way.
    pub(super) fn watch(
        &mut self,
        has: &Has,
        watchpoints: impl IntoIterator<Item = (u64, u32)>,
    ) -> bool {
        let mut wanted = watchpoints.into_iter();
        let mut displaced = false;
        for slot in 0..has.watchpoints {
            if self.is_kept(has, slot) {
                continue;
            }
            match wanted.next() {
                Some((address, size)) => {
                    displaced |= self.is_live(slot);
                    self.borrow_watchpoint(slot);
                    write_wvr(slot, address);
                    // MASK, all of BAS, loads only, EL1 and EL0, enabled.
                    let mask = u64::from(size) << 24;
                    write_wcr(slot, mask | 0xff << 5 | 0b01 << 3 | 0b11 << 1 | ENABLED);
                }
                None => {
                    if self.watchpoints[slot].borrowed {
                        write_wcr(slot, 0);
                    }
                }
            }
        }
        displaced
    }

    fn borrow_watchpoint(&mut self, slot: usize) {
        let saved = &mut self.watchpoints[slot];
        if !saved.borrowed {
            saved.value = read_wvr(slot);
            saved.borrowed = true;
        }
    }

    fn borrow_breakpoint(&mut self, slot: usize) {
        let saved = &mut self.breakpoints[slot];
        if !saved.borrowed {
            saved.value = read_bvr(slot);
            saved.borrowed = true;
        }
    }

    /// Arms breakpoints at these addresses, in place of the guest's.
    pub(super) fn stop_at(&mut self, has: &Has, addresses: impl IntoIterator<Item = u64>) {
        for (slot, address) in (0..has.breakpoints).zip(addresses) {
            self.borrow_breakpoint(slot);
            write_bvr(slot, address & !0b11);
            // Unlinked address match, all four bytes, EL1 and EL0, enabled.
            write_bcr(slot, 0b1111 << 5 | 0b11 << 1 | ENABLED);
        }
    }

    /// Gives the registers back.
    pub(super) fn give_back(&mut self, has: &Has) {
        for slot in 0..has.watchpoints {
            let saved = &mut self.watchpoints[slot];
            if saved.borrowed {
                write_wcr(slot, 0);
                write_wvr(slot, saved.value);
                write_wcr(slot, saved.control);
                saved.borrowed = false;
            }
        }
        for slot in 0..has.breakpoints {
            let saved = &mut self.breakpoints[slot];
            if saved.borrowed {
                write_bcr(slot, 0);
                write_bvr(slot, saved.value);
                write_bcr(slot, saved.control);
                saved.borrowed = false;
            }
        }
        msr!("mdscr_el1", self.mdscr);
        msr!("mdcr_el2", self.mdcr);
        if self.locked {
            msr!("oslar_el1", 1);
        }
    }
}

/// An access of the guest to a debug register, trapped because the monitor was using them.
#[derive(Clone, Copy, Debug)]
pub(super) struct RegisterAccess {
    pub(super) op1: u8,
    pub(super) crn: u8,
    pub(super) crm: u8,
    pub(super) op2: u8,
}

impl RegisterAccess {
    /// What the guest reads, once it has its registers back. Registers that the monitor never uses
    /// and nobody emulates read as 0: those of the external debugger.
    pub(super) fn read(self) -> u64 {
        let slot = usize::from(self.crm);
        match (self.op1, self.crn, self.crm, self.op2) {
            (0, 0, 2, 2) => mrs!("mdscr_el1"),
            (0, 0, _, 4) => read_bvr(slot),
            (0, 0, _, 5) => read_bcr(slot),
            (0, 0, _, 6) => read_wvr(slot),
            (0, 0, _, 7) => read_wcr(slot),
            (0, 1, 1, 4) => mrs!("oslsr_el1"),
            (0, 1, 3, 4) => mrs!("osdlr_el1"),
            _ => 0,
        }
    }

    /// Does what the guest writes, once it has its registers back.
    pub(super) fn write(self, value: u64) {
        let slot = usize::from(self.crm);
        match (self.op1, self.crn, self.crm, self.op2) {
            (0, 0, 2, 2) => msr!("mdscr_el1", value),
            (0, 0, _, 4) => write_bvr(slot, value),
            (0, 0, _, 5) => write_bcr(slot, value),
            (0, 0, _, 6) => write_wvr(slot, value),
            (0, 0, _, 7) => write_wcr(slot, value),
            (0, 1, 0, 4) => msr!("oslar_el1", value),
            (0, 1, 3, 4) => msr!("osdlr_el1", value),
            _ => {}
        }
    }
}
