//! Where things are in the kernel's half of the address space.
//!
//! | from | what |
//! |---|---|
//! | `0xffff_0000_0000_0000` | the direct map: all of RAM at its physical address |
//! | `0xffff_8000_8000_0000` | the image |
//! | `0xffff_a000_0000_0000` | stacks of threads, each with a guard before it |
//! | `0xffff_b000_0000_0000` | registers of devices |

use core::sync::atomic::{AtomicU64, Ordering};

/// Where the direct map begins.
pub(super) const DIRECT: u64 = 0xffff_0000_0000_0000;
/// Where the image is linked: see `kernel.ld`.
pub(super) const IMAGE: u64 = 0xffff_8000_8000_0000;
/// Where stacks are.
pub(super) const STACKS: u64 = 0xffff_a000_0000_0000;
/// Where devices are.
pub(super) const DEVICES: u64 = 0xffff_b000_0000_0000;
/// The first address beyond what a process can have.
pub(super) const USER_END: u64 = 1 << mm::ADDRESS_BITS;
/// Bytes of a page.
pub(super) const PAGE: u64 = mm::PAGE_SIZE as u64;

/// Where the image was loaded.
static IMAGE_PHYSICAL: AtomicU64 = AtomicU64::new(0);

/// Remembers where the image was loaded.
pub(super) fn set_image(physical: u64) {
    IMAGE_PHYSICAL.store(physical, Ordering::Relaxed);
}

/// The physical address of something in the image.
pub(super) fn image_physical(address: u64) -> u64 {
    address - IMAGE + IMAGE_PHYSICAL.load(Ordering::Relaxed)
}

/// The address in the image of something that was loaded with it.
pub(super) fn image_virtual(physical: u64) -> u64 {
    physical - IMAGE_PHYSICAL.load(Ordering::Relaxed) + IMAGE
}

/// The address of RAM in the direct map.
pub(super) const fn direct(physical: u64) -> u64 {
    DIRECT + physical
}

/// The physical address behind one of the direct map, if it is one.
pub(super) fn physical(address: u64) -> Option<u64> {
    (DIRECT..IMAGE).contains(&address).then(|| address - DIRECT)
}

macro_rules! bounds {
    ($($(#[$attribute:meta])* $function:ident = $symbol:ident;)*) => {$(
        $(#[$attribute])*
        pub(super) fn $function() -> u64 {
            unsafe extern "C" {
                static $symbol: u8;
            }
            (&raw const $symbol).addr() as u64
        }
    )*};
}

bounds! {
    /// The first byte after the instructions.
    text_end = __text_end;
    /// The first byte after the constants.
    rodata_end = __rodata_end;
    /// The first byte after all of the image, with what starts as zero.
    image_end = __image_end;
}
