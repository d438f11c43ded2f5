//! Replacing a page by a frame that has the same contents, once that is proven.

use super::Ksm;
use super::tree::Class;
use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::vma::Vma;
use crate::{Entry, FrameState, Machine, Memory, Poisoned, UserFrame};

/// A page that may be merged, and the checksum it had.
pub(super) struct Candidate<'a> {
    pub(super) mapper: Mapper,
    pub(super) page: &'a UserFrame,
    pub(super) checksum: u64,
}

/// What the contents of a frame that becomes stable must be.
pub(super) enum Proof<'a> {
    /// Those that the checksum was of.
    New,
    /// Zeros.
    Zero,
    /// Those of a frame of a class.
    Equal(Class, &'a UserFrame),
}

impl<M: Machine> Memory<M> {
    /// Maps `stable` in the place of a page with the same contents. Returns whether it did; if
    /// not, the page is what it was.
    pub(super) fn merge(
        &self,
        candidate: &Candidate<'_>,
        stable: &UserFrame,
    ) -> Result<bool, Poisoned> {
        self.while_unwritable(candidate, |inner, area| {
            if !self.machine.compare(candidate.page, stable)? {
                return Ok(false);
            }
            let permit = self.permit();
            let added = self
                .frames
                .lock(stable)
                .mappers
                .insert(permit, candidate.mapper);
            if added.is_err() {
                return Ok(false);
            }
            self.replace(inner, area, candidate.mapper, stable);
            Ok(true)
        })
    }

    /// Maps `stable`, which counts `mapper` already, in the place of another frame. Stores come
    /// back by a fault.
    pub(super) fn replace(&self, inner: &Inner, area: &Vma, mapper: Mapper, stable: &UserFrame) {
        let (machine, page) = (&self.machine, mapper.page());
        let reference = self.frames.get(stable.pfn());
        // Break before make: no CPU may have a translation to each of the two frames.
        if let Some(unmapped) = inner.table.unmap(machine, page, Entry::Empty) {
            self.end_mapping(mapper, unmapped.flush(machine));
        }
        inner
            .table
            .map(machine, page, reference, area.protection.read_only());
    }

    /// Makes the frame of a page one that others may share. Returns whether it did; if not, the
    /// page is what it was.
    pub(super) fn stabilise(
        &self,
        ksm: &mut Ksm,
        candidate: &Candidate<'_>,
        proof: Proof<'_>,
    ) -> Result<bool, Poisoned> {
        let (machine, page) = (&self.machine, candidate.page);
        self.while_unwritable(candidate, |_, _| {
            // The tree must have the checksum of what nobody can change from here on.
            if machine.checksum(page)? != candidate.checksum {
                return Ok(false);
            }
            let class = match proof {
                Proof::New => None,
                Proof::Zero if machine.is_zero(page)? => Some(Class::ZERO),
                Proof::Equal(class, node) if machine.compare(page, node)? => Some(class),
                Proof::Zero | Proof::Equal(..) => return Ok(false),
            };
            if ksm.stable.reserve([self.permit(), self.permit()]).is_err() {
                return Ok(false);
            }
            self.frames.lock(page).state = FrameState::Ksm;
            ksm.stable
                .insert_reserved(page.pfn(), candidate.checksum, class);
            Ok(true)
        })
    }

    /// Undoes [`stabilise`](Self::stabilise), for a frame that nobody came to share.
    pub(super) fn destabilise(&self, ksm: &mut Ksm, page: &UserFrame) {
        ksm.stable.remove(page.pfn());
        self.frames.lock(page).state = FrameState::Anonymous;
    }

    /// Runs `act` with a page locked that no CPU can store to, if the page is still mapped where
    /// it was and nobody else holds it: whoever held it for stores could change it later.
    fn while_unwritable(
        &self,
        candidate: &Candidate<'_>,
        act: impl FnOnce(&Inner, &Vma) -> Result<bool, Poisoned>,
    ) -> Result<bool, Poisoned> {
        let (mapper, page) = (candidate.mapper, candidate.page);
        if self.split_locked(page.pfn()).is_err() {
            return Ok(false);
        }
        let Some(space) = self.find_space(mapper.space()) else {
            return Ok(false);
        };
        let inner = space.inner.lock();
        let Some(area) = inner.vmas.find(mapper.page()).filter(|area| area.mergeable) else {
            return Ok(false);
        };
        let protection = match inner.table.get(&self.machine, mapper.page()) {
            Entry::Page(pfn, protection) if pfn == page.pfn() => protection,
            _ => return Ok(false),
        };
        {
            let mut frame = self.frames.lock(page);
            // If swap needs the page, it holds it too.
            self.leave_swap(&mut frame);
            let others = frame.references != frame.mappers.len() as u32 + 1;
            if others || frame.huge || frame.state != FrameState::Anonymous {
                return Ok(false);
            }
        }
        // Whoever else maps it shares it since a fork, and cannot store to it either.
        if let Some(stale) =
            inner
                .table
                .protect(&self.machine, mapper.page(), protection.read_only())
        {
            stale.flush(&self.machine);
        }
        act(&inner, area)
    }
}

#[cfg(test)]
mod tests;
