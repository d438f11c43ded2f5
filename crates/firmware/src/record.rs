//! What a report says.

use cper::{
    ArmError, ArmErrorDetail, ArmErrorKinds, ArmProcessor, EncodeError, EntryInfo, MemoryError,
    MemoryErrorType, Operation, RunningState, Section, SectionFlags, Severity, StatusBlockBuilder,
    Transaction,
};

use control::{LINE, Notice, Policy};

/// One error, as firmware reports it: a block with a single section.
///
/// The section is a memory error, or with a [`Consumer`] an Arm processor error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// How bad it is, for the block and its section.
    pub severity: Severity,
    /// What the section says of itself; a block has room for the low eight bits only.
    pub flags: SectionFlags,
    /// The physical address, if it shall be told.
    pub physical_address: Option<u64>,
    /// The kind of memory error. A processor error does not say it.
    pub kind: MemoryErrorType,
    /// Who met it, for an Arm processor section instead of a memory section.
    pub consumer: Option<Consumer>,
}

/// The processor that met an error, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its `MPIDR_EL1`.
    pub mpidr: u64,
    /// Its `MIDR_EL1`.
    pub midr: u64,
    /// The virtual address of the access, if it shall be told.
    pub virtual_address: Option<u64>,
    /// Whether the access was an instruction fetch.
    pub fetch: bool,
    /// Whether the program can go on where it was interrupted without repair: SET or AET is
    /// "restartable" (UEO).
    pub restartable: bool,
    /// Whether the error may have spread: SET or AET is "uncontainable" (UC).
    pub uncontainable: bool,
}

/// A generic error status block with one record in it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    bytes: [u8; Self::MAX_LENGTH],
    length: usize,
}

impl Block {
    /// How long a block can be, in bytes.
    pub const MAX_LENGTH: usize = 192;

    /// The bytes of the block.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Record {
    /// The report of an access that met a poisoned line, as the line's policy wants it.
    ///
    /// `consumer` is told only with [`Policy::PROCESSOR`], and its virtual address not with
    /// [`Policy::NO_FAR`]; whether it can go on is the policy's to say, not the caller's.
    pub fn hit(policy: Policy, physical_address: u64, consumer: Consumer) -> Self {
        let consumer = Consumer {
            virtual_address: consumer
                .virtual_address
                .filter(|_| !policy.contains(Policy::NO_FAR)),
            restartable: policy.contains(Policy::RESTARTABLE),
            uncontainable: policy.contains(Policy::UNCONTAINABLE),
            ..consumer
        };
        Self {
            severity: if policy.contains(Policy::FATAL) {
                Severity::Fatal
            } else {
                Severity::Recoverable
            },
            physical_address: Some(physical_address)
                .filter(|_| !policy.contains(Policy::NO_PHYSICAL_ADDRESS)),
            consumer: policy.contains(Policy::PROCESSOR).then_some(consumer),
            ..Self::memory(MemoryErrorType::MultiBitEcc, physical_address)
        }
    }

    /// The report of an error that nobody has met.
    pub fn notice(notice: Notice, physical_address: u64) -> Self {
        use MemoryErrorType as Kind;
        let (kind, severity, flags) = match notice {
            Notice::Corrected | Notice::SErrorCorrected => (
                Kind::SingleBitEcc,
                Severity::Corrected,
                SectionFlags::empty(),
            ),
            Notice::ThresholdExceeded => {
                let flags = SectionFlags::THRESHOLD_EXCEEDED;
                (Kind::SingleBitEcc, Severity::Corrected, flags)
            }
            Notice::PatrolScrub => (
                Kind::ScrubUncorrected,
                Severity::Recoverable,
                SectionFlags::LATENT,
            ),
            Notice::SErrorRestartable | Notice::SErrorRecoverable => (
                Kind::MultiBitEcc,
                Severity::Recoverable,
                SectionFlags::empty(),
            ),
            Notice::SErrorUncontainable => {
                let flags = SectionFlags::CONTAINMENT_WARNING;
                (Kind::MultiBitEcc, Severity::Fatal, flags)
            }
        };
        Self {
            severity,
            flags,
            ..Self::memory(kind, physical_address)
        }
    }

    fn memory(kind: MemoryErrorType, physical_address: u64) -> Self {
        Self {
            severity: Severity::Recoverable,
            flags: SectionFlags::empty(),
            physical_address: Some(physical_address),
            kind,
            consumer: None,
        }
    }

    /// The record as a generic error status block.
    ///
    /// `number` goes into the block's raw data, so that no two blocks are the same. Linux takes a
    /// block that is byte for byte like one of the last ten seconds for a repetition: it does not
    /// log it, and newer versions leave the synchronous abort that came with it unclaimed. A
    /// timestamp would tell blocks apart only by the second; raw data is the vendor's own, so a
    /// number in it claims nothing about the machine, and Linux does not print it.
    pub fn encode(&self, number: u64) -> Block {
        let mut block = Block {
            bytes: [0; Block::MAX_LENGTH],
            length: 0,
        };
        // The longest record fits, whatever its numbers are: `an_encoded_record_fits` tries.
        block.length = self
            .encode_to(number, &mut block.bytes)
            .expect("a block has room for one section");
        block
    }

    fn encode_to(&self, number: u64, buffer: &mut [u8]) -> Result<usize, EncodeError> {
        let info = EntryInfo {
            flags: SectionFlags::from_bits_retain(self.flags.bits() & 0xff),
            ..EntryInfo::new(self.severity)
        };
        let mut block = StatusBlockBuilder::new(buffer)?;
        match self.consumer {
            None => block.add(&info, &Section::Memory(self.memory_section()))?,
            Some(consumer) => {
                let errors = [self.processor_error(consumer)];
                let section = consumer.section(&errors);
                block.add(&info, &Section::ArmProcessor(section))?;
            }
        }
        block.finish_with_raw_data(&number.to_le_bytes())
    }

    fn memory_section(&self) -> MemoryError {
        let section = MemoryError::new().with_error_type(self.kind);
        match self.physical_address {
            Some(address) => section
                .with_physical_address(address)
                .with_physical_address_mask(!(LINE - 1)),
            None => section,
        }
    }

    /// A cache error: poison is met where a line is brought into a cache.
    ///
    /// The kind is a set of bits, as in UEFI 2.9A and newer versions of Linux. Older versions read
    /// the same number as a bus error, which they log and do not act on.
    fn processor_error(&self, consumer: Consumer) -> ArmError {
        let (transaction, operation) = if consumer.fetch {
            (Transaction::Instruction, Operation::InstructionFetch)
        } else {
            (Transaction::Data, Operation::DataRead)
        };
        let detail = ArmErrorDetail::new()
            .with_transaction(transaction)
            .with_operation(operation)
            .with_context_corrupt(consumer.uncontainable)
            .with_corrected(self.severity == Severity::Corrected)
            .with_precise_pc(!consumer.uncontainable)
            .with_restartable_pc(consumer.restartable);
        let error = ArmError::new(ArmErrorKinds::CACHE).with_detail(detail);
        let error = match consumer.virtual_address {
            Some(address) => error.with_virtual_address(address),
            None => error,
        };
        match self.physical_address {
            Some(address) => error.with_physical_address(address),
            None => error,
        }
    }
}

impl Consumer {
    fn section<'a>(&self, errors: &'a [ArmError]) -> ArmProcessor<'a> {
        ArmProcessor {
            mpidr: Some(self.mpidr),
            midr: self.midr,
            affinity_level: Some(0),
            state: Some(RunningState::Running),
            errors,
            ..ArmProcessor::default()
        }
    }
}
