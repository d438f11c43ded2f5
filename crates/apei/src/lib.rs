//! ACPI platform error interfaces: the tables through which firmware says where it reports
//! hardware errors and how to have some injected, and the protocols that go with them.
//!
//! | table | here |
//! |---|---|
//! | HEST, error sources | [`Hest`], [`HestBuilder`], [`GenericSource`], [`GenericSourceV2`] |
//! | BERT, errors of an earlier boot | [`Bert`] |
//! | EINJ, error injection | [`Einj`], [`SetErrorTypeWithAddress`], [`TriggerTable`] |
//! | ERST, keeping records | [`Erst`] |
//!
//! * **Decode and encode.** A table is checked (signature, length, checksum) and read in place;
//!   the structures in it are types with the very layout that ACPI gives them, their integers
//!   little-endian ([`U32`] and its like: `get()` and `into()`).
//! * **Claim.** [`GenericSourceV2::claim`] takes what a source reported and acknowledges it.
//! * **Run.** [`Program`] runs the actions of EINJ and ERST; [`Einj::inject`] is the whole
//!   sequence.
//!
//! All of it reaches the machine through one trait, [`Platform`], so that a kernel, a monitor and
//! a test use the same code.
//!
//! # Hostile input
//!
//! Every byte string gives a value or an error that says what is wrong and where. Nothing panics
//! or allocates. What firmware may ask for is bounded: a block by the room its source states, an
//! action by [`Limits`].
//!
//! ```
//! use apei::{GenericAddress, GenericSource, GenericSourceV2, Hest, HestBuilder, Source, Width};
//! use apei::{Notification, NotificationKind, Oem, ReadAck};
//!
//! let oem = Oem {
//!     id: *b"SEAWOR",
//!     table_id: *b"MONITOR ",
//!     revision: 1.into(),
//!     creator_id: *b"SWTY",
//!     creator_revision: 1.into(),
//! };
//! let source = GenericSourceV2::new(
//!     GenericSource::new(
//!         0,
//!         Notification::new(NotificationKind::SEA),
//!         GenericAddress::memory(0x4000_0000, Width::Bits64),
//!         1024,
//!     ),
//!     ReadAck {
//!         register: GenericAddress::memory(0x4000_0008, Width::Bits64),
//!         preserve: (!1).into(),
//!         write: 1.into(),
//!     },
//! );
//! let mut buffer = [0; 256];
//! let mut builder = HestBuilder::new(&mut buffer, &oem)?;
//! builder.add(&Source::GenericV2(&source))?;
//! let length = builder.finish()?;
//!
//! let hest = Hest::parse(&buffer[..length])?;
//! let sources: Result<Vec<_>, _> = hest.sources().collect();
//! assert_eq!(sources?, [Source::GenericV2(&source)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layouts and numbers are from ACPI 6.5, chapter 18.
#![no_std]
#![forbid(unsafe_code)]

mod action_table;
mod address;
mod bert;
mod claim;
mod einj;
mod erst;
mod hest;
mod inject;
mod instruction;
mod notification;
mod platform;
mod program;
mod source;
mod table;

pub use action_table::CommandError;
pub use address::{AddressSpace, BadRegister, GenericAddress};
pub use bert::Bert;
pub use claim::ClaimError;
pub use einj::{Einj, EinjAction, ErrorTypes, SetErrorTypeWithAddress, TargetFlags, TriggerTable};
pub use erst::{Erst, ErstAction, ErstOperation};
pub use hest::{Hest, HestBuilder, Source};
pub use inject::{InjectError, Trigger};
pub use instruction::{Instruction, InstructionEntry};
pub use notification::{Notification, NotificationKind};
pub use platform::{Platform, Register, Width};
pub use program::{InstructionSet, Limits, Program, RunCause, RunError};
pub use source::{GenericSource, GenericSourceV2, ReadAck};
pub use table::{BufferTooSmall, Oem, TableError, TableHeader};
pub use zerocopy::little_endian::{U16, U32, U64};
