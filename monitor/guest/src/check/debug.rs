//! The guest's own breakpoints, watchpoints and single steps, where the monitor uses the same hardware.
//!
//! What must happen is what happens without poison: each case runs twice and compares.

use control::{LINE, Policy};

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::stub::{self, Stub};
use crate::machine::trial::{DEBUG_MASKED, Mode, Outcome, Trial};
use crate::machine::{doorbell, mmu, registers};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "debug",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("debug registers stay what the guest wrote", registers_stay),
    case(
        "debug registers, used from a poisoned code page",
        from_poisoned_code,
    ),
    case("watchpoints beside poison fire as ever", watchpoints),
    case(
        "more watchpoints of the guest than are left",
        all_watchpoints,
    ),
    case("breakpoints on accesses beside poison", breakpoints),
    case("a single step takes one exception", single_steps),
    case(
        "a single step of poisoned memory is an abort",
        step_into_poison,
    ),
];

/// MDSCR_EL1: SS, KDE, MDE.
const STEP: u64 = 1;
const KERNEL_DEBUG: u64 = 1 << 13;
const MONITOR_DEBUG: u64 = 1 << 15;
/// ESR_EL1 of a step: ISV and EX.
const STEPPED: u64 = 1 << 24 | 1 << 6;
/// SPSR_EL1.SS.
const SPSR_SS: u64 = 1 << 21;
/// DBGWCR: eight bytes, loads and stores, EL1 and EL0, enabled.
const WATCH: u64 = 0xff << 5 | 0b11 << 3 | 0b11 << 1 | 1;
/// DBGBCR: one instruction, EL1 and EL0, enabled.
const BREAK: u64 = 0xf << 5 | 0b11 << 1 | 1;

const DATA: u64 = 0x1357_9bdf_0246_8ace;

const MODES: [Mode; 2] = [Mode::El1h, Mode::El0];

fn line(number: u64) -> u64 {
    arena::physical(arena::SHARED) + number * LINE
}

fn address(mode: Mode, line: u64) -> u64 {
    let view = match mode {
        Mode::El0 => View::User,
        Mode::El1h | Mode::El1t => View::Kernel,
    };
    view.address(arena::SHARED, 0) + line * LINE
}

fn trial(stub: Stub, mode: Mode, line: u64) -> Trial {
    let buffer = match mode {
        Mode::El0 => View::User,
        Mode::El1h | Mode::El1t => View::Kernel,
    };
    Trial::new(stub, mode)
        .with(0, address(mode, line))
        .with(3, buffer.address(arena::BUFFER, 0))
        .with(4, 40)
        .flipping(DEBUG_MASKED)
}

fn write_data() {
    for line in 0..64 {
        arena::write_u64(arena::SHARED, line * LINE as usize, DATA);
        arena::write_u64(arena::SHARED, line * LINE as usize + 8, !DATA);
    }
}

fn no_debugging() {
    registers::write!("mdscr_el1", 0);
    registers::write!("dbgwcr0_el1", 0);
    registers::write!("dbgwcr1_el1", 0);
    registers::write!("dbgwcr2_el1", 0);
    registers::write!("dbgwcr3_el1", 0);
    registers::write!("dbgbcr0_el1", 0);
}

/// Everything of an outcome that a program can tell.
type All = ([u64; 31], [u64; 5]);

fn all(outcome: &Outcome) -> All {
    (
        *outcome.registers(),
        [
            outcome.esr().bits(),
            outcome.far(),
            outcome.pc(),
            outcome.pstate(),
            outcome.vector(),
        ],
    )
}

