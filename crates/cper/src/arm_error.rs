//! One error of an ARM processor section.
//!
//! Layout: UEFI, appendix N, table "ARM Processor Error Information Structure".

use core::fmt;

use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::Reader;
use crate::{ArmErrorDetail, Malformed};

bitflags::bitflags! {
    /// What met the error: UEFI 2.9A and 2.10, where the bits start at 1.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ArmErrorKinds: u8 {
        /// A cache.
        const CACHE = 1 << 1;
        /// A TLB.
        const TLB = 1 << 2;
        /// The bus.
        const BUS = 1 << 3;
        /// Something else inside the processor.
        const MICRO_ARCHITECTURAL = 1 << 4;
    }
}

bitflags::bitflags! {
    /// Where an error stands among others. Bits nobody has defined are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ArmErrorFlags: u8 {
        /// The first that was captured.
        const FIRST = 1 << 0;
        /// The last that was captured.
        const LAST = 1 << 1;
        /// The error came from elsewhere.
        const PROPAGATED = 1 << 2;
        /// More errors happened than could be recorded.
        const OVERFLOW = 1 << 3;

        const _ = !0;
    }
}

/// One error of an [`ArmProcessor`](crate::ArmProcessor) section.
///
/// Fields carry a bit that says whether they are valid, so accessors return an `Option`, and
/// every `with_` sets the field and its bit. Bits and bytes that have no accessor are kept.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ArmError {
    version: u8,
    length: u8,
    valid: U16,
    kinds: u8,
    multiple: U16,
    flags: u8,
    detail: U64,
    virtual_address: U64,
    physical_address: U64,
}

const _: () = assert!(size_of::<ArmError>() == 32);

const MULTIPLE: u16 = 1 << 0;
const FLAGS: u16 = 1 << 1;
const DETAIL: u16 = 1 << 2;
const VIRTUAL_ADDRESS: u16 = 1 << 3;
const PHYSICAL_ADDRESS: u16 = 1 << 4;

impl ArmError {
    /// An error of these kinds, with nothing else valid.
    pub fn new(kinds: ArmErrorKinds) -> Self {
        Self {
            length: size_of::<Self>() as u8,
            kinds: kinds.bits(),
            ..Self::new_zeroed()
        }
    }

