//! What exactly happened in a cache, a TLB or on the bus.
//!
//! Layout: UEFI, appendix N, tables "ARM Cache Error Structure", "ARM TLB Error Structure" and
//! "ARM Bus Error Structure". Their common fields lie in the same place.

use core::fmt;

use crate::ArmErrorKinds;

/// The error information word of an [`ArmError`](crate::ArmError).
///
/// The low 16 bits say which of the other fields are valid. For a micro-architectural error the
/// word means whatever the implementation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ArmErrorDetail(u64);

/// What was being accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum Transaction {
    Instruction,
    Data,
    Generic,
    Reserved,
}

/// What kind of access met the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum Operation {
    Generic,
    GenericRead,
    GenericWrite,
    DataRead,
    DataWrite,
    InstructionFetch,
    Prefetch,
    /// Caches only.
    Eviction,
    /// Caches only: this processor asked another's cache.
    Snooping,
    /// Caches only: another processor asked this one's cache.
    Snooped,
    /// Caches only: maintenance by software.
    Management,
    /// A number nobody has defined yet.
    Reserved(u8),
}

/// What this processor had to do with a bus error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum Participation {
    Requested,
    Responded,
    Observed,
    Generic,
}

/// What a bus access was to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants say what they are")]
pub enum BusAddressSpace {
    ExternalMemory,
    InternalMemory,
    Reserved,
    Device,
}

// Validation bits; the last five are those of bus errors.
const TRANSACTION: u32 = 0;
const OPERATION: u32 = 1;
const LEVEL: u32 = 2;
const CONTEXT_CORRUPT: u32 = 3;
const CORRECTED: u32 = 4;
const PRECISE_PC: u32 = 5;
const RESTARTABLE_PC: u32 = 6;
const PARTICIPATION: u32 = 7;
const TIMEOUT: u32 = 8;
const ADDRESS_SPACE: u32 = 9;
const MEMORY_ATTRIBUTES: u32 = 10;
const ACCESS_MODE: u32 = 11;

impl ArmErrorDetail {
    /// A word in which nothing is valid.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Takes the word as it is.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word as it is.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What was being accessed.
    pub const fn transaction(self) -> Option<Transaction> {
        match self.field(TRANSACTION, 16, 2) {
            Some(0) => Some(Transaction::Instruction),
            Some(1) => Some(Transaction::Data),
            Some(2) => Some(Transaction::Generic),
            Some(_) => Some(Transaction::Reserved),
            None => None,
        }
    }

    /// Sets [`transaction`](Self::transaction).
    #[must_use]
    pub const fn with_transaction(self, value: Transaction) -> Self {
        self.with_field(TRANSACTION, 16, 2, value as u64)
    }

    /// What kind of access met the error.
    pub const fn operation(self) -> Option<Operation> {
        let Some(code) = self.field(OPERATION, 18, 4) else {
            return None;
        };
        Some(match code {
            0 => Operation::Generic,
            1 => Operation::GenericRead,
            2 => Operation::GenericWrite,
            3 => Operation::DataRead,
            4 => Operation::DataWrite,
            5 => Operation::InstructionFetch,
            6 => Operation::Prefetch,
            7 => Operation::Eviction,
            8 => Operation::Snooping,
            9 => Operation::Snooped,
            10 => Operation::Management,
            reserved => Operation::Reserved(reserved as u8),
        })
    }

    /// Sets [`operation`](Self::operation); only the low four bits of a reserved code count.
    #[must_use]
    pub const fn with_operation(self, value: Operation) -> Self {
        let code = match value {
            Operation::Generic => 0,
            Operation::GenericRead => 1,
            Operation::GenericWrite => 2,
            Operation::DataRead => 3,
            Operation::DataWrite => 4,
            Operation::InstructionFetch => 5,
            Operation::Prefetch => 6,
            Operation::Eviction => 7,
            Operation::Snooping => 8,
            Operation::Snooped => 9,
            Operation::Management => 10,
            Operation::Reserved(code) => code,
        };
        self.with_field(OPERATION, 18, 4, code as u64)
    }

    /// Level of the cache, TLB or interconnect, 0 to 7.
    pub const fn level(self) -> Option<u8> {
        match self.field(LEVEL, 22, 3) {
            Some(level) => Some(level as u8),
            None => None,
        }
    }

    /// Sets [`level`](Self::level); only the low three bits count.
    #[must_use]
    pub const fn with_level(self, value: u8) -> Self {
        self.with_field(LEVEL, 22, 3, value as u64)
    }

    /// Whether the processor's own state is damaged.
    pub const fn context_corrupt(self) -> Option<bool> {
        self.flag(CONTEXT_CORRUPT, 25)
    }

    /// Sets [`context_corrupt`](Self::context_corrupt).
    #[must_use]
    pub const fn with_context_corrupt(self, value: bool) -> Self {
        self.with_field(CONTEXT_CORRUPT, 25, 1, value as u64)
    }

