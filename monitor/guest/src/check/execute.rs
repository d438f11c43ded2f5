//! Fetching instructions: from poison, from clean neighbours, and across.

use control::{LINE, PAGE, Policy};
use syndrome::AbortCause;

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::trial::{Mode, Outcome, Trial};
use crate::machine::{doorbell, mmu};

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
    case("clean code beside poisoned code runs", neighbours),
    case("running into poisoned code aborts at its first byte", into),
    case("branching into poisoned code aborts there", branch),
    case("poisoned code at the end of a page", page_end),
    case("clean code of a poisoned page loads from one", both),
];

const ADD: u32 = 0x9100_0421; // add x1, x1, #1
const SVC: u32 = 0xd400_0001;
const SUBS: u32 = 0xf100_0442; // subs x2, x2, #1

/// Instructions of a line.
const PER_LINE: usize = LINE as usize / 4;
/// Instructions of a page.
const PER_PAGE: usize = PAGE as usize / 4;

/// Fills the two code pages with additions to x1, and puts `instructions` there by index.
fn write_code(instructions: &[(usize, u32)]) {
    for index in 0..2 * PER_PAGE {
        arena::write(arena::CODE, index * 4, &ADD.to_le_bytes());
    }
    for (index, instruction) in instructions {
        arena::write(arena::CODE, index * 4, &instruction.to_le_bytes());
    }
    mmu::synchronize_code();
}

fn poison(line: usize) {
    doorbell::poison(physical(line), Policy::empty());
}

fn physical(line: usize) -> u64 {
    arena::physical(arena::CODE) + line as u64 * LINE
}

fn address(mode: Mode, index: usize) -> u64 {
    let view = match mode {
        Mode::El0 => View::UserCode,
        Mode::El1h | Mode::El1t => View::KernelCode,
    };
    view.address(arena::CODE, index * 4)
}

fn run(mode: Mode, index: usize) -> Outcome {
    Trial::at(address(mode, index), mode).with(2, 100).run()
}

/// b, from one index to another.
const fn branch_to(from: usize, to: usize) -> u32 {
    0x1400_0000 | (to as u32).wrapping_sub(from as u32) & 0x03ff_ffff
}

const MODES: [Mode; 3] = [Mode::El1h, Mode::El0, Mode::El1t];

fn ran(context: &mut Context, what: &str, mode: Mode, outcome: &Outcome, additions: u64) {
    context.holds(
        outcome.is_done(),
        format_args!("{what}, {mode:?}, runs: {}", outcome.esr()),
    );
    context.equal(
        format_args!("{what}, {mode:?}: instructions"),
        outcome.x(1),
        additions,
    );
}

fn aborted(context: &mut Context, what: &str, mode: Mode, outcome: &Outcome, index: usize) {
    let expected = match mode {
        Mode::El0 => 0x20,
        Mode::El1h | Mode::El1t => 0x21,
    } << 26
        | 1 << 25
        | 0x10;
    let at = address(mode, index);
    for (name, got, expected) in [
        ("ESR", outcome.esr().bits(), expected),
        ("FAR", outcome.far(), at),
        ("ELR", outcome.pc(), at),
        ("vector", outcome.vector(), mode.vectors()),
        ("SPSR.M", outcome.pstate() & 0x3f_ffff, mode.bits() | 0x3c0),
    ] {
        context.equal(format_args!("{what}, {mode:?}: {name}"), got, expected);
    }
    let cause = outcome.instruction_abort().map(|abort| abort.cause());
    context.equal(
        format_args!("{what}: cause"),
        cause,
        Some(AbortCause::MemoryError),
    );
    let line = context.claim().and_then(|report| report.line());
    context.equal(
        format_args!("{what}, {mode:?}: line that is reported"),
        line,
        Some(physical(index / PER_LINE)),
    );
}

fn neighbours(context: &mut Context) -> Verdict {
    // Line 0 branches over line 1 to line 2, which loops a hundred times.
    let from = PER_LINE - 1;
    let (start, end) = (2 * PER_LINE, 3 * PER_LINE - 1);
    let back = 0x5400_0001 | ((start as u32).wrapping_sub(end as u32 - 1) & 0x7_ffff) << 5;
    write_code(&[
        (from, branch_to(from, start)),
        (end - 2, SUBS),
        (end - 1, back),
        (end, SVC),
    ]);
    poison(1);
    poison(3);
    let body = (end - 2 - start) as u64;
    for mode in MODES {
        let outcome = run(mode, 0);
        let additions = from as u64 + 100 * body;
        ran(context, "a branch over poison", mode, &outcome, additions);
    }
    Verdict::Done
}

