//! CPY* and SET*: what they have written, and what they have yet to load.
//!
//! Each operation is three instructions: prologue, main, epilogue. Between them the registers hold
//! the progress, in one of two formats that the CPU chooses, and for a copy in one of two directions:
//!
//! | | destination | size |
//! |---|---|---|
//! | before the prologue | first byte | bytes |
//! | option A, forward | end of all | minus the bytes left |
//! | option A, backward | first byte of all | bytes left |
//! | option B, forward | first byte left | bytes left |
//! | option B, backward | end of what is left | bytes left |
//!
//! The source register moves as the destination does. A prologue that aborts midway leaves the
//! registers as they must be for it to run again. Arm ARM (DDI 0487), "Memory Copy and Memory Set
//! instructions".

use core::ops::Range;

use syndrome::{MopsInstruction, MopsRegisters};

use crate::pattern::{Pattern, field, pattern};
use crate::watch::Reach;

/// A CPY* or SET* instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mops {
    /// What it does.
    pub operation: MopsInstruction,
    /// Whether it always runs forward: CPYF*, SET*.
    pub forward_only: bool,
    /// Which of the three it is.
    pub stage: Stage,
    /// Its registers; as source of a set, 31 is zero.
    pub registers: MopsRegisters,
}

/// Which of the three instructions of a memory operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// CPYP and the like.
    Prologue,
    /// CPYM and the like.
    Main,
    /// CPYE and the like.
    Epilogue,
}

/// What the registers of a memory operation hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MopsValues {
    /// Xd.
    pub destination: u64,
    /// Xs.
    pub source: u64,
    /// Xn.
    pub size: u64,
}

const COPY: Pattern = pattern("00 011 . 01 .. 0 ..... .... 01 ..... .....");
const SET: Pattern = pattern("00 011 . 01 11 0 ..... .. .. 01 ..... .....");

/// PSTATE.N: a copy in option B runs backward.
const BACKWARD: u64 = 1 << 31;
/// PSTATE.C: option B.
const OPTION_B: u64 = 1 << 29;

impl Mops {
    /// The memory operation that `instruction` is, if it is one.
    pub(crate) fn decode(instruction: u32) -> Option<Self> {
        let general = field(instruction, 26, 26) != 0;
        let (operation, stage) = if SET.matches(instruction) {
            let operation = match general {
                true => MopsInstruction::SetTags,
                false => MopsInstruction::Set,
            };
            (operation, field(instruction, 15, 14))
        } else if COPY.matches(instruction) {
            (MopsInstruction::Copy, field(instruction, 23, 22))
        } else {
            return None;
        };
        let copy = operation == MopsInstruction::Copy;
        Some(Self {
            operation,
            forward_only: !(copy && general),
            stage: match stage {
                0b00 => Stage::Prologue,
                0b01 => Stage::Main,
                0b10 => Stage::Epilogue,
                _ => return None,
            },
            registers: MopsRegisters {
                destination: field(instruction, 4, 0) as u8,
                source: field(instruction, 20, 16) as u8,
                size: field(instruction, 9, 5) as u8,
            },
        })
    }

    /// What its registers hold.
    pub fn values(&self, registers: &impl Fn(u8) -> u64) -> MopsValues {
        // No use of register 31 is the stack pointer.
        let value = |register| {
            if register == 31 {
                0
            } else {
                registers(register)
            }
        };
        MopsValues {
            destination: value(self.registers.destination),
            source: value(self.registers.source),
            size: value(self.registers.size),
        }
    }

    /// The virtual addresses that were written while the registers went from `before` to `after`, by
    /// this one instruction, whether it came to its end or not.
    ///
    /// `None` if that cannot be told: values that the instruction does not make of each other, or a
    /// CPYP that got exactly half way and does not show in which direction.
    #[must_use]
    pub fn written(&self, before: MopsValues, after: MopsValues) -> Option<Range<u64>> {
        let (start, bytes) = match self.stage {
            Stage::Prologue => self.written_by_prologue(before, after)?,
            Stage::Main | Stage::Epilogue => self.written_later(before, after)?,
        };
        Some(start..start.checked_add(bytes)?)
    }

    fn written_by_prologue(&self, before: MopsValues, after: MopsValues) -> Option<(u64, u64)> {
        let first = before.destination;
        let all = self.saturated(before.size);
        if (after.size as i64) < 0 {
            let done = all.checked_add_signed(after.size as i64)?;
            return (after.destination == first.wrapping_add(all)).then_some((first, done));
        }
        let left = after.size;
        let done = all.checked_sub(left)?;
        let forward = after.destination == first.wrapping_add(done);
        let backward = !self.forward_only
            && (after.destination == first || after.destination == first.wrapping_add(left));
        match (forward, backward) {
            (true, false) => Some((first, done)),
            (false, true) => Some((first.wrapping_add(left), done)),
            (true, true) if done == 0 => Some((first, 0)),
            _ => None,
        }
    }

    fn written_later(&self, before: MopsValues, after: MopsValues) -> Option<(u64, u64)> {
        let (old, new) = (before.destination, after.destination);
        if (before.size as i64) < 0 {
            let done = after.size.wrapping_sub(before.size);
            let possible = old == new && done <= before.size.wrapping_neg();
            return possible.then_some((old.wrapping_add(before.size), done));
        }
        let done = before.size.checked_sub(after.size)?;
        if new == old.wrapping_add(done) {
            return Some((old, done));
        }
        if self.forward_only {
            None
        } else if new == old {
            Some((old.wrapping_add(after.size), done))
        } else if new == old.wrapping_sub(done) {
            Some((new, done))
        } else {
            None
        }
    }

    /// What it can load, with `values` and `pstate` as they are at the abort.
    pub(crate) fn reach(&self, values: MopsValues, pstate: u64) -> Reach {
        if self.operation != MopsInstruction::Copy {
            return Reach::Nothing;
        }
        let MopsValues { source, size, .. } = values;
        let copy = |start, length| Reach::Copy { start, length };
        let option_b = pstate & OPTION_B != 0;
        match self.stage {
            Stage::Prologue => copy(source, self.saturated(size)),
            _ if (size as i64) < 0 => copy(source.wrapping_add(size), size.wrapping_neg()),
            _ if option_b && pstate & BACKWARD != 0 => copy(source.wrapping_sub(size), size),
            _ => copy(source, size),
        }
    }

    /// The size that a prologue makes of the one it is given.
    const fn saturated(&self, size: u64) -> u64 {
        let most = match (self.operation, self.forward_only) {
            (MopsInstruction::SetTags, _) => 0x7fff_ffff_ffff_fff0,
            (MopsInstruction::Copy, false) => 0x007f_ffff_ffff_ffff,
            _ => 0x7fff_ffff_ffff_ffff,
        };
        if size > most { most } else { size }
    }
}
