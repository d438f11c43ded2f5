//! Where pages of files come from and go to: the stores behind the page cache.
//!
//! The memory manager knows a file by its number; here the number leads to whoever keeps the
//! file's pages, which may sleep. [`Machine`](crate::arch::Machine) hands `store_read`, `store_write` and
//! `store_truncate` on to [`read`], [`write()`] and [`truncate`].

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::fmt::Debug;

use mm::{Errno, File, FileId, StoreError, UserFrame};

use crate::sync::SpinLock;
use crate::task::preemption;

/// Keeps the pages of one file.
pub trait PageStore: Debug + Send + Sync {
    /// Fills a frame with page `index`; what is beyond the end is zeros.
    ///
    /// # Errors
    ///
    /// `EIO`.
    fn read_page(&self, index: u32, into: &UserFrame) -> Result<(), Errno>;

    /// Keeps page `index`. What is beyond the end of the file is dropped.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. Without one, all of the page was readable.
    fn write_page(&self, index: u32, from: &UserFrame) -> Result<(), StoreError>;

    /// Makes the file so many bytes long. What is new is zeros.
    ///
    /// # Errors
    ///
    /// `EIO`: nothing changed.
    fn set_size(&self, size: u64) -> Result<(), Errno>;
}

static STORES: SpinLock<BTreeMap<FileId, Weak<dyn PageStore>>> = SpinLock::new(BTreeMap::new());

/// Says who keeps the pages of a file.
pub fn register(file: FileId, store: Weak<dyn PageStore>) {
    STORES.lock().insert(file, store);
}

/// Nobody keeps them any more.
pub fn unregister(file: FileId) {
    let store = STORES.lock().remove(&file);
    drop(store);
}

fn find(file: &File) -> Option<Arc<dyn PageStore>> {
    STORES.lock().get(&file.id()).and_then(Weak::upgrade)
}

/// [`mm::Machine::store_read`].
///
/// # Errors
///
/// `EIO`: the store's, or nobody keeps this file.
pub fn read(file: &File, index: u32, into: &UserFrame) -> Result<(), Errno> {
    let store = find(file).ok_or(Errno::EIO)?;
    preemption::allow(|| store.read_page(index, into))
}

/// [`mm::Machine::store_write`].
///
/// # Errors
///
/// The store's; [`StoreError::Io`] if nobody keeps this file.
pub fn write(file: &File, index: u32, from: &UserFrame) -> Result<(), StoreError> {
    let store = find(file).ok_or(StoreError::Io)?;
    preemption::allow(|| store.write_page(index, from))
}

/// [`mm::Machine::store_truncate`].
///
/// # Errors
///
/// `EIO`: the store's, or nobody keeps this file.
pub fn truncate(file: &File, size: u64) -> Result<(), Errno> {
    let store = find(file).ok_or(Errno::EIO)?;
    preemption::allow(|| store.set_size(size))
}
