//! Claiming what a source reported, from firmware that is well behaved, broken or hostile.

use apei::{
    BadRegister, ClaimError, GenericAddress, GenericSource, GenericSourceV2, Notification,
    NotificationKind, Platform, ReadAck, Register, Width,
};
use cper::{EntryInfo, Malformed, MemoryError, Section, Severity, StatusBlockBuilder};

use crate::machine::{Machine, Refused};

const ADDRESS_CELL: u64 = 0x1000;
const ACK: u64 = 0x1008;
const BLOCK: u64 = 0x1100;
const ROOM: u32 = 0x200;

fn source() -> GenericSourceV2 {
    let cell = GenericAddress::memory(ADDRESS_CELL, Width::Bits64);
    let notification = Notification::new(NotificationKind::SEA);
    GenericSourceV2::new(
        GenericSource::new(0, notification, cell, ROOM),
        ReadAck {
            register: GenericAddress::memory(ACK, Width::Bits64),
            preserve: (!1).into(),
            write: 1.into(),
        },
    )
}

fn error() -> MemoryError {
    MemoryError::new().with_physical_address(0x4_2000_1040)
}

/// A machine whose firmware has just reported `error()`.
fn machine() -> Machine {
    let mut machine = Machine::new(0x1000);
    machine.put64(ADDRESS_CELL, BLOCK);
    machine.put64(ACK, 0xf0);
    let room = machine.slice(BLOCK, ROOM as usize).unwrap();
    let mut builder = StatusBlockBuilder::new(room).unwrap();
    let info = EntryInfo::new(Severity::Recoverable);
    builder.add(&info, &Section::Memory(error())).unwrap();
    builder.finish().unwrap();
    machine
}

fn status(machine: &mut Machine) -> u32 {
    machine.get64(BLOCK) as u32
}

#[test]
fn a_report_is_taken_once_and_acknowledged() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    assert_eq!(source().source.is_pending(&mut machine), Ok(true));
    let block = source().claim(&mut machine, &mut buffer).unwrap().unwrap();
    let sections: Vec<_> = block.entries().map(|entry| entry.section()).collect();
    assert_eq!(sections, [Ok(Section::Memory(error()))]);
    assert_eq!(block.severity(), Severity::Recoverable);
    assert_eq!(status(&mut machine), 0);
    assert_eq!(
        machine.get64(ACK),
        0xf1,
        "bits to keep are kept, bit 0 is set"
    );

    assert_eq!(source().source.is_pending(&mut machine), Ok(false));
    machine.put64(ACK, 0);
    assert_eq!(source().claim(&mut machine, &mut buffer), Ok(None));
    assert_eq!(
        machine.get64(ACK),
        0,
        "what was not taken is not acknowledged"
    );
}

#[test]
fn the_first_version_has_nothing_to_acknowledge() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    let source = source().source;
    assert!(source.claim(&mut machine, &mut buffer).unwrap().is_some());
    assert_eq!((status(&mut machine), machine.get64(ACK)), (0, 0xf0));
}

#[test]
fn the_acknowledge_bits_count_from_the_registers_offset() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    let mut source = source();
    source.read_ack = ReadAck {
        register: GenericAddress {
            bit_width: 8,
            bit_offset: 8,
            access_size: 2,
            ..GenericAddress::memory(ACK, Width::Bits16)
        },
        preserve: 0xf0.into(),
        write: 0x1_03.into(),
    };
    machine.put64(ACK, 0xaaaa_5555);
    assert!(source.claim(&mut machine, &mut buffer).unwrap().is_some());
    assert_eq!(
        machine.get64(ACK),
        0xaaaa_5300,
        "a 16-bit access, with bit 16 dropped"
    );
}

#[test]
fn firmware_that_has_no_block_yet_has_nothing_to_report() {
    let (mut machine, mut buffer) = (machine(), [0; 64]);
    machine.put64(ADDRESS_CELL, 0);
    assert_eq!(source().source.is_pending(&mut machine), Ok(false));
    assert_eq!(source().claim(&mut machine, &mut buffer), Ok(None));
}

