//! Exception tables: sorted in memory of their own, and read-only from then on.

use std::fmt;
use std::io;
use std::ptr::{self, NonNull};

use extable::{Entry, Full, Malformed, OutOfReach, Table};

use crate::signal::handler::TABLES;

/// Why a table cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum TableError {
    /// The linker produced something else than a table, or code with entries is wrong.
    Malformed(Malformed),
    /// Code and table lie more than 2 GiB apart.
    OutOfReach(OutOfReach),
    /// Too many objects of this process have registered tables.
    Full(Full),
    /// There is no memory for the sorted copy.
    Memory(io::Error),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => error.fmt(f),
            Self::OutOfReach(error) => error.fmt(f),
            Self::Full(error) => error.fmt(f),
            Self::Memory(error) => write!(f, "no memory for an exception table: {error}"),
        }
    }
}

impl std::error::Error for TableError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Malformed(error) => error,
            Self::OutOfReach(error) => error,
            Self::Full(error) => error,
            Self::Memory(error) => error,
        })
    }
}

/// Keeps the table of another shared object registered; dropping it ends that.
///
/// The memory of the sorted copy is not given back, because a signal handler on another thread
/// may still read it.
#[must_use = "dropping this unregisters the table"]
#[derive(Debug)]
pub struct Registration(&'static Table<'static>);

impl Drop for Registration {
    fn drop(&mut self) {
        TABLES.unregister(self.0);
    }
}

/// Makes the accesses of another object recoverable: a plugin or library with assembly of its own
/// that has entries ([`extable::entry!`]) and a function for them ([`extable::section!`]).
///
/// Objects that link this crate need not do that: [`install`](crate::install()) registers the
/// table of the object it is called in. The entries need not be sorted.
///
/// # Errors
///
/// [`TableError`] if the entries break a rule, or 16 tables are registered.
///
/// # Safety
///
/// Every entry must be right: when the memory it covers fails, execution resumes at its landing
/// pad, with registers changed as [`extable`] describes. No thread may run code of the object, or
/// wait in it, when it is unloaded; drop the [`Registration`] before.
pub unsafe fn register_table(entries: &'static [Entry]) -> Result<Registration, TableError> {
    register(entries)
}

/// Sorts a copy of `entries` and lets the handler search it.
pub(crate) fn register(entries: &'static [Entry]) -> Result<Registration, TableError> {
    let copy = sealed_copy(entries)?;
    let bias = entries
        .as_ptr()
        .addr()
        .wrapping_sub(copy.as_ptr().addr())
        .cast_signed();
    let table = Table::moved(copy, bias).map_err(TableError::Malformed)?;
    let table = Box::leak(Box::new(table));
    TABLES.register(table).map_err(TableError::Full)?;
    Ok(Registration(table))
}

/// A sorted copy that nobody can write to.
fn sealed_copy(entries: &[Entry]) -> Result<&'static [Entry], TableError> {
    if entries.is_empty() {
        return Ok(&[]);
    }
    let bytes = size_of_val(entries);
    let start = anonymous(bytes)
        .map_err(TableError::Memory)?
        .cast::<Entry>();
    for (index, entry) in entries.iter().enumerate() {
        // SAFETY: `index` is inside of the mapping, which has room for all entries.
        let place = unsafe { start.add(index) };
        // SAFETY: the place is ours, aligned, and valid for writes.
        unsafe { place.write(Entry::from_bytes(entry.to_bytes())) };
    }
    // SAFETY: as many entries were just written; nobody else knows of them.
    let copy = unsafe { NonNull::slice_from_raw_parts(start, entries.len()).as_mut() };
    extable::sort(copy).map_err(TableError::OutOfReach)?;
    // SAFETY: the mapping is ours; from here on it is only read.
    if unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ) } != 0 {
        return Err(TableError::Memory(io::Error::last_os_error()));
    }
    Ok(copy)
}

/// Fresh pages. They are never given back, also not on an error, which ends the use of this crate.
fn anonymous(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: a new private mapping wherever the kernel likes touches nothing that exists.
    let start = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    match NonNull::new(start.cast::<u8>()) {
        Some(address) if start != libc::MAP_FAILED => Ok(address),
        _ => Err(io::Error::last_os_error()),
    }
}
