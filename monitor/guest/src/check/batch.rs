//! Accesses to one set of poisoned lines: memory, the model of it, and what the monitor says must agree.

use control::{LINE, Policy};
use guest::memory::LINES;
use guest::{Memory, Random};

use super::access::Access;
use super::class::{CLASSES, Class};
use super::context::Context;
use super::judge::{Failure, Seen, same};
use crate::machine::{arena, doorbell, firmware};

/// What a batch is about.
pub(crate) struct Batch {
    /// What memory must hold.
    pub(crate) memory: Memory,
    /// What its poisoned lines do.
    pub(crate) policy: Policy,
    /// The lines that the monitor said were poisoned when they were last looked at.
    poisoned: [bool; LINES],
}

impl Batch {
    /// Random bytes, and these lines poisoned.
    pub(crate) fn new(random: &mut Random, policy: Policy) -> Self {
        let mut memory = Memory::new();
        random.fill(memory.bytes_mut());
        arena::write(arena::TARGET, 0, memory.bytes());
        Self {
            memory,
            policy,
            poisoned: [false; LINES],
        }
    }

    /// Poisons a line.
    pub(crate) fn poison(&mut self, line: usize) {
        doorbell::poison(physical(line), self.policy);
        self.memory.poison(line);
        self.poisoned[line] = true;
    }

    /// Makes an access, and checks its report and the lines it overwrote.
    ///
    /// After a failure it gives `None`: the model is then not to be relied on.
    pub(crate) fn access(&mut self, context: &mut Context, access: &Access<'_>) -> Option<Seen> {
        context.checks += 1;
        let made = access.make(&mut self.memory);
        let reported = self.take_report(context);
        let wrong = match made {
            Ok(seen) => self
                .report_is_right(seen, reported)
                .and_then(|()| self.overwritten_lines_are_good(access))
                .map(|()| seen),
            Err(failure) => Err(failure),
        };
        match wrong {
            Ok(seen) => Some(seen),
            Err(failure) => {
                let poisoned = Poisoned(&self.memory);
                context.fail(format_args!("{access}: {failure}; poisoned: {poisoned}"));
                None
            }
        }
    }

    /// What firmware reports, by the line it is about.
    fn take_report(&self, context: &Context) -> Result<Option<u64>, &'static str> {
        let Some(firmware) = &context.firmware else {
            return Ok(None);
        };
        let report = firmware::claim(&firmware.aborts)?;
        Ok(report.map(|report| report.line().unwrap_or(0)))
    }

    fn report_is_right(
        &self,
        seen: Seen,
        reported: Result<Option<u64>, &'static str>,
    ) -> Result<(), Failure> {
        let expected = match seen {
            Seen::Abort(at) if !self.policy.contains(Policy::NO_RECORD) => {
                physical(at / LINE as usize)
            }
            _ => 0,
        };
        match reported {
            Ok(line) => same("line that is reported", line.unwrap_or(0), expected),
            Err(what) => Err(Failure {
                what,
                got: 0,
                expected,
            }),
        }
    }

    /// Lines that were poisoned and overwritten are now as the model says; where the model leaves it
    /// open, the model learns.
    fn overwritten_lines_are_good(&mut self, access: &Access<'_>) -> Result<(), Failure> {
        let written = access.written();
        if written.is_empty() || !doorbell::is_present() {
            return Ok(());
        }
        for line in written.start / LINE as usize..written.end.div_ceil(LINE as usize) {
            if !self.poisoned[line] {
                continue;
            }
            let poisoned = doorbell::is_poisoned(physical(line));
            if self
                .memory
                .undecided(line * LINE as usize..(line + 1) * LINE as usize)
                .next()
                .is_some()
            {
                self.memory.decide(line, poisoned);
            }
            self.poisoned[line] = poisoned;
            same(
                "whether an overwritten line is poisoned",
                u64::from(poisoned),
                u64::from(self.memory.is_poisoned(line)),
            )?;
        }
        Ok(())
    }

    /// Checks which lines are poisoned, makes them good, and checks what memory holds.
    pub(crate) fn end(&mut self, context: &mut Context) {
        if doorbell::is_present() {
            for line in 0..LINES {
                let expected = self.memory.is_poisoned(line);
                let got = doorbell::is_poisoned(physical(line));
                context.equal(format_args!("line {line} is poisoned"), got, expected);
            }
            doorbell::clear_all();
        }
        let mut bytes = [0; guest::memory::LENGTH];
        arena::read(arena::TARGET, 0, &mut bytes);
        let wrong = (0..bytes.len()).find(|at| bytes[*at] != self.memory.bytes()[*at]);
        context.equal(
            format_args!("first byte of memory that is wrong"),
            wrong,
            None,
        );
    }
}

/// The physical address of a line of the model.
pub(crate) fn physical(line: usize) -> u64 {
    arena::physical(arena::TARGET) + line as u64 * LINE
}

/// The classes that this CPU can run.
pub(crate) fn classes() -> impl Iterator<Item = &'static Class> {
    CLASSES.iter().filter(|class| class.needs.is_present())
}

/// The poisoned lines, for people.
struct Poisoned<'a>(&'a Memory);

impl core::fmt::Display for Poisoned<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for line in (0..LINES).filter(|line| self.0.is_poisoned(*line)) {
            write!(f, "{:#x} ", line * LINE as usize)?;
        }
        Ok(())
    }
}