#[test]
fn a_block_that_makes_no_sense_is_released() {
    type Case = (&'static [(u64, u32)], ClaimError<Refused>);
    let cases: [Case; 3] = [
        (
            &[(12, ROOM)],
            ClaimError::TooLong {
                length: ROOM as usize + 20,
                limit: ROOM as usize,
            },
        ),
        (
            &[(4, 8), (8, 4)],
            ClaimError::Malformed(Malformed::RawDataOverlap {
                offset: 8,
                entries_end: 172,
            }),
        ),
        (
            &[(12, 151)],
            ClaimError::Malformed(Malformed::Truncated {
                what: "section",
                offset: 92,
                needed: 80,
                available: 79,
            }),
        ),
    ];
    for (words, expected) in cases {
        let (mut machine, mut buffer) = (machine(), [0; 1024]);
        for (offset, word) in words {
            machine.put(BLOCK + offset, &word.to_le_bytes());
        }
        assert_eq!(source().claim(&mut machine, &mut buffer), Err(expected));
        assert_eq!(
            (status(&mut machine), machine.get64(ACK)),
            (0, 0xf1),
            "{expected}"
        );
    }
}

#[test]
fn a_buffer_that_is_too_small_loses_nothing() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    let small = source().claim(&mut machine, &mut buffer[..100]);
    let expected = ClaimError::BufferTooSmall {
        needed: 172,
        available: 100,
    };
    assert_eq!(small, Err(expected));
    assert_eq!((status(&mut machine), machine.get64(ACK)), (0x11, 0xf0));
    assert!(source().claim(&mut machine, &mut buffer).unwrap().is_some());
}

#[test]
fn addresses_that_lead_nowhere_are_refused() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    for address in [u64::MAX, u64::MAX - u64::from(ROOM) + 1] {
        machine.put64(ADDRESS_CELL, address);
        let refused = source().claim(&mut machine, &mut buffer);
        assert_eq!(refused, Err(ClaimError::BlockAddress(address)));
    }
    machine.put64(ADDRESS_CELL, 0x10_0000);
    let refused = ClaimError::Platform(Refused(0x10_0000));
    assert_eq!(source().source.is_pending(&mut machine), Err(refused));
    assert_eq!(source().claim(&mut machine, &mut buffer), Err(refused));

    let mut bad = source();
    bad.source.error_status_address = GenericAddress::null();
    let refused = bad.claim(&mut machine, &mut buffer);
    assert_eq!(refused, Err(ClaimError::StatusAddress(BadRegister::Null)));
}

#[test]
fn a_missing_acknowledge_register_is_told() {
    let (mut machine, mut buffer) = (machine(), [0; 1024]);
    let mut bad = source();
    bad.read_ack.register = GenericAddress::null();
    let refused = bad.claim(&mut machine, &mut buffer);
    assert_eq!(refused, Err(ClaimError::ReadAck(BadRegister::Null)));
    assert_eq!(status(&mut machine), 0);
}

/// Firmware that makes its block longer once the header has been read.
struct Changing(Machine);

impl Platform for Changing {
    type Error = Refused;
    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        self.0.read(register)
    }
    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        self.0.write(register, value)
    }
    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        self.0.read_memory(address, bytes)?;
        self.0.put(BLOCK + 4, &[0xff; 12]);
        Ok(())
    }
    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.0.write_memory(address, bytes)
    }
    fn stall(&mut self, microseconds: u64) {
        self.0.stall(microseconds);
    }
}

#[test]
fn a_header_that_changes_meanwhile_changes_nothing() {
    let mut buffer = [0; 1024];
    let mut changing = Changing(machine());
    let block = source().claim(&mut changing, &mut buffer).unwrap().unwrap();
    assert_eq!(block.entries().count(), 1);
}

/// A block in memory that is itself poisoned must not hold the source up for ever.
struct Unreadable(Machine);

impl Platform for Unreadable {
    type Error = Refused;
    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        self.0.read(register)
    }
    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        self.0.write(register, value)
    }
    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        if address == BLOCK + 20 {
            return Err(Refused(address));
        }
        self.0.read_memory(address, bytes)
    }
    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.0.write_memory(address, bytes)
    }
    fn stall(&mut self, microseconds: u64) {
        self.0.stall(microseconds);
    }
}

#[test]
fn a_block_that_cannot_be_read_is_released() {
    let mut buffer = [0; 1024];
    let mut unreadable = Unreadable(machine());
    let refused = source().claim(&mut unreadable, &mut buffer);
    assert_eq!(refused, Err(ClaimError::Platform(Refused(BLOCK + 20))));
    assert_eq!(
        (status(&mut unreadable.0), unreadable.0.get64(ACK)),
        (0, 0xf1)
    );
}
