//! The fault status code of an abort, `ESR_ELx.ISS.DFSC` or `IFSC`.

use core::fmt;

/// What went wrong with an access: the six-bit DFSC or IFSC.
///
/// An open enumeration, like [`ExceptionClass`](crate::ExceptionClass). Instruction aborts use
/// the same numbers for fewer kinds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FaultStatus(u8);

/// A level of a translation table walk.
///
/// -1 exists with `FEAT_LPA2`, -2 with `FEAT_D128`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants say their number")]
pub enum Level {
    MinusTwo = -2,
    MinusOne = -1,
    Zero = 0,
    One = 1,
    Two = 2,
    Three = 3,
}

/// A [`FaultStatus`], taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// An address has more bits than its table or the machine allows.
    AddressSize(Level),
    /// No valid descriptor at this level.
    Translation(Level),
    /// The descriptor's access flag is clear.
    AccessFlag(Level),
    /// The descriptor forbids this access.
    Permission(Level),
    /// Synchronous external abort (SEA) on the access itself.
    ExternalAbort,
    /// Synchronous external abort while walking, or updating, a translation table.
    ExternalAbortOnWalk(Level),
    /// Synchronous parity or ECC error on the access itself. Without `FEAT_RAS` only.
    ParityError,
    /// Synchronous parity or ECC error on a table walk. Without `FEAT_RAS` only.
    ParityErrorOnWalk(Level),
    /// Logical and allocation tag differ (`FEAT_MTE2`).
    TagCheck,
    /// Misaligned access.
    Alignment,
    /// Granule protection fault on the access itself (`FEAT_RME`).
    GranuleProtection,
    /// Granule protection fault on a table walk (`FEAT_RME`).
    GranuleProtectionOnWalk(Level),
    /// The TLB holds conflicting entries.
    TlbConflict,
    /// Memory that cannot do the atomic hardware update of a descriptor.
    UnsupportedAtomicUpdate,
    /// Implementation defined: lockdown.
    Lockdown,
    /// Implementation defined: exclusive or atomic access to memory that cannot do it.
    UnsupportedExclusive,
    /// A code that is reserved.
    Reserved(u8),
}

/// Which of the house's handlers an abort belongs to.
///
/// This is decided before anything else is looked at. A memory error that reaches the page-fault
/// resolver finds a mapping in perfect order, "repairs" it, and retries for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AbortCause {
    /// The mapping or the address is at fault: resolve it, fix it up, or signal.
    Fault,
    /// The memory itself answered with an error: claim it, isolate it, never retry.
    MemoryError,
    /// Neither: hardware in a state software did not ask for, or a code we do not know.
    Other,
}

impl Level {
    /// Makes a level from its number, or `None` outside -2 to 3.
    pub const fn new(number: i8) -> Option<Self> {
        Some(match number {
            -2 => Self::MinusTwo,
            -1 => Self::MinusOne,
            0 => Self::Zero,
            1 => Self::One,
            2 => Self::Two,
            3 => Self::Three,
            _ => return None,
        })
    }

    /// The number, -2 to 3.
    pub const fn number(self) -> i8 {
        self as i8
    }

    /// The level that a two-bit level field encodes.
    const fn from_field(code: u8) -> Self {
        match code & 3 {
            0 => Self::Zero,
            1 => Self::One,
            2 => Self::Two,
            _ => Self::Three,
        }
    }
}

// Codes: Arm ARM (DDI 0487), ESR_EL1, tables of DFSC and IFSC; EncodeLDFSC() in its pseudocode.
impl FaultStatus {
    /// `0x10`: synchronous external abort, not on a table walk.
    pub const EXTERNAL_ABORT: Self = Self(0x10);
    /// `0x11`: synchronous tag check fault.
    pub const TAG_CHECK: Self = Self(0x11);
    /// `0x18`: synchronous parity or ECC error, not on a table walk.
    pub const PARITY_ERROR: Self = Self(0x18);
    /// `0x21`: alignment fault.
    pub const ALIGNMENT: Self = Self(0x21);
    /// `0x28`: granule protection fault, not on a table walk.
    pub const GRANULE_PROTECTION: Self = Self(0x28);
    /// `0x30`: TLB conflict abort.
    pub const TLB_CONFLICT: Self = Self(0x30);
    /// `0x31`: unsupported atomic hardware update.
    pub const UNSUPPORTED_ATOMIC_UPDATE: Self = Self(0x31);
    /// `0x34`: implementation defined, lockdown.
    pub const LOCKDOWN: Self = Self(0x34);
    /// `0x35`: implementation defined, unsupported exclusive or atomic.
    pub const UNSUPPORTED_EXCLUSIVE: Self = Self(0x35);

