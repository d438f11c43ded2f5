//! What firmware says about a hardware error: UEFI Common Platform Error Records (CPER), and the
//! ACPI generic error status blocks that carry their sections.
//!
//! * [`StatusBlock`] is what firmware leaves in memory when it reports an error;
//!   [`StatusBlockBuilder`] writes one.
//! * A block holds [`Entry`]s. Each says how bad its error is ([`EntryInfo`]) and carries a
//!   [`Section`]: a [`MemoryError`], an [`ArmProcessor`] error, or bytes of another type.
//! * [`Record`] is the form in which errors are stored: a header and sections.
//!
//! # Hostile input
//!
//! Every byte string gives a value or a [`Malformed`] that says what is wrong and where. Nothing
//! panics, allocates, or reads outside the input, so all of it may run where a non-maskable
//! interrupt may. What decodes can be printed, and one bad section does not hide the others.
//!
//! ```
//! use cper::{EntryInfo, MemoryError, MemoryErrorType, Section, Severity};
//! use cper::{StatusBlock, StatusBlockBuilder};
//!
//! let error = MemoryError::new()
//!     .with_error_type(MemoryErrorType::MultiBitEcc)
//!     .with_physical_address(0x4000_1040);
//!
//! let mut buffer = [0; 256];
//! let mut builder = StatusBlockBuilder::new(&mut buffer)?;
//! builder.add(&EntryInfo::new(Severity::Recoverable), &Section::Memory(error))?;
//! let length = builder.finish()?;
//!
//! let block = StatusBlock::parse(&buffer[..length])?;
//! assert_eq!(block.entries().next().unwrap().section(), Ok(Section::Memory(error)));
//! assert_eq!(
//!     block.to_string(),
//!     "recoverable hardware error\n\
//!      1: recoverable: memory error: multi-bit ECC\n  \
//!        physical address: 0x0000000040001040"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layouts and numbers are from the UEFI specification, appendix N (2.10), and ACPI 6.5, 18.3.2.
#![no_std]
#![forbid(unsafe_code)]

mod arm;
mod arm_context;
mod arm_detail;
mod arm_error;
mod bytes;
mod entry;
mod error;
mod guid;
mod memory;
mod memory_type;
mod record;
mod section;
mod severity;
mod status;
mod text;
mod timestamp;

pub use arm::{ArmProcessor, RunningState};
pub use arm_context::{ArmContext, ArmContexts, ContextKind};
pub use arm_detail::{ArmErrorDetail, BusAddressSpace, Operation, Participation, Transaction};
pub use arm_error::{ArmError, ArmErrorFlags, ArmErrorKinds};
pub use entry::{Entry, EntryInfo, FruText, SectionFlags};
pub use error::{EncodeError, Malformed};
pub use guid::Guid;
pub use memory::MemoryError;
pub use memory_type::MemoryErrorType;
pub use record::{Descriptor, Record, RecordFlags, RecordInfo};
pub use section::Section;
pub use severity::Severity;
pub use status::{StatusBlock, StatusBlockBuilder, StatusHeader};
pub use timestamp::{DateTime, Timestamp};
