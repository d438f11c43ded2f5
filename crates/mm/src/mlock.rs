//! Locked memory (`mlock`): its pages stay where a load or store finds them.
//!
//! Being locked is an attribute of an area. Reclaim asks for it under the space's lock, before it
//! unmaps a page. A locked page may still move to another frame, and its memory may fail.

use crate::memory::Inner;
use crate::{
    Access, AddressSpace, Errno, Machine, Memory, PAGE_SIZE, PageRange, Protection, Sharing,
    UserFrame, VirtualAddress, VirtualPage,
};

/// Whether the pages of an area stay in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// They may leave.
    Unlocked,
    /// They are brought in at once, and stay.
    Locked,
    /// They stay once somebody touched them (`MLOCK_ONFAULT`, `MCL_ONFAULT`).
    OnFault,
}

/// What is to be populated: pages, and with which access.
type Part = (PageRange, Access);

impl<M: Machine> Memory<M> {
    /// Locks a range, or unlocks it. The range is extended to whole pages.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it wraps around. `ENOMEM`: a page is not mapped, or an area could not be split;
    /// nothing has changed. When pages cannot be brought in, the range is locked all the same:
    /// `ENOMEM` if one may not be accessed, is beyond the end of its file or is lost; `EAGAIN` if
    /// memory ran out.
    pub fn mlock(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
        locking: Locking,
    ) -> Result<(), Errno> {
        let Some(pages) = whole_pages(start, length)? else {
            return Ok(());
        };
        {
            let whole = self.with_whole_blocks(space, pages);
            let mut inner = self.lock_apart(space, whole)?;
            if !inner.vmas.covers(pages) {
                return Err(Errno::ENOMEM);
            }
            self.split_at_ends(&mut inner, whole)?;
            inner.vmas.change(whole, |vma| vma.lock(locking));
        }
        self.populate_locked(space, pages)
            .map_err(|error| match error {
                Errno::ENOMEM => Errno::EAGAIN,
                _ => Errno::ENOMEM,
            })
    }

    /// Locks or unlocks what is mapped now, if `current` says how, and sets how what is mapped
    /// later starts (`mlockall`, `munlockall`). Pages that cannot be brought in are left out.
    pub fn mlockall(&self, space: &AddressSpace, current: Option<Locking>, later: Locking) {
        {
            let mut inner = space.0.inner.lock();
            inner.lock_later = later;
            if let Some(locking) = current {
                inner.vmas.change(PageRange::ALL, |vma| vma.lock(locking));
            }
        }
        if current == Some(Locking::Locked) {
            let _ = self.populate_locked(space, PageRange::ALL);
        }
    }

    /// How many pages are in locked areas (`VmLck` in `/proc/pid/status`).
    pub fn locked_pages(&self, space: &AddressSpace) -> u64 {
        let inner = space.0.inner.lock();
        let locked = inner
            .vmas
            .iter()
            .filter(|vma| vma.locking != Locking::Unlocked);
        locked.map(|vma| vma.pages.pages()).sum()
    }

    /// Brings in the pages of `pages` that must be there. It goes on after an error, and returns
    /// the first.
    pub(crate) fn populate_locked(
        &self,
        space: &AddressSpace,
        pages: PageRange,
    ) -> Result<(), Errno> {
        let mut result = Ok(());
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((part, access)) = first_locked(&space.0.inner.lock(), range) else {
                break;
            };
            for page in (part.start().0..part.end().0).map(VirtualPage) {
                result = result.and(self.populate_page(space, page, access));
            }
            rest = PageRange::new(part.end(), pages.end());
        }
        result
    }

    /// Whether a page is mapped by a locked area.
    pub(crate) fn is_locked(&self, page: &UserFrame) -> bool {
        let mut locked = false;
        self.for_each_mapper(
            page,
            |_, inner, mapper| locked |= is_locked_at(inner, mapper.page()),
            |_, _| {},
        );
        locked
    }
}

pub(crate) fn is_locked_at(inner: &Inner, page: VirtualPage) -> bool {
    let area = inner.vmas.find(page);
    area.is_some_and(|vma| vma.locking != Locking::Unlocked)
}

/// The first part of an area in `range` whose pages must be there. Private memory that can be
/// stored to gets its copies now; other memory is not dirtied.
fn first_locked(inner: &Inner, range: PageRange) -> Option<Part> {
    let mut rest = range;
    loop {
        let vma = inner.vmas.find_from(rest.start())?;
        let part = vma.pages.intersect(rest)?;
        if vma.locking == Locking::Locked {
            let access = match (vma.protection, vma.sharing) {
                (Protection { write: true, .. }, Sharing::Private) => Access::Store,
                (
                    Protection {
                        read: false,
                        write: false,
                        execute: true,
                    },
                    _,
                ) => Access::Fetch,
                _ => Access::Load,
            };
            return Some((part, access));
        }
        rest = PageRange::new(part.end(), range.end())?;
    }
}

/// The pages with a byte in the range; none if it is empty.
fn whole_pages(start: VirtualAddress, length: u64) -> Result<Option<PageRange>, Errno> {
    let end = start.0.checked_add(length).ok_or(Errno::EINVAL)?;
    if length == 0 {
        return Ok(None);
    }
    let end = VirtualPage(end.div_ceil(PAGE_SIZE as u64));
    PageRange::new(start.page(), end)
        .map(Some)
        .ok_or(Errno::ENOMEM)
}
