//! Pinned pages (`get_user_pages`): frames that the kernel or a device uses by their frame number.
//!
//! A pinned page is the page that its process sees, until the process itself unmaps it or its
//! memory fails. So it neither moves nor leaves, and private memory is pinned only if one process
//! alone has it: a page that is shared is copied before it is pinned, and a fork copies a pinned
//! page at once.

use crate::{
    Access, AddressSpace, Entry, Errno, FrameState, Machine, Memory, UserFrame, VirtualAddress,
};

/// A frame that stays what its process sees. Like any [`UserFrame`] it can only be read by
/// operations that can fail.
#[derive(Debug)]
#[must_use = "a pin that is dropped is never undone"]
pub struct PinnedFrame {
    frame: UserFrame,
    writable: bool,
}

impl PinnedFrame {
    /// The frame, for the operations of a [`Machine`].
    pub fn frame(&self) -> &UserFrame {
        &self.frame
    }
}

/// What came of an attempt.
enum Attempt {
    Pinned(PinnedFrame),
    /// The page is shared, and must be this process's own.
    Shared,
    /// It has as many pins as can be counted.
    TooMany,
    /// The page changed since it was faulted in, or is being moved.
    Again,
}

impl<M: Machine> Memory<M> {
    /// Pins the page of an address for loads or stores by someone else than the process. It must
    /// be given back with [`unpin_user_page`](Self::unpin_user_page).
    ///
    /// # Errors
    ///
    /// `EFAULT`: the process may not access it so, or it is beyond the end of its file.
    /// `EHWPOISON`: it is lost. `ENOMEM`; also if 65535 others have pinned it for stores.
    pub fn pin_user_page(
        &self,
        space: &AddressSpace,
        address: VirtualAddress,
        access: Access,
    ) -> Result<PinnedFrame, Errno> {
        loop {
            self.populate_page(space, address.page(), access)?;
            match self.try_pin(space, address, access) {
                Attempt::Pinned(pin) => return Ok(pin),
                Attempt::Shared => self.unshare_page(space, address.page())?,
                Attempt::TooMany => return Err(Errno::ENOMEM),
                Attempt::Again => crate::lock::relax(),
            }
        }
    }

    fn try_pin(&self, space: &AddressSpace, address: VirtualAddress, access: Access) -> Attempt {
        let inner = space.0.inner.lock();
        let pfn = match inner.table.get(&self.machine, address.page()) {
            Entry::Page(pfn, protection) if protection.allows(access) => pfn,
            _ => return Attempt::Again,
        };
        let mut frame = self.frames.lock_known(pfn);
        if frame.has_failed() || frame.migrating {
            return Attempt::Again;
        }
        if self.is_shared(&mut frame) {
            return Attempt::Shared;
        }
        let writable = access == Access::Store;
        if writable && frame.store_pins == u16::MAX {
            return Attempt::TooMany;
        }
        let frame = self.frames.pin(&mut frame, pfn, writable);
        Attempt::Pinned(PinnedFrame { frame, writable })
    }

    /// Gives a pin back.
    pub fn unpin_user_page(&self, pin: PinnedFrame) {
        let mut frame = self.frames.lock(&pin.frame);
        self.frames.unpin(&mut frame, &pin.frame, pin.writable);
        frame.dirty |= pin.writable && matches!(frame.state, FrameState::File { .. });
        drop(frame);
        self.frames.put(pin.frame);
    }

    /// Reads from a pinned page, from byte `offset`, which with the length must not exceed it.
    /// If it cannot be read it is isolated, as far as the pin allows.
    ///
    /// # Errors
    ///
    /// How many bytes were read before the first that could not.
    pub fn read_pinned(
        &self,
        pin: &PinnedFrame,
        offset: usize,
        into: &mut [u8],
    ) -> Result<(), usize> {
        let read = self.machine.read(&pin.frame, offset, into);
        read.map_err(|poisoned| {
            self.isolate_consumed(poisoned.pfn);
            poisoned.done
        })
    }
}
