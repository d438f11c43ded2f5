//! Names in directories, as far as they are remembered.
//!
//! An object of a directory that anyone holds exists once: its place in the tree can be told and
//! changed. A directory remembers names that were looked up, and forgets unused ones when they
//! become many. Names that are not there are not remembered.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};

use super::{FileType, Inode};
use crate::error::{Errno, Result};
use crate::sync::{Mutex, MutexGuard, SpinLock};

/// From so many names on, a directory forgets those that nobody uses.
const PRUNE_FROM: usize = 1024;

/// A name in a directory, with what it stands for.
pub struct Dentry {
    inode: Arc<dyn Inode>,
    place: SpinLock<Place>,
    names: SpinLock<Names>,
    /// Makes changes of this directory's names, and lookups in its file system, one at a time.
    state: Mutex<DirectoryState>,
    /// How many mounts hide it.
    mounts: AtomicUsize,
}

#[derive(Default)]
struct Place {
    name: Box<[u8]>,
    /// None for a root.
    parent: Option<Arc<Dentry>>,
    /// The directory no longer has the name.
    removed: bool,
}

struct Names {
    cached: BTreeMap<Box<[u8]>, Arc<Dentry>>,
    prune_at: usize,
}

/// What the lock of a directory protects besides its names.
#[derive(Debug, Default)]
pub(super) struct DirectoryState {
    removed: bool,
}

/// A directory whose names do not change.
pub(super) struct LockedDirectory<'a> {
    dentry: &'a Arc<Dentry>,
    state: MutexGuard<'a, DirectoryState>,
}

impl Dentry {
    /// The root of a tree.
    pub(super) fn root(inode: Arc<dyn Inode>) -> Arc<Self> {
        Self::new(inode, Place::default())
    }

    fn new(inode: Arc<dyn Inode>, place: Place) -> Arc<Self> {
        Arc::new(Self {
            inode,
            place: SpinLock::new(place),
            names: SpinLock::new(Names {
                cached: BTreeMap::new(),
                prune_at: PRUNE_FROM,
            }),
            state: Mutex::new(DirectoryState::default()),
            mounts: AtomicUsize::new(0),
        })
    }

    /// What the name stands for.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    /// The name; empty for a root.
    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// The directory that has the name, or had it. `None` for a root.
    pub fn parent(&self) -> Option<Arc<Self>> {
        self.place.lock().parent.clone()
    }

    /// Whether its directory no longer has the name.
    pub fn is_removed(&self) -> bool {
        self.place.lock().removed
    }

    /// Says that its directory no longer has the name.
    pub(super) fn mark_removed(&self) {
        self.place.lock().removed = true;
    }

    /// Whether something is mounted here.
    pub(super) fn is_mount_point(&self) -> bool {
        self.mounts.load(Ordering::Acquire) != 0
    }

