//! Table walks that read poisoned descriptors.

use control::{LINE, Policy};

use super::context::{Case, Context, Verdict};
use crate::machine::arena::{self, View};
use crate::machine::features::Feature;
use crate::machine::mmu::{self, LEAF, NORMAL, TABLE};
use crate::machine::stub::{self, Stub};
use crate::machine::trial::{Mode, Trial};
use crate::machine::{doorbell, registers};

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
    case("walks through a poisoned level 3 table", level_3),
    case("walks through a poisoned level 2 table", level_2),
    case(
        "the access flag is set in a poisoned table page",
        access_flag,
    ),
];

const WRITE: u64 = 1 << 6;
const CACHE_MAINTENANCE: u64 = 1 << 8;

/// Descriptors of a line.
const PER_LINE: usize = LINE as usize / 8;
/// From this entry on, pages are the user's.
const USER: usize = 256;
/// What every page that the tests map holds.
const DATA: u64 = 0xfeed_f00d_d00f_deef;
/// add x1, x1, #1; svc #0.
const CODE: u64 = 0xd400_0001_9100_0421;

/// Where in every page the code is.
const CODE_OFFSET: u64 = 0x100;

fn entry(index: usize) -> u64 {
    let attributes = match index {
        USER.. => mmu::USER_DATA,
        _ => mmu::KERNEL_CODE,
    };
    arena::physical(arena::SHARED) | LEAF | NORMAL | attributes
}

fn write_pages() {
    for offset in (0..0x100).step_by(8) {
        arena::write_u64(arena::SHARED, offset, DATA);
    }
    arena::write_u64(arena::SHARED, CODE_OFFSET as usize, CODE);
    for index in 0..512 {
        arena::write_u64(arena::LEVEL_3_TABLE, index * 8, entry(index));
    }
    mmu::synchronize_code();
}

/// What a walk is for.
struct Use {
    name: &'static str,
    stub: Option<Stub>,
    mode: Mode,
    /// The syndrome, without the fault status.
    syndrome: u64,
}

const DATA_ABORT: u64 = 0x25 << 26 | 1 << 25;

const USES: &[Use] = &[
    data("load", stub::LDR_X, 0),
    data("load of two registers", stub::LDP_Q, 0),
    data("store", stub::STR_X, WRITE),
    data("AT, to read", stub::AT_READ, CACHE_MAINTENANCE | WRITE),
    data("AT, to write", stub::AT_WRITE, CACHE_MAINTENANCE | WRITE),
    Use {
        name: "fetch",
        stub: None,
        mode: Mode::El1h,
        syndrome: 0x21 << 26 | 1 << 25,
    },
    Use {
        mode: Mode::El0,
        syndrome: 0x24 << 26 | 1 << 25,
        ..data("load from EL0", stub::LDR_X, 0)
    },
];

const fn data(name: &'static str, stub: Stub, bits: u64) -> Use {
    Use {
        name,
        stub: Some(stub),
        mode: Mode::El1h,
        syndrome: DATA_ABORT | bits,
    }
}

/// Makes a walk to `page`, which must abort with `status` because of the descriptor at `bad`, or
/// succeed.
fn walk(context: &mut Context, used: &Use, page: u64, bad: Option<(u64, u64)>) {
    mmu::invalidate_all();
    let address = match used.stub {
        Some(_) => page + 0x40,
        None => page + CODE_OFFSET,
    };
    let buffer = match used.mode {
        Mode::El0 => View::User,
        Mode::El1h | Mode::El1t => View::Kernel,
    };
    arena::write_u64(arena::BUFFER, 0, DATA);
    let outcome = match used.stub {
        Some(stub) => Trial::new(stub, used.mode).with(0, address),
        None => Trial::at(address, used.mode),
    }
    .with(3, buffer.address(arena::BUFFER, 0))
    .run();
    let name = used.name;
    match bad {
        Some((status, descriptor)) => {
            context.equal(
                format_args!("{name} of {address:#x}: ESR"),
                outcome.esr().bits(),
                used.syndrome | status,
            );
            context.equal(format_args!("{name}: FAR"), outcome.far(), address);
            context.equal(
                format_args!("{name}: vector"),
                outcome.vector(),
                used.mode.vectors(),
            );
            let line = context.claim().and_then(|report| report.line());
            context.equal(
                format_args!("{name}: line that is reported"),
                line,
                Some(descriptor & !(LINE - 1)),
            );
        }
        None => {
            context.holds(
                outcome.is_done(),
                format_args!("{name} of {address:#x}: {}", outcome.esr()),
            );
            let (what, got, expected) = match used.stub {
                None => ("instructions", outcome.x(1), 1),
                Some(stub) if stub.address() == stub::AT_READ.address() => (
                    "PAR",
                    outcome.x(1) & 0xf_ffff_f001,
                    arena::physical(arena::SHARED),
                ),
                Some(stub) if stub.address() == stub::LDR_X.address() => {
                    ("data", outcome.x(1), DATA)
                }
                Some(_) => return,
            };
            context.equal(format_args!("{name}: {what}"), got, expected);
        }
    }
}