/// Runs the trial without poison and with poison in other lines of its page, and compares.
fn as_without_poison(
    context: &mut Context,
    what: core::fmt::Arguments<'_>,
    trial: &Trial,
    class: u64,
) {
    write_data();
    let plain = trial.run();
    context.equal(
        format_args!("{what}: EC without poison"),
        plain.esr().bits() >> 26,
        class,
    );
    for number in [1, 3, 9, 11] {
        doorbell::poison(line(number), Policy::NO_RECORD);
    }
    let poisoned = trial.run();
    doorbell::clear_all();
    // FAR is left as it was by exceptions that do not write it.
    let writes_far = matches!(class, 0x34 | 0x35);
    let (mut plain, mut poisoned) = (all(&plain), all(&poisoned));
    if !writes_far {
        (plain.1[1], poisoned.1[1]) = (0, 0);
    }
    if matches!(class, 0x32 | 0x33) {
        // A step exception need not say what was stepped: with ISV clear, EX means nothing. The
        // monitor, which steps in the guest's stead, does not.
        plain.1[0] &= !STEPPED;
        poisoned.1[0] &= !STEPPED;
    }
    context.equal(
        format_args!("{what}: ESR, FAR, ELR, SPSR, vector"),
        poisoned.1,
        plain.1,
    );
    context.equal(format_args!("{what}: registers"), poisoned.0, plain.0);
}

/// What the guest can read back.
fn debug_state() -> [u64; 11] {
    [
        registers::read!("mdscr_el1"),
        registers::read!("dbgwvr0_el1"),
        registers::read!("dbgwcr0_el1"),
        registers::read!("dbgwvr1_el1"),
        registers::read!("dbgwcr1_el1"),
        registers::read!("dbgwvr3_el1"),
        registers::read!("dbgwcr3_el1"),
        registers::read!("dbgbvr0_el1"),
        registers::read!("dbgbcr0_el1"),
        registers::read!("dbgbvr5_el1"),
        registers::read!("dbgbcr5_el1"),
    ]
}

fn write_debug_state() {
    registers::write!("dbgwvr0_el1", 0x1_0000_4000);
    registers::write!("dbgwcr0_el1", WATCH & !1);
    registers::write!("dbgwvr1_el1", 0x7_0000_0ff8);
    registers::write!("dbgwcr1_el1", WATCH);
    registers::write!("dbgwvr3_el1", 0x2_1234_5678);
    registers::write!("dbgwcr3_el1", WATCH);
    registers::write!("dbgbvr0_el1", 0x3_0000_0100);
    registers::write!("dbgbcr0_el1", BREAK);
    registers::write!("dbgbvr5_el1", 0x3_0000_0200);
    registers::write!("dbgbcr5_el1", BREAK & !1);
    registers::write!("mdscr_el1", MONITOR_DEBUG | KERNEL_DEBUG);
}

fn registers_stay(context: &mut Context) -> Verdict {
    write_data();
    write_debug_state();
    let before = debug_state();
    for number in 1..8 {
        doorbell::poison(line(number * 2), Policy::NO_RECORD);
    }
    for (stub, what) in [
        (stub::LDR_X, "a load"),
        (stub::LD1_4, "a vector load"),
        (stub::STR_X, "a store"),
        (stub::EXCLUSIVE_ADD, "an exclusive"),
    ] {
        for mode in MODES {
            for number in 3..9 {
                let outcome = trial(stub, mode, number).run();
                let hit = number % 2 == 0 && stub.address() != stub::STR_X.address();
                context.equal(format_args!("{what} ends"), outcome.is_done(), !hit);
                context.equal(
                    format_args!("{what}, {mode:?}, line {number}: debug registers"),
                    debug_state(),
                    before,
                );
            }
        }
    }
    no_debugging();
    Verdict::Done
}

/// Copies a stub into a line of the code page; another line of the page is poisoned.
fn in_poisoned_page(stub: Stub) -> u64 {
    // SAFETY: a stub: code, that is memory that nobody writes, and shorter than this.
    let code = unsafe { *(stub.address() as *const [u8; 32]) };
    arena::write(arena::CODE, 0x80, &code);
    mmu::synchronize_code();
    doorbell::poison(arena::physical(arena::CODE) + 0x40, Policy::NO_RECORD);
    View::KernelCode.address(arena::CODE, 0x80)
}

