//! Typed exception tables: which instruction may fail, from which *cause*, and where
//! execution then resumes.
//!
//! A load that may meet poisoned memory, or a page the user has not mapped, gets an
//! [`Entry`] beside its code. When the CPU reports an abort, the handler asks a [`Table`]
//! about the interrupted program counter, and the answer depends on *why* the access failed:
//!
//! | [`Kind`] | excuses a fault | excuses a memory error |
//! |---|---|---|
//! | [`Kind::USER_ACCESS`] | yes | yes |
//! | [`Kind::KERNEL_ACCESS`] | **no**: a wild kernel pointer must still die, loudly | yes |
//! | [`Kind::USER_COPY`] | only when the user side of the copy failed | yes |
//!
//! So one sorted table answers two questions, "may this *fault* be fixed up?" and "may this
//! *memory error* be fixed up?", and cannot confuse them.
//!
//! # From an abort to the fixup
//!
//! 1. The handler describes the abort in an [`Abort`]: its cause, and whatever the syndrome
//!    tells of direction and address.
//! 2. [`Tables::find`] (or [`Table::find`]) returns the [`Fixup`] if the entry excuses it.
//! 3. [`Fixup::apply`] moves the program counter to the landing pad, through a [`Registers`]
//!    view that an EL1 frame, a Linux `ucontext` and a test can all implement. It also hands the
//!    pad two words: the *limit*, the address below which the failing side is still readable,
//!    and the [`Report`], which says what happened.
//!
//! The limit is what makes exact progress cheap. An entry names the access it covers (base
//! register, offset, width: see [`Access`]), so the address of the failing access comes from the
//! registers and is right even where the syndrome has no address or only that of a page. The
//! landing pad can then finish every byte below the limit without a second load of the poison.
//!
//! # Emitting entries
//!
//! [`entry!`] is a string for `asm!`, `naked_asm!` and `global_asm!`; [`section!`] declares a
//! function that returns the entries of the program or shared object it is compiled into.
//!
//! # Safety argument
//!
//! Only [`section_between`] and what [`section!`] makes of it contain `unsafe`: they turn two
//! linker symbols into a slice. Everything else reads plain integers. An entry is never followed
//! as a pointer: its fields become addresses that are compared with a program counter, and a
//! wrong one sends execution to a wrong place only when the handler writes it to a frame. This is
//! why tables are checked ([`Malformed`]) before they are searched.

#![no_std]
#![expect(
    unsafe_code,
    reason = "two linker symbols become a slice of entries in `section`"
)]

#[cfg(test)]
extern crate std;

mod access;
mod entry;
mod fixup;
mod section;
mod sort;
mod table;
mod tables;

pub use access::{Access, Direction, Reach};
pub use entry::{Entry, Kind, OutOfReach};
pub use fixup::{Abort, Cause, Fixup, Registers, Report, Side, registers};
pub use section::{SECTION, section_between};
pub use sort::sort;
pub use table::{Malformed, Table};
pub use tables::{Full, Tables};

#[doc(hidden)]
pub mod __private {
    pub use core::arch::global_asm;
}
