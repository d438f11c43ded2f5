//! The doorbell: every command, and every way to get one wrong.

use control::{
    Command, Counter, LINE, PAGE, Policy, Request, Status, doorbell as register, layout,
};

use super::context::{Case, Context, Verdict};
use crate::machine::{arena, doorbell};

const fn case(name: &'static str, run: fn(&mut Context) -> Verdict) -> Case {
    Case {
        group: "doorbell",
        name,
        needs_monitor: true,
        run,
    }
}

/// The cases.
pub(crate) const CASES: &[Case] = &[
    case("ranges are poisoned, found, counted and cleared", commands),
    case(
        "a request that makes no sense changes nothing",
        bad_requests,
    ),
    case("a register accessed wrongly changes nothing", bad_accesses),
];

fn base() -> u64 {
    arena::physical(arena::SHARED)
}

fn run(command: Command, address: u64, length: u64, policy: Policy) -> (Status, u64) {
    let response = doorbell::command(command, address, length, policy);
    (response.status, response.value)
}

/// The poisoned lines, as a sum that tells sets apart, and their number.
fn poisoned() -> (u64, u64) {
    let (mut sum, mut count, mut from) = (0_u64, 0, 0);
    while let Some(line) = doorbell::next(from) {
        sum = sum.wrapping_mul(31).wrapping_add(line);
        count += 1;
        from = line + LINE;
    }
    (sum, count)
}

fn commands(context: &mut Context) -> Verdict {
    let none = Policy::empty();
    context.equal(
        format_args!("ping"),
        run(Command::Ping, 0, 0, none),
        (Status::Ok, 0),
    );
    context.equal(format_args!("no poison"), doorbell::next(0), None);
    let before = doorbell::count(Counter::Poisoned);
    let policy = Policy::NO_FAR | Policy::PERMANENT;
    // Over a page boundary.
    let start = base() + PAGE - 2 * LINE;
    let done = run(Command::Poison, start, 5 * LINE, policy);
    context.equal(format_args!("poison"), done, (Status::Ok, 0));
    context.equal(
        format_args!("lines poisoned"),
        doorbell::count(Counter::Poisoned) - before,
        5,
    );
    let mut from = 0;
    for number in 0..5 {
        let line = start + number * LINE;
        context.equal(format_args!("next"), doorbell::next(from), Some(line));
        context.equal(
            format_args!("query"),
            run(Command::Query, line, LINE, none),
            (Status::Ok, u64::from((policy | Policy::POISONED).bits())),
        );
        from = line + LINE;
    }
    context.equal(
        format_args!("next after the last"),
        doorbell::next(from),
        None,
    );
    context.equal(
        format_args!("query of a good line"),
        run(Command::Query, start - LINE, LINE, none),
        (Status::Ok, 0),
    );
    // A line poisoned again takes the new policy.
    doorbell::poison(start, Policy::FATAL);
    context.equal(
        format_args!("query after a second poison"),
        run(Command::Query, start, LINE, none).1 as u32,
        (Policy::FATAL | Policy::POISONED).bits(),
    );
    let done = run(Command::Clear, start + LINE, 3 * LINE, none);
    context.equal(format_args!("clear"), done.0, Status::Ok);
    context.equal(format_args!("lines left"), poisoned().1, 2);
    context.equal(
        format_args!("clear all"),
        run(Command::ClearAll, 0, 0, none).0,
        Status::Ok,
    );
    context.equal(format_args!("lines left at last"), poisoned().1, 0);
    Verdict::Done
}

