//! Devices that keep blocks.

use core::fmt::Debug;

use crate::error::Result;

/// The unit of block devices, in bytes.
pub const SECTOR: usize = 512;

/// A device that keeps sectors. Lengths are multiples of [`SECTOR`].
pub trait BlockDevice: Debug + Send + Sync {
    /// How many sectors it has.
    fn sectors(&self) -> u64;

    /// Reads from a sector on; waits until it is done.
    ///
    /// # Errors
    ///
    /// `EIO`: it failed, or the end comes before.
    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()>;

    /// Writes from a sector on; waits until the device has it.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read); `EROFS`.
    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()>;

    /// Makes everything that was written survive a loss of power.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn flush(&self) -> Result<()>;
}
