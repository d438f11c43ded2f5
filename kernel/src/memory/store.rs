//! What is behind the pages of files: see [`mm::Machine::store_read`].

use mm::{Errno, File, StoreError, UserFrame};

/// Fills a fresh frame with page `index` of `file`.
///
/// # Errors
///
/// `EIO`: the file has no store.
pub fn read(_file: &File, _index: u32, _into: &UserFrame) -> Result<(), Errno> {
    Err(Errno::EIO)
}

/// Writes page `index` of `file` to its store.
///
/// # Errors
///
/// [`StoreError::Io`]: the file has no store.
pub fn write(_file: &File, _index: u32, _from: &UserFrame) -> Result<(), StoreError> {
    Err(StoreError::Io)
}

/// Makes a file's store as long as the file.
///
/// # Errors
///
/// `EIO`: the file has no store.
pub fn truncate(_file: &File, _size: u64) -> Result<(), Errno> {
    Err(Errno::EIO)
}
