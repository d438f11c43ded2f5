//! Stores to poison: they do not abort, and only a whole line overwritten makes it good.

use control::{LINE, PAGE, Policy};

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::doorbell;
use crate::machine::features::Feature;
use crate::machine::stub::{self, Stub};
use crate::machine::trial::{Mode, Outcome, Trial};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "functional",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("overwriting part of a line leaves it poisoned", part),
    case("overwriting a whole line makes it good", whole),
    case("a line made permanent stays poisoned", permanent),
    case("a store that aborts elsewhere overwrites nothing", aborted),
];

/// A way to overwrite 128 bytes, or 64.
struct Way {
    name: &'static str,
    stub: Stub,
    needs: Feature,
    bytes: u64,
    /// x1, x2 and x4 at its start.
    operands: [u64; 3],
}

const WAYS: &[Way] = &[
    way("dc zva", stub::DC_ZVA, 64),
    way("st1 x4", stub::ST1_4, 64),
    way("four stp q", stub::FOUR_STP_Q, 128),
    way("eight stp x", stub::EIGHT_STP_X, 128),
    Way {
        operands: [0, 0, 128],
        ..way("a loop of stp x", stub::STORE_LOOP, 128)
    },
    Way {
        needs: Feature::Mops,
        operands: [128, 0x5a, 0],
        ..way("setp, setm, sete", stub::SET, 128)
    },
];

const fn way(name: &'static str, stub: Stub, bytes: u64) -> Way {
    Way {
        name,
        stub,
        needs: Feature::Base,
        bytes,
        operands: [0; 3],
    }
}

fn ways() -> impl Iterator<Item = &'static Way> {
    WAYS.iter().filter(|way| way.needs.is_present())
}

impl Way {
    fn run(&self, mode: Mode, offset: u64) -> Outcome {
        let view = match mode {
            Mode::El0 => View::User,
            Mode::El1h | Mode::El1t => View::Kernel,
        };
        Trial::new(self.stub, mode)
            .with(0, view.address(arena::SHARED, 0) + offset)
            .with(1, self.operands[0])
            .with(2, self.operands[1])
            .with(3, view.address(arena::BUFFER, 0))
            .with(4, self.operands[2])
            .run()
    }
}

fn line(number: u64) -> u64 {
    arena::physical(arena::SHARED) + number * LINE
}

fn part(context: &mut Context) -> Verdict {
    for way in ways() {
        if way.bytes == LINE && way.stub.address() == stub::DC_ZVA.address() {
            // It has no parts.
            continue;
        }
        // From the middle of line 3 on: it and the last one are not filled.
        let last = 3 + way.bytes / LINE;
        for number in [3, last] {
            doorbell::poison(line(number), Policy::NO_RECORD);
        }
        let outcome = way.run(Mode::El1h, 3 * LINE + 16);
        let name = way.name;
        context.holds(outcome.is_done(), format_args!("{name} does not abort"));
        for number in [3, last] {
            context.holds(
                doorbell::is_poisoned(line(number)),
                format_args!("{name} leaves line {number} of 3 to {last} poisoned"),
            );
        }
        doorbell::clear_all();
    }
    Verdict::Done
}

fn whole(context: &mut Context) -> Verdict {
    for way in ways() {
        for mode in [Mode::El1h, Mode::El0] {
            let lines = way.bytes / LINE;
            for number in 7..7 + lines {
                doorbell::poison(line(number), Policy::NO_RECORD);
            }
            // Neighbours, which keep the page a poisoned one.
            for number in [6, 7 + lines] {
                doorbell::poison(line(number), Policy::NO_RECORD);
            }
            let outcome = way.run(mode, 7 * LINE);
            let name = way.name;
            context.holds(
                outcome.is_done(),
                format_args!("{name}, {mode:?}, does not abort"),
            );
            for number in 6..8 + lines {
                let filled = (7..7 + lines).contains(&number);
                context.equal(
                    format_args!(
                        "{name}, {mode:?}: line {number} of 7 to {} is poisoned",
                        6 + lines
                    ),
                    doorbell::is_poisoned(line(number)),
                    !filled,
                );
            }
            doorbell::clear_all();
        }
    }
    Verdict::Done
}

fn permanent(context: &mut Context) -> Verdict {
    for way in ways() {
        doorbell::poison(line(9), Policy::NO_RECORD | Policy::PERMANENT);
        let outcome = way.run(Mode::El1h, 9 * LINE);
        let name = way.name;
        context.holds(outcome.is_done(), format_args!("{name} does not abort"));
        context.holds(
            doorbell::is_poisoned(line(9)),
            format_args!("{name} does not clear"),
        );
        doorbell::clear(line(9));
        context.holds(
            !doorbell::is_poisoned(line(9)),
            format_args!("a command does clear"),
        );
    }
    Verdict::Done
}

/// A store of the last 16 bytes of a line and of 16 bytes of the next page, which is not mapped.
fn aborted(context: &mut Context) -> Verdict {
    let page = arena::PAGES - 1;
    let last = PAGE - LINE;
    let bad = arena::physical(page) + last;
    doorbell::poison(bad, Policy::NO_RECORD);
    let store = |stub, offset: u64, bytes| {
        Trial::new(stub, Mode::El1h)
            .with(0, View::Kernel.address(page, 0) + offset)
            .with(3, View::Kernel.address(arena::BUFFER, 0))
            .with(4, bytes)
            .run()
    };
    let first = store(stub::STORE_LOOP, last, 48);
    context.holds(first.is_done(), format_args!("48 bytes are stored"));
    let aborted = store(stub::FOUR_STP_Q, PAGE - 16, 0);
    context.holds(
        aborted.data_abort().is_some(),
        format_args!("the store beyond the page aborts: {}", aborted.esr()),
    );
    context.holds(
        doorbell::is_poisoned(bad),
        format_args!("the line is still poisoned"),
    );
    let rest = store(stub::STORE_LOOP, PAGE - 16, 16);
    context.holds(rest.is_done(), format_args!("the rest is stored"));
    context.holds(
        !doorbell::is_poisoned(bad),
        format_args!("then the line is good"),
    );
    Verdict::Done
}