    pub(crate) fn read_all<'a>(
        reader: &mut Reader<'a>,
        count: usize,
    ) -> Result<&'a [Self], Malformed> {
        const WHAT: &str = "ARM error structure";
        let offset = reader.offset();
        let needed = count * size_of::<Self>();
        let bytes = reader.take(WHAT, needed)?;
        let errors = <[Self]>::ref_from_bytes(bytes).map_err(|_| Malformed::Truncated {
            what: WHAT,
            offset,
            needed,
            available: bytes.len(),
        })?;
        match errors
            .iter()
            .position(|error| usize::from(error.length) != size_of::<Self>())
        {
            Some(index) => Err(Malformed::Length {
                what: WHAT,
                offset: offset + index * size_of::<Self>(),
                length: errors[index].length.into(),
            }),
            None => Ok(errors),
        }
    }

    /// What met the error.
    ///
    /// The bits have moved twice. Structures of version 0 are read as UEFI 2.9A and 2.10 have
    /// them, from bit 1, which is also what Linux does; UEFI 2.11 moved them to start at bit 0
    /// without a new version, and structures of version 1 are meant to be the ones that do.
    pub const fn kinds(&self) -> ArmErrorKinds {
        let bits = if self.version == 0 {
            self.kinds
        } else {
            self.kinds << 1
        };
        ArmErrorKinds::from_bits_truncate(bits)
    }

    /// The byte that [`kinds`](Self::kinds) reads, as it is.
    pub const fn kind_bits(&self) -> u8 {
        self.kinds
    }

    /// How many errors this stands for: 0 for one, 1 for several, else the number.
    pub const fn multiple(&self) -> Option<u16> {
        self.if_valid16(MULTIPLE, self.multiple)
    }

    /// Sets [`multiple`](Self::multiple).
    #[must_use]
    pub fn with_multiple(mut self, value: u16) -> Self {
        self.multiple = value.into();
        self.with_valid(MULTIPLE)
    }

    /// Where it stands among others.
    pub const fn flags(&self) -> Option<ArmErrorFlags> {
        if self.is_valid(FLAGS) {
            Some(ArmErrorFlags::from_bits_retain(self.flags))
        } else {
            None
        }
    }

    /// Sets [`flags`](Self::flags).
    #[must_use]
    pub fn with_flags(mut self, value: ArmErrorFlags) -> Self {
        self.flags = value.bits();
        self.with_valid(FLAGS)
    }

    /// What exactly happened. Its meaning depends on [`kinds`](Self::kinds).
    pub const fn detail(&self) -> Option<ArmErrorDetail> {
        match self.if_valid64(DETAIL, self.detail) {
            Some(bits) => Some(ArmErrorDetail::from_bits(bits)),
            None => None,
        }
    }

    /// Sets [`detail`](Self::detail).
    #[must_use]
    pub fn with_detail(mut self, value: ArmErrorDetail) -> Self {
        self.detail = value.bits().into();
        self.with_valid(DETAIL)
    }

    /// The virtual address of the access.
    pub const fn virtual_address(&self) -> Option<u64> {
        self.if_valid64(VIRTUAL_ADDRESS, self.virtual_address)
    }

    /// Sets [`virtual_address`](Self::virtual_address).
    #[must_use]
    pub fn with_virtual_address(mut self, value: u64) -> Self {
        self.virtual_address = value.into();
        self.with_valid(VIRTUAL_ADDRESS)
    }

    /// The physical address of the access.
    pub const fn physical_address(&self) -> Option<u64> {
        self.if_valid64(PHYSICAL_ADDRESS, self.physical_address)
    }

    /// Sets [`physical_address`](Self::physical_address).
    #[must_use]
    pub fn with_physical_address(mut self, value: u64) -> Self {
        self.physical_address = value.into();
        self.with_valid(PHYSICAL_ADDRESS)
    }

    const fn is_valid(&self, bit: u16) -> bool {
        self.valid.get() & bit != 0
    }

    const fn if_valid16(&self, bit: u16, value: U16) -> Option<u16> {
        if self.is_valid(bit) {
            Some(value.get())
        } else {
            None
        }
    }

    const fn if_valid64(&self, bit: u16, value: U64) -> Option<u64> {
        if self.is_valid(bit) {
            Some(value.get())
        } else {
            None
        }
    }

    fn with_valid(mut self, bit: u16) -> Self {
        self.valid = (self.valid.get() | bit).into();
        self
    }
}

impl fmt::Display for ArmErrorKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["", "cache", "TLB", "bus", "micro-architectural"];
        crate::text::flags(f, self.bits().into(), &names)
    }
}

impl fmt::Display for ArmErrorFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["first captured", "last captured", "propagated", "overflow"];
        crate::text::flags(f, self.bits().into(), &names)
    }
}

impl fmt::Display for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds().is_empty() {
            write!(f, "error of unknown kind {:#04x}", self.kind_bits())?;
        } else {
            write!(f, "{} error", self.kinds())?;
        }
        match self.multiple() {
            None | Some(0) => {}
            Some(1) => f.write_str(", several times")?,
            Some(count) => write!(f, ", {count} times")?,
        }
        if let Some(flags) = self.flags().filter(|flags| !flags.is_empty()) {
            write!(f, ", {flags}")?;
        }
        if let Some(address) = self.virtual_address() {
            write!(f, ", virtual address {address:#018x}")?;
        }
        if let Some(address) = self.physical_address() {
            write!(f, ", physical address {address:#018x}")?;
        }
        if let Some(detail) = self.detail() {
            detail.print(f, self.kinds())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ArmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, length) = (self.version, self.length);
        write!(f, "ArmError(version {version}, length {length}: {self})")
    }
}
