//! The registers behind the actions of the EINJ table: ACPI 18.6, at [`control::layout::EINJ`].
//!
//! Each is 64 bits wide and takes accesses of 64 bits, or of 32 to its low half. What it can
//! inject are errors in memory; the address comes from the `SET_ERROR_TYPE_WITH_ADDRESS`
//! structure in the window, and what is injected is the 64-byte line that holds it.
//!
//! EINJv2 is not offered, nor are processor errors: here a processor meets an error only because
//! memory holds one.

use core::sync::atomic::{AtomicU32, Ordering};

use apei::{ErrorTypes, SetErrorTypeWithAddress, TargetFlags, TriggerTable, Width};
use control::{Command, LINE, Notice, Policy, Request, Response, Status};
use zerocopy::{FromZeros, IntoBytes};

use crate::window::{self, Window};

/// Offsets of the registers, each 64 bits wide. A register that an action only writes reads as 0.
pub mod register {
    /// Written by `BEGIN_INJECTION_OPERATION` and `END_OPERATION`: forgets the last operation.
    pub const OPERATION: u64 = 0x00;
    /// Read by `GET_TRIGGER_ERROR_ACTION_TABLE`: the address of the trigger table.
    pub const TRIGGER_TABLE: u64 = 0x08;
    /// Written by `SET_ERROR_TYPE`: the kind of an error without an address.
    pub const ERROR_TYPE: u64 = 0x10;
    /// Read by `GET_ERROR_TYPE`: the kinds that can be injected.
    pub const CAPABILITIES: u64 = 0x18;
    /// Written by `EXECUTE_OPERATION`: injects the error.
    pub const EXECUTE: u64 = 0x20;
    /// Read by `CHECK_BUSY_STATUS`: 0, because a store to `EXECUTE` ends when all is done.
    pub const BUSY: u64 = 0x28;
    /// Read by `GET_COMMAND_STATUS`: 0 for success, 1 for a failure, 2 for an invalid request.
    pub const STATUS: u64 = 0x30;
    /// Read by `GET_EXECUTE_OPERATION_TIMINGS`: microseconds that an operation takes at most, in
    /// the high half, and usually, in the low half.
    pub const TIMINGS: u64 = 0x38;
}

/// What can be injected.
pub const CAPABILITIES: ErrorTypes = ErrorTypes::MEMORY_CORRECTABLE
    .union(ErrorTypes::MEMORY_UNCORRECTABLE)
    .union(ErrorTypes::MEMORY_FATAL);

/// Poisoning a line takes microseconds, unless the host does not run the CPU.
const TIMINGS: u64 = 1_000_000 << 32 | 100;

/// ACPI 18.6.1, table "Command Status Definition".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CommandStatus {
    Success = 0,
    Failure = 1,
    InvalidAccess = 2,
}

/// The registers. All CPUs share them: an operating system injects one error at a time.
#[derive(Debug)]
pub struct Einj {
    error_type: AtomicU32,
    status: AtomicU32,
}

impl Einj {
    /// The registers after a reset.
    pub const fn new() -> Self {
        Self {
            error_type: AtomicU32::new(0),
            status: AtomicU32::new(0),
        }
    }

    /// What a load at `offset` of the registers' page gives; 0 where there is no register, or
    /// none of this width.
    pub fn load(&self, offset: u64, width: Width) -> u64 {
        if !is_register(offset, width) {
            return 0;
        }
        let value = match offset {
            register::TRIGGER_TABLE => window::address(window::TRIGGER),
            register::CAPABILITIES => CAPABILITIES.bits().into(),
            register::STATUS => self.status.load(Ordering::Relaxed).into(),
            register::TIMINGS => TIMINGS,
            _ => 0,
        };
        value & width.mask()
    }

    /// Performs a store at `offset` of the registers' page. One that injects an error calls `run`
    /// and does what its response says; anything wrong is ignored.
    pub fn store(
        &self,
        window: &(impl Window + ?Sized),
        offset: u64,
        width: Width,
        value: u64,
        run: impl FnOnce(Request) -> Response,
    ) {
        if !is_register(offset, width) {
            return;
        }
        match offset {
            register::OPERATION => {
                self.error_type.store(0, Ordering::Relaxed);
                self.set_status(CommandStatus::Success);
            }
            register::ERROR_TYPE => self.error_type.store(value as u32, Ordering::Relaxed),
            register::EXECUTE => {
                // The guest may have overwritten it.
                window::store_bytes(window, window::TRIGGER, &trigger_table());
                let status = match self.request(window) {
                    Ok(request) => run(request).status.into(),
                    Err(status) => status,
                };
                self.set_status(status);
            }
            _ => {}
        }
    }

    fn set_status(&self, status: CommandStatus) {
        self.status.store(status as u32, Ordering::Relaxed);
    }

    fn request(&self, window: &(impl Window + ?Sized)) -> Result<Request, CommandStatus> {
        // An error without an address could be anywhere in the guest's memory. None is injected.
        if self.error_type.load(Ordering::Relaxed) != 0 {
            return Err(CommandStatus::InvalidAccess);
        }
        request(&load_parameters(window)).ok_or(CommandStatus::InvalidAccess)
    }
}

impl Default for Einj {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Status> for CommandStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Ok => Self::Success,
            Status::OutsideRam
            | Status::MonitorMemory
            | Status::Unaligned
            | Status::BadLength
            | Status::BadArgument => Self::InvalidAccess,
            _ => Self::Failure,
        }
    }
}

fn is_register(offset: u64, width: Width) -> bool {
    offset.is_multiple_of(8) && matches!(width, Width::Bits32 | Width::Bits64)
}

/// What the parameters ask for. The mask says how exact the address is; any line that it allows
/// would do, and that of the address is one.
fn request(parameters: &SetErrorTypeWithAddress) -> Option<Request> {
    // Which processor injects an error in memory makes no difference.
    let flags = parameters.flags().difference(TargetFlags::PROCESSOR);
    if flags != TargetFlags::MEMORY {
        return None;
    }
    let address = parameters.memory_address.get() & !(LINE - 1);
    let poison = |policy: Policy| Request {
        command: Command::Poison.raw(),
        policy: policy.bits(),
        address,
        length: LINE,
    };
    match parameters.error_type() {
        ErrorTypes::MEMORY_CORRECTABLE => Some(Request {
            command: Command::Notify.raw(),
            policy: 0,
            address,
            length: Notice::Corrected.raw(),
        }),
        ErrorTypes::MEMORY_UNCORRECTABLE => Some(poison(Policy::empty())),
        ErrorTypes::MEMORY_FATAL => Some(poison(Policy::FATAL)),
        _ => None,
    }
}

/// Copies the parameters, so that what is checked is what is used.
fn load_parameters(window: &(impl Window + ?Sized)) -> SetErrorTypeWithAddress {
    let mut parameters = SetErrorTypeWithAddress::new_zeroed();
    for (index, bytes) in parameters.as_mut_bytes().chunks_mut(4).enumerate() {
        let word = window.load(window::PARAMETERS + 4 * index);
        bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
    }
    parameters
}

/// The trigger table. It has no instructions: the error stays where it is until somebody meets it.
///
/// One that does nothing would do as well, but some versions of Linux look for the instructions in
/// the wrong place (on their own stack) if there are any.
pub(crate) fn trigger_table() -> [u8; 16] {
    let mut table = [0; 16];
    let encoded = TriggerTable::encode(&[], &mut table);
    debug_assert_eq!(encoded, Ok(table.len()));
    table
}
