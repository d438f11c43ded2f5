//! What the host tells the monitor before it starts.
//!
//! The host places a [`Config`] at [`crate::layout::BOOT_CONFIG`] (with QEMU's loader device, so
//! that a reset brings it back). Without one, that is without its signature, the monitor gives
//! the guest all CPUs, answers no mailbox, and enters an image at [`crate::layout::GUEST_IMAGE`].

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What [`Config::signature`] holds.
pub const SIGNATURE: u64 = u64::from_le_bytes(*b"SEAWBOOT");

/// The version of this layout.
pub const VERSION: u32 = 1;

/// [`Config::flags`]: the guest is firmware at address 0 (EDK2 in flash), which is entered as after
/// a reset. Otherwise it is entered as the Linux boot protocol says, with x0 the device tree.
pub const FIRMWARE: u32 = 1 << 0;

/// [`Config::flags`]: the last CPU of the machine is the monitor's own. It is taken out of the device
/// tree and answers the mailbox.
pub const SERVICE_CPU: u32 = 1 << 1;

/// [`Config::flags`]: the guest shall not learn of the monitor from the device tree: no node
/// for doorbell and firmware memory is added. They are there all the same.
pub const SILENT: u32 = 1 << 2;

/// All flags there are.
pub const ALL_FLAGS: u32 = FIRMWARE | SERVICE_CPU | SILENT;

/// The configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Config {
    /// [`SIGNATURE`].
    pub signature: u64,
    /// [`VERSION`].
    pub version: u32,
    /// A set of the flags above.
    pub flags: u32,
    /// Where to enter the guest, unless it is firmware. A multiple of 4 in RAM.
    pub entry: u64,
    /// Where the initial RAM disk is; it is announced in `/chosen`. Not used for firmware.
    pub initrd_start: u64,
    /// Its length in bytes, or 0 if there is none.
    pub initrd_length: u64,
}

const _: () = assert!(size_of::<Config>() == 40);
