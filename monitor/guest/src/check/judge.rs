//! Making an access, and comparing what happened with what the model says must happen.

use core::fmt;

use guest::{Coverage, Memory, Random};
use syndrome::Pstate;

use super::access::{Access, LONGEST};
use super::class::Kind;
use crate::machine::arena::{self, View};
use crate::machine::trial::{Mode, Outcome, Trial};

/// What the buffer holds before anything is loaded into it.
const UNTOUCHED: u8 = 0xa5;

/// Address bits that are not the tag. The tag in FAR is UNKNOWN.
const UNTAGGED: u64 = (1 << 56) - 1;

/// What an access did that it must not do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    /// What is wrong.
    pub(crate) what: &'static str,
    /// What was seen.
    pub(crate) got: u64,
    /// What must be.
    pub(crate) expected: u64,
}

/// What became of an access that did as it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It ran to its end.
    Done,
    /// It aborted, at this offset in the model.
    Abort(usize),
}

/// The syndrome of a load that meets poison.
pub(crate) const fn load_syndrome(mode: Mode) -> u64 {
    let class = match mode {
        Mode::El0 => 0x24,
        Mode::El1h | Mode::El1t => 0x25,
    };
    class << 26 | 1 << 25 | 0x10
}

/// Checks that two values are the same.
pub(crate) fn same(what: &'static str, got: u64, expected: u64) -> Result<(), Failure> {
    if got == expected {
        Ok(())
    } else {
        Err(Failure {
            what,
            got,
            expected,
        })
    }
}

/// Checks that two byte strings are the same, and tells the first difference.
fn same_bytes(what: &'static str, got: &[u8], expected: &[u8]) -> Result<(), Failure> {
    match got
        .iter()
        .zip(expected)
        .position(|(got, expected)| got != expected)
    {
        None => Ok(()),
        Some(at) => Err(Failure {
            what,
            got: (at as u64) << 8 | u64::from(got[at]),
            expected: (at as u64) << 8 | u64::from(expected[at]),
        }),
    }
}