    /// Whether the error was corrected.
    pub const fn corrected(self) -> Option<bool> {
        self.flag(CORRECTED, 26)
    }

    /// Sets [`corrected`](Self::corrected).
    #[must_use]
    pub const fn with_corrected(self, value: bool) -> Self {
        self.with_field(CORRECTED, 26, 1, value as u64)
    }

    /// Whether the program counter is that of the access.
    pub const fn precise_pc(self) -> Option<bool> {
        self.flag(PRECISE_PC, 27)
    }

    /// Sets [`precise_pc`](Self::precise_pc).
    #[must_use]
    pub const fn with_precise_pc(self, value: bool) -> Self {
        self.with_field(PRECISE_PC, 27, 1, value as u64)
    }

    /// Whether the program can be resumed where it was interrupted.
    pub const fn restartable_pc(self) -> Option<bool> {
        self.flag(RESTARTABLE_PC, 28)
    }

    /// Sets [`restartable_pc`](Self::restartable_pc).
    #[must_use]
    pub const fn with_restartable_pc(self, value: bool) -> Self {
        self.with_field(RESTARTABLE_PC, 28, 1, value as u64)
    }

    /// Bus errors: what this processor had to do with it.
    pub const fn participation(self) -> Option<Participation> {
        match self.field(PARTICIPATION, 29, 2) {
            Some(0) => Some(Participation::Requested),
            Some(1) => Some(Participation::Responded),
            Some(2) => Some(Participation::Observed),
            Some(_) => Some(Participation::Generic),
            None => None,
        }
    }

    /// Bus errors: whether the access timed out.
    pub const fn timed_out(self) -> Option<bool> {
        self.flag(TIMEOUT, 31)
    }

    /// Bus errors: what the access was to.
    pub const fn address_space(self) -> Option<BusAddressSpace> {
        match self.field(ADDRESS_SPACE, 32, 2) {
            Some(0) => Some(BusAddressSpace::ExternalMemory),
            Some(1) => Some(BusAddressSpace::InternalMemory),
            Some(2) => Some(BusAddressSpace::Reserved),
            Some(_) => Some(BusAddressSpace::Device),
            None => None,
        }
    }

    /// Bus errors: memory attributes of the access, as in the Arm ARM, nine bits.
    pub const fn memory_attributes(self) -> Option<u16> {
        match self.field(MEMORY_ATTRIBUTES, 34, 9) {
            Some(attributes) => Some(attributes as u16),
            None => None,
        }
    }

    /// Bus errors: whether the access was a secure one (bit clear) or not (bit set).
    pub const fn is_non_secure(self) -> Option<bool> {
        self.flag(ACCESS_MODE, 43)
    }

    const fn field(self, valid: u32, low: u32, width: u32) -> Option<u64> {
        if self.0 & 1 << valid != 0 {
            Some(self.0 >> low & ((1 << width) - 1))
        } else {
            None
        }
    }

    const fn flag(self, valid: u32, at: u32) -> Option<bool> {
        match self.field(valid, at, 1) {
            Some(bit) => Some(bit == 1),
            None => None,
        }
    }

    const fn with_field(self, valid: u32, low: u32, width: u32, value: u64) -> Self {
        let mask = ((1 << width) - 1) << low;
        Self(self.0 & !mask | value << low & mask | 1 << valid)
    }

    /// Prints the fields that an error of these kinds has.
    pub(crate) fn print(self, f: &mut fmt::Formatter<'_>, kinds: ArmErrorKinds) -> fmt::Result {
        let bus = kinds.contains(ArmErrorKinds::BUS);
        if !kinds.intersects(ArmErrorKinds::CACHE | ArmErrorKinds::TLB) && !bus {
            return write!(f, "\n    detail: {:#018x}", self.0);
        }
        let mut separator = "\n    ";
        let mut item = |f: &mut fmt::Formatter<'_>, name: &str, value: Option<&dyn fmt::Debug>| {
            if let Some(value) = value {
                write!(f, "{separator}{name} {value:?}")?;
                separator = ", ";
            }
            Ok(())
        };
        macro_rules! items {
            ($($name:literal: $value:expr;)*) => {
                $(item(f, $name, $value.as_ref().map(|value| value as &dyn fmt::Debug))?;)*
            };
        }
        items! {
            "transaction": self.transaction();
            "operation": self.operation();
            "level": self.level();
            "context corrupt": self.context_corrupt();
            "corrected": self.corrected();
            "precise PC": self.precise_pc();
            "restartable PC": self.restartable_pc();
        }
        if bus {
            items! {
                "participation": self.participation();
                "timed out": self.timed_out();
                "address space": self.address_space();
                "memory attributes": self.memory_attributes();
                "non-secure": self.is_non_secure();
            }
        }
        Ok(())
    }
}

impl Default for ArmErrorDetail {
    fn default() -> Self {
        Self::new()
    }
}
