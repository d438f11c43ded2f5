//! Whole sequences against a model of firmware: injecting errors, and keeping records.

use apei::{
    CommandError, Einj, EinjAction as E, ErrorTypes, Erst, ErstAction as S, ErstOperation,
    GenericAddress, InjectError, Instruction as I, InstructionEntry, Limits, Platform, Register,
    RunCause, SetErrorTypeWithAddress, TableError, Trigger, TriggerTable, Width,
};
use zerocopy::FromBytes;

use crate::machine::{Machine, OEM, Refused};

const COMMAND: u64 = 0x1000;
const VALUE: u64 = 0x1008;
const STATUS: u64 = 0x1010;
const PARAMETERS: u64 = 0x1040;
const TRIGGER_TABLE: u64 = 0x1100;
const TARGET: u64 = 0x1300;
const LOG: u64 = 0x1400;
const LOG_LENGTH: usize = 0x100;

/// Firmware behind three registers. A write to `COMMAND` performs the action of that number; bit
/// 0 of `STATUS` is busy, bits 8 to 1 are the status of the last command.
struct Firmware {
    machine: Machine,
    actions: Vec<u64>,
    busy: u32,
    status: u64,
    injected: Vec<SetErrorTypeWithAddress>,
    trigger: Vec<u8>,
    store: Vec<(u64, Vec<u8>)>,
    operation: u64,
    offset: u64,
    record_id: u64,
}

impl Firmware {
    fn new() -> Self {
        let entry = InstructionEntry::on(
            E::TRIGGER_ERROR,
            I::READ_REGISTER,
            GenericAddress::memory(TARGET, Width::Bits64),
        );
        let mut trigger = vec![0; 48];
        TriggerTable::encode(&[entry], &mut trigger).unwrap();
        let mut machine = Machine::new(0x1000);
        // Firmware's own structure for the vendor starts here; nobody may lose that.
        machine.put(PARAMETERS + 4, &[0x60]);
        Self {
            machine,
            actions: Vec::new(),
            busy: 0,
            status: 0,
            injected: Vec::new(),
            trigger,
            store: Vec::new(),
            operation: 0,
            offset: 0,
            record_id: 0,
        }
    }

    fn inject(&mut self) {
        let bytes = self.machine.slice(PARAMETERS, 36).unwrap();
        self.injected
            .push(SetErrorTypeWithAddress::read_from_bytes(bytes).unwrap());
        let trigger = self.trigger.clone();
        self.machine.put(TRIGGER_TABLE, &trigger);
    }

    /// Performs a record operation and returns its status.
    fn keep(&mut self) -> u64 {
        let position = self.store.iter().position(|(id, _)| *id == self.record_id);
        let at = LOG + self.offset;
        match (self.operation, position) {
            (0, _) => {
                let record = self.machine.slice(at, 16).unwrap().to_vec();
                let id = u64::from_le_bytes(record[..8].try_into().unwrap());
                self.store.push((id, record));
                0
            }
            (1, Some(index)) => {
                let record = self.store[index].1.clone();
                self.machine.put(at, &record);
                0
            }
            (2, Some(index)) => {
                self.store.remove(index);
                0
            }
            _ => 5,
        }
    }
}

impl Platform for Firmware {
    type Error = Refused;

    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        if register.address == STATUS {
            let busy = u64::from(self.busy > 0);
            self.busy = self.busy.saturating_sub(1);
            return Ok(busy | self.status << 1);
        }
        self.machine.read(register)
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        if register.address == COMMAND {
            self.actions.push(value);
            let argument = self.machine.get64(VALUE);
            match value {
                0x105 => self.inject(),
                0x200..=0x202 => self.operation = value & 0xf,
                0x204 => self.offset = argument,
                0x209 => self.record_id = argument,
                0x205 => self.status = self.keep(),
                _ => {}
            }
        }
        self.machine.write(register, value)
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        self.machine.read_memory(address, bytes)
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        self.machine.write_memory(address, bytes)
    }

    fn stall(&mut self, microseconds: u64) {
        self.machine.stall(microseconds);
    }
}

fn command(action: u8, number: u64) -> InstructionEntry {
    let register = GenericAddress::memory(COMMAND, Width::Bits64);
    InstructionEntry::on(action, I::WRITE_REGISTER_VALUE, register).with_value(number)
}

fn status(action: u8, offset: u8, mask: u64) -> InstructionEntry {
    let register = GenericAddress {
        bit_width: 8,
        bit_offset: offset,
        ..GenericAddress::memory(STATUS, Width::Bits64)
    };
    InstructionEntry::on(action, I::READ_REGISTER, register).with_mask(mask)
}

