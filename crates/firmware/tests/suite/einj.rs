//! Error injection: whole operations through the tables, and every wrong way to ask for one.

use apei::{
    CommandError, Einj, EinjAction, ErrorTypes, InjectError, Limits, Platform,
    SetErrorTypeWithAddress, TargetFlags, Trigger, Width,
};
use control::layout::FIRMWARE;
use control::{Command, Notice, Policy, Request, Status};
use firmware::einj::{CAPABILITIES, register};
use firmware::window::{PARAMETERS, TRIGGER};
use firmware::{Window, window};
use zerocopy::IntoBytes;

use crate::guest::{Guest, Refused};

const ADDRESS: u64 = 0x4123_4567;
const LINE_OF_ADDRESS: u64 = 0x4123_4540;

fn inject(guest: &mut Guest, error: &SetErrorTypeWithAddress) -> Result<(), InjectError<Refused>> {
    let table = guest.table(*b"EINJ");
    let einj = Einj::parse(&table).unwrap();
    einj.inject(error, Trigger::Fire, Limits::default(), guest)
}

fn in_memory(error_type: ErrorTypes) -> SetErrorTypeWithAddress {
    SetErrorTypeWithAddress::in_memory(error_type, ADDRESS, !0xfff)
}

/// As Linux does it: the structure is written, and the action that would write its first field
/// is not run.
fn execute(guest: &mut Guest, error: &SetErrorTypeWithAddress) -> u64 {
    guest.store(register::OPERATION, Width::Bits64, 1);
    guest
        .write_memory(FIRMWARE + PARAMETERS as u64, error.as_bytes())
        .unwrap();
    guest.store(register::EXECUTE, Width::Bits64, 1);
    assert_eq!(guest.einj.load(register::BUSY, Width::Bits64) & 1, 0);
    guest.einj.load(register::STATUS, Width::Bits64)
}

fn poison(policy: Policy) -> Request {
    Request {
        command: Command::Poison.raw(),
        policy: policy.bits(),
        address: LINE_OF_ADDRESS,
        length: 64,
    }
}

#[test]
fn an_injection_asks_for_the_line_that_holds_the_address() {
    let corrected = Request {
        command: Command::Notify.raw(),
        policy: 0,
        address: LINE_OF_ADDRESS,
        length: Notice::Corrected.raw(),
    };
    for (error_type, request) in [
        (ErrorTypes::MEMORY_CORRECTABLE, corrected),
        (ErrorTypes::MEMORY_UNCORRECTABLE, poison(Policy::empty())),
        (ErrorTypes::MEMORY_FATAL, poison(Policy::FATAL)),
    ] {
        let mut guest = Guest::new();
        assert_eq!(inject(&mut guest, &in_memory(error_type)), Ok(()));
        assert_eq!(*guest.requests.borrow(), [request]);
        assert_eq!(guest.stalled, 0, "nobody waits");
        // A second time, and without the optional action.
        assert_eq!(execute(&mut guest, &in_memory(error_type)), 0);
        assert_eq!(*guest.requests.borrow(), [request, request]);
    }
}

#[test]
fn the_table_says_what_can_be_injected() {
    let mut guest = Guest::new();
    let table = guest.table(*b"EINJ");
    let einj = Einj::parse(&table).unwrap();
    let available = einj.available(Limits::default(), &mut guest);
    assert_eq!(available, Ok(CAPABILITIES));
    assert_eq!(CAPABILITIES.bits(), 0x38);
    let timings = EinjAction::GET_EXECUTE_OPERATION_TIMINGS;
    let timings = einj
        .program
        .run(timings, 0, Limits::default(), &mut guest)
        .unwrap();
    assert_eq!(
        (timings >> 32, timings as u32),
        (1_000_000, 100),
        "microseconds"
    );
    let trigger = EinjAction::GET_TRIGGER_ERROR_ACTION_TABLE;
    let trigger = einj.program.run(trigger, 0, Limits::default(), &mut guest);
    assert_eq!(trigger, Ok(FIRMWARE + TRIGGER as u64));
}

#[test]
fn the_status_says_whether_the_platform_or_the_caller_is_to_blame() {
    for status in Status::ALL.iter().copied() {
        let mut guest = Guest::new();
        guest.answer = status;
        let expected = match status {
            Status::Ok => 0,
            Status::Unaligned
            | Status::OutsideRam
            | Status::MonitorMemory
            | Status::BadLength
            | Status::BadArgument => 2,
            Status::UnknownCommand
            | Status::BadPolicy
            | Status::NoRoom
            | Status::Unacknowledged
            | Status::BadRegister
            | Status::Unsupported => 1,
        };
        let error = in_memory(ErrorTypes::MEMORY_UNCORRECTABLE);
        assert_eq!(execute(&mut guest, &error), expected, "{status}");
        let injected = inject(&mut guest, &error);
        match expected {
            0 => assert_eq!(injected, Ok(())),
            status => assert_eq!(
                injected,
                Err(InjectError::Command(CommandError::Status(status)))
            ),
        }
    }
}

