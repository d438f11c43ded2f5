//! Every class of access at every place around poisoned lines, compared with the model.

use control::{LINE, PAGE, Policy};
use guest::memory::LENGTH;

use super::access::Access;
use super::batch::{Batch, classes};
use super::class::{Class, Kind, Space};
use super::context::{Case, Context, Verdict};
use super::judge::Seen;
use crate::machine::arena::{self, View};
use crate::machine::features::Feature;
use crate::machine::trial::{Mode, Trial};
use crate::machine::{doorbell, stub};

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
    case("every class around one line", one_line),
    case(
        "every class around a page boundary, both pages bad",
        boundary,
    ),
    case("every class around more lines than watchpoints", many_lines),
    case(
        "a tagged pointer is told apart by its address",
        tagged_pointers,
    ),
    case("allocation tags", allocation_tags),
];

const LINE_BYTES: usize = LINE as usize;

/// Lines of a page.
const PAGE_LINES: usize = (PAGE / LINE) as usize;

fn one_line(context: &mut Context) -> Verdict {
    around(context, &[PAGE_LINES + 20])
}

fn boundary(context: &mut Context) -> Verdict {
    around(context, &[PAGE_LINES - 1, PAGE_LINES])
}

fn many_lines(context: &mut Context) -> Verdict {
    around(context, &[70, 72, 73, 75, 76, 79, 81, 82, 84])
}

/// Runs every class at every offset at which it can touch one of `lines`.
fn around(context: &mut Context, lines: &[usize]) -> Verdict {
    for class in classes() {
        if lines.len() > 2 && matches!(class.kind, Kind::Gather) {
            continue;
        }
        let mut batch = Batch::new(&mut context.random, Policy::empty());
        let mut seen = [false; 2];
        let length = Access::at(class, Mode::El1h, 0).length;
        let first = (lines[0] * LINE_BYTES).saturating_sub(length + 8);
        let last = (lines[lines.len() - 1] + 1) * LINE_BYTES + 8;
        let step = class
            .alignment
            .max(if length > 64 || lines.len() > 2 { 7 } else { 1 });
        let first = first - first % class.alignment;
        let offsets = (first..last).step_by(step.next_multiple_of(class.alignment));
        for (number, offset) in offsets.enumerate() {
            for line in lines {
                if !batch.memory.is_poisoned(*line) {
                    batch.poison(*line);
                }
            }
            let mode = mode(class, number);
            let access = Access::at(class, mode, offset.min(LENGTH - length - 64));
            match batch.access(context, &access) {
                Some(Seen::Done) => seen[0] = true,
                Some(Seen::Abort(_)) => seen[1] = true,
                None => break,
            }
        }
        batch.end(context);
        // A class that never aborts, or always, was not tested.
        let name = class.name;
        context.equal(
            format_args!("{name}: misses and hits"),
            seen,
            [true, class.reads()],
        );
    }
    Verdict::Done
}

fn mode(class: &Class, number: usize) -> Mode {
    match (class.space, number % 4) {
        (Space::Any, 1) => Mode::El0,
        (Space::Any, 3) => Mode::El1t,
        _ => Mode::El1h,
    }
}

fn tagged_pointers(context: &mut Context) -> Verdict {
    const BAD: usize = 20;
    let mut batch = Batch::new(&mut context.random, Policy::empty());
    batch.poison(BAD);
    for class in classes().filter(|class| {
        matches!(class.kind, Kind::Load | Kind::Atomic(_)) && class.space != Space::Tagged
    }) {
        for tag in [0x01, 0x5a, 0xff] {
            for offset in [8 * LINE_BYTES, BAD * LINE_BYTES] {
                let mut access = Access::at(class, Mode::El1h, offset);
                access.tag = tag;
                if batch.access(context, &access).is_none() {
                    return Verdict::Done;
                }
            }
        }
    }
    batch.end(context);
    Verdict::Done
}

/// Tags are stored without an abort, and loaded with one.
fn allocation_tags(context: &mut Context) -> Verdict {
    if !Feature::Mte.is_present() {
        return Verdict::Skip("this CPU has no FEAT_MTE2");
    }
    let line = arena::physical(arena::SHARED);
    let address = View::Tagged.address(arena::SHARED, 0);
    let store = |offset: u64, tag: u64| {
        Trial::new(stub::STG, Mode::El1h)
            .with(0, address + offset)
            .with(1, address | tag << 56)
            .run()
    };
    let load = |offset: u64| {
        Trial::new(stub::LDG, Mode::El1h)
            .with(0, address + offset)
            .run()
    };
    context.holds(store(0, 3).is_done(), format_args!("stg before poison"));
    doorbell::poison(line, Policy::NO_RECORD);
    context.holds(store(16, 5).is_done(), format_args!("stg to poison"));
    context.holds(store(64, 7).is_done(), format_args!("stg beside poison"));
    context.holds(!load(16).is_done(), format_args!("ldg of poison aborts"));
    let beside = load(64);
    context.holds(beside.is_done(), format_args!("ldg beside poison"));
    context.equal(format_args!("its tag"), beside.x(1) >> 56 & 0xf, 7);
    context.holds(
        doorbell::is_poisoned(line),
        format_args!("stg clears nothing"),
    );
    doorbell::clear(line);
    context.equal(format_args!("first tag"), load(0).x(1) >> 56 & 0xf, 3);
    context.equal(format_args!("second tag"), load(16).x(1) >> 56 & 0xf, 5);
    Verdict::Done
}
