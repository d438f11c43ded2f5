//! The machine's firmware, as an operating system on the monitor sees it.
//!
//! | part | here |
//! |---|---|
//! | memory that firmware shares with the guest, and what lies where in it | [`window`] |
//! | ACPI tables in that memory | [`tables`] |
//! | reporting an error: GHESv2 with its acknowledge protocol | [`Reporter`], [`Record`] |
//! | the registers behind the EINJ table's actions | [`Einj`] |
//! | the registers of the doorbell | [`Doorbell`] |
//! | single tables for an initial RAM disk (feature `host`) | `host` |
//!
//! All of it is pure: memory is a [`Window`], and a command that a register asks for is handed to
//! the caller. The monitor uses it at EL2, the host command to make tables, and tests without
//! either.
//!
//! # Hostile guests
//!
//! A guest may write anything to the window and to the registers, at any time, from any CPU.
//! Nothing panics or waits for it. What is read back is read once and then checked.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "host")]
extern crate alloc;

mod doorbell;
pub mod einj;
#[cfg(feature = "host")]
pub mod host;
mod record;
mod reporter;
mod sync;
pub mod tables;
pub mod window;

pub use apei::Width;
pub use doorbell::Doorbell;
pub use einj::Einj;
pub use record::{Block, Consumer, Record};
pub use reporter::{Busy, Reporter, Source, write_boot_error};
pub use window::Window;
