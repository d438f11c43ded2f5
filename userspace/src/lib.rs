//! Memory access in a Linux process that survives poisoned, truncated and failing pages.
//!
//! When a process touches memory that is lost, or a page of a mapped file that no longer exists,
//! Linux sends it SIGBUS, and it dies. With this crate the access returns an error instead, which
//! says exactly how far it got.
//!
//! # Ten minutes
//!
//! **A file.** [`SafeMap`] maps one. No slice of it ever exists: bytes are copied out and in.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let map = seaworthy::SafeMap::read_only(std::fs::File::open("log")?, ..)?;
//! let mut line = [0; 80];
//! match map.read_at(4000, &mut line) {
//!     Ok(()) => println!("{}", line.escape_ascii()),
//!     Err(error) => println!("lost after {} bytes: {error}", error.copied()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **Memory of your own.** A [`Region`] is the same over memory that you mapped. It also knows
//! which parts are poisoned ([`Region::poisoned`]), finds them without touching them
//! ([`Region::probe`]) and replaces them ([`Region::heal`]).
//!
//! **Raw pointers.** [`install`](install()) returns [`Memory`], whose operations are `unsafe` and as fast as
//! the plain ones: [`copy`](Memory::copy), [`load`](Memory::load), [`store`](Memory::store),
//! [`fill`](Memory::fill), [`compare`](Memory::compare), [`is_zero`](Memory::is_zero),
//! [`find_byte`](Memory::find_byte), [`checksum`](Memory::checksum).
//!
//! **Before it hurts.** A [`Listener`] hears of poison that nobody has touched yet.
//!
//! **System calls.** [`Region::write_all_to`] never lets the kernel read suspect memory.
//!
//! # How it works
//!
//! Every instruction that may fail has an entry in an exception table ([`extable`]): its
//! address, and where to go on if it fails. The handler for SIGBUS looks up the interrupted
//! program counter and moves it there. So nothing is set up around an access, and nothing is paid
//! while nothing fails.
//!
//! # SIGBUS belongs to more than one
//!
//! [`install`](install()) takes SIGBUS over, once for the process. A SIGBUS that is not ours goes to whoever
//! had it before, `std`'s report of stack overflows included, or kills as it would have without us,
//! with a core that shows the true place. Someone who takes SIGBUS over later is noticed
//! ([`is_armed`]), and [`install`](install()) can be called again. No handler for SIGSEGV is installed: a wild
//! pointer still is what it was.
//!
//! Three rules for the program around:
//!
//! * SIGBUS must not be blocked in a thread that uses this crate, or the kernel kills the process
//!   before any handler runs. Debug builds check.
//! * The handler runs on the alternate signal stack of a thread that has one, as all Rust threads
//!   do, and so do the handlers that it calls. `std` makes it 8 KiB or little more: a handler for
//!   SIGBUS that needs more, or meets memory errors itself, must give the thread a larger one.
//! * A plugin (`cdylib`) with this crate linked in statically has a handler and a table of its own.
//!   Any number of such copies work together, whichever comes first.
//!   Assembly of another object that has entries but not this crate: [`register_table`].

#![expect(
    unsafe_code,
    reason = "signal handling, memory mapping, and calls of the routines that may fail"
)]

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("seaworthy is for Linux on x86-64 and arm64");

mod bounce;
mod error;
mod install;
mod listener;
mod map;
mod memory;
mod page;
mod plain;
mod region;
mod signal;
mod table;

pub use bounce::{WriteError, WriteErrorCause};
pub use error::{AccessError, Extent, Kind, MemoryError};
pub use extable::{self, Side};
pub use install::{InstallError, Owner, install, is_armed, owner_before};
pub use listener::{ListenError, Listener, PoisonEvent, notices};
pub use map::{MapError, SafeMap};
pub use memory::Memory;
pub use plain::Plain;
pub use region::registry::{Lost, rescan};
pub use region::{Heal, HealError, InvalidRange, Permission, Region, RegionId, Unreadable};
pub use table::{Registration, TableError, register_table};
