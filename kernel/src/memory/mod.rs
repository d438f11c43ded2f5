//! Memory of users, of files and of the kernel's own.

mod access;
#[cfg(target_os = "none")]
pub mod heap;
mod ranges;
pub mod store;
mod transfer;

pub use self::ranges::{Full, Ranges};
pub use self::store::PageStore;
pub use self::transfer::{Cause, Sink, Source, Stopped, UserAddress, UserRange};

use core::ops::Deref;
use core::sync::atomic::{AtomicUsize, Ordering};

use mm::Allocation;

use crate::arch::Machine;
use crate::task::preemption;

/// The memory manager of this kernel.
pub type Manager = mm::Memory<Machine>;

static MANAGER: spin::Once<Manager> = spin::Once::new();

/// The memory manager, for one who is not preempted meanwhile.
///
/// Its locks spin. If a thread that holds one were preempted, all CPUs could come to spin for it, in
/// threads that are not preempted, and it would never run again. So nobody gets at the manager
/// without this.
#[derive(Debug)]
pub struct Guarded {
    manager: &'static Manager,
    _here: preemption::Guard,
}

impl Deref for Guarded {
    type Target = Manager;

    fn deref(&self) -> &Manager {
        self.manager
    }
}

/// The memory manager.
///
/// # Panics
///
/// Before boot has made it. Under test there always is one, with 64 MiB.
pub fn manager() -> Guarded {
    #[cfg(not(target_os = "none"))]
    MANAGER.call_once(|| Machine::manager(16 * 1024));
    try_manager().expect("boot makes the memory manager first")
}

/// How much memory users and the kernel share, in bytes.
pub fn total_bytes() -> u64 {
    (manager().total_frames() * mm::PAGE_SIZE) as u64
}

/// The memory manager, if boot has made it.
pub fn try_manager() -> Option<Guarded> {
    MANAGER.get().map(|manager| Guarded {
        manager,
        _here: preemption::disable(),
    })
}

/// Frames that users may not have, so that the kernel can always go on: a hundredth, but at least
/// 1 MiB.
static RESERVE: AtomicUsize = AtomicUsize::new(0);
#[cfg(target_os = "none")]
const LEAST_RESERVE: usize = 256;

static RAM: spin::Once<Ranges> = spin::Once::new();

/// All RAM of the machine, by physical address, whoever uses it. Empty before boot has read what
/// there is, and under test.
pub fn ram() -> Ranges {
    RAM.get().copied().unwrap_or_default()
}

/// Remembers it.
#[cfg(target_os = "none")]
pub fn note_ram(ram: Ranges) {
    RAM.call_once(|| ram);
}

/// Makes the memory manager, of these frames.
///
/// # Panics
///
/// If there are none, or the heap has no room for their table.
#[cfg(target_os = "none")]
pub fn begin(machine: Machine, usable: &[core::ops::Range<mm::Pfn>]) {
    let manager = Manager::new(machine, usable).expect("frames, and room for their table");
    RESERVE.store(
        (manager.free_frames() / 100).max(LEAST_RESERVE),
        Ordering::Relaxed,
    );
    MANAGER.call_once(|| manager);
}

/// Whether users may have more, as [`mm::Machine::admit`] asks: so the manager is in use, by one who
/// is not preempted.
pub fn admit(_what: Allocation) -> bool {
    MANAGER
        .get()
        .is_none_or(|manager| manager.free_frames() > RESERVE.load(Ordering::Relaxed))
}
