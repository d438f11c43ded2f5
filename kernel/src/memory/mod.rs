//! Memory of users, of files and of the kernel's own.

mod access;
mod ranges;
mod transfer;

pub use self::ranges::{Full, Ranges};
pub use self::transfer::{Cause, Sink, Source, Stopped, UserAddress, UserRange};

use crate::arch::Machine;

/// The memory manager of this kernel.
pub type Manager = mm::Memory<Machine>;

static MANAGER: spin::Once<Manager> = spin::Once::new();

/// The memory manager.
///
/// # Panics
///
/// Before boot has made it. Under test there always is one, with 64 MiB.
pub fn manager() -> &'static Manager {
    #[cfg(not(target_os = "none"))]
    return MANAGER.call_once(|| mm::sim::memory(16 * 1024));
    #[cfg(target_os = "none")]
    MANAGER.get().expect("boot makes the memory manager first")
}

/// How much memory users and the kernel share, in bytes.
pub fn total_bytes() -> u64 {
    (manager().total_frames() * mm::PAGE_SIZE) as u64
}
