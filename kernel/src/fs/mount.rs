//! Which file system is seen where.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Dentry, FileSystem, FileType, Path};
use crate::error::{Errno, Result};
use crate::sync::{Mutex, SpinLock};

/// A file system that is seen at a place.
#[derive(Debug)]
pub struct Mount {
    file_system: Arc<dyn FileSystem>,
    root: Arc<Dentry>,
    /// Where: none for the first.
    on: Option<Path>,
    /// What `/proc/mounts` calls the device.
    source: Vec<u8>,
    read_only: AtomicBool,
}

impl Mount {
    /// What is mounted.
    pub fn file_system(&self) -> &Arc<dyn FileSystem> {
        &self.file_system
    }

    /// Its root directory, as seen through it.
    pub fn root(self: &Arc<Self>) -> Path {
        Path {
            mount: Arc::clone(self),
            dentry: Arc::clone(&self.root),
        }
    }

    /// Where it is mounted. `None` for the root of the namespace.
    pub fn mount_point(&self) -> Option<&Path> {
        self.on.as_ref()
    }

    /// What `/proc/mounts` calls the device.
    pub fn source(&self) -> &[u8] {
        &self.source
    }

    /// Whether nothing may be changed through it.
    pub fn is_read_only(&self) -> bool {
        self.read_only.load(Ordering::Relaxed) || self.file_system.is_read_only()
    }

    /// Allows or forbids changes.
    pub fn set_read_only(&self, read_only: bool) {
        self.read_only.store(read_only, Ordering::Relaxed);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Names below keep each other.
        self.root.forget_all();
    }
}

/// The tree that processes see: mounts on mounts.
#[derive(Debug)]
pub struct Namespace {
    /// The oldest first; never empty.
    mounts: SpinLock<Vec<Arc<Mount>>>,
    /// Makes renames between directories one at a time, so that meanwhile nobody else changes
    /// what is above what.
    pub(super) renames: Mutex<()>,
}

impl Namespace {
    /// A tree of one file system.
    pub fn new(file_system: Arc<dyn FileSystem>) -> Arc<Self> {
        let root = Mount {
            root: Dentry::root(file_system.root()),
            file_system,
            on: None,
            source: b"none".to_vec(),
            read_only: AtomicBool::new(false),
        };
        Arc::new(Self {
            mounts: SpinLock::new(alloc::vec![Arc::new(root)]),
            renames: Mutex::new(()),
        })
    }

    /// The root of the tree.
    pub fn root(&self) -> Path {
        self.mounts.lock()[0].root()
    }

    /// All mounts, the oldest first.
    pub fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().clone()
    }

    /// Mounts a file system on a directory.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`; `ENOMEM`.
    pub fn mount(
        &self,
        file_system: Arc<dyn FileSystem>,
        on: Path,
        source: &[u8],
        read_only: bool,
    ) -> Result<()> {
        super::admit()?;
        let root = Dentry::root(file_system.root());
        if on.inode().kind() != FileType::Directory || root.inode().kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let dentry = Arc::clone(&on.dentry);
        let mount = Arc::new(Mount {
            file_system,
            root,
            on: Some(on),
            source: source.to_vec(),
            read_only: AtomicBool::new(read_only),
        });
        self.mounts.lock().push(mount);
        dentry.add_mount();
        Ok(())
    }

    /// Ends the mount whose root `path` is.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not the root of a mount, or it is the root of everything. `EBUSY`: someone
    /// is in there, and `lazily` is not set. `EIO`: its data could not be written.
    pub fn unmount(&self, path: Path, lazily: bool) -> Result<()> {
        let Path { mount, dentry } = path;
        if !Arc::ptr_eq(&mount.root, &dentry) {
            return Err(Errno::EINVAL);
        }
        let on = mount.on.clone().ok_or(Errno::EINVAL)?;
        drop(dentry);
        mount.file_system.sync()?;
        let mut mounts = self.mounts.lock();
        let index = mounts.iter().position(|other| Arc::ptr_eq(other, &mount));
        let index = index.ok_or(Errno::EINVAL)?;
        // The table's reference and ours. New ones come only from the table or from others.
        if !lazily && Arc::strong_count(&mount) > 2 {
            return Err(Errno::EBUSY);
        }
        let removed = mounts.remove(index);
        drop(mounts);
        drop(removed);
        on.dentry.remove_mount();
        Ok(())
    }

    /// Writes everything of every file system. All are tried.
    ///
    /// # Errors
    ///
    /// The first that happened.
    pub fn sync(&self) -> Result<()> {
        let mut first = Ok(());
        for mount in self.mounts() {
            first = first.and(mount.file_system.sync());
        }
        first
    }

    /// What is seen at `path`: the root of the last mount on it, if there is one.
    pub(super) fn covered(&self, mut path: Path) -> Path {
        while path.dentry.is_mount_point() {
            let mounts = self.mounts.lock();
            let on = mounts
                .iter()
                .rev()
                .find(|mount| mount.on.as_ref() == Some(&path));
            let Some(root) = on.map(Mount::root) else {
                break;
            };
            drop(mounts);
            path = root;
        }
        path
    }
}
