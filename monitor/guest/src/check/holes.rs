//! Aborts that need no monitor: QEMU itself answers an access to nothing with a synchronous external
//! abort. The same handler sees the same syndrome as for poison.

use syndrome::AbortCause;

use super::access::Access;
use super::class::{CLASSES, Class, Kind, Space};
use super::context::{Case, Context, Verdict};
use super::judge::load_syndrome;
use crate::machine::arena::View;
use crate::machine::trial::{Mode, Outcome, Trial};
use crate::machine::{arena, stub};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "holes",
        name,
        needs_monitor: false,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("a load aborts with the address of its first byte", loads),
    case("a store aborts, other than at poison", stores),
    case("a fetch aborts", fetches),
    case("a table walk aborts with its level", walks),
];

/// WnR. For an atomic QEMU sets it or not, depending on the number of CPUs.
const WRITE: u64 = 1 << 6;

fn at_hole(class: &Class, mode: Mode) -> (Trial, Outcome) {
    let view = match (class.space, mode) {
        (Space::User, _) | (_, Mode::El0) => View::UserHole,
        _ => View::Hole,
    };
    let trial = Access::at(class, mode, 0x840).trial(view.base());
    (trial, trial.run())
}

/// The classes that a hole is compared with: not those of tags, which need memory, and not those
/// whose base is not their address.
fn comparable(class: &Class) -> bool {
    class.needs.is_present()
        && class.space != Space::Tagged
        && !matches!(
            class.kind,
            Kind::Gather | Kind::Maintenance | Kind::NonFault
        )
}

fn loads(context: &mut Context) -> Verdict {
    for mode in [Mode::El1h, Mode::El1t, Mode::El0] {
        for class in CLASSES
            .iter()
            .filter(|class| comparable(class) && class.reads())
        {
            if class.space == Space::User && mode == Mode::El0 {
                continue;
            }
            let (trial, outcome) = at_hole(class, mode);
            let ignored = match class.kind {
                Kind::Load | Kind::FirstFault | Kind::CopyForward | Kind::CopyBackward => 0,
                _ => WRITE,
            };
            let name = class.name;
            context.equal(
                format_args!("{name}, {mode:?}: ESR"),
                outcome.esr().bits() & !ignored,
                load_syndrome(mode),
            );
            let source = match class.kind {
                Kind::CopyForward | Kind::CopyBackward => trial.registers()[1],
                _ if class.stub.address() == stub::LDR_X_REGISTER.address() => {
                    trial.registers()[0] + 24
                }
                _ => (trial.registers()[0] as i64 + class.offset) as u64,
            };
            if !matches!(class.kind, Kind::CopyBackward) {
                context.equal(format_args!("{name}, {mode:?}: FAR"), outcome.far(), source);
            }
            context.equal(
                format_args!("{name}, {mode:?}: vector"),
                outcome.vector(),
                mode.vectors(),
            );
            let cause = outcome.data_abort().map(|abort| abort.cause());
            context.equal(
                format_args!("{name}, {mode:?}: cause"),
                cause,
                Some(AbortCause::MemoryError),
            );
        }
    }
    Verdict::Done
}

fn stores(context: &mut Context) -> Verdict {
    for mode in [Mode::El1h, Mode::El0] {
        for class in CLASSES.iter().filter(|class| {
            comparable(class)
                && matches!(
                    class.kind,
                    Kind::Store | Kind::StoreWhole | Kind::Zero | Kind::Set
                )
        }) {
            if class.space == Space::User && mode == Mode::El0 {
                continue;
            }
            let (_, outcome) = at_hole(class, mode);
            context.equal(
                format_args!("{}, {mode:?}: ESR", class.name),
                outcome.esr().bits(),
                load_syndrome(mode) | WRITE,
            );
        }
    }
    Verdict::Done
}

fn fetches(context: &mut Context) -> Verdict {
    let address = View::HoleCode.address(2, 0x40);
    let outcome = Trial::at(address, Mode::El1h).run();
    context.equal(
        format_args!("ESR"),
        outcome.esr().bits(),
        0x21 << 26 | 1 << 25 | 0x10,
    );
    context.equal(format_args!("FAR"), outcome.far(), address);
    context.equal(format_args!("ELR"), outcome.pc(), address);
    Verdict::Done
}

fn walks(context: &mut Context) -> Verdict {
    let address = View::HoleWalk.address(1, 0x128);
    for (stub, name, bits) in [
        (stub::LDR_X, "load", 0),
        (stub::STR_X, "store", WRITE),
        (stub::AT_READ, "AT", WRITE | 1 << 8),
    ] {
        let outcome = Trial::new(stub, Mode::El1h)
            .with(0, address)
            .with(3, View::Kernel.address(arena::BUFFER, 0))
            .run();
        context.equal(
            format_args!("{name}: ESR"),
            outcome.esr().bits(),
            0x25 << 26 | 1 << 25 | 0x17 | bits,
        );
        context.equal(format_args!("{name}: FAR"), outcome.far(), address);
    }
    let outcome = Trial::at(address & !0xfff, Mode::El1h).run();
    context.equal(
        format_args!("fetch: ESR"),
        outcome.esr().bits(),
        0x21 << 26 | 1 << 25 | 0x17,
    );
    context.equal(format_args!("fetch: FAR"), outcome.far(), address & !0xfff);
    Verdict::Done
}
