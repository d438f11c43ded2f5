//! Devices, by their numbers.
//!
//! A driver registers what opening one of its devices gives; a name in any file system that
//! represents the number leads there.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt::Debug;

use super::{DeviceNumber, FileOperations, FileType, OpenFlags};
use crate::error::{Errno, Result};
use crate::sync::SpinLock;

/// What can be opened by a device number.
pub trait Device: Debug + Send + Sync {
    /// What to do with it once it is open.
    ///
    /// # Errors
    ///
    /// `ENXIO`: it is not there; `EBUSY`, `EIO`.
    fn open(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>>;
}

type Registry = BTreeMap<DeviceNumber, Arc<dyn Device>>;

static CHARACTER: SpinLock<Registry> = SpinLock::new(BTreeMap::new());
static BLOCK: SpinLock<Registry> = SpinLock::new(BTreeMap::new());

fn registry(kind: FileType) -> Option<&'static SpinLock<Registry>> {
    match kind {
        FileType::CharacterDevice => Some(&CHARACTER),
        FileType::BlockDevice => Some(&BLOCK),
        _ => None,
    }
}

/// Says what opening a device gives. `kind` is one of the two kinds of devices.
///
/// # Errors
///
/// `EEXIST`: the number is taken; `EINVAL`: there are no such devices.
pub fn register(kind: FileType, number: DeviceNumber, device: Arc<dyn Device>) -> Result<()> {
    let mut devices = registry(kind).ok_or(Errno::EINVAL)?.lock();
    if devices.contains_key(&number) {
        return Err(Errno::EEXIST);
    }
    devices.insert(number, device);
    Ok(())
}

/// Opens a device.
///
/// # Errors
///
/// `ENXIO`: there is none with this number; or the driver's.
pub fn open(
    kind: FileType,
    number: DeviceNumber,
    flags: OpenFlags,
) -> Result<Arc<dyn FileOperations>> {
    let registry = registry(kind).ok_or(Errno::ENXIO)?;
    let device = registry.lock().get(&number).cloned();
    device.ok_or(Errno::ENXIO)?.open(flags)
}
