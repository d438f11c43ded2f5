//! Every instruction does what ACPI says, and none of them for ever.

use apei::{
    BadRegister, GenericAddress, Instruction, InstructionEntry, InstructionSet, Limits, Program,
    RunCause, RunError, Width,
};

use crate::machine::{Machine, Refused};

use Instruction as I;

/// Few enough steps for Miri to take all of them.
const LIMITS: Limits = Limits {
    steps: 2000,
    microseconds: 1_000_000,
    copied: 64 * 1024,
};

const A: u64 = 0x1000;
const B: u64 = 0x1008;

fn at(address: u64) -> GenericAddress {
    GenericAddress::memory(address, Width::Bits64)
}

fn on(instruction: Instruction, address: u64) -> InstructionEntry {
    InstructionEntry::on(0, instruction, at(address))
}

fn plain(instruction: Instruction, value: u64) -> InstructionEntry {
    InstructionEntry::new(0, instruction).with_value(value)
}

fn run(
    machine: &mut Machine,
    entries: &[InstructionEntry],
    input: u64,
) -> Result<u64, RunCause<Refused>> {
    let program = Program::new(entries, InstructionSet::Serialization);
    program
        .run(0, input, LIMITS, machine)
        .map_err(|error| error.cause)
}

#[test]
fn reads() {
    let mut machine = Machine::new(64);
    machine.put64(A, 0x1234_5678);
    assert_eq!(
        run(&mut machine, &[on(I::READ_REGISTER, A)], 9),
        Ok(0x1234_5678)
    );
    let masked = on(I::READ_REGISTER, A).with_mask(0xff0);
    assert_eq!(run(&mut machine, &[masked], 9), Ok(0x670));
    // The offset moves the register down before the mask is applied.
    let mut field = on(I::READ_REGISTER, A).with_mask(0xff);
    field.register.bit_width = 8;
    field.register.bit_offset = 4;
    assert_eq!(run(&mut machine, &[field], 9), Ok(0x67));
    field.instruction = I::READ_REGISTER_VALUE;
    assert_eq!(run(&mut machine, &[field.with_value(0x67)], 9), Ok(1));
    assert_eq!(run(&mut machine, &[field.with_value(0x66)], 9), Ok(0));
    assert_eq!(
        run(&mut machine, &[InstructionEntry::new(0, I::NOOP)], 9),
        Ok(9)
    );
}

#[test]
fn writes() {
    let mut machine = Machine::new(64);
    machine.put64(A, 0xaaaa_aaaa_aaaa_aaaa);
    assert_eq!(
        run(&mut machine, &[on(I::WRITE_REGISTER, A)], 0x1234),
        Ok(0x1234)
    );
    assert_eq!(machine.get64(A), 0x1234);

    let mut field = on(I::WRITE_REGISTER_VALUE, A)
        .with_value(0x5ff)
        .with_mask(0xff);
    field.register.bit_width = 8;
    field.register.bit_offset = 4;
    run(&mut machine, &[field], 0).unwrap();
    assert_eq!(machine.get64(A), 0xff0);
    machine.put64(A, 0xaaaa_aaaa_aaaa_aaaa);
    run(&mut machine, &[field.with_register_preserved()], 0).unwrap();
    assert_eq!(machine.get64(A), 0xaaaa_aaaa_aaaa_affa);

    // A narrow access leaves its neighbours alone.
    machine.put64(A, u64::MAX);
    let narrow = InstructionEntry::on(
        0,
        I::WRITE_REGISTER,
        GenericAddress::memory(A + 2, Width::Bits16),
    );
    run(&mut machine, &[narrow], 0x1_2345).unwrap();
    assert_eq!(machine.get64(A), 0xffff_ffff_2345_ffff);

    // What was read is what is written: a register can be copied.
    machine.put64(B, 7);
    run(
        &mut machine,
        &[on(I::READ_REGISTER, B), on(I::WRITE_REGISTER, A)],
        1,
    )
    .unwrap();
    assert_eq!(machine.get64(A), 7);
}

