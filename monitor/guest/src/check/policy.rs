//! What a line does when it is met is what its policy says, and so is what firmware reports.

use control::{Command, Counter, LINE, Policy, Status};
use cper::Severity;

use super::context::{Case, Context, Verdict};
use super::judge::load_syndrome;
use crate::machine::arena::{self, View};
use crate::machine::features::Feature;
use crate::machine::firmware::{self, Kind, Report};
use crate::machine::trial::{Mode, Outcome, SERROR_MASKED, Trial};
use crate::machine::{doorbell, registers, stub};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "policy",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("the report of each policy", reports),
    case("an abort without an address", no_far),
    case("the severity for the PE", error_types),
    case("a line that fails once", one_shot),
    case("a load that ends in an SError", serror),
    case(
        "a report that is not acknowledged loses no poison",
        acknowledge,
    ),
];

const DATA: u64 = 0x7766_5544_3322_1100;

fn physical(line: u64) -> u64 {
    arena::physical(arena::SHARED) + line * LINE
}

fn address(line: u64) -> u64 {
    View::Kernel.address(arena::SHARED, 0) + line * LINE
}

fn load(line: u64) -> Outcome {
    trial(line).run()
}

fn trial(line: u64) -> Trial {
    Trial::new(stub::LDR_X, Mode::El1h)
        .with(0, address(line))
        .with(3, View::Kernel.address(arena::BUFFER, 0))
}

fn poison(line: u64, policy: Policy) {
    arena::write_u64(arena::SHARED, (line * LINE) as usize, DATA);
    doorbell::poison(physical(line), policy);
}

fn reports(context: &mut Context) -> Verdict {
    for (line, policy, severity, kind, has_address) in [
        (
            1,
            Policy::empty(),
            Severity::Recoverable,
            Kind::Memory,
            true,
        ),
        (2, Policy::FATAL, Severity::Fatal, Kind::Memory, true),
        (
            3,
            Policy::NO_PHYSICAL_ADDRESS,
            Severity::Recoverable,
            Kind::Memory,
            false,
        ),
        (
            4,
            Policy::PROCESSOR,
            Severity::Recoverable,
            Kind::Processor,
            true,
        ),
        (5, Policy::NO_FAR, Severity::Recoverable, Kind::Memory, true),
        (
            6,
            Policy::PROCESSOR | Policy::FATAL | Policy::NO_PHYSICAL_ADDRESS,
            Severity::Fatal,
            Kind::Processor,
            false,
        ),
    ] {
        poison(line, policy);
        context.holds(!load(line).is_done(), format_args!("{policy:?}: it aborts"));
        let report = context.claim();
        let flags = report.map(|report| report.flags).unwrap_or_default();
        context.equal(
            format_args!("{policy:?}: report"),
            report.map(|report| Report {
                address: report.line(),
                ..report
            }),
            Some(Report {
                severity,
                entry_severity: severity,
                kind,
                address: has_address.then_some(physical(line)),
                flags,
            }),
        );
    }
    poison(7, Policy::NO_RECORD);
    context.holds(!load(7).is_done(), format_args!("it aborts without report"));
    let report = context.claim();
    context.equal(format_args!("report where there is none"), report, None);
    Verdict::Done
}

fn no_far(context: &mut Context) -> Verdict {
    poison(1, Policy::NO_FAR | Policy::NO_RECORD);
    let outcome = load(1);
    context.equal(
        format_args!("ESR"),
        outcome.esr().bits(),
        load_syndrome(Mode::El1h) | 1 << 10,
    );
    let far = outcome
        .data_abort()
        .and_then(|abort| abort.address(outcome.far()));
    context.equal(format_args!("address"), far, None);
    Verdict::Done
}

fn error_types(context: &mut Context) -> Verdict {
    if !Feature::Ras.is_present() {
        return Verdict::Skip("this CPU has no FEAT_RAS");
    }
    for (policy, set) in [
        (Policy::empty(), 0b00),
        (Policy::UNCONTAINABLE, 0b10),
        (Policy::RESTARTABLE, 0b11),
    ] {
        poison(1, policy | Policy::NO_RECORD);
        context.equal(
            format_args!("{policy:?}: ESR"),
            load(1).esr().bits(),
            load_syndrome(Mode::El1h) | set << 11,
        );
    }
    Verdict::Done
}