    /// Makes a fault status from its code; only the low six bits count.
    pub const fn new(code: u8) -> Self {
        Self(code & 0x3f)
    }

    /// The six-bit code.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// `0x12` to `0x17`: synchronous external abort on a walk, at `level`.
    pub const fn external_abort_on_walk(level: Level) -> Self {
        Self(0x14u8.wrapping_add_signed(level.number()))
    }

    /// `0x04` to `0x07`, `0x2a`, `0x2b`: translation fault at `level`.
    pub const fn translation(level: Level) -> Self {
        Self(match level {
            Level::MinusTwo => 0x2a,
            Level::MinusOne => 0x2b,
            _ => 0x04u8.wrapping_add_signed(level.number()),
        })
    }

    /// The code of `kind`, or `None` if the architecture has none: an access flag, permission or
    /// parity fault at a level it cannot have, or a "reserved" code that does have a meaning.
    pub const fn from_kind(kind: FaultKind) -> Option<Self> {
        use FaultKind as K;
        Some(match kind {
            K::AddressSize(Level::MinusTwo) => Self(0x2c),
            K::AddressSize(Level::MinusOne) => Self(0x29),
            K::AddressSize(level) => Self(0x00u8.wrapping_add_signed(level.number())),
            K::Translation(level) => Self::translation(level),
            K::AccessFlag(Level::MinusTwo | Level::MinusOne) => return None,
            K::AccessFlag(level) => Self(0x08u8.wrapping_add_signed(level.number())),
            K::Permission(Level::MinusTwo | Level::MinusOne) => return None,
            K::Permission(level) => Self(0x0cu8.wrapping_add_signed(level.number())),
            K::ExternalAbort => Self::EXTERNAL_ABORT,
            K::ExternalAbortOnWalk(level) => Self::external_abort_on_walk(level),
            K::ParityError => Self::PARITY_ERROR,
            K::ParityErrorOnWalk(Level::MinusTwo) => return None,
            K::ParityErrorOnWalk(level) => Self(0x1cu8.wrapping_add_signed(level.number())),
            K::TagCheck => Self::TAG_CHECK,
            K::Alignment => Self::ALIGNMENT,
            K::GranuleProtection => Self::GRANULE_PROTECTION,
            K::GranuleProtectionOnWalk(level) => Self(0x24u8.wrapping_add_signed(level.number())),
            K::TlbConflict => Self::TLB_CONFLICT,
            K::UnsupportedAtomicUpdate => Self::UNSUPPORTED_ATOMIC_UPDATE,
            K::Lockdown => Self::LOCKDOWN,
            K::UnsupportedExclusive => Self::UNSUPPORTED_EXCLUSIVE,
            K::Reserved(code) => match Self::new(code).kind() {
                K::Reserved(same) if same == code => Self(code),
                _ => return None,
            },
        })
    }

    /// Takes the code apart.
    pub const fn kind(self) -> FaultKind {
        use FaultKind as K;
        let level = Level::from_field(self.0);
        match self.0 {
            0x00..=0x03 => K::AddressSize(level),
            0x04..=0x07 => K::Translation(level),
            0x08..=0x0b => K::AccessFlag(level),
            0x0c..=0x0f => K::Permission(level),
            0x10 => K::ExternalAbort,
            0x11 => K::TagCheck,
            0x12 => K::ExternalAbortOnWalk(Level::MinusTwo),
            0x13 => K::ExternalAbortOnWalk(Level::MinusOne),
            0x14..=0x17 => K::ExternalAbortOnWalk(level),
            0x18 => K::ParityError,
            0x1b => K::ParityErrorOnWalk(Level::MinusOne),
            0x1c..=0x1f => K::ParityErrorOnWalk(level),
            0x21 => K::Alignment,
            0x22 => K::GranuleProtectionOnWalk(Level::MinusTwo),
            0x23 => K::GranuleProtectionOnWalk(Level::MinusOne),
            0x24..=0x27 => K::GranuleProtectionOnWalk(level),
            0x28 => K::GranuleProtection,
            0x29 => K::AddressSize(Level::MinusOne),
            0x2a => K::Translation(Level::MinusTwo),
            0x2b => K::Translation(Level::MinusOne),
            0x2c => K::AddressSize(Level::MinusTwo),
            0x30 => K::TlbConflict,
            0x31 => K::UnsupportedAtomicUpdate,
            0x34 => K::Lockdown,
            0x35 => K::UnsupportedExclusive,
            code => K::Reserved(code),
        }
    }

