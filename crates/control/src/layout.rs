//! Guest-physical addresses, on QEMU's `virt` machine.
//!
//! `virt` has nothing between its virtio transports and its platform bus, from 0x0b00_0000 to
//! 0x0c00_0000. What the monitor shows to guests lies there, each part aligned to 64 KiB so that
//! a guest with any page size can map it alone. It does not move with the size of RAM.

/// Where RAM starts on `virt`, and where QEMU puts the device tree.
pub const RAM_BASE: u64 = 0x4000_0000;

/// The doorbell's registers. See [`crate::doorbell`].
pub const DOORBELL: u64 = 0x0b10_0000;

/// The registers that the EINJ table's actions use.
pub const EINJ: u64 = 0x0b11_0000;

/// Memory that firmware shares with the operating system: ACPI tables, error status blocks,
/// acknowledge registers, EINJ's parameters and trigger table. Readable and writable by the guest;
/// backed by the monitor's memory.
pub const FIRMWARE: u64 = 0x0b20_0000;

/// Bytes of [`FIRMWARE`].
pub const FIRMWARE_LENGTH: u64 = 0x1_0000;

/// Bytes that each part of the monitor occupies in guest-physical space, registers included.
pub const REGISTERS_LENGTH: u64 = 0x1_0000;

/// An address with nothing behind it: QEMU answers every access with a synchronous external abort,
/// without the monitor. Tests compare the two.
pub const HOLE: u64 = 0x0b80_0000;

/// The interrupt (GIC INTID) of the error source that reports asynchronously: SPI 100, edge
/// triggered. `virt` does not use it.
pub const NOTIFY_INTID: u32 = 132;

/// Where the host puts the [boot configuration](crate::boot) before the machine starts.
pub const BOOT_CONFIG: u64 = 0x4010_0000;

/// Where the monitor's image is loaded. It moves itself to the end of RAM and clears this place.
pub const MONITOR_IMAGE: u64 = 0x4011_0000;

/// The end of what the monitor uses only while it starts, and the lowest address of a guest's
/// image.
pub const GUEST_IMAGE: u64 = 0x4020_0000;

/// What the monitor keeps for itself, at the end of RAM. The [mailbox](crate::mailbox) is at its
/// start.
pub const RESERVED_LENGTH: u64 = 0x200_0000;

/// RAM must end at a multiple of this, for the reserved part to be whole blocks of stage 2.
pub const RESERVED_ALIGNMENT: u64 = 0x20_0000;
