//! The randomised access check: random accesses to random poisoned lines, compared with the model.
//!
//! Without a monitor nothing is poisoned, and the check is one of the model itself.

use control::{Counter, LINE, Policy};
use guest::memory::LINES;
use guest::{Memory, Random};

use super::access::{Access, Failure, Seen, same};
use super::class::{CLASSES, Class, Kind};
use super::context::{Case, Context, Verdict};
use crate::machine::uart::println;
use crate::machine::{arena, doorbell, firmware};

/// The cases.
pub(crate) const CASES: &[Case] = &[Case {
    group: "random",
    name: "random accesses to random poisoned lines",
    needs_monitor: false,
    run,
}];

/// Accesses to the same set of poisoned lines.
const BATCH: u64 = 64;

/// Lines that a page can have and every gather still be told apart: watchpoints of a CPU with the
/// fewest, less one for a second page.
const TELLABLE: usize = 2;

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
        Ok(report.map(|report| report.address.unwrap_or(0) & !(LINE - 1)))
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

fn run(context: &mut Context) -> Verdict {
    let leaks = counters();
    let mut left = context.count;
    let mut number = 0;
    let (mut hits, mut misses) = (0_u64, 0_u64);
    while left > 0 {
        let accesses = left.min(BATCH);
        left -= accesses;
        let (hit, missed) = batch(context, number, accesses);
        hits += hit;
        misses += missed;
        number += 1;
        if context.verbose && number.is_multiple_of(256) {
            println!("# {left} accesses to go, {hits} hits");
        }
    }
    println!("# {hits} aborts, {misses} accesses without one");
    if doorbell::is_present() {
        context.equal(format_args!("leaks and false aborts"), counters(), leaks);
        context.holds(hits > 0, format_args!("some accesses met poison"));
    }
    Verdict::Done
}

/// What must not change.
fn counters() -> [u64; 2] {
    if doorbell::is_present() {
        [Counter::Leaks, Counter::FalseAborts].map(doorbell::count)
    } else {
        [0; 2]
    }
}

/// One set of poisoned lines, which follows from the seed and the batch's number alone.
fn batch(context: &mut Context, number: u64, accesses: u64) -> (u64, u64) {
    let mut random = Random::new(context.seed.wrapping_mul(0x1_0001).wrapping_add(number));
    let policy = match random.below(4) {
        0 => Policy::NO_RECORD,
        _ => Policy::empty(),
    };
    let mut batch = Batch::new(&mut random, policy);
    let most = [2, 6, 12, 40][random.below(4)];
    if doorbell::is_present() {
        for _ in 0..1 + random.below(most) {
            batch.poison(random.below(LINES));
        }
    }
    let classes =
        || classes().filter(|class| most <= TELLABLE || !matches!(class.kind, Kind::Gather));
    let count = classes().count();
    let (mut hits, mut misses) = (0, 0);
    for iteration in 0..accesses {
        let Some(class) = classes().nth(random.below(count)) else {
            continue;
        };
        let access = Access::random(class, &batch.memory, &mut random);
        match batch.access(context, &access) {
            Some(Seen::Done) => misses += 1,
            Some(Seen::Abort(_)) => hits += 1,
            None => {
                println!(
                    "# replay with seed={}: batch {number}, access {iteration}",
                    context.seed
                );
                // What memory holds is no longer known.
                if doorbell::is_present() {
                    doorbell::clear_all();
                }
                return (hits, misses);
            }
        }
    }
    batch.end(context);
    (hits, misses)
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