    /// Which handler this belongs to; see [`AbortCause`].
    pub const fn cause(self) -> AbortCause {
        use FaultKind as K;
        match self.kind() {
            K::AddressSize(_)
            | K::Translation(_)
            | K::AccessFlag(_)
            | K::Permission(_)
            | K::TagCheck
            | K::Alignment => AbortCause::Fault,
            K::ExternalAbort
            | K::ExternalAbortOnWalk(_)
            | K::ParityError
            | K::ParityErrorOnWalk(_) => AbortCause::MemoryError,
            K::GranuleProtection
            | K::GranuleProtectionOnWalk(_)
            | K::TlbConflict
            | K::UnsupportedAtomicUpdate
            | K::Lockdown
            | K::UnsupportedExclusive
            | K::Reserved(_) => AbortCause::Other,
        }
    }

    /// Whether memory answered with an error, on the access or on a table walk, as an external
    /// abort or (without `FEAT_RAS`) a parity or ECC error: `IsExternalAbort()` in the Arm ARM.
    pub const fn is_external_abort(self) -> bool {
        matches!(self.cause(), AbortCause::MemoryError)
    }

    /// Whether the access at fault was to a translation table rather than to the address in FAR.
    pub const fn on_table_walk(self) -> bool {
        matches!(
            self.kind(),
            FaultKind::ExternalAbortOnWalk(_)
                | FaultKind::ParityErrorOnWalk(_)
                | FaultKind::GranuleProtectionOnWalk(_)
        )
    }

    /// The level of the walk, for the kinds that have one.
    ///
    /// With S1PTW set it is the level of *stage 2*, not of the walk the guest sees.
    pub const fn level(self) -> Option<Level> {
        use FaultKind as K;
        match self.kind() {
            K::AddressSize(level)
            | K::Translation(level)
            | K::AccessFlag(level)
            | K::Permission(level)
            | K::ExternalAbortOnWalk(level)
            | K::ParityErrorOnWalk(level)
            | K::GranuleProtectionOnWalk(level) => Some(level),
            _ => None,
        }
    }

    /// Whether this code is an external abort as `FEAT_RAS` reports them. These alone have the
    /// fields SET, PFV and WU; a parity code has none of them.
    pub(crate) const fn has_error_fields(self) -> bool {
        matches!(
            self.kind(),
            FaultKind::ExternalAbort | FaultKind::ExternalAbortOnWalk(_)
        )
    }
}

impl fmt::Display for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FaultKind as K;
        let name = match self.kind() {
            K::AddressSize(_) => "address size fault",
            K::Translation(_) => "translation fault",
            K::AccessFlag(_) => "access flag fault",
            K::Permission(_) => "permission fault",
            K::ExternalAbort => "synchronous external abort",
            K::ExternalAbortOnWalk(_) => "synchronous external abort on table walk",
            K::ParityError => "synchronous parity or ECC error",
            K::ParityErrorOnWalk(_) => "synchronous parity or ECC error on table walk",
            K::TagCheck => "tag check fault",
            K::Alignment => "alignment fault",
            K::GranuleProtection => "granule protection fault",
            K::GranuleProtectionOnWalk(_) => "granule protection fault on table walk",
            K::TlbConflict => "TLB conflict",
            K::UnsupportedAtomicUpdate => "unsupported atomic hardware update",
            K::Lockdown => "lockdown fault",
            K::UnsupportedExclusive => "unsupported exclusive or atomic access",
            K::Reserved(code) => return write!(f, "reserved fault status {code:#04x}"),
        };
        match self.level() {
            Some(level) => write!(f, "{name}, level {}", level.number()),
            None => f.write_str(name),
        }
    }
}

impl fmt::Debug for FaultStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStatus({:#04x}: {self})", self.0)
    }
}
