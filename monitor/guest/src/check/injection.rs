//! EINJ: injecting through firmware's action tables, as an operating system does.

use apei::{Einj, ErrorTypes, InjectError, Limits, SetErrorTypeWithAddress, Trigger};
use control::{LINE, Policy};
use cper::Severity;

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::firmware::{Refused, Shared};
use crate::machine::trial::{Mode, Trial};
use crate::machine::{doorbell, gic, stub, timer};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "einj",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("an injected error is poison", memory),
    case("an injected corrected error comes by interrupt", corrected),
    case("an injection that makes no sense changes nothing", refused),
];

type Injected = Result<(), InjectError<Refused>>;

fn line() -> u64 {
    arena::physical(arena::SHARED) + 11 * LINE
}

fn einj(context: &Context) -> Option<Einj<'static>> {
    Einj::parse(context.firmware?.einj?).ok()
}

fn inject(
    einj: &Einj<'_>,
    kind: ErrorTypes,
    address: u64,
    mask: u64,
    trigger: Trigger,
) -> Injected {
    let error = SetErrorTypeWithAddress::in_memory(kind, address, mask);
    einj.inject(&error, trigger, Limits::default(), &mut Shared)
}

fn memory(context: &mut Context) -> Verdict {
    let Some(einj) = einj(context) else {
        context.fail(format_args!("no EINJ"));
        return Verdict::Done;
    };
    let available = einj.available(Limits::default(), &mut Shared);
    context.holds(
        available.is_ok_and(|types| types.contains(ErrorTypes::MEMORY_UNCORRECTABLE)),
        format_args!("available: {available:?}"),
    );
    for (kind, severity) in [
        (ErrorTypes::MEMORY_UNCORRECTABLE, Severity::Recoverable),
        (ErrorTypes::MEMORY_FATAL, Severity::Fatal),
    ] {
        // Bits that the mask leaves out do not count.
        let injected = inject(&einj, kind, line() + 8, !(LINE - 1), Trigger::Leave);
        context.equal(format_args!("{kind:?}"), injected, Ok(()));
        context.equal(
            format_args!("{kind:?}: poison"),
            doorbell::next(0),
            Some(line()),
        );
        context.equal(
            format_args!("{kind:?}: more poison"),
            doorbell::next(line() + LINE),
            None,
        );
        let address = View::Kernel.address(arena::SHARED, 11 * LINE as usize + 8);
        let outcome = Trial::new(stub::LDRB, Mode::El1h)
            .with(0, address)
            .with(3, View::Kernel.address(arena::BUFFER, 0))
            .run();
        context.holds(
            outcome.data_abort().is_some() && outcome.far() == address,
            format_args!("{kind:?}: {}", outcome.esr()),
        );
        let report = context.claim();
        context.equal(
            format_args!("{kind:?}: report"),
            report.map(|report| (report.severity, report.line())),
            Some((severity, Some(line()))),
        );
        doorbell::clear_all();
    }
    // Triggering may make us meet the error, which then aborts the access that the table names.
    let fired = inject(
        &einj,
        ErrorTypes::MEMORY_UNCORRECTABLE,
        line(),
        !(LINE - 1),
        Trigger::Fire,
    );
    let report = context.claim();
    context.holds(
        match fired {
            Ok(()) => report.is_none() && doorbell::is_poisoned(line()),
            Err(_) => report.is_some_and(|report| report.line() == Some(line())),
        },
        format_args!("with trigger: {fired:?}, report {report:?}"),
    );
    Verdict::Done
}

fn corrected(context: &mut Context) -> Verdict {
    let (Some(einj), Some(firmware)) = (einj(context), context.firmware) else {
        context.fail(format_args!("no EINJ"));
        return Verdict::Done;
    };
    let before = gic::notifications();
    let kind = ErrorTypes::MEMORY_CORRECTABLE;
    let injected = inject(&einj, kind, line(), !(LINE - 1), Trigger::Fire);
    context.equal(format_args!("{kind:?}"), injected, Ok(()));
    let end = timer::now() + timer::frequency() / 10;
    while gic::notifications() == before && timer::now() < end {
        gic::poll();
    }
    context.equal(format_args!("interrupts"), gic::notifications() - before, 1);
    let report = context.claim_from(&firmware.interrupts);
    context.equal(
        format_args!("report"),
        report.map(|report| (report.severity, report.line())),
        Some((Severity::Corrected, Some(line()))),
    );
    context.equal(format_args!("poison"), doorbell::next(0), None);
    Verdict::Done
}

fn refused(context: &mut Context) -> Verdict {
    let Some(einj) = einj(context) else {
        context.fail(format_args!("no EINJ"));
        return Verdict::Done;
    };
    doorbell::poison(line(), Policy::empty());
    let mask = !(LINE - 1);
    for (kind, address) in [
        (ErrorTypes::MEMORY_UNCORRECTABLE, 0x0900_0000),
        (ErrorTypes::MEMORY_UNCORRECTABLE, context.ram_end),
        (ErrorTypes::PCIE_FATAL, line() + LINE),
    ] {
        let injected = inject(&einj, kind, address, mask, Trigger::Leave);
        context.holds(
            injected.is_err(),
            format_args!("{kind:?} at {address:#x} is refused"),
        );
        context.equal(format_args!("first line"), doorbell::next(0), Some(line()));
        context.equal(
            format_args!("no second"),
            doorbell::next(line() + LINE),
            None,
        );
    }
    // And the next one works.
    let kind = ErrorTypes::MEMORY_UNCORRECTABLE;
    let injected = inject(&einj, kind, line() + LINE, mask, Trigger::Leave);
    context.equal(format_args!("after refusals"), injected, Ok(()));
    context.holds(
        doorbell::is_poisoned(line() + LINE),
        format_args!("and it poisons"),
    );
    Verdict::Done
}
