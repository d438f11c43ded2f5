//! The address space of a process, as long as anyone runs in it.

use core::mem::ManuallyDrop;

use alloc::vec::Vec;
use mm::{AddressSpace, FileId, Pfn, SpaceId, VirtualAddress};

use crate::error::{Errno, Result};
use crate::fs::Path;
use crate::memory::manager;
use crate::sync::SpinLock;

/// What `brk` moves: the heap of a program, at the end of its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Break {
    /// Where it starts.
    pub start: u64,
    /// Where it ends now.
    pub end: u64,
}

/// What `/proc/pid` shows of a program's layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The strings of `argv`: start and end.
    pub arguments: (u64, u64),
    /// The strings of the environment: start and end.
    pub environment: (u64, u64),
    /// The initial stack pointer.
    pub stack: u64,
    /// The address of the page with the trampoline that handlers return to.
    pub trampoline: u64,
}

/// An address space and what the kernel remembers of it. Threads share it, and so does a
/// `vfork`ed child with its parent; the last one to leave destroys it.
#[derive(Debug)]
pub struct UserSpace {
    space: ManuallyDrop<AddressSpace>,
    root: Pfn,
    /// The heap.
    pub heap: SpinLock<Break>,
    /// What `execve` laid out.
    pub layout: SpinLock<Layout>,
    /// The auxiliary vector that the program got.
    pub auxiliary: SpinLock<Vec<u8>>,
    /// The files that were mapped, by the memory manager's names for them.
    files: SpinLock<Vec<(FileId, Path)>>,
}

impl UserSpace {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self::from(manager().create()?))
    }

    /// A copy, as for `fork`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Self> {
        let child = Self::from(manager().fork(&self.space)?);
        *child.heap.lock() = *self.heap.lock();
        *child.layout.lock() = *self.layout.lock();
        child.auxiliary.lock().clone_from(&self.auxiliary.lock());
        let files = self.files.lock();
        let mut names = child.files.lock();
        names.try_reserve(files.len()).map_err(|_| Errno::ENOMEM)?;
        names.extend(files.iter().cloned());
        drop((files, names));
        Ok(child)
    }

    /// Remembers what a file that is mapped is called. If there is no memory for that, it has no
    /// name.
    pub fn name_file(&self, id: FileId, path: &Path) {
        let mut files = self.files.lock();
        // A number may have been another file's before.
        files.retain(|(known, _)| *known != id);
        let is_full = files.len() == files.capacity();
        drop(files);
        if is_full {
            self.forget_files();
        }
        let mut files = self.files.lock();
        if files.try_reserve(1).is_ok() {
            files.push((id, path.clone()));
        }
    }

    /// Forgets the names of files that are not mapped any more.
    fn forget_files(&self) {
        let mut mapped = Vec::new();
        let mut from = VirtualAddress(0);
        let next = |from| manager().area_from(&self.space, from);
        while let Some(area) = next(from) {
            from = area.end;
            if let Some(file) = area.file {
                if mapped.try_reserve(1).is_err() {
                    return;
                }
                mapped.push(file.id);
            }
        }
        let mut gone = Vec::new();
        let mut files = self.files.lock();
        if gone.try_reserve(files.len()).is_ok() {
            gone.extend(files.extract_if(.., |(id, _)| !mapped.contains(id)));
        }
        drop(files);
        // What they were the last to know goes without a spin lock held.
        drop(gone);
    }

    /// Where a file that was mapped is in the tree, if it has a name.
    pub fn path_of(&self, id: FileId) -> Option<Path> {
        let files = self.files.lock();
        let (_, path) = files.iter().find(|(known, _)| *known == id)?;
        Some(path.clone())
    }

    /// What the memory manager knows it by.
    pub fn handle(&self) -> &AddressSpace {
        &self.space
    }

    /// Its name.
    pub fn id(&self) -> SpaceId {
        self.space.id()
    }

    /// The table that the hardware walker starts from.
    pub fn root(&self) -> Pfn {
        self.root
    }
}

impl From<AddressSpace> for UserSpace {
    fn from(space: AddressSpace) -> Self {
        Self {
            root: manager().root(&space),
            space: ManuallyDrop::new(space),
            heap: SpinLock::default(),
            layout: SpinLock::default(),
            auxiliary: SpinLock::default(),
            files: SpinLock::default(),
        }
    }
}

impl Drop for UserSpace {
    #[expect(unsafe_code, reason = "the handle is given back by value")]
    fn drop(&mut self) {
        // SAFETY: nobody uses the handle after this: its owner ends here.
        let space = unsafe { ManuallyDrop::take(&mut self.space) };
        manager().destroy(space);
    }
}
