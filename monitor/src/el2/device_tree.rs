//! QEMU's device tree, in memory.

use core::ops::Range;

use control::layout::{BOOT_CONFIG, RAM_BASE};
use dtoolkit::fdt::Fdt;
use monitor::device_tree::{self, Changes, Error};

/// All the room there is for it.
const LENGTH: usize = (BOOT_CONFIG - RAM_BASE) as usize;

/// The tree as it is now.
fn tree() -> Result<Fdt<'static>, Error> {
    // SAFETY: `virt` has RAM there; nobody writes it while the monitor starts, but `change`, which
    // holds no reference when it returns.
    let bytes = unsafe { core::slice::from_raw_parts(RAM_BASE as *const u8, LENGTH) };
    let total = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize;
    Fdt::new(&bytes[..total.min(LENGTH)]).map_err(Error::Malformed)
}

/// The machine's RAM. See [`device_tree::ram`].
pub(super) fn ram() -> Result<Range<u64>, Error> {
    device_tree::ram(tree()?)
}

/// How many CPUs the machine has.
pub(super) fn cpus() -> Result<usize, Error> {
    device_tree::cpus(tree()?)
}

/// See [`device_tree::change`].
pub(super) fn change(changes: &Changes) -> Result<(), Error> {
    // SAFETY: as in `tree`; the first CPU alone runs, and no `Fdt` is alive.
    let bytes = unsafe { core::slice::from_raw_parts_mut(RAM_BASE as *mut u8, LENGTH) };
    device_tree::change(bytes, changes)
}