fn bad_requests(context: &mut Context) -> Verdict {
    let good = base() + 8 * LINE;
    for line in [0, 3, 70] {
        doorbell::poison(base() + line * LINE, Policy::empty());
    }
    let ram_end = context.ram_end;
    let poison = Command::Poison.raw();
    let request = |command, address, length, policy: u32| Request {
        command,
        policy,
        address,
        length,
    };
    let both = (Policy::RESTARTABLE | Policy::UNCONTAINABLE).bits();
    let bad = [
        (request(0, good, LINE, 0), Status::UnknownCommand),
        (request(99, good, LINE, 0), Status::UnknownCommand),
        (request(poison, good + 1, LINE, 0), Status::Unaligned),
        (request(poison, good + 32, LINE, 0), Status::Unaligned),
        (request(poison, good, 63, 0), Status::Unaligned),
        (
            request(Command::Clear.raw(), good, 65, 0),
            Status::Unaligned,
        ),
        (request(poison, good, 0, 0), Status::BadLength),
        (
            request(poison, 0u64.wrapping_sub(LINE), 2 * LINE, 0),
            Status::BadLength,
        ),
        (request(Command::Clear.raw(), good, 0, 0), Status::BadLength),
        (request(poison, 0x0900_0000, LINE, 0), Status::OutsideRam),
        (request(poison, 0, LINE, 0), Status::OutsideRam),
        (
            request(poison, layout::RAM_BASE - LINE, 2 * LINE, 0),
            Status::OutsideRam,
        ),
        (request(poison, 1 << 45, LINE, 0), Status::OutsideRam),
        (request(poison, ram_end, LINE, 0), Status::MonitorMemory),
        (
            request(poison, ram_end - LINE, 2 * LINE, 0),
            Status::MonitorMemory,
        ),
        (request(poison, good, LINE, 1 << 20), Status::BadPolicy),
        (request(poison, good, LINE, both), Status::BadPolicy),
        (
            request(poison, good, LINE, Policy::POISONED.bits()),
            Status::BadPolicy,
        ),
        (
            request(Command::Count.raw(), 1000, LINE, 0),
            Status::BadArgument,
        ),
        (
            request(Command::Notify.raw(), good, 0, 0),
            Status::BadArgument,
        ),
        (
            request(Command::Notify.raw(), good, 99, 0),
            Status::BadArgument,
        ),
        (
            request(Command::Notify.raw(), 0x0900_0000, 1, 0),
            Status::OutsideRam,
        ),
    ];
    let before = poisoned();
    for (request, status) in bad {
        let refused = doorbell::count(Counter::Refused);
        let counted = doorbell::count(Counter::Poisoned);
        let (got, value) = doorbell::send(request);
        context.equal(
            format_args!("{request:x?}"),
            (Status::from_raw(got), value),
            (Some(status), 0),
        );
        context.equal(
            format_args!("{request:x?}: poisoned lines"),
            poisoned(),
            before,
        );
        context.equal(
            format_args!("{request:x?}: refused, poisoned"),
            (
                doorbell::count(Counter::Refused) - refused,
                doorbell::count(Counter::Poisoned) - counted,
            ),
            (1, 0),
        );
    }
    // The short registers are whole commands.
    for (at, address, status) in [
        (register::POISON, good + 4, Status::Unaligned),
        (register::POISON, 0x0900_0000, Status::OutsideRam),
        (register::CLEAR, good + 4, Status::Unaligned),
    ] {
        doorbell::write(register::POLICY, 0);
        doorbell::write(at, address);
        context.equal(
            format_args!("register {at:#x} <- {address:#x}"),
            doorbell::status(),
            Some(status),
        );
        context.equal(format_args!("poisoned lines"), poisoned(), before);
    }
    Verdict::Done
}

fn bad_accesses(context: &mut Context) -> Verdict {
    let good = base() + 8 * LINE;
    context.equal(
        format_args!("identity"),
        doorbell::read(register::IDENTITY),
        register::SIGNATURE,
    );
    doorbell::write(register::ADDRESS, good);
    doorbell::write(register::LENGTH, LINE);
    doorbell::write_32(register::POLICY, 0);
    context.equal(
        format_args!("arguments read back"),
        doorbell::read(register::ADDRESS),
        good,
    );
    context.equal(
        format_args!("command reads as"),
        doorbell::read(register::COMMAND),
        0,
    );
    let ok = |context: &mut Context| {
        doorbell::write_32(register::COMMAND, Command::Ping.raw());
        let status = doorbell::read_32(register::STATUS);
        context.equal(format_args!("a ping"), status, Status::Ok.raw());
    };
    let wrong: [(&str, fn()); 7] = [
        ("a store of 16 bits", || {
            doorbell::write_16(register::COMMAND, 2);
        }),
        ("a store of 32 bits to ADDRESS", || {
            doorbell::write_32(register::ADDRESS, 0);
        }),
        ("a store of 32 bits to POISON", || {
            doorbell::write_32(register::POISON, 0);
        }),
        ("a store to STATUS", || doorbell::write(register::STATUS, 0)),
        ("a store to IDENTITY", || {
            doorbell::write(register::IDENTITY, 0);
        }),
        ("a store to an unknown register", || {
            doorbell::write(0x48, 0);
        }),
        ("a store far away", || doorbell::write(0xfff8, 0)),
    ];
    for (what, access) in wrong {
        ok(context);
        access();
        context.equal(
            format_args!("{what}: status"),
            doorbell::status(),
            Some(Status::BadRegister),
        );
        context.equal(
            format_args!("{what}: address"),
            doorbell::read(register::ADDRESS),
            good,
        );
        context.equal(format_args!("{what}: poisoned"), poisoned().1, 0);
        doorbell::write(register::ADDRESS, good);
        doorbell::write(register::LENGTH, LINE);
    }
    ok(context);
    context.equal(format_args!("a load of nothing"), doorbell::read(0x100), 0);
    context.equal(
        format_args!("its status"),
        doorbell::status(),
        Some(Status::BadRegister),
    );
    Verdict::Done
}
