//! Collapsing private memory: its table is taken out, so that no CPU can reach the pages; they are
//! copied into a huge page; and a block takes the place of the table, or the table comes back.

use super::Limits;
use crate::memory::Inner;
use crate::migrate::Stays;
use crate::rmap::Mapper;
use crate::table::Loose;
use crate::{Entry, Errno, FrameState, Machine, Memory, PageRange, Poisoned, SpaceId, UserFrame};

impl<M: Machine> Memory<M> {
    /// Makes a huge page of the pages in a block, which is all of one private anonymous area. The
    /// caller holds the lock of errors and the one of the space.
    pub(super) fn collapse_anonymous(
        &self,
        space: SpaceId,
        inner: &Inner,
        block: PageRange,
        limits: Limits,
    ) -> Result<(), Stays> {
        self.may_collapse(inner, block, limits)
            .map_err(Stays::Error)?;
        let fresh = self
            .frames
            .allocate_huge(&self.machine, FrameState::Anonymous)
            .map_err(Stays::Error)?;
        let mapper = Mapper::new(space, block.start());
        let permit = self.permit();
        let adopted = self.frames.lock(&fresh).mappers.insert(permit, mapper);
        if let Err(error) = adopted {
            self.frames.put(fresh);
            return Err(Stays::Error(error));
        }
        let collapsed = self.replace_table(space, inner, block, &fresh);
        if collapsed.is_err() {
            self.frames.lock(&fresh).mappers.remove(mapper);
            self.frames.put(fresh);
            return collapsed;
        }
        self.frames.lock(&fresh).migrating = false;
        let protection = inner
            .vmas
            .find(block.start())
            .map_or(crate::Protection::NONE, |area| area.protection);
        let entry = Entry::Page(fresh.into_entry(), protection);
        inner.table.mark(&self.machine, block, entry);
        Ok(())
    }

    /// Whether the pages are there, and nobody but their mappers holds one.
    fn may_collapse(&self, inner: &Inner, block: PageRange, limits: Limits) -> Result<(), Errno> {
        let (mut present, mut shared) = (0, 0);
        let mut rest = Some(block);
        while let Some(range) = rest {
            let Some((page, entry)) = inner.table.next(&self.machine, range) else {
                break;
            };
            rest = PageRange::new(page.end(), block.end());
            let Entry::Page(pfn, _) = entry else {
                return Err(Errno::EINVAL);
            };
            let frame = self.frames.lock_known(pfn);
            if frame.references != frame.least_references() {
                return Err(Errno::EAGAIN);
            }
            present += 1;
            shared += u64::from(frame.mappers.len() > 1);
        }
        let empty = self.frames.pieces() - present;
        if present == 0 || empty > limits.empty || shared > limits.shared {
            return Err(Errno::EINVAL);
        }
        Ok(())
    }

    /// Moves the contents of a block from its table of small pages to a huge page. On an error the
    /// table is back.
    fn replace_table(
        &self,
        space: SpaceId,
        inner: &Inner,
        block: PageRange,
        fresh: &UserFrame,
    ) -> Result<(), Stays> {
        let machine = &self.machine;
        let Some(detached) = inner.table.detach(machine, block.start()) else {
            return Err(Stays::Error(Errno::EINVAL));
        };
        let loose = detached.flush(machine);
        if let Err(poisoned) = self.copy_all(&loose, fresh) {
            inner.table.attach(machine, loose);
            return Err(Stays::Poisoned(poisoned));
        }
        for piece in 0..self.frames.pieces() {
            if let Entry::Page(pfn, _) = loose.entry(machine, piece) {
                let mapper = Mapper::new(space, block.start()).offset(piece);
                self.end_mapping(mapper, UserFrame::of_entry(pfn));
            }
        }
        self.frames.free_table(loose.into_table());
        Ok(())
    }

    fn copy_all(&self, from: &Loose, to: &UserFrame) -> Result<(), Poisoned> {
        for piece in 0..self.frames.pieces() {
            to.with_piece(piece, |to| match from.entry(&self.machine, piece) {
                Entry::Page(pfn, _) => {
                    // The entry in the table that is out holds the reference.
                    let from = UserFrame::of_entry(pfn);
                    self.machine.copy_page(to, &from)
                }
                _ => {
                    self.machine.zero(to);
                    Ok(())
                }
            })?;
        }
        Ok(())
    }
}
