//! The address space of a process, as long as anyone runs in it.

use core::mem::ManuallyDrop;

use mm::{AddressSpace, Pfn, SpaceId};

use crate::error::Result;
use crate::memory::manager;
use crate::sync::SpinLock;
use crate::task::preemption;

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
}

impl UserSpace {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let _guard = preemption::disable();
        Ok(Self::from(manager().create()?))
    }

    /// A copy, as for `fork`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn fork(&self) -> Result<Self> {
        let child = {
            let _guard = preemption::disable();
            Self::from(manager().fork(&self.space)?)
        };
        *child.heap.lock() = *self.heap.lock();
        *child.layout.lock() = *self.layout.lock();
        Ok(child)
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
        }
    }
}

impl Drop for UserSpace {
    #[expect(unsafe_code, reason = "the handle is given back by value")]
    fn drop(&mut self) {
        let _guard = preemption::disable();
        // SAFETY: nobody uses the handle after this: its owner ends here.
        let space = unsafe { ManuallyDrop::take(&mut self.space) };
        manager().destroy(space);
    }
}
