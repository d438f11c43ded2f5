//! Machine-check-safe memory access: copies, comparisons and single accesses that survive
//! poisoned or unmapped memory and report exactly how far they got.
//!
//! # Contract
//!
//! * **Exact.** On failure [`Incomplete::copied`] bytes were processed: all that lie before the
//!   first unit that failed (a 64-byte line for poison, a page for a fault), and none after.
//!   Nothing beyond them was written.
//! * **Once.** Where the syndrome gives an exact address, a copy touches poison once. Where it
//!   does not, a second access happens only if the failing access straddles two units.
//! * **No over-read.** No routine accesses a byte outside the ranges it is given.
//! * **Fault-free cost.** The instructions that run when nothing fails are those of the plain
//!   routine, byte for byte: the table is data that only the abort handler reads.
//! * **No overlap.** Source and destination must not overlap. If they do, which bytes arrive is
//!   unspecified; no other memory is touched.
//!
//! Nothing here recovers by itself. Whoever owns the abort handler (a kernel's vectors, a signal
//! handler) looks up the program counter in the table that [`entries`] returns and applies the
//! fixup; see [`extable`].
//!
//! # Choosing routines
//!
//! [`Routines`] bundles one implementation of everything. Pick it once:
//! `Routines::select(features)` at boot, and keep the reference.
//!
//! # Safety argument
//!
//! Every access to memory that may fail is one assembly instruction with a table entry; Rust
//! never reads or writes such memory through a reference or with its own loads, so no assumption
//! of the compiler about it can be wrong. The assembly lives in `arch`; a test disassembles each
//! routine and checks that every access has an entry that describes it, and another that each
//! entry recovers.

#![no_std]
#![expect(
    unsafe_code,
    reason = "every access to memory that may fail is assembly, here and nowhere else"
)]

#[cfg(test)]
extern crate std;

mod arch;
mod compose;
mod outcome;
mod routines;
mod single;

pub use arch::Features;
#[cfg(all(target_arch = "aarch64", not(miri)))]
pub use arch::{copy_mc_page_tags, copy_mc_tags};
pub use compose::{checksum_mc, find_byte_mc, strncpy_from_user};
pub use outcome::Incomplete;
pub use routines::{PAGE_SIZE, Routines};
pub use single::{Word, cmpxchg_mc, cmpxchg_user, get_user, load_mc, put_user, store_mc};

pub use extable;

extable::section!(
    /// The exception-table entries of the program or shared object this crate is linked into,
    /// in link order: sort them before they make a table.
    ///
    /// # Errors
    ///
    /// [`extable::Malformed::Size`] if the linker left something else in the section.
    pub fn entries
);