#[test]
fn arithmetic() {
    let mut machine = Machine::new(64);
    machine.put64(A, 30);
    machine.put64(B, 12);
    let load = [on(I::LOAD_VAR1, A), on(I::LOAD_VAR2, B)];
    let store = on(I::STORE_VAR1, 0x1010);
    let mut compute = |instruction, first: u64, second: u64| {
        machine.put64(A, first);
        machine.put64(B, second);
        let entries = [load[0], load[1], plain(instruction, 0), store];
        run(&mut machine, &entries, 0).unwrap();
        machine.get64(0x1010)
    };
    assert_eq!(compute(I::ADD, 30, 12), 42);
    assert_eq!(compute(I::SUBTRACT, 30, 42), 12, "VAR1 is taken from VAR2");
    assert_eq!(compute(I::ADD, u64::MAX, 2), 1);
    assert_eq!(compute(I::SUBTRACT, 1, 0), u64::MAX);

    machine.put64(A, 0xff05);
    let add = on(I::ADD_VALUE, A).with_value(0xff).with_mask(0xff);
    run(&mut machine, &[add.with_register_preserved()], 0).unwrap();
    assert_eq!(machine.get64(A), 0xff04);
    run(&mut machine, &[on(I::SUBTRACT_VALUE, A).with_value(5)], 0).unwrap();
    assert_eq!(machine.get64(A), 0xfeff);
}

#[test]
fn jumps() {
    let mut machine = Machine::new(64);
    machine.put64(A, 5);
    // Counts down to 0, then leaves the loop: skip the jump back.
    let countdown = [
        on(I::SUBTRACT_VALUE, A).with_value(1),
        on(I::ADD_VALUE, B).with_value(10),
        on(I::SKIP_NEXT_INSTRUCTION_IF_TRUE, A).with_value(0),
        plain(I::GOTO, 0),
        on(I::READ_REGISTER, B),
    ];
    assert_eq!(run(&mut machine, &countdown, 0), Ok(50));
    let skip_past_the_end = [on(I::SKIP_NEXT_INSTRUCTION_IF_TRUE, A).with_value(0)];
    assert_eq!(run(&mut machine, &skip_past_the_end, 3), Ok(3));
    for target in [1, 2, u64::MAX] {
        let jump = [plain(I::GOTO, target)];
        assert_eq!(run(&mut machine, &jump, 0), Err(RunCause::Target(target)));
    }
    assert_eq!(
        run(&mut machine, &[plain(I::GOTO, 0)], 0),
        Err(RunCause::TooManySteps)
    );
}

#[test]
fn instructions_count_within_their_action() {
    let mut machine = Machine::new(64);
    let of = |action, entry: InstructionEntry| InstructionEntry { action, ..entry };
    let entries = [
        of(1, on(I::WRITE_REGISTER_VALUE, A).with_value(1)),
        of(2, plain(I::GOTO, 2)),
        of(1, on(I::WRITE_REGISTER_VALUE, B).with_value(2)),
        of(2, on(I::WRITE_REGISTER_VALUE, A).with_value(3)),
        of(2, on(I::READ_REGISTER, B)),
    ];
    let program = Program::new(&entries, InstructionSet::Serialization);
    let mut run = |action| program.run(action, 0, LIMITS, &mut machine);
    assert_eq!(run(1), Ok(0));
    assert_eq!(run(2), Ok(2));
    let missing = RunError {
        action: 3,
        index: 0,
        cause: RunCause::NoSuchAction,
    };
    assert_eq!(run(3), Err(missing));
    assert_eq!(
        (machine.get64(A), machine.get64(B)),
        (1, 2),
        "instruction 1 was jumped over"
    );
}

