//! How a guest and the host talk to the monitor.
//!
//! Three parties share this crate, so that none of them writes a number of its own: the monitor,
//! its guests (through the [`doorbell`]) and the host command (through the [`mailbox`] and the
//! [`boot`] configuration). Both channels carry the same [`Command`]s and get the same [`Status`].
//!
//! | module | what it fixes |
//! |---|---|
//! | [`layout`] | guest-physical addresses: doorbell, EINJ registers, firmware memory, the monitor's own |
//! | [`command`] | commands, their arguments, status codes, kinds of notification |
//! | [`policy`] | what a poisoned line does when it is met |
//! | [`counter`] | what the monitor counts |
//! | [`doorbell`] | the registers a guest stores to |
//! | [`mailbox`] | the memory that the host shares with the monitor |
//! | [`boot`] | what the host tells the monitor before it starts |
#![no_std]
#![forbid(unsafe_code)]

pub mod boot;
pub mod command;
pub mod counter;
pub mod doorbell;
pub mod layout;
pub mod mailbox;
pub mod policy;

pub use command::{Command, Notice, Request, Response, Status};
pub use counter::Counter;
pub use policy::Policy;

/// Bytes of memory that fail together: what poison is measured in.
pub const LINE: u64 = 64;

/// Bytes of a stage 2 page.
pub const PAGE: u64 = 4096;

/// The most CPUs a machine can have, the monitor's own included.
pub const MAX_CPUS: usize = 16;