fn constant(action: u8, value: u64) -> InstructionEntry {
    InstructionEntry::on(
        action,
        I::READ_REGISTER,
        GenericAddress::memory(value, Width::Bits64),
    )
}

/// The EINJ that describes [`Firmware`].
fn einj_entries(with_address: bool) -> Vec<InstructionEntry> {
    let mut entries = vec![
        command(E::BEGIN_INJECTION_OPERATION, 0x100),
        constant(E::GET_ERROR_TYPE, 0x1018),
        command(E::EXECUTE_OPERATION, 0x105),
        status(E::CHECK_BUSY_STATUS, 0, 1),
        status(E::GET_COMMAND_STATUS, 1, 0xff),
        constant(E::GET_TRIGGER_ERROR_ACTION_TABLE, 0x1020),
        command(E::END_OPERATION, 0x104),
    ];
    let action = if with_address {
        E::SET_ERROR_TYPE_WITH_ADDRESS
    } else {
        E::SET_ERROR_TYPE
    };
    let register = GenericAddress::memory(PARAMETERS, Width::Bits32);
    entries.push(InstructionEntry::on(action, I::WRITE_REGISTER, register));
    entries
}

fn table(with_address: bool) -> Vec<u8> {
    let mut buffer = vec![0; 1024];
    let length = Einj::encode(&OEM, &einj_entries(with_address), &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn firmware() -> Firmware {
    let mut firmware = Firmware::new();
    let types = ErrorTypes::MEMORY_CORRECTABLE | ErrorTypes::MEMORY_UNCORRECTABLE;
    firmware.machine.put64(0x1018, types.bits().into());
    firmware.machine.put64(0x1020, TRIGGER_TABLE);
    firmware
}

fn memory_error() -> SetErrorTypeWithAddress {
    SetErrorTypeWithAddress::in_memory(ErrorTypes::MEMORY_UNCORRECTABLE, TARGET, !63)
}

fn inject(
    firmware: &mut Firmware,
    with_address: bool,
    error: &SetErrorTypeWithAddress,
    trigger: Trigger,
) -> Result<(), InjectError<Refused>> {
    let table = table(with_address);
    let einj = Einj::parse(&table).unwrap();
    einj.inject(error, trigger, Limits::default(), firmware)
}

#[test]
fn an_error_is_injected_where_it_was_asked_for() {
    let mut firmware = firmware();
    firmware.busy = 3;
    let accesses = |firmware: &mut Firmware, trigger| {
        let before = firmware.machine.accesses;
        inject(firmware, true, &memory_error(), trigger).unwrap();
        firmware.machine.accesses - before
    };
    let fired = accesses(&mut firmware, Trigger::Fire);
    let expected = SetErrorTypeWithAddress {
        vendor_extension_offset: 0x60.into(),
        ..memory_error()
    };
    assert_eq!(
        firmware.injected,
        [expected],
        "firmware's own offset survives"
    );
    assert_eq!(firmware.actions, [0x100, 0x105, 0x104]);
    assert_eq!(firmware.machine.stalled, 3000);
    // The trigger table: its address, its header, all of it, and the load that it asks for.
    assert_eq!(fired - accesses(&mut firmware, Trigger::Leave), 4);
}

#[test]
fn without_addresses_firmware_chooses_the_place() {
    let mut firmware = firmware();
    let anywhere = SetErrorTypeWithAddress::new(ErrorTypes::MEMORY_CORRECTABLE);
    inject(&mut firmware, false, &anywhere, Trigger::Leave).unwrap();
    assert_eq!(
        firmware.injected[0].error_type(),
        ErrorTypes::MEMORY_CORRECTABLE
    );
    let refused = inject(&mut firmware, false, &memory_error(), Trigger::Leave);
    assert_eq!(refused, Err(InjectError::NoAddress));
    assert_eq!(
        firmware.actions,
        [0x100, 0x105, 0x104, 0x100, 0x104],
        "what began has ended"
    );
}

#[test]
fn a_kind_that_the_platform_lacks_is_refused() {
    let mut firmware = firmware();
    for wanted in [
        ErrorTypes::PROCESSOR_FATAL,
        ErrorTypes::empty(),
        ErrorTypes::MEMORY_CORRECTABLE | ErrorTypes::VENDOR,
    ] {
        let error = SetErrorTypeWithAddress::new(wanted);
        let available = ErrorTypes::MEMORY_CORRECTABLE | ErrorTypes::MEMORY_UNCORRECTABLE;
        let refused = inject(&mut firmware, true, &error, Trigger::Fire);
        assert_eq!(refused, Err(InjectError::Unsupported { wanted, available }));
    }
    assert!(firmware.injected.is_empty());
}

#[test]
fn firmware_that_stays_busy_or_fails_is_given_up() {
    let mut firmware = firmware();
    firmware.busy = u32::MAX;
    let busy = inject(&mut firmware, true, &memory_error(), Trigger::Fire);
    assert_eq!(busy, Err(InjectError::Command(CommandError::Busy)));
    assert_eq!(firmware.machine.stalled, 1_000_000);
    assert_eq!(firmware.actions.last(), Some(&0x104));

    firmware.busy = 0;
    firmware.status = 2;
    let failed = inject(&mut firmware, true, &memory_error(), Trigger::Fire);
    assert_eq!(failed, Err(InjectError::Command(CommandError::Status(2))));
}

#[test]
fn a_table_without_a_needed_action_is_told() {
    let mut entries = einj_entries(true);
    entries.retain(|entry| entry.action != E::EXECUTE_OPERATION);
    let mut buffer = [0; 512];
    Einj::encode(&OEM, &entries, &mut buffer).unwrap();
    let einj = Einj::parse(&buffer).unwrap();
    let refused = einj.inject(
        &memory_error(),
        Trigger::Fire,
        Limits::default(),
        &mut firmware(),
    );
    let Err(InjectError::Command(CommandError::Run(error))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        (error.action, error.cause),
        (E::EXECUTE_OPERATION, RunCause::NoSuchAction)
    );
}

#[test]
fn a_trigger_table_that_makes_no_sense_is_refused() {
    let mut firmware = firmware();
    let fire = |firmware: &mut Firmware| inject(firmware, true, &memory_error(), Trigger::Fire);

    firmware.trigger[12] = 0;
    assert_eq!(fire(&mut firmware), Ok(()), "no entries: nothing to do");
    firmware.trigger[12] = 2;
    let truncated = matches!(
        fire(&mut firmware),
        Err(InjectError::Trigger(TableError::Truncated { .. }))
    );
    assert!(truncated);
    firmware.trigger[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(
        fire(&mut firmware),
        Err(InjectError::TriggerLength(0xffff_ffff))
    );
    for address in [0, u64::MAX] {
        firmware.machine.put64(0x1020, address);
        assert_eq!(fire(&mut firmware), Err(InjectError::Address(address)));
    }
    firmware.machine.put64(0x1020, 0x8000);
    assert_eq!(
        fire(&mut firmware),
        Err(InjectError::Platform(Refused(0x8000)))
    );
}

#[test]
fn records_are_kept_read_and_forgotten() {
    let value = |action, number| {
        let register = GenericAddress::memory(VALUE, Width::Bits64);
        [
            InstructionEntry::on(action, I::WRITE_REGISTER, register),
            command(action, number),
        ]
    };
    let entries = [
        vec![
            command(S::BEGIN_WRITE_OPERATION, 0x200),
            command(S::BEGIN_READ_OPERATION, 0x201),
            command(S::BEGIN_CLEAR_OPERATION, 0x202),
            command(S::END_OPERATION, 0x203),
            command(S::EXECUTE_OPERATION, 0x205),
            status(S::CHECK_BUSY_STATUS, 0, 1),
            status(S::GET_COMMAND_STATUS, 1, 0xff),
        ],
        value(S::SET_RECORD_OFFSET, 0x204).to_vec(),
        value(S::SET_RECORD_IDENTIFIER, 0x209).to_vec(),
    ]
    .concat();
    let mut buffer = [0; 1024];
    Erst::encode(&OEM, &entries, &mut buffer).unwrap();
    let erst = Erst::parse(&buffer).unwrap();
    let mut firmware = Firmware::new();
    let record = *b"IDENTITYcontents";
    let record_id = u64::from_le_bytes(*b"IDENTITY");

    firmware.machine.put(LOG + 32, &record);
    let operate =
        |firmware: &mut Firmware, operation| erst.operate(operation, Limits::default(), firmware);
    operate(&mut firmware, ErstOperation::Write { offset: 32 }).unwrap();
    firmware.machine.put(LOG, &[0; LOG_LENGTH]);
    let read = ErstOperation::Read {
        record_id,
        offset: 64,
    };
    operate(&mut firmware, read).unwrap();
    assert_eq!(firmware.machine.slice(LOG + 64, 16).unwrap(), record);
    assert_eq!(firmware.machine.slice(LOG + 32, 16).unwrap(), [0; 16]);
    operate(&mut firmware, ErstOperation::Clear { record_id }).unwrap();
    let gone = operate(&mut firmware, read).unwrap_err();
    assert_eq!(gone, CommandError::Status(5));
    assert_eq!(gone.to_string(), "the platform reports status 5");
    let ends = firmware.actions.iter().filter(|action| **action == 0x203);
    assert_eq!(ends.count(), 4);
}
