//! Registers that an access does not name are the same after it, stepped over or aborted.

use control::{LINE, Policy};

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::features::Feature;
use crate::machine::trial::{Mode, Trial};
use crate::machine::vector::{self, Scalable, Vectors};
use crate::machine::{doorbell, registers, stub};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "state",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("general-purpose registers and flags", general),
    case("vector registers", vectors),
    case("scalable vector registers", scalable),
];

/// Accesses that name no vector register: a step, a hit, and what the monitor decodes.
fn accesses(mut each: impl FnMut(&'static str, Trial)) {
    for line in [2, 5] {
        doorbell::poison(
            arena::physical(arena::SHARED) + line * LINE,
            Policy::NO_RECORD,
        );
    }
    for (what, stub, line) in [
        ("a load", stub::LDR_X, 3),
        ("a load of poison", stub::LDR_X, 2),
        ("an exclusive", stub::EXCLUSIVE_ADD, 4),
        ("an exclusive of poison", stub::EXCLUSIVE_ADD, 5),
        ("a store", stub::STP_X, 3),
        ("a store to poison", stub::STP_X, 2),
        ("dc zva", stub::DC_ZVA, 5),
    ] {
        for (mode, view) in [(Mode::El1h, View::Kernel), (Mode::El0, View::User)] {
            let trial = Trial::new(stub, mode)
                .with(0, view.address(arena::SHARED, line * LINE as usize))
                .with(3, view.address(arena::BUFFER, 0));
            each(what, trial);
        }
    }
    doorbell::clear_all();
}

fn general(context: &mut Context) -> Verdict {
    accesses(|what, trial| {
        let mut trial = trial.flipping(context.random.next() & 0xf << 28);
        for register in 8..31 {
            trial = trial.with(register, context.random.next());
        }
        let outcome = trial.run();
        context.equal(
            format_args!("{what}: x8 to x30"),
            outcome.registers()[8..].iter().eq(&trial.registers()[8..]),
            true,
        );
        context.equal(
            format_args!("{what}: x0, x3, x4"),
            [0, 3, 4].map(|register| outcome.x(register)),
            [0, 3, 4].map(|register| trial.registers()[register]),
        );
        context.equal(
            format_args!("{what}: PSTATE"),
            outcome.pstate(),
            trial.pstate(),
        );
    });
    Verdict::Done
}

/// FPCR and FPSR.
fn control() -> [u64; 2] {
    [
        registers::read!("s3_3_c4_c4_0"),
        registers::read!("s3_3_c4_c4_1"),
    ]
}

fn vectors(context: &mut Context) -> Verdict {
    let mut before = Vectors::ZERO;
    for register in &mut before.0 {
        context.random.fill(register);
    }
    // Rounding towards zero; inexact and underflow.
    registers::write!("s3_3_c4_c4_0", 0b11 << 22);
    registers::write!("s3_3_c4_c4_1", 0b11000);
    let control_before = control();
    before.load();
    accesses(|what, trial| {
        trial.run();
        let same = Vectors::save() == before;
        context.holds(same, format_args!("{what}: v0 to v31"));
        context.equal(
            format_args!("{what}: FPCR, FPSR"),
            control(),
            control_before,
        );
    });
    registers::write!("s3_3_c4_c4_0", 0);
    Verdict::Done
}

fn scalable(context: &mut Context) -> Verdict {
    if !Feature::Sve.is_present() {
        return Verdict::Skip("this CPU has no FEAT_SVE");
    }
    let mut before = Scalable::ZERO;
    let length = vector::length();
    for register in &mut before.z {
        context.random.fill(&mut register[..length]);
    }
    for register in &mut before.p {
        context.random.fill(&mut register[..length / 8]);
    }
    // FFR only holds what a load can leave in it: elements up to some point.
    before.p[16] = [0; vector::LONGEST / 8];
    before.p[16][..length / 16].fill(0xff);
    before.load();
    let mut after = Scalable::ZERO;
    after.save();
    context.holds(after == before, format_args!("what was loaded is there"));
    accesses(|what, trial| {
        before.load();
        trial.run();
        let mut after = Scalable::ZERO;
        after.save();
        context.holds(after == before, format_args!("{what}: z, p and FFR"));
    });
    Verdict::Done
}