fn from_poisoned_code(context: &mut Context) -> Verdict {
    write_debug_state();
    let state = debug_state();
    let read = Trial::at(in_poisoned_page(stub::READ_DEBUG), Mode::El1h).run();
    context.holds(read.is_done(), format_args!("reading: {}", read.esr()));
    context.equal(
        format_args!("MDSCR_EL1, DBGWVR0_EL1, DBGWCR0_EL1"),
        [read.x(1), read.x(2), read.x(4)],
        [state[0], state[1], state[2]],
    );
    let written = Trial::at(in_poisoned_page(stub::WRITE_DEBUG), Mode::El1h)
        .with(1, 0x4_4444_4440)
        .run();
    context.holds(
        written.is_done(),
        format_args!("writing: {}", written.esr()),
    );
    context.equal(format_args!("read back"), written.x(2), 0x4_4444_4440);
    context.equal(
        format_args!("DBGWVR1_EL1 afterwards"),
        registers::read!("dbgwvr1_el1"),
        0x4_4444_4440,
    );
    no_debugging();
    Verdict::Done
}

fn watchpoints(context: &mut Context) -> Verdict {
    for mode in MODES {
        registers::write!("dbgwvr0_el1", address(mode, 2) + 8);
        registers::write!("dbgwcr0_el1", WATCH);
        registers::write!("mdscr_el1", MONITOR_DEBUG | KERNEL_DEBUG);
        let class = if mode == Mode::El0 { 0x34 } else { 0x35 };
        for (stub, what) in [
            (stub::LDP_X, "ldp"),
            (stub::LD1_4, "ld1 x4"),
            (stub::STP_X, "stp"),
            (stub::LDXP_X, "ldxp"),
        ] {
            let trial = trial(stub, mode, 2);
            as_without_poison(context, format_args!("{what}, {mode:?}"), &trial, class);
        }
        let beside = trial(stub::LDR_X, mode, 2);
        as_without_poison(context, format_args!("ldr beside, {mode:?}"), &beside, 0x15);
        // Of the two reasons to stop, poison is met.
        doorbell::poison(line(3), Policy::NO_RECORD);
        let hit = trial(stub::LDR_X, mode, 3).run();
        context.equal(
            format_args!("a load of poison, {mode:?}: fault status"),
            hit.esr().bits() & 0x3f,
            0x10,
        );
        doorbell::clear_all();
        // On the same bytes the architecture lets the watchpoint come first (Arm ARM, "Synchronous
        // exception prioritization"). The monitor lets poison: its own watchpoint is met at the same
        // moment. What must not be is that the load goes through.
        registers::write!("dbgwvr0_el1", address(mode, 3));
        doorbell::poison(line(3), Policy::NO_RECORD);
        let watched = trial(stub::LDR_X, mode, 3).run();
        context.holds(
            watched.esr().bits() >> 26 == class || watched.data_abort().is_some(),
            format_args!("a watched load of poison, {mode:?}: {}", watched.esr()),
        );
        context.equal(
            format_args!("a watched load of poison, {mode:?}: FAR"),
            watched.far(),
            address(mode, 3),
        );
        doorbell::clear_all();
        no_debugging();
    }
    Verdict::Done
}