#[test]
fn only_single_errors_in_memory_with_an_address_are_injected() {
    const INVALID: u64 = 2;
    for bit in 0..32 {
        let error_type = ErrorTypes::from_bits_retain(1 << bit);
        let expected = if CAPABILITIES.contains(error_type) {
            0
        } else {
            INVALID
        };
        let mut guest = Guest::new();
        assert_eq!(
            execute(&mut guest, &in_memory(error_type)),
            expected,
            "{error_type:?}"
        );
        assert_eq!(guest.requests.borrow().len(), usize::from(expected == 0));
    }
    for error in [
        in_memory(ErrorTypes::empty()),
        in_memory(CAPABILITIES),
        SetErrorTypeWithAddress::new(ErrorTypes::MEMORY_UNCORRECTABLE),
    ] {
        let mut guest = Guest::new();
        assert_eq!(execute(&mut guest, &error), INVALID, "{error:?}");
        assert_eq!(*guest.requests.borrow(), []);
    }
    for bits in 0..16 {
        let flags = TargetFlags::from_bits_retain(bits);
        let error = SetErrorTypeWithAddress {
            flags: bits.into(),
            ..in_memory(ErrorTypes::MEMORY_UNCORRECTABLE)
        };
        let fits =
            flags == TargetFlags::MEMORY || flags == TargetFlags::MEMORY | TargetFlags::PROCESSOR;
        let expected = if fits { 0 } else { INVALID };
        assert_eq!(execute(&mut Guest::new(), &error), expected, "{flags:?}");
    }
}

#[test]
fn an_error_without_an_address_is_refused_until_the_next_operation() {
    let mut guest = Guest::new();
    let error = in_memory(ErrorTypes::MEMORY_UNCORRECTABLE);
    assert_eq!(execute(&mut guest, &error), 0);
    guest.requests.borrow_mut().clear();
    guest.store(register::ERROR_TYPE, Width::Bits64, 0x10);
    guest.store(register::EXECUTE, Width::Bits64, 1);
    assert_eq!(guest.einj.load(register::STATUS, Width::Bits64), 2);
    assert_eq!(*guest.requests.borrow(), []);
    assert_eq!(execute(&mut guest, &error), 0);
}

#[test]
fn a_trigger_table_that_was_overwritten_comes_back() {
    let mut guest = Guest::new();
    let address = FIRMWARE + TRIGGER as u64;
    let before = guest.bytes(address, 16);
    for at in (0..16).step_by(4) {
        guest.window.store(TRIGGER + at, u32::MAX);
    }
    assert_eq!(
        inject(&mut guest, &in_memory(ErrorTypes::MEMORY_UNCORRECTABLE)),
        Ok(())
    );
    assert_eq!(guest.bytes(address, 16), before);
}

#[test]
fn registers_take_whole_words_only() {
    let guest = Guest::new();
    let capabilities = u64::from(CAPABILITIES.bits());
    let load = |offset, width| guest.einj.load(offset, width);
    assert_eq!(load(register::CAPABILITIES, Width::Bits32), capabilities);
    assert_eq!(load(register::CAPABILITIES, Width::Bits16), 0);
    assert_eq!(load(register::CAPABILITIES, Width::Bits8), 0);
    assert_eq!(load(register::CAPABILITIES + 4, Width::Bits32), 0);
    assert_eq!(load(register::TIMINGS, Width::Bits32), 100);
    let trigger = window::address(TRIGGER);
    assert_eq!(load(register::TRIGGER_TABLE, Width::Bits64), trigger);
    assert_eq!(load(register::TIMINGS + 8, Width::Bits64), 0);
    assert_eq!(load(u64::MAX - 7, Width::Bits64), 0);
    for (offset, width) in [
        (register::EXECUTE, Width::Bits8),
        (register::EXECUTE, Width::Bits16),
        (register::EXECUTE + 4, Width::Bits32),
        (register::EXECUTE + 0x1000, Width::Bits64),
        (register::CAPABILITIES, Width::Bits64),
    ] {
        guest.store(offset, width, 1);
    }
    assert_eq!(*guest.requests.borrow(), []);
    assert_eq!(load(register::STATUS, Width::Bits64), 0);
    assert_eq!(load(register::CAPABILITIES, Width::Bits64), capabilities);
}
