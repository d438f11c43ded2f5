//! The error record serialization table: ACPI 18.5.

use crate::{
    BufferTooSmall, CommandError, InstructionEntry, InstructionSet, Limits, Oem, Platform, Program,
    TableError, action_table,
};

/// The error record serialization table (ERST): how to keep records across boots.
#[derive(Clone, Copy, Debug)]
pub struct Erst<'a> {
    /// How to perform the actions of [`ErstAction`].
    pub program: Program<'a>,
}

/// The actions of an ERST, by number: ACPI 18.5.1.1, table "Error Record Serialization Actions".
#[derive(Clone, Copy, Debug)]
pub struct ErstAction;

#[expect(missing_docs, reason = "the names are ACPI's")]
impl ErstAction {
    pub const BEGIN_WRITE_OPERATION: u8 = 0x00;
    pub const BEGIN_READ_OPERATION: u8 = 0x01;
    pub const BEGIN_CLEAR_OPERATION: u8 = 0x02;
    pub const END_OPERATION: u8 = 0x03;
    pub const SET_RECORD_OFFSET: u8 = 0x04;
    pub const EXECUTE_OPERATION: u8 = action_table::COMMAND[0];
    pub const CHECK_BUSY_STATUS: u8 = action_table::COMMAND[1];
    pub const GET_COMMAND_STATUS: u8 = action_table::COMMAND[2];
    pub const GET_RECORD_IDENTIFIER: u8 = 0x08;
    pub const SET_RECORD_IDENTIFIER: u8 = 0x09;
    pub const GET_RECORD_COUNT: u8 = 0x0a;
    pub const BEGIN_DUMMY_WRITE_OPERATION: u8 = 0x0b;
    pub const GET_ERROR_LOG_ADDRESS_RANGE: u8 = 0x0d;
    pub const GET_ERROR_LOG_ADDRESS_RANGE_LENGTH: u8 = 0x0e;
    pub const GET_ERROR_LOG_ADDRESS_RANGE_ATTRIBUTES: u8 = 0x0f;
    pub const GET_EXECUTE_OPERATION_TIMINGS: u8 = 0x10;
}

/// What an [`Erst`] command does with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErstOperation {
    /// Keeps the record that is in the log range at this offset.
    Write {
        /// Offset in bytes.
        offset: u64,
    },
    /// Puts the record with this identifier into the log range at this offset.
    Read {
        /// Identifier of the record.
        record_id: u64,
        /// Offset in bytes.
        offset: u64,
    },
    /// Forgets the record with this identifier.
    Clear {
        /// Identifier of the record.
        record_id: u64,
    },
}

const SIGNATURE: [u8; 4] = *b"ERST";

impl<'a> Erst<'a> {
    /// Decodes the table.
    ///
    /// # Errors
    ///
    /// [`TableError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let (_, program) = action_table::parse(bytes, SIGNATURE, InstructionSet::Serialization)?;
        Ok(Self { program })
    }

    /// Writes a table to the start of `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`BufferTooSmall`].
    pub fn encode(
        oem: &Oem,
        entries: &[InstructionEntry],
        buffer: &mut [u8],
    ) -> Result<usize, BufferTooSmall> {
        action_table::encode(SIGNATURE, oem, 0, entries, buffer)
    }

    /// Performs an operation: ACPI 18.5.2. The record itself passes through the log range, whose
    /// address and length are the results of the actions of that name.
    ///
    /// Whatever happens in between, an operation that was begun is ended, within limits of its
    /// own.
    ///
    /// # Errors
    ///
    /// [`CommandError`]. Its statuses are 1 for no space, 2 for no hardware, 3 for failure, 4 for
    /// an empty store, 5 for a record that is not there.
    pub fn operate<P: Platform>(
        &self,
        operation: ErstOperation,
        limits: Limits,
        platform: &mut P,
    ) -> Result<(), CommandError<P::Error>> {
        let begin = match operation {
            ErstOperation::Write { .. } => ErstAction::BEGIN_WRITE_OPERATION,
            ErstOperation::Read { .. } => ErstAction::BEGIN_READ_OPERATION,
            ErstOperation::Clear { .. } => ErstAction::BEGIN_CLEAR_OPERATION,
        };
        let mut left = limits;
        self.program.run_if_present(begin, &mut left, platform)?;
        let done = self.begun(operation, &mut left, platform);
        let end = ErstAction::END_OPERATION;
        let ended = self.program.run_if_present(end, &mut { limits }, platform);
        done?;
        Ok(ended?)
    }

    fn begun<P: Platform>(
        &self,
        operation: ErstOperation,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<(), CommandError<P::Error>> {
        let (record_id, offset) = match operation {
            ErstOperation::Write { offset } => (None, Some(offset)),
            ErstOperation::Read { record_id, offset } => (Some(record_id), Some(offset)),
            ErstOperation::Clear { record_id } => (Some(record_id), None),
        };
        for (action, value) in [
            (ErstAction::SET_RECORD_OFFSET, offset),
            (ErstAction::SET_RECORD_IDENTIFIER, record_id),
        ] {
            if let Some(value) = value {
                self.program.run_within(action, value, left, platform)?;
            }
        }
        action_table::execute(&self.program, left, platform)
    }
}
