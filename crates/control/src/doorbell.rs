//! The registers a guest stores to, at [`crate::layout::DOORBELL`].
//!
//! Each register is 64 bits wide and is accessed with single 64-bit loads and stores of one
//! general-purpose register; [`POLICY`], [`COMMAND`] and [`STATUS`] also take 32 bits. Arguments and
//! results are banked by CPU, so CPUs need no lock; a user program that reaches the page through
//! `/dev/mem` pins itself to a CPU first.
//!
//! A store to [`COMMAND`] runs the command on the arguments that were stored before; when it
//! returns, the command is done on all CPUs and [`STATUS`] and [`VALUE`] hold the result. A store
//! to [`POISON`] or [`CLEAR`] is a whole command: it names the line, the length is one line,
//! and the policy is that in [`POLICY`].
//!
//! A wrong access (another width, an unknown offset) changes nothing but [`STATUS`]; loads of
//! nothing give 0.

/// Read only: [`SIGNATURE`].
pub const IDENTITY: u64 = 0x00;
/// The argument `address`.
pub const ADDRESS: u64 = 0x08;
/// The argument `length`.
pub const LENGTH: u64 = 0x10;
/// The argument `policy`.
pub const POLICY: u64 = 0x18;
/// Stored to: runs the command of this number. Reads as 0.
pub const COMMAND: u64 = 0x20;
/// Read only: the [`crate::Status`] of this CPU's last command.
pub const STATUS: u64 = 0x28;
/// Read only: the answer of this CPU's last command.
pub const VALUE: u64 = 0x30;
/// Stored to: poisons the line at the address that is stored.
pub const POISON: u64 = 0x38;
/// Stored to: clears the line at the address that is stored.
pub const CLEAR: u64 = 0x40;

/// What [`IDENTITY`] reads as: `SEAWTHY1` in memory.
pub const SIGNATURE: u64 = u64::from_le_bytes(*b"SEAWTHY1");
