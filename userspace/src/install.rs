//! Installing the handler for SIGBUS, once for all threads.

use std::fmt;
use std::io;
use std::mem;
use std::sync::{Mutex, OnceLock, PoisonError};

use copy::{Features, Routines};

use crate::memory::Memory;
use crate::page;
use crate::signal::chain;
use crate::table::{self, TableError};

/// Why the handler cannot be installed. No SIGBUS is handled then.
#[derive(Debug)]
#[non_exhaustive]
pub enum InstallError {
    /// There are no recovering routines for this architecture.
    Unsupported,
    /// The exception table of this program or shared object cannot be used.
    Table(TableError),
    /// The kernel refused.
    Signal(io::Error),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => f.write_str("this architecture has no recovering memory routines"),
            Self::Table(error) => error.fmt(f),
            Self::Signal(error) => write!(f, "the kernel refused a handler for SIGBUS: {error}"),
        }
    }
}

impl std::error::Error for InstallError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unsupported => None,
            Self::Table(error) => Some(error),
            Self::Signal(error) => Some(error),
        }
    }
}

/// Who handled SIGBUS before us. What is not ours goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The default action: the process dies.
    Default,
    /// Nobody: it was ignored.
    Ignored,
    /// A handler at this address. In a Rust program that did nothing about signals, it is that of
    /// `std`, which tells stack overflows.
    Handler(usize),
}

struct Installed {
    memory: Memory,
    owner: Owner,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Makes memory errors recoverable in this process, and returns the operations that recover.
///
/// Takes SIGBUS over from whoever had it ([`owner_before`]), who still gets every SIGBUS that is
/// not ours. Further calls return the same operations. They also put our handler back in its
/// place if another one has replaced it ([`is_armed`]); that one comes next, then the first.
///
/// # Errors
///
/// [`InstallError`]; nothing has changed then.
pub fn install() -> Result<Memory, InstallError> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let arm = |again| chain::arm(again).map_err(InstallError::Signal);
    if let Some(installed) = INSTALLED.get() {
        arm(true)?;
        return Ok(installed.memory);
    }
    page::learn();
    let entries =
        copy::entries().map_err(|error| InstallError::Table(TableError::Malformed(error)))?;
    if entries.is_empty() {
        return Err(InstallError::Unsupported);
    }
    let registration = table::register(entries).map_err(InstallError::Table)?;
    let owner = match chain::current_handler() {
        None | Some(libc::SIG_DFL) => Owner::Default,
        Some(libc::SIG_IGN) => Owner::Ignored,
        Some(handler) => Owner::Handler(handler),
    };
    arm(false)?;
    // For ever, like the code it covers.
    mem::forget(registration);
    let memory = Memory::new(Routines::select(Features::detect()));
    Ok(INSTALLED.get_or_init(|| Installed { memory, owner }).memory)
}

/// As [`install`] the first time; later it leaves alone who has taken SIGBUS over since.
pub(crate) fn installed() -> Result<Memory, InstallError> {
    match INSTALLED.get() {
        Some(installed) => Ok(installed.memory),
        None => install(),
    }
}

/// Whether SIGBUS still comes to us first. `false` before [`install`], and after someone
/// else has taken SIGBUS over: a language runtime or a crash reporter that started later. Whether
/// memory errors are then recoverable depends on whether that handler calls ours.
///
/// One system call.
#[must_use]
pub fn is_armed() -> bool {
    chain::is_first()
}

/// Who handled SIGBUS before the first [`install`]; `None` if there was none yet.
#[must_use]
pub fn owner_before() -> Option<Owner> {
    INSTALLED.get().map(|installed| installed.owner)
}