fn all_watchpoints(context: &mut Context) -> Verdict {
    write_data();
    let far = View::Kernel.address(arena::SHARED + 4, 0);
    registers::write!("dbgwvr0_el1", far);
    registers::write!("dbgwcr0_el1", WATCH);
    registers::write!("dbgwvr1_el1", far + 8);
    registers::write!("dbgwcr1_el1", WATCH);
    registers::write!("dbgwvr2_el1", far + 16);
    registers::write!("dbgwcr2_el1", WATCH);
    registers::write!("dbgwvr3_el1", far + 24);
    registers::write!("dbgwcr3_el1", WATCH);
    registers::write!("mdscr_el1", MONITOR_DEBUG | KERNEL_DEBUG);
    for number in 0..20 {
        doorbell::poison(line(number * 2 + 1), Policy::NO_RECORD);
    }
    for mode in MODES {
        for number in 0..40 {
            let outcome = trial(stub::LDP_X, mode, number).run();
            context.equal(
                format_args!("line {number}, {mode:?} is read"),
                outcome.is_done(),
                number % 2 == 0,
            );
        }
    }
    let watched = Trial::new(stub::LDR_X, Mode::El1h)
        .with(0, far + 24)
        .flipping(DEBUG_MASKED)
        .run();
    context.equal(
        format_args!("EC of a watched load"),
        watched.esr().bits() >> 26,
        0x35,
    );
    no_debugging();
    Verdict::Done
}

fn breakpoints(context: &mut Context) -> Verdict {
    for mode in MODES {
        for stub in [stub::LDR_X, stub::STR_X] {
            let trial = trial(stub, mode, 2);
            registers::write!("dbgbvr0_el1", trial.pc() + stub.access_offset());
            registers::write!("dbgbcr0_el1", BREAK);
            registers::write!("mdscr_el1", MONITOR_DEBUG | KERNEL_DEBUG);
            let class = if mode == Mode::El0 { 0x30 } else { 0x31 };
            as_without_poison(context, format_args!("on it, {mode:?}"), &trial, class);
            // On the next instruction: the access is made.
            registers::write!("dbgbvr0_el1", trial.pc() + stub.access_offset() + 4);
            as_without_poison(context, format_args!("after it, {mode:?}"), &trial, class);
            no_debugging();
        }
    }
    Verdict::Done
}

fn single_steps(context: &mut Context) -> Verdict {
    for mode in MODES {
        registers::write!("mdscr_el1", STEP | KERNEL_DEBUG);
        let class = if mode == Mode::El0 { 0x32 } else { 0x33 };
        for (stub, what) in [
            (stub::LDR_X, "ldr"),
            (stub::LDP_Q, "ldp q"),
            (stub::LDXR_X, "ldxr"),
            (stub::LDAR_X, "ldar"),
        ] {
            // Without operands before it, the access is the first instruction.
            let trial = trial(stub, mode, 2).flipping(SPSR_SS);
            as_without_poison(context, format_args!("{what}, {mode:?}"), &trial, class);
        }
        let zero = trial(stub::DC_ZVA, mode, 2).flipping(SPSR_SS);
        as_without_poison(context, format_args!("dc zva, {mode:?}"), &zero, class);
        registers::write!("mdscr_el1", 0);
    }
    Verdict::Done
}

/// As a load of the hole: QEMU's own abort.
fn step_into_poison(context: &mut Context) -> Verdict {
    for (mode, hole) in [(Mode::El1h, View::Hole), (Mode::El0, View::UserHole)] {
        registers::write!("mdscr_el1", STEP | KERNEL_DEBUG);
        let trial = trial(stub::LDR_X, mode, 1).flipping(SPSR_SS);
        let native = trial.with(0, hole.address(0, 64)).run();
        doorbell::poison(line(1), Policy::NO_RECORD);
        let poisoned = trial.run();
        registers::write!("mdscr_el1", 0);
        doorbell::clear_all();
        context.equal(
            format_args!("{mode:?}: ESR, ELR, SPSR, vector"),
            [
                poisoned.esr().bits(),
                poisoned.pc(),
                poisoned.pstate(),
                poisoned.vector(),
            ],
            [
                native.esr().bits(),
                native.pc(),
                native.pstate(),
                native.vector(),
            ],
        );
        context.equal(
            format_args!("{mode:?}: FAR"),
            poisoned.far(),
            address(mode, 1),
        );
    }
    Verdict::Done
}