    pub(super) fn add_mount(&self) {
        self.mounts.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn remove_mount(&self) {
        self.mounts.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether this is `other` or a directory above it. For that the tree must not change: the
    /// caller holds the lock of renames.
    pub(super) fn is_above(self: &Arc<Self>, other: &Arc<Self>) -> bool {
        let mut at = Some(Arc::clone(other));
        while let Some(dentry) = at {
            if Arc::ptr_eq(&dentry, self) {
                return true;
            }
            at = dentry.parent();
        }
        false
    }

    /// What has this name in this directory.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`; `ENOENT`; `ENOMEM`; `EIO` from the file system.
    pub(super) fn child(self: &Arc<Self>, name: &[u8]) -> Result<Arc<Self>> {
        match self.cached(name) {
            Some(found) => Ok(found),
            None => self.lock()?.child(name),
        }
    }

    fn cached(&self, name: &[u8]) -> Option<Arc<Self>> {
        self.names.lock().cached.get(name).cloned()
    }

    /// Keeps the names of this directory as they are.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`.
    pub(super) fn lock(self: &Arc<Self>) -> Result<LockedDirectory<'_>> {
        if self.inode.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(LockedDirectory {
            dentry: self,
            state: self.state.lock(),
        })
    }

    /// Takes names that nobody uses out of the cache, if they have become many. They are dropped
    /// by the caller, who holds no spin lock.
    fn unused(names: &mut Names) -> Vec<Arc<Self>> {
        if names.cached.len() < names.prune_at {
            return Vec::new();
        }
        // A count of one cannot grow: the only reference is behind the lock that we hold.
        let unused = names
            .cached
            .extract_if(.., |_, dentry| Arc::strong_count(dentry) == 1)
            .map(|(_, dentry)| dentry)
            .collect();
        names.prune_at = PRUNE_FROM.max(2 * names.cached.len());
        unused
    }

    fn insert(&self, name: &[u8], dentry: &Arc<Self>) {
        let mut names = self.names.lock();
        let unused = Self::unused(&mut names);
        let before = names.cached.insert(name.into(), Arc::clone(dentry));
        drop(names);
        drop((unused, before));
    }

    fn remove(&self, name: &[u8]) {
        let before = self.names.lock().cached.remove(name);
        drop(before);
    }

    fn move_to(&self, place: Place) {
        let before = core::mem::replace(&mut *self.place.lock(), place);
        drop(before);
    }

    /// Forgets all names below: at the end of a mount, when nobody else uses them.
    pub(super) fn forget_all(&self) {
        let mut rest = Vec::from_iter(self.names.lock().cached.split_off(&[][..]).into_values());
        while let Some(dentry) = rest.pop() {
            rest.extend(dentry.names.lock().cached.split_off(&[][..]).into_values());
        }
    }
}

impl LockedDirectory<'_> {
    /// What has this name.
    ///
    /// # Errors
    ///
    /// `ENOENT`; `ENOMEM`; `EIO` from the file system.
    pub(super) fn child(&self, name: &[u8]) -> Result<Arc<Dentry>> {
        if let Some(found) = self.dentry.cached(name) {
            return Ok(found);
        }
        self.check_present()?;
        super::admit()?;
        let inode = self.dentry.inode.lookup(name)?;
        Ok(self.remember(name, inode))
    }

    /// As [`child`](Self::child), but nothing is no error.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
        match self.child(name) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Refuses a directory that was removed: it gets no new names.
    ///
    /// # Errors
    ///
    /// `ENOENT`.
    pub(super) fn check_present(&self) -> Result<()> {
        if self.state.removed {
            Err(Errno::ENOENT)
        } else {
            Ok(())
        }
    }

    /// Adds a name that the file system has.
    pub(super) fn remember(&self, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        let place = Place {
            name: name.into(),
            parent: Some(Arc::clone(self.dentry)),
            removed: false,
        };
        let dentry = Dentry::new(inode, place);
        if !self.dentry.inode.is_volatile() {
            self.dentry.insert(name, &dentry);
        }
        dentry
    }

    /// Drops a name that the file system no longer has. Whoever holds its dentry may go on.
    pub(super) fn forget(&self, name: &[u8], dentry: &Arc<Dentry>) {
        dentry.mark_removed();
        self.dentry.remove(name);
    }

    /// Says that this directory gets no new names, because it has none itself any more.
    pub(super) fn mark_removed(&mut self) {
        self.state.removed = true;
    }

    /// Moves a name that the file system has moved.
    pub(super) fn renamed(&self, name: &[u8], dentry: &Arc<Dentry>, to: &Arc<Dentry>, new: &[u8]) {
        self.dentry.remove(name);
        dentry.move_to(Place {
            name: new.into(),
            parent: Some(Arc::clone(to)),
            removed: false,
        });
        to.insert(new, dentry);
    }
}

impl Drop for Dentry {
    /// Lets go of the directories above one by one, and not by recursion, which a process could
    /// make as deep as it likes.
    fn drop(&mut self) {
        let mut parent = self.place.get_mut().parent.take();
        while let Some(mut dentry) = parent.and_then(Arc::into_inner) {
            parent = dentry.place.get_mut().parent.take();
        }
    }
}

impl fmt::Debug for Dentry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        write!(formatter, "Dentry({:?})", name.escape_ascii())
    }
}