fn into(context: &mut Context) -> Verdict {
    write_code(&[(5 * PER_LINE, SVC)]);
    poison(4);
    for mode in MODES {
        for start in [3 * PER_LINE, 4 * PER_LINE - 1, 4 * PER_LINE] {
            let outcome = run(mode, start);
            aborted(context, "straight on", mode, &outcome, 4 * PER_LINE);
            let before = (4 * PER_LINE - start) as u64;
            context.equal(
                format_args!("{mode:?}: instructions before"),
                outcome.x(1),
                before,
            );
        }
    }
    Verdict::Done
}

fn branch(context: &mut Context) -> Verdict {
    let target = 8 * PER_LINE + 5;
    write_code(&[(0, branch_to(0, target))]);
    poison(8);
    for mode in MODES {
        let outcome = run(mode, 0);
        aborted(context, "a branch", mode, &outcome, target);
    }
    // Once the line is good the same program runs.
    doorbell::clear(physical(8));
    arena::write(arena::CODE, (target + 1) * 4, &SVC.to_le_bytes());
    mmu::synchronize_code();
    for mode in MODES {
        let outcome = run(mode, 0);
        ran(context, "after the line is cleared", mode, &outcome, 1);
    }
    Verdict::Done
}

fn page_end(context: &mut Context) -> Verdict {
    let end = PER_PAGE + 3;
    write_code(&[(end, SVC)]);
    let last = PER_PAGE / PER_LINE - 1;
    poison(last);
    for mode in MODES {
        let outcome = run(mode, PER_PAGE);
        ran(context, "the next page", mode, &outcome, 3);
        let outcome = run(mode, last * PER_LINE - 2);
        aborted(
            context,
            "into the last line",
            mode,
            &outcome,
            last * PER_LINE,
        );
    }
    doorbell::clear(physical(last));
    poison(last + 1);
    for mode in MODES {
        let outcome = run(mode, PER_PAGE - 4);
        aborted(context, "into the next page", mode, &outcome, PER_PAGE);
        context.equal(
            format_args!("{mode:?}: instructions before"),
            outcome.x(1),
            4,
        );
    }
    Verdict::Done
}

fn both(context: &mut Context) -> Verdict {
    // ldr x4, [x0]: two faults for one instruction.
    write_code(&[(3, 0xf940_0004), (4, SVC)]);
    poison(2);
    let data = arena::physical(arena::SHARED);
    arena::write_u64(arena::SHARED, 8, 0x0123_4567_89ab_cdef);
    doorbell::poison(data + LINE, Policy::NO_RECORD);
    for (mode, view) in [(Mode::El1h, View::Kernel), (Mode::El0, View::User)] {
        let trial = Trial::at(address(mode, 0), mode);
        let outcome = trial.with(0, view.address(arena::SHARED, 8)).run();
        ran(context, "a load of a clean line", mode, &outcome, 3);
        context.equal(
            format_args!("{mode:?}: data"),
            outcome.x(4),
            0x0123_4567_89ab_cdef,
        );
        let bad = view.address(arena::SHARED, 64);
        let outcome = trial.with(0, bad).run();
        context.holds(
            outcome.data_abort().is_some() && outcome.far() == bad,
            format_args!("{mode:?}: a load of a poisoned line: {}", outcome.esr()),
        );
        context.equal(
            format_args!("{mode:?}: ELR"),
            outcome.pc(),
            address(mode, 3),
        );
        // The page that the instruction itself is in, under its own address and under another.
        let own = address(mode, 2 * PER_LINE);
        for bad in [own, view.address(arena::CODE, 2 * LINE as usize)] {
            let outcome = trial.with(0, bad).run();
            context.holds(
                outcome.data_abort().is_some() && outcome.far() == bad,
                format_args!(
                    "{mode:?}: a load from its own page at {bad:#x}: {}",
                    outcome.esr()
                ),
            );
            let line = context.claim().and_then(|report| report.line());
            context.equal(
                format_args!("{mode:?}: line that is reported"),
                line,
                Some(arena::physical(arena::CODE) + 2 * LINE),
            );
        }
    }
    Verdict::Done
}
