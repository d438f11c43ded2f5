//! The ARM processor error section.
//!
//! Layout: UEFI, appendix N, table "ARM Processor Error Section". A fixed part, then the errors,
//! then the registers at the time, then whatever the vendor adds.

use core::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::bytes::{Reader, Writer};
use crate::text::{Hex, HexBytes, line};
use crate::{ArmContexts, ArmError, EncodeError, Malformed};

/// An error that an Arm processor met: who met it, what it was, and its registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArmProcessor<'a> {
    /// `MPIDR_EL1` of the processor: which one it is.
    pub mpidr: Option<u64>,
    /// `MIDR_EL1` of the processor: what it is.
    pub midr: u64,
    /// Which processors share what failed: those whose MPIDR agrees from this affinity level up.
    pub affinity_level: Option<u8>,
    /// Whether the processor is running.
    pub state: Option<RunningState>,
    /// What went wrong, in the order in which it was recorded.
    pub errors: &'a [ArmError],
    /// The registers at the time.
    pub contexts: ArmContexts<'a>,
    /// What the vendor has to add.
    pub vendor: &'a [u8],
}

/// Whether a processor is running, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RunningState {
    /// It is running.
    Running,
    /// It is not: its PSCI power state (Arm DEN 0022).
    Stopped {
        /// PSCI power state.
        psci_state: u32,
    },
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Layout {
    valid: U32,
    error_count: U16,
    context_count: U16,
    section_length: U32,
    affinity_level: u8,
    reserved: [u8; 3],
    mpidr: U64,
    midr: U64,
    running_state: U32,
    psci_state: U32,
}

const _: () = assert!(size_of::<Layout>() == 40);

impl Layout {
    const MPIDR_VALID: u32 = 1 << 0;
    const AFFINITY_VALID: u32 = 1 << 1;
    const STATE_VALID: u32 = 1 << 2;
    const VENDOR_VALID: u32 = 1 << 3;
    const RUNNING: u32 = 1 << 0;
}

impl<'a> ArmProcessor<'a> {
    /// Decodes a section; bytes after the length that it states are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the section is longer than `bytes`, or something in it longer than the
    /// section, or an error structure is not 32 bytes long.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "ARM processor section";
        let layout: &Layout = Reader::new(bytes).read(WHAT)?;
        let length = layout.section_length.get() as usize;
        let mut reader = Reader::new(Reader::new(bytes).take(WHAT, length)?);
        reader.take("ARM processor section's fixed part", size_of::<Layout>())?;
        let errors = ArmError::read_all(&mut reader, layout.error_count.get().into())?;
        let contexts = ArmContexts::read(&mut reader, layout.context_count.get())?;
        let valid = |bit| layout.valid.get() & bit != 0;
        let state = if layout.running_state.get() & Layout::RUNNING != 0 {
            RunningState::Running
        } else {
            RunningState::Stopped {
                psci_state: layout.psci_state.get(),
            }
        };
        Ok(Self {
            mpidr: valid(Layout::MPIDR_VALID).then(|| layout.mpidr.get()),
            midr: layout.midr.get(),
            affinity_level: valid(Layout::AFFINITY_VALID).then_some(layout.affinity_level),
            state: valid(Layout::STATE_VALID).then_some(state),
            errors,
            contexts,
            vendor: if valid(Layout::VENDOR_VALID) {
                reader.rest()
            } else {
                &[]
            },
        })
    }

    pub(crate) fn encoded_length(&self) -> usize {
        size_of::<Layout>()
            + size_of_val(self.errors)
            + self.contexts.as_bytes().len()
            + self.vendor.len()
    }

    pub(crate) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        let too_large = |what, limit| EncodeError::TooLarge { what, limit };
        let error_count = u16::try_from(self.errors.len())
            .map_err(|_| too_large("the number of ARM errors", u16::MAX.into()))?;
        let section_length = u32::try_from(self.encoded_length())
            .map_err(|_| too_large("a section's length", u32::MAX as usize))?;
        let valid_if = |present, bit| if present { bit } else { 0 };
        let (running_state, psci_state) = match self.state {
            Some(RunningState::Running) => (Layout::RUNNING, 0),
            Some(RunningState::Stopped { psci_state }) => (0, psci_state),
            None => (0, 0),
        };
        writer.put(&Layout {
            valid: (valid_if(self.mpidr.is_some(), Layout::MPIDR_VALID)
                | valid_if(self.affinity_level.is_some(), Layout::AFFINITY_VALID)
                | valid_if(self.state.is_some(), Layout::STATE_VALID)
                | valid_if(!self.vendor.is_empty(), Layout::VENDOR_VALID))
            .into(),
            error_count: error_count.into(),
            context_count: self.contexts.count().into(),
            section_length: section_length.into(),
            affinity_level: self.affinity_level.unwrap_or(0),
            reserved: [0; 3],
            mpidr: self.mpidr.unwrap_or(0).into(),
            midr: self.midr.into(),
            running_state: running_state.into(),
            psci_state: psci_state.into(),
        })?;
        writer.put(self.errors)?;
        writer.put(self.contexts.as_bytes())?;
        writer.put(self.vendor)
    }
}

impl fmt::Display for RunningState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Stopped { psci_state } => write!(f, "not running, PSCI state {psci_state:#x}"),
        }
    }
}

impl fmt::Display for ArmProcessor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ARM processor error")?;
        line(f, "MPIDR_EL1", self.mpidr.map(Hex))?;
        line(f, "MIDR_EL1", Some(Hex(self.midr)))?;
        line(f, "affinity level", self.affinity_level)?;
        line(f, "processor", self.state)?;
        for error in self.errors {
            write!(f, "\n  {error}")?;
        }
        for context in self.contexts.iter() {
            write!(f, "\n  {context}")?;
        }
        if !self.vendor.is_empty() {
            write!(f, "\n  vendor's data: {}", HexBytes(self.vendor))?;
        }
        Ok(())
    }
}