impl Access<'_> {
    /// Makes the access, compares, and changes the model as memory changed.
    ///
    /// # Errors
    ///
    /// [`Failure`]: the model is then no longer to be relied on.
    pub(crate) fn make(&self, memory: &mut Memory) -> Result<Seen, Failure> {
        let mut data = [UNTOUCHED; LONGEST + 128];
        let buffered = self.length + 128;
        let mut trial = self.trial(self.view().address(arena::TARGET, 0));
        let range = self.range();
        let old = memory.bytes()[range.clone()].first_chunk::<16>().copied();
        match self.class.kind {
            Kind::Store | Kind::StoreWhole => {
                Random::new(self.operand).fill(&mut data[..self.length]);
            }
            Kind::Gather => {
                arena::write_u64(arena::buffer() + 1, 0, self.offset as u64);
                arena::write_u64(arena::buffer() + 1, 8, self.distance as u64);
            }
            Kind::CompareAndSwap if self.matches => {
                trial = trial.with(2, little_endian(&memory.bytes()[range.clone()]));
            }
            Kind::CompareAndSwapPair | Kind::ExchangePair => {
                let expected = match old {
                    Some(old) if self.matches => u128::from_le_bytes(old),
                    _ => u128::from(self.operand),
                };
                trial = trial
                    .with(8, expected as u64)
                    .with(9, (expected >> 64) as u64)
                    .with(10, self.operand)
                    .with(11, !self.operand);
            }
            _ => {}
        }
        arena::write(arena::buffer(), 0, &data[..buffered]);
        let outcome = trial.run();
        let mut after = [0; LONGEST + 128];
        arena::read(arena::buffer(), 0, &mut after[..buffered]);
        let after = &after[..buffered];

        match self.class.kind {
            Kind::Load | Kind::TagLoad => match memory.first_poisoned(range.clone()) {
                Some(bad) => self.aborted(&trial, &outcome, bad),
                None => {
                    self.done(&trial, &outcome)?;
                    if matches!(self.class.kind, Kind::Load) {
                        same_bytes("data", &after[..self.length], &memory.bytes()[range])?;
                    }
                    Ok(Seen::Done)
                }
            },
            Kind::FirstFault | Kind::NonFault => {
                let bad = memory.first_poisoned(range.clone());
                if bad == Some(self.offset) && matches!(self.class.kind, Kind::FirstFault) {
                    return self.aborted(&trial, &outcome, self.offset);
                }
                self.done(&trial, &outcome)?;
                let limit = bad.unwrap_or(range.end) - self.offset;
                let loaded = outcome.x(1) as usize;
                let least = usize::from(matches!(self.class.kind, Kind::FirstFault));
                if loaded > limit || loaded < least {
                    return same("elements in FFR", loaded as u64, limit as u64)
                        .map(|()| Seen::Done);
                }
                let expected = &memory.bytes()[range][..loaded];
                same_bytes("data", &after[..loaded], expected)?;
                Ok(Seen::Done)
            }
            Kind::Gather => {
                for (element, start) in [self.offset, self.distance].into_iter().enumerate() {
                    if let Some(bad) = memory.first_poisoned(start..start + 8) {
                        return self.aborted(&trial, &outcome, bad);
                    }
                    if outcome.is_done() {
                        let got = &after[element * 8..][..8];
                        same_bytes("data", got, &memory.bytes()[start..start + 8])?;
                    }
                }
                self.done(&trial, &outcome)
            }
            Kind::Store => self.stored(&trial, &outcome, memory, &data, Coverage::Part),
            Kind::StoreWhole => self.stored(&trial, &outcome, memory, &data, Coverage::Whole),
            Kind::Zero => self.stored(&trial, &outcome, memory, &[0; 64], Coverage::Whole),
            Kind::Atomic(operation) | Kind::AtomicStore(operation) => {
                if let Some(bad) = memory.first_poisoned(range.clone()) {
                    return self.aborted(&trial, &outcome, bad);
                }
                self.done(&trial, &outcome)?;
                same("retries of an exclusive store that failed", outcome.x(6), 0)?;
                let old = little_endian(&memory.bytes()[range.clone()]);
                if matches!(self.class.kind, Kind::Atomic(_)) {
                    same("old value", little_endian(&after[..self.length]), old)?;
                }
                let mask = u64::MAX >> (64 - 8 * self.length);
                let new = operation(old, self.operand & mask).to_le_bytes();
                memory.store(self.offset, &new[..self.length], Coverage::Part);
                Ok(Seen::Done)
            }
            Kind::CompareAndSwap => {
                if let Some(bad) = memory.first_poisoned(range.clone()) {
                    return self.aborted(&trial, &outcome, bad);
                }
                self.done(&trial, &outcome)?;
                let old = little_endian(&memory.bytes()[range.clone()]);
                same("old value", little_endian(&after[..self.length]), old)?;
                let mask = u64::MAX >> (64 - 8 * self.length);
                if trial.registers()[2] & mask == old {
                    let new = self.operand.to_le_bytes();
                    memory.store(self.offset, &new[..self.length], Coverage::Part);
                }
                Ok(Seen::Done)
            }
            Kind::CompareAndSwapPair | Kind::ExchangePair => {
                if let Some(bad) = memory.first_poisoned(range.clone()) {
                    return self.aborted(&trial, &outcome, bad);
                }
                self.done(&trial, &outcome)?;
                same("retries of an exclusive store that failed", outcome.x(6), 0)?;
                same_bytes("old value", &after[..16], &memory.bytes()[range.clone()])?;
                let expected = [trial.registers()[8], trial.registers()[9]];
                let equal = expected
                    .iter()
                    .zip(memory.bytes()[range].chunks_exact(8))
                    .all(|(value, bytes)| *value == little_endian(bytes));
                if equal || matches!(self.class.kind, Kind::ExchangePair) {
                    let new = u128::from(!self.operand) << 64 | u128::from(self.operand);
                    memory.store(self.offset, &new.to_le_bytes(), Coverage::Part);
                }
                Ok(Seen::Done)
            }
            Kind::CopyForward => self.copied_forward(&trial, &outcome, memory, after),
            Kind::CopyBackward => self.copied_backward(&trial, &outcome, memory),
            Kind::Set => {
                self.finished(&outcome)?;
                same(
                    "xd at the end",
                    outcome.x(0),
                    trial.registers()[0] + self.length as u64,
                )?;
                same("xn at the end", outcome.x(1), 0)?;
                let bytes = [self.operand as u8; LONGEST + 1];
                memory.store(self.offset, &bytes[..self.length], Coverage::Whole);
                Ok(Seen::Done)
            }
            Kind::TagStore | Kind::Maintenance => self.done(&trial, &outcome),
        }
    }

    fn stored(
        &self,
        trial: &Trial,
        outcome: &Outcome,
        memory: &mut Memory,
        data: &[u8],
        coverage: Coverage,
    ) -> Result<Seen, Failure> {
        self.done(trial, outcome)?;
        let range = self.range();
        memory.store(range.start, &data[..range.len()], coverage);
        Ok(Seen::Done)
    }

    fn copied_forward(
        &self,
        trial: &Trial,
        outcome: &Outcome,
        memory: &Memory,
        buffer: &[u8],
    ) -> Result<Seen, Failure> {
        let range = self.range();
        let bad = memory.first_poisoned(range.clone());
        let copied = bad.unwrap_or(range.end) - self.offset;
        let [to, from, length] = [0, 1, 2].map(|register| trial.registers()[register]);
        let end = self.distance + copied;
        let source = &memory.bytes()[range][..copied];
        let seen = match bad {
            None => {
                self.finished(outcome)?;
                same("xn at the end", outcome.x(2), 0)?;
                same("xd at the end", outcome.x(0), to + length)?;
                same("xs at the end", outcome.x(1), from + length)?;
                Seen::Done
            }
            Some(bad) => {
                self.met_poison(trial, outcome, bad, 8)?;
                let left = outcome.x(2) as i64;
                let moved = if left < 0 { length } else { copied as u64 };
                same(
                    "bytes not copied",
                    left.unsigned_abs(),
                    length - copied as u64,
                )?;
                same("xd at the abort", outcome.x(0), to + moved)?;
                same("xs at the abort", outcome.x(1), from + moved)?;
                Seen::Abort(bad)
            }
        };
        same_bytes(
            "bytes before the copy",
            &buffer[..self.distance],
            &[UNTOUCHED; 64],
        )?;
        same_bytes("bytes copied", &buffer[self.distance..end], source)?;
        same_bytes(
            "bytes after the copy",
            &buffer[end..],
            &[UNTOUCHED; LONGEST + 128],
        )?;
        Ok(seen)
    }

    fn copied_backward(
        &self,
        trial: &Trial,
        outcome: &Outcome,
        memory: &mut Memory,
    ) -> Result<Seen, Failure> {
        let range = self.range();
        let bad = memory.last_poisoned(range.clone());
        let start = bad.map_or(range.start, |bad| bad + 1);
        match bad {
            None => {
                self.finished(outcome)?;
                same("xn at the end", outcome.x(2), 0)?;
            }
            Some(bad) => {
                self.met_poison(trial, outcome, bad, 8)?;
                same(
                    "bytes not copied",
                    outcome.x(2),
                    (start - range.start) as u64,
                )?;
                same("xd at the abort", outcome.x(0), trial.registers()[0])?;
                same("xs at the abort", outcome.x(1), trial.registers()[1])?;
            }
        }
        let mut moved = [0; LONGEST + 1];
        let moved = &mut moved[..range.end - start];
        moved.copy_from_slice(&memory.bytes()[start..range.end]);
        memory.store(start + self.distance, moved, Coverage::Part);
        Ok(bad.map_or(Seen::Done, Seen::Abort))
    }

    /// The trial ran to its end.
    fn finished(&self, outcome: &Outcome) -> Result<(), Failure> {
        if outcome.is_done() {
            Ok(())
        } else {
            Err(Failure {
                what: "an abort without poison: ESR",
                got: outcome.esr().bits(),
                expected: 0x15 << 26 | 1 << 25,
            })
        }
    }

    /// The trial ran to its end, and left the base register as the instruction says.
    fn done(&self, trial: &Trial, outcome: &Outcome) -> Result<Seen, Failure> {
        self.finished(outcome)?;
        let base = (trial.registers()[0] as i64 + self.class.write_back) as u64;
        same("base register", outcome.x(0), base)?;
        same("x30", outcome.x(30), trial.registers()[30])?;
        Ok(Seen::Done)
    }

    /// The trial aborted at `bad`, and changed no register.
    fn aborted(&self, trial: &Trial, outcome: &Outcome, bad: usize) -> Result<Seen, Failure> {
        self.met_poison(trial, outcome, bad, 0)?;
        for (got, expected) in outcome.registers().iter().zip(trial.registers()) {
            same("a register at the abort", *got, *expected)?;
        }
        Ok(Seen::Abort(bad))
    }

    /// The trial aborted at `bad`, in one of the instructions up to `last` bytes into the access.
    fn met_poison(
        &self,
        trial: &Trial,
        outcome: &Outcome,
        bad: usize,
        last: u64,
    ) -> Result<(), Failure> {
        let syndrome = load_syndrome(self.mode);
        same("ESR", outcome.esr().bits(), syndrome)?;
        let target = match self.view() {
            View::Kernel => View::Kernel,
            View::Tagged => View::Tagged,
            _ => View::User,
        };
        let far = target.address(arena::TARGET, bad);
        same("FAR", outcome.far() & UNTAGGED, far)?;
        same("vector", outcome.vector(), self.mode.vectors())?;
        let access = trial.pc() + self.class.stub.access_offset();
        if !(access..=access + last).contains(&outcome.pc()) {
            same("ELR", outcome.pc(), access)?;
        }
        // Copies keep their state in the condition flags.
        let kept = if last == 0 { u64::MAX } else { !Pstate::NZCV };
        same("SPSR", outcome.pstate() & kept, trial.pstate() & kept)
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: got {:#x}, expected {:#x}",
            self.what, self.got, self.expected
        )
    }
}
