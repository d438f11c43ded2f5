//! Injecting an error: the sequence of ACPI 18.6.6, "Error Injection Operation".

use core::fmt;

use zerocopy::{FromZeros, IntoBytes};

use crate::einj::TriggerHeader;
use crate::{
    CommandError, Einj, EinjAction, ErrorTypes, Limits, Platform, RunError,
    SetErrorTypeWithAddress, TableError, TriggerTable, action_table,
};

/// What to do with an error once it is in place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trigger {
    /// Leave it for somebody to find.
    Leave,
    /// Have firmware's trigger table make somebody find it.
    #[default]
    Fire,
}

/// Why an injection failed. `E` is the platform's error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectError<E> {
    /// The platform cannot inject errors of this kind.
    Unsupported {
        /// What was asked for.
        wanted: ErrorTypes,
        /// What there is.
        available: ErrorTypes,
    },
    /// A place was asked for, but the table has no `SET_ERROR_TYPE_WITH_ADDRESS`.
    NoAddress,
    /// An action failed, or the platform reports that the injection did: status 1 for an unknown
    /// failure, 2 for an access that is not allowed.
    Command(CommandError<E>),
    /// The platform refused access to the parameters or to the trigger table, or it failed.
    Platform(E),
    /// The parameters or the trigger table are nowhere, or pass the end of the address space.
    Address(u64),
    /// The trigger table is none.
    Trigger(TableError),
    /// The trigger table is longer than [`Einj::TRIGGER_LIMIT`].
    TriggerLength(usize),
}

impl Einj<'_> {
    /// How long a trigger table may be, in bytes.
    pub const TRIGGER_LIMIT: usize = 1024;

    /// What kinds of error the platform can inject.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub fn available<P: Platform>(
        &self,
        mut limits: Limits,
        platform: &mut P,
    ) -> Result<ErrorTypes, RunError<P::Error>> {
        self.available_within(&mut limits, platform)
    }

    fn available_within<P: Platform>(
        &self,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<ErrorTypes, RunError<P::Error>> {
        let action = EinjAction::GET_ERROR_TYPE;
        let types = self.program.run_within(action, 0, left, platform)?;
        Ok(ErrorTypes::from_bits_retain(types as u32))
    }

    /// Injects an error. It uses `SET_ERROR_TYPE_WITH_ADDRESS` where the table has it, and
    /// otherwise `SET_ERROR_TYPE`, which can only say what kind.
    ///
    /// Whatever happens in between, an operation that was begun is ended, within limits of its
    /// own.
    ///
    /// # Errors
    ///
    /// [`InjectError`].
    pub fn inject<P: Platform>(
        &self,
        error: &SetErrorTypeWithAddress,
        trigger: Trigger,
        limits: Limits,
        platform: &mut P,
    ) -> Result<(), InjectError<P::Error>> {
        let (begin, end) = (
            EinjAction::BEGIN_INJECTION_OPERATION,
            EinjAction::END_OPERATION,
        );
        let mut left = limits;
        self.program.run_if_present(begin, &mut left, platform)?;
        let injected = self.begun(error, trigger, &mut left, platform);
        let ended = self.program.run_if_present(end, &mut { limits }, platform);
        injected?;
        Ok(ended?)
    }

    fn begun<P: Platform>(
        &self,
        error: &SetErrorTypeWithAddress,
        trigger: Trigger,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<(), InjectError<P::Error>> {
        let wanted = error.error_type();
        let available = self.available_within(left, platform)?;
        if wanted.is_empty() || !available.contains(wanted) {
            return Err(InjectError::Unsupported { wanted, available });
        }
        let action = match self.parameter_address() {
            Some(address) => {
                write_parameters(address, error, platform)?;
                EinjAction::SET_ERROR_TYPE_WITH_ADDRESS
            }
            None if error.flags().is_empty() => EinjAction::SET_ERROR_TYPE,
            None => return Err(InjectError::NoAddress),
        };
        let input = wanted.bits().into();
        self.program.run_within(action, input, left, platform)?;
        action_table::execute(&self.program, left, platform)?;
        match trigger {
            Trigger::Leave => Ok(()),
            Trigger::Fire => self.fire(left, platform),
        }
    }

    fn fire<P: Platform>(
        &self,
        left: &mut Limits,
        platform: &mut P,
    ) -> Result<(), InjectError<P::Error>> {
        let action = EinjAction::GET_TRIGGER_ERROR_ACTION_TABLE;
        let address = self.program.run_within(action, 0, left, platform)?;
        in_range(address, Self::TRIGGER_LIMIT)?;
        let mut header = TriggerHeader::new_zeroed();
        platform
            .read_memory(address, header.as_mut_bytes())
            .map_err(InjectError::Platform)?;
        let length = header.table_length.get() as usize;
        let mut buffer = [0; Self::TRIGGER_LIMIT];
        let table = buffer
            .get_mut(..length)
            .ok_or(InjectError::TriggerLength(length))?;
        platform
            .read_memory(address, table)
            .map_err(InjectError::Platform)?;
        let table = TriggerTable::parse(table).map_err(InjectError::Trigger)?;
        if !table.program.entries().is_empty() {
            let action = EinjAction::TRIGGER_ERROR;
            table.program.run_within(action, 0, left, platform)?;
        }
        Ok(())
    }
}

/// Firmware finds the vendor's structure through an offset that it has put there itself; unless
/// the caller has another, it stays.
fn write_parameters<P: Platform>(
    address: u64,
    error: &SetErrorTypeWithAddress,
    platform: &mut P,
) -> Result<(), InjectError<P::Error>> {
    in_range(address, size_of_val(error))?;
    let mut parameters = SetErrorTypeWithAddress::new_zeroed();
    platform
        .read_memory(address, parameters.as_mut_bytes())
        .map_err(InjectError::Platform)?;
    let vendor_extension_offset = match error.vendor_extension_offset.get() {
        0 => parameters.vendor_extension_offset,
        _ => error.vendor_extension_offset,
    };
    parameters = SetErrorTypeWithAddress {
        vendor_extension_offset,
        ..*error
    };
    platform
        .write_memory(address, parameters.as_bytes())
        .map_err(InjectError::Platform)
}

fn in_range<E>(address: u64, length: usize) -> Result<(), InjectError<E>> {
    match address.checked_add(length as u64) {
        Some(_) if address != 0 => Ok(()),
        _ => Err(InjectError::Address(address)),
    }
}

impl<E> From<RunError<E>> for InjectError<E> {
    fn from(error: RunError<E>) -> Self {
        Self::Command(CommandError::Run(error))
    }
}

impl<E> From<CommandError<E>> for InjectError<E> {
    fn from(error: CommandError<E>) -> Self {
        Self::Command(error)
    }
}

impl<E: fmt::Display> fmt::Display for InjectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { wanted, available } => write!(
                f,
                "the platform cannot inject error type {wanted:#010x}, only {available:#010x}"
            ),
            Self::NoAddress => f.write_str(
                "the platform chooses the place of an error itself; leave the address out",
            ),
            Self::Command(error) => write!(f, "{error}"),
            Self::Platform(error) => write!(f, "{error}"),
            Self::Address(address) => {
                write!(f, "a parameter or trigger table cannot be at {address:#x}")
            }
            Self::Trigger(error) => write!(f, "trigger table: {error}"),
            Self::TriggerLength(length) => write!(
                f,
                "trigger table of {length} bytes, more than {}",
                Einj::TRIGGER_LIMIT
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for InjectError<E> {}