fn one_shot(context: &mut Context) -> Verdict {
    poison(1, Policy::ONE_SHOT);
    context.holds(!load(1).is_done(), format_args!("the first load aborts"));
    let line = context.claim().and_then(|report| report.line());
    context.equal(format_args!("reported line"), line, Some(physical(1)));
    let second = load(1);
    context.holds(second.is_done(), format_args!("the second does not"));
    context.equal(format_args!("data"), second.x(1), DATA);
    context.holds(
        !doorbell::is_poisoned(physical(1)),
        format_args!("the line is good"),
    );
    Verdict::Done
}

fn serror(context: &mut Context) -> Verdict {
    if !Feature::Ras.is_present() {
        let policy = Policy::SERROR;
        let refused = doorbell::command(Command::Poison, physical(1), LINE, policy);
        context.equal(
            format_args!("{policy:?} without FEAT_RAS"),
            (refused.status, doorbell::is_poisoned(physical(1))),
            (Status::Unsupported, false),
        );
        return Verdict::Done;
    }
    const PENDING: u64 = 1 << 8;
    for (policy, aet) in [
        (Policy::empty(), 0b011),
        (Policy::RESTARTABLE, 0b010),
        (Policy::UNCONTAINABLE, 0b000),
    ] {
        poison(1, policy | Policy::SERROR);
        let masked = load(1);
        context.holds(masked.is_done(), format_args!("{policy:?}: the load ends"));
        context.equal(format_args!("{policy:?}: data"), masked.x(1), DATA);
        context.equal(
            format_args!("{policy:?}: ISR_EL1.A"),
            registers::read!("isr_el1") & PENDING,
            PENDING,
        );
        let taken = Trial::new(stub::NOTHING, Mode::El1h)
            .flipping(SERROR_MASKED)
            .run();
        context.equal(
            format_args!("{policy:?}: ESR"),
            taken.esr().bits(),
            0x2f << 26 | 1 << 25 | aet << 10 | 0x11,
        );
        context.equal(
            format_args!("{policy:?}: vector"),
            taken.vector(),
            Mode::El1h.vectors() + 0x180,
        );
        take_all(context, physical(1));

        // Not masked: it comes with the load, whose data is there.
        let at_once = trial(1).flipping(SERROR_MASKED).run();
        context.equal(
            format_args!("{policy:?}: ESR, not masked"),
            at_once.esr().bits(),
            0x2f << 26 | 1 << 25 | aet << 10 | 0x11,
        );
        context.equal(format_args!("{policy:?}: data"), at_once.x(1), DATA);
        take_all(context, physical(1));
        doorbell::clear(physical(1));
    }
    Verdict::Done
}

/// Takes the one report there must be, whichever source it comes from.
fn take_all(context: &mut Context, line: u64) {
    let Some(firmware) = context.firmware else {
        return;
    };
    let reports = [firmware.serrors, Some(firmware.aborts)]
        .into_iter()
        .flatten()
        .filter_map(|source| firmware::claim(&source).ok().flatten())
        .filter_map(|report| report.line());
    let mut reported = [0; 2];
    for (slot, line) in reported.iter_mut().zip(reports) {
        *slot = line;
    }
    context.equal(format_args!("reported lines"), reported, [line, 0]);
}

fn acknowledge(context: &mut Context) -> Verdict {
    for line in 1..4 {
        poison(line, Policy::empty());
    }
    let unreported = doorbell::count(Counter::Unreported);
    context.holds(!load(1).is_done(), format_args!("the first load aborts"));
    for number in 1..=3 {
        let outcome = load(2);
        context.equal(
            format_args!("ESR without acknowledgement"),
            outcome.esr().bits(),
            load_syndrome(Mode::El1h),
        );
        context.equal(format_args!("FAR"), outcome.far(), address(2));
        context.equal(
            format_args!("hits that were not reported"),
            doorbell::count(Counter::Unreported) - unreported,
            number,
        );
    }
    context.holds(
        doorbell::is_poisoned(physical(2)),
        format_args!("the line is still poisoned"),
    );
    let first = context.claim().and_then(|report| report.line());
    context.equal(format_args!("the report"), first, Some(physical(1)));
    let none = context.claim();
    context.equal(format_args!("no second report"), none, None);
    context.holds(!load(2).is_done(), format_args!("it aborts again"));
    let second = context.claim().and_then(|report| report.line());
    context.equal(
        format_args!("then it is reported"),
        second,
        Some(physical(2)),
    );
    Verdict::Done
}