fn level_3(context: &mut Context) -> Verdict {
    write_pages();
    let table = arena::physical(arena::LEVEL_3_TABLE);
    // One line of the kernel's half, one of the user's.
    let bad_lines = [9, 40];
    for line in bad_lines {
        doorbell::poison(table + line as u64 * LINE, Policy::empty());
    }
    for used in USES {
        let entries = match used.mode {
            Mode::El0 => USER..512,
            Mode::El1h | Mode::El1t => 0..USER,
        };
        for index in entries.step_by(3) {
            let page = View::Walk.address(index, 0);
            let bad = bad_lines
                .contains(&(index / PER_LINE))
                .then_some((0x17, table + index as u64 * 8));
            walk(context, used, page, bad);
        }
    }
    Verdict::Done
}

fn level_2(context: &mut Context) -> Verdict {
    write_pages();
    let level_3 = arena::LEVEL_2_TABLE + 1;
    for index in 0..512 {
        arena::write_u64(level_3, index * 8, entry(0));
        let table = arena::physical(level_3) | TABLE;
        arena::write_u64(arena::LEVEL_2_TABLE, index * 8, table);
    }
    let table = arena::physical(arena::LEVEL_2_TABLE);
    doorbell::poison(table + 3 * LINE, Policy::empty());
    for used in USES.iter().filter(|used| used.mode == Mode::El1h) {
        for index in [0, 23, 24, 31, 32, 511] {
            let page = mmu::LEVEL_2_WINDOW + index * mmu::BLOCK_LENGTH + 0x5000;
            let bad = (index / PER_LINE as u64 == 3).then_some((0x16, table + index * 8));
            walk(context, used, page, bad);
        }
    }
    Verdict::Done
}

fn access_flag(context: &mut Context) -> Verdict {
    const ACCESS_FLAG: u64 = 1 << 10;
    const HARDWARE_ACCESS_FLAG: u64 = 1 << 39;
    if !Feature::AccessFlag.is_present() {
        return Verdict::Skip("this CPU has no FEAT_HAFDBS");
    }
    write_pages();
    for index in 0..16 {
        arena::write_u64(arena::LEVEL_3_TABLE, index * 8, entry(index) & !ACCESS_FLAG);
    }
    let table = arena::physical(arena::LEVEL_3_TABLE);
    doorbell::poison(table + LINE, Policy::empty());
    registers::write!("tcr_el1", mmu::TCR | HARDWARE_ACCESS_FLAG);
    let load = &USES[0];
    for index in 0..16_usize {
        let bad = (index / PER_LINE == 1).then_some((0x17, table + index as u64 * 8));
        walk(context, load, View::Walk.address(index, 0), bad);
    }
    registers::write!("tcr_el1", mmu::TCR);
    doorbell::clear_all();
    for index in 0..16 {
        let flag = arena::read_u64(arena::LEVEL_3_TABLE, index * 8) & ACCESS_FLAG != 0;
        context.equal(
            format_args!("access flag of entry {index}"),
            flag,
            index / PER_LINE == 0,
        );
    }
    Verdict::Done
}
