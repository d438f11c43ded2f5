//! A shared object with a copy of the library of its own: its own handler, its own table.
#![expect(unsafe_code, reason = "functions that another object calls by name")]

use std::sync::OnceLock;

use seaworthy::Memory;

static MEMORY: OnceLock<Memory> = OnceLock::new();

/// Installs this copy's handler, or puts it back in the first place; 0 is success.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_install() -> i32 {
    let installed = seaworthy::install().map(|memory| MEMORY.get_or_init(|| memory));
    i32::from(installed.is_err())
}

/// Whether this copy's handler is the first.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_is_armed() -> i32 {
    i32::from(seaworthy::is_armed())
}

/// Copies, and returns how many bytes arrived.
///
/// # Safety
///
/// As for [`seaworthy::Memory::copy`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_copy(
    destination: *mut u8,
    source: *const u8,
    length: usize,
) -> usize {
    let Some(memory) = MEMORY.get() else {
        return usize::MAX;
    };
    // SAFETY: the caller's contract.
    let result = unsafe { memory.copy(destination, source, length) };
    result.map_or_else(|error| error.copied, |()| length)
}
