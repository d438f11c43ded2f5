//! Errors that are reported without anybody having met them.

use control::{Command, LINE, Notice, Policy, Status};
use cper::{SectionFlags, Severity};

use super::context::{Case, Context, Verdict};
use crate::machine::arena;
use crate::machine::features::Feature;
use crate::machine::firmware::{self, Kind};
use crate::machine::trial::{Mode, SERROR_MASKED, Trial};
use crate::machine::{doorbell, gic, registers, stub, timer};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "notice",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case(
        "corrected errors and patrol scrub come by interrupt",
        by_interrupt,
    ),
    case("SErrors that nobody caused", serrors),
];

fn line() -> u64 {
    arena::physical(arena::SHARED) + 5 * LINE
}

fn notify(notice: Notice) -> Status {
    doorbell::command(Command::Notify, line(), notice.raw(), Policy::empty()).status
}

/// Takes interrupts until a notification has come, or for a hundred milliseconds.
fn wait_for_notification(before: u64) -> u64 {
    let end = timer::now() + timer::frequency() / 10;
    while gic::notifications() == before && timer::now() < end {
        gic::poll();
    }
    gic::notifications() - before
}

fn by_interrupt(context: &mut Context) -> Verdict {
    let Some(firmware) = context.firmware else {
        return Verdict::Skip("there are no tables");
    };
    context.equal(
        format_args!("the interrupt in the HEST"),
        firmware.interrupts.source.notification.vector.get(),
        control::layout::NOTIFY_INTID,
    );
    for (notice, severity, threshold) in [
        (Notice::Corrected, Severity::Corrected, false),
        (Notice::ThresholdExceeded, Severity::Corrected, true),
        (Notice::PatrolScrub, Severity::Recoverable, false),
    ] {
        let before = gic::notifications();
        context.equal(format_args!("{notice}"), notify(notice), Status::Ok);
        context.equal(
            format_args!("{notice}: interrupts"),
            wait_for_notification(before),
            1,
        );
        context.equal(
            format_args!("{notice}, before the last was acknowledged"),
            notify(notice),
            Status::Unacknowledged,
        );
        let report = context.claim_from(&firmware.interrupts);
        context.equal(
            format_args!("{notice}: report"),
            report.map(|report| (report.severity, report.kind, report.line())),
            Some((severity, Kind::Memory, Some(line()))),
        );
        let flags = report.map(|report| report.flags).unwrap_or_default();
        context.equal(
            format_args!("{notice}: threshold exceeded"),
            flags.contains(SectionFlags::THRESHOLD_EXCEEDED),
            threshold,
        );
        context.holds(
            !doorbell::is_poisoned(line()),
            format_args!("{notice} poisons nothing"),
        );
    }
    Verdict::Done
}

fn serrors(context: &mut Context) -> Verdict {
    if !Feature::Ras.is_present() {
        context.equal(
            format_args!("an SError without FEAT_RAS"),
            notify(Notice::SErrorRecoverable),
            Status::Unsupported,
        );
        return Verdict::Done;
    }
    let Some(firmware) = context.firmware else {
        return Verdict::Skip("there are no tables");
    };
    const PENDING: u64 = 1 << 8;
    for (notice, aet, severity) in [
        (Notice::SErrorCorrected, 0b110, Severity::Corrected),
        (Notice::SErrorRestartable, 0b010, Severity::Recoverable),
        (Notice::SErrorRecoverable, 0b011, Severity::Recoverable),
        (Notice::SErrorUncontainable, 0b000, Severity::Fatal),
    ] {
        context.equal(format_args!("{notice}"), notify(notice), Status::Ok);
        context.equal(
            format_args!("{notice}: ISR_EL1.A"),
            registers::read!("isr_el1") & PENDING,
            PENDING,
        );
        let syndrome = 0x2f << 26 | 1 << 25 | aet << 10 | 0x11;
        for (mode, esb) in [(Mode::El1h, false), (Mode::El0, false), (Mode::El1h, true)] {
            if mode == Mode::El0 || esb {
                context.equal(format_args!("{notice}"), notify(notice), Status::Ok);
            }
            if esb {
                // A barrier while it is masked leaves it in DISR_EL1.
                let outcome = Trial::new(stub::BARRIER, Mode::El1h).run();
                context.equal(
                    format_args!("{notice}: DISR_EL1"),
                    outcome.x(1),
                    1 << 31 | syndrome & 0x1ff_ffff,
                );
                registers::write!("s3_0_c12_c1_1", 0);
            } else {
                let outcome = Trial::new(stub::NOTHING, mode)
                    .flipping(SERROR_MASKED)
                    .run();
                context.equal(
                    format_args!("{notice}, {mode:?}: ESR"),
                    outcome.esr().bits(),
                    syndrome,
                );
                context.equal(
                    format_args!("{notice}, {mode:?}: vector"),
                    outcome.vector(),
                    mode.vectors() + 0x180,
                );
            }
            context.equal(
                format_args!("{notice}: still pending"),
                registers::read!("isr_el1") & PENDING,
                0,
            );
            let report = [
                firmware.serrors,
                Some(firmware.interrupts),
                Some(firmware.aborts),
            ]
            .into_iter()
            .flatten()
            .find_map(|source| firmware::claim(&source).ok().flatten());
            context.equal(
                format_args!("{notice}: report"),
                report.map(|report| (report.severity, report.line())),
                Some((severity, Some(line()))),
            );
        }
    }
    Verdict::Done
}