#[test]
fn waiting() {
    let mut machine = Machine::new(64);
    run(&mut machine, &[plain(I::STALL, 250)], 0).unwrap();
    assert_eq!(machine.stalled, 250);
    assert_eq!(
        run(&mut machine, &[plain(I::STALL, 1_000_001)], 0),
        Err(RunCause::TimedOut)
    );

    machine.put64(B, 1000);
    let wait = [
        on(I::LOAD_VAR1, B),
        on(I::STALL_WHILE_TRUE, A).with_value(1),
    ];
    machine.stalled = 0;
    assert_eq!(run(&mut machine, &wait, 7), Ok(7), "nothing to wait for");
    assert_eq!(machine.stalled, 0);
    machine.put64(A, 1);
    assert_eq!(run(&mut machine, &wait, 0), Err(RunCause::TimedOut));
    assert_eq!(machine.stalled, 1_000_000);
    machine.put64(B, 0);
    assert_eq!(run(&mut machine, &wait, 0), Err(RunCause::TooManySteps));
}

#[test]
fn copies() {
    let mut machine = Machine::new(0x400);
    let content: Vec<u8> = (0..=255).collect();
    machine.put(0x1100, &content);
    let copy = |machine: &mut Machine, from: u64, to: u64, offset: u64, length: u64| {
        for (index, value) in [from, to, offset, length].into_iter().enumerate() {
            machine.put64(A + 8 * index as u64, value);
        }
        let entries = [
            on(I::SET_SRC_ADDRESS_BASE, A),
            on(I::SET_DST_ADDRESS_BASE, A + 8),
            on(I::LOAD_VAR2, A + 24),
            on(I::MOVE_DATA, A + 16),
        ];
        run(machine, &entries, 0)
    };
    copy(&mut machine, 0x10f0, 0x11f0, 0x10, 200).unwrap();
    assert_eq!(machine.slice(0x1200, 200).unwrap(), &content[..200]);
    assert_eq!(machine.slice(0x12c8, 1).unwrap(), [0]);
    // Overlapping, both ways.
    copy(&mut machine, 0x1100, 0x1111, 0, 200).unwrap();
    assert_eq!(machine.slice(0x1111, 200).unwrap(), &content[..200]);
    copy(&mut machine, 0x1111, 0x1104, 0, 200).unwrap();
    assert_eq!(machine.slice(0x1104, 200).unwrap(), &content[..200]);

    let length = 64 * 1024 + 1;
    assert_eq!(
        copy(&mut machine, 0x1100, 0x1200, 0, length),
        Err(RunCause::Copy { length })
    );
    for (from, to, offset) in [
        (u64::MAX, 0x1100, 1),
        (0x1100, u64::MAX, 1),
        (u64::MAX - 3, 0x1100, 0),
        (0x1100, u64::MAX - 3, 0),
    ] {
        let wraps = copy(&mut machine, from, to, offset, 8);
        assert_eq!(wraps, Err(RunCause::Copy { length: 8 }));
    }
    let refused = copy(&mut machine, 0x1100, 0x9000, 0, 8);
    assert_eq!(refused, Err(RunCause::Platform(Refused(0x9000))));
}

#[test]
fn an_injection_table_has_five_instructions() {
    let mut machine = Machine::new(64);
    for number in 0..=255 {
        let mut entry = on(Instruction(number), A);
        entry.value = 1.into();
        let entries = [entry, on(I::NOOP, A)];
        for (set, last) in [
            (InstructionSet::Injection, 4),
            (InstructionSet::Serialization, 0x12),
        ] {
            let program = Program::new(&entries, set);
            let result = program.run(0, 0, LIMITS, &mut machine);
            let unknown = Err(RunError {
                action: 0,
                index: 0,
                cause: RunCause::UnknownInstruction(Instruction(number)),
            });
            assert_eq!(result == unknown, number > last, "{number:#x} {result:?}");
        }
    }
}

#[test]
fn errors_say_where() {
    let mut machine = Machine::new(64);
    let entries = [
        plain(I::NOOP, 0),
        InstructionEntry::new(0, I::READ_REGISTER),
    ];
    let program = Program::new(&entries, InstructionSet::Injection);
    let error = program.run(0, 0, LIMITS, &mut machine).unwrap_err();
    assert_eq!(
        (error.index, error.cause),
        (1, RunCause::Register(BadRegister::Null))
    );
    assert_eq!(
        error.to_string(),
        "action 0x00, instruction 1: no register: its address or its width is 0"
    );
}
