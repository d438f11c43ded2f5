//! Interrupts while the monitor steps: no access is lost, none is made twice.

use control::{LINE, Policy};

use super::context::{Case, Context, Verdict};
use super::judge::load_syndrome;
use crate::machine::arena::{self, View};
use crate::machine::trial::{IRQ_MASKED, Mode, Trial};
use crate::machine::{doorbell, stub, timer};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "interrupts",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("20 000 accesses stepped over at 20 kHz", steps),
    case("2 000 aborts at 20 kHz", aborts),
    case("exclusives leave the masks alone", exclusives),
];

const RATE: u64 = 20_000;
const VALUE: u64 = 0x0001_0003_0005_0007;

fn steps(context: &mut Context) -> Verdict {
    const COUNT: u64 = 20_000;
    arena::write_u64(arena::SHARED, 0, VALUE);
    doorbell::poison(arena::physical(arena::SHARED) + LINE, Policy::NO_RECORD);
    for (mode, view) in [(Mode::El1h, View::Kernel), (Mode::El0, View::User)] {
        let before = timer::interrupts();
        timer::interrupted_pstates();
        timer::start(RATE);
        let outcome = Trial::new(stub::COUNT, mode)
            .with(0, view.address(arena::SHARED, 0))
            .with(4, COUNT)
            .flipping(IRQ_MASKED)
            .run();
        timer::stop();
        let interrupts = timer::interrupts() - before;
        // The monitor's own single step does not show in what is interrupted.
        context.equal(
            format_args!("{mode:?}: PSTATE.SS and IL of what was interrupted"),
            timer::interrupted_pstates() & 0b11 << 20,
            0,
        );
        context.holds(
            outcome.is_done(),
            format_args!("{mode:?}: {}", outcome.esr()),
        );
        context.equal(format_args!("{mode:?}: accesses"), outcome.x(2), COUNT);
        context.equal(
            format_args!("{mode:?}: their sum"),
            outcome.x(5),
            VALUE.wrapping_mul(COUNT),
        );
        context.holds(interrupts > 0, format_args!("{mode:?}: interrupts"));
    }
    Verdict::Done
}

fn aborts(context: &mut Context) -> Verdict {
    doorbell::poison(arena::physical(arena::SHARED) + LINE, Policy::NO_RECORD);
    let before = timer::interrupts();
    timer::start(RATE);
    for (mode, view) in [(Mode::El1h, View::Kernel), (Mode::El0, View::User)] {
        let address = view.address(arena::SHARED, LINE as usize + 8);
        let trial = Trial::new(stub::LDR_X, mode)
            .with(0, address)
            .flipping(IRQ_MASKED);
        for _ in 0..1000 {
            let outcome = trial.run();
            context.equal(
                format_args!("{mode:?}: ESR"),
                outcome.esr().bits(),
                load_syndrome(mode),
            );
            context.equal(format_args!("{mode:?}: FAR"), outcome.far(), address);
            context.equal(
                format_args!("{mode:?}: SPSR"),
                outcome.pstate(),
                trial.pstate(),
            );
        }
    }
    timer::stop();
    let interrupts = timer::interrupts() - before;
    context.holds(interrupts > 0, format_args!("there were interrupts"));
    Verdict::Done
}

/// An exclusive sequence runs through with interrupts masked; afterwards they are as they were.
fn exclusives(context: &mut Context) -> Verdict {
    const MASKS: u64 = 0b1111 << 6;
    arena::write_u64(arena::SHARED, 0, VALUE);
    doorbell::poison(arena::physical(arena::SHARED) + LINE, Policy::NO_RECORD);
    for (mode, view) in [(Mode::El1h, View::Kernel), (Mode::El0, View::User)] {
        for flip in [0, IRQ_MASKED] {
            let trial = Trial::new(stub::EXCLUSIVE_ADD, mode)
                .with(0, view.address(arena::SHARED, 0))
                .with(1, 1)
                .with(3, view.address(arena::SHARED, 2 * LINE as usize))
                .flipping(flip);
            let outcome = trial.run();
            context.holds(
                outcome.is_done(),
                format_args!("{mode:?}: {}", outcome.esr()),
            );
            context.equal(
                format_args!("{mode:?}: DAIF"),
                outcome.pstate() & MASKS,
                trial.pstate() & MASKS,
            );
        }
    }
    Verdict::Done
}
