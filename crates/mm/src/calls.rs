//! The calls that change an address space. On an error nothing that the process can see has
//! changed, and the errors are Linux's.

use alloc::sync::Arc;

use crate::memory::Inner;
use crate::table::{Stale, pages_end};
use crate::vma::{Backing, Vma};
use crate::{
    Access, AddressSpace, Entry, Errno, File, FileKind, HugeAdvice, Locking, Machine, Memory,
    OnFork, Outcome, PageRange, Protection, Sharing, VirtualAddress, VirtualPage,
};

/// Where a mapping goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Wherever there is room.
    Anywhere,
    /// Exactly there, instead of what is mapped there (`MAP_FIXED`).
    Fixed(VirtualAddress),
    /// Exactly there, if nothing is (`MAP_FIXED_NOREPLACE`).
    FixedNoReplace(VirtualAddress),
}

/// What a mapping shows.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Zeros (`MAP_ANONYMOUS`).
    Anonymous,
    /// Zeros, in huge pages of the pool (`MAP_ANONYMOUS | MAP_HUGETLB`).
    Hugetlb,
    /// A file, from a byte offset that must be a multiple of the page size.
    File(&'a Arc<File>, u64),
}

/// Advice that changes what a process sees or what a fork does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Forget the pages: private ones read as zeros or the file again (`MADV_DONTNEED`).
    DontNeed,
    /// The pages may turn into zeros, each until it is stored to (`MADV_FREE`).
    Free,
    /// Fault all pages in for loads (`MADV_POPULATE_READ`).
    PopulateRead,
    /// Fault all pages in for stores (`MADV_POPULATE_WRITE`).
    PopulateWrite,
    /// `MADV_DONTFORK`, `MADV_WIPEONFORK`, and `MADV_DOFORK` or `MADV_KEEPONFORK`.
    Fork(OnFork),
    /// Let pages share frames with pages of equal contents (`MADV_MERGEABLE`).
    Mergeable,
    /// Give merged pages frames of their own (`MADV_UNMERGEABLE`).
    Unmergeable,
    /// `MADV_HUGEPAGE` and `MADV_NOHUGEPAGE`.
    Huge(HugeAdvice),
    /// Make huge pages of what is there (`MADV_COLLAPSE`).
    Collapse,
    /// The pages will not be used soon (`MADV_COLD`).
    Cold,
    /// Let the pages leave memory now, but those that others share (`MADV_PAGEOUT`).
    PageOut,
}

/// The pages that hold `length` bytes from `start`, in the user space of a machine. The errors are
/// those of [`PageRange::of_bytes`].
pub(crate) fn user_range<M: Machine>(
    start: VirtualAddress,
    length: u64,
) -> Result<PageRange, Errno> {
    let pages = PageRange::of_bytes(start, length)?;
    if pages.end() > pages_end::<M>() {
        return Err(Errno::ENOMEM);
    }
    Ok(pages)
}

/// The pages that advice is about; none if the length is zero.
pub(crate) fn advised_range(
    start: VirtualAddress,
    length: u64,
) -> Result<Option<PageRange>, Errno> {
    let wraps = start.0.checked_add(length).is_none();
    if !start.is_aligned() || wraps {
        return Err(Errno::EINVAL);
    }
    if length == 0 {
        return Ok(None);
    }
    PageRange::of_bytes(start, length).map(Some)
}

impl<M: Machine> Memory<M> {
    /// Maps `length` bytes, rounded up to pages, and returns where.
    ///
    /// # Errors
    ///
    /// `EINVAL`: the length is zero, or an address or offset unaligned. `ENOMEM`: no room, no
    /// memory, or the range leaves user space. `EEXIST`: something is there already. `EOVERFLOW`:
    /// the file's pages have no number. With huge pages of the pool, `EINVAL` also if the address,
    /// the offset or the length in a file is not a multiple of theirs, and `ENOMEM` if the pool has
    /// too few that nobody reserved.
    pub fn mmap(
        &self,
        space: &AddressSpace,
        placement: Placement,
        length: u64,
        protection: Protection,
        sharing: Sharing,
        source: Source<'_>,
    ) -> Result<VirtualAddress, Errno> {
        let start = match placement {
            Placement::Anywhere => VirtualAddress(0),
            Placement::Fixed(start) | Placement::FixedNoReplace(start) => start,
        };
        let pages = self.whole_blocks(source, user_range::<M>(start, length)?)?;
        let pooled = source.is_pooled();
        let backing = self.backing(sharing, source, pages.pages())?;
        self.prepare_pool(&backing, sharing, pages);
        let file = backing.file().cloned();
        let locked = match placement {
            Placement::Fixed(_) => self.lock_apart(space, pages),
            // Nothing is there.
            Placement::Anywhere | Placement::FixedNoReplace(_) => Ok(space.0.inner.lock()),
        };
        let result = locked.and_then(|mut inner| {
            if let Some(file) = &file {
                file.add_space(self.permit(), space.id())?;
            }
            let pages = self.place(space, &mut inner, placement, pages, &backing, sharing)?;
            let locking = match pooled {
                // Its pages do not leave anyway.
                true => Locking::Unlocked,
                false => inner.lock_later,
            };
            inner.vmas.insert_reserved(Vma {
                pages,
                protection,
                sharing,
                backing,
                on_fork: OnFork::Inherit,
                huge: HugeAdvice::None,
                mergeable: !pooled && space.0.merging.takes(sharing),
                locking,
                owner: pooled && sharing == Sharing::Private,
            });
            Ok((pages, locking))
        });
        if let (Err(_), Some(file)) = (result, file) {
            self.close(file);
        }
        if pooled {
            // What was got for it and not reserved.
            self.frames.trim_pool();
        }
        let (pages, locking) = result?;
        if locking == Locking::Locked {
            // Whatever cannot be brought in, a fault will say of.
            let _ = self.populate_locked(space, pages);
        }
        Ok(pages.start().address())
    }

    /// The backing of a new area, as a user of its file.
    fn backing(&self, sharing: Sharing, source: Source<'_>, pages: u64) -> Result<Backing, Errno> {
        match source {
            Source::Anonymous if sharing == Sharing::Private => Ok(Backing::Anonymous),
            Source::Hugetlb if sharing == Sharing::Private => Ok(Backing::Pool),
            Source::Anonymous | Source::Hugetlb => {
                let kind = match source {
                    Source::Hugetlb => FileKind::Hugetlb,
                    _ => FileKind::Memory,
                };
                let size = pages << crate::PAGE_SHIFT;
                Ok(Backing::File(self.create_file(kind, size)?, 0))
            }
            Source::File(file, offset) => {
                let start = VirtualAddress(offset);
                if !start.is_aligned() {
                    return Err(Errno::EINVAL);
                }
                let end = start.page().0.checked_add(pages).ok_or(Errno::EOVERFLOW)?;
                u32::try_from(end).map_err(|_| Errno::EOVERFLOW)?;
                file.add_user();
                Ok(Backing::File(Arc::clone(file), start.page().0 as u32))
            }
        }
    }

    /// Makes room for an area. After this nothing can fail.
    fn place(
        &self,
        space: &AddressSpace,
        inner: &mut Inner,
        placement: Placement,
        pages: PageRange,
        backing: &Backing,
        sharing: Sharing,
    ) -> Result<PageRange, Errno> {
        let pooled = backing.is_pooled();
        let align = if pooled { self.frames.pieces() } else { 1 };
        let place = match placement {
            Placement::Anywhere => inner
                .vmas
                .find_room(pages.pages(), align)
                .ok_or(Errno::ENOMEM)?,
            Placement::FixedNoReplace(_) if !inner.vmas.is_unused(pages) => {
                return Err(Errno::EEXIST);
            }
            Placement::FixedNoReplace(_) => pages,
            Placement::Fixed(_) => {
                self.split_at_ends(inner, pages)?;
                pages
            }
        };
        let reserved = inner
            .vmas
            .reserve(self.permit())
            .and_then(|()| self.reserve_blocks(inner, backing, sharing, place));
        if let Err(error) = reserved {
            inner.vmas.merge(place);
            return Err(error);
        }
        if let Placement::Fixed(_) = placement {
            self.unmap_areas(space.id(), inner, place);
        }
        if pooled && sharing == Sharing::Private {
            self.mark_reserved(space.id(), inner, place);
        }
        Ok(place)
    }

    pub(crate) fn split_at_ends(&self, inner: &mut Inner, pages: PageRange) -> Result<(), Errno> {
        debug_assert!(
            [pages.start(), pages.end()]
                .into_iter()
                .all(|page| inner.table.block_across(&self.machine, page).is_none()),
            "lock_apart was not called"
        );
        inner.vmas.split(|| self.permit(), pages.start())?;
        let split = inner.vmas.split(|| self.permit(), pages.end());
        if split.is_err() {
            inner.vmas.merge(pages);
        }
        split
    }

    /// Unmaps a range; holes in it are no error.
    ///
    /// # Errors
    ///
    /// `EINVAL`: unaligned, also to a huge page of the pool; empty or outside user space. `ENOMEM`: an area could not be split.
    pub fn munmap(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
    ) -> Result<(), Errno> {
        let pages = PageRange::of_bytes(start, length).map_err(|_| Errno::EINVAL)?;
        let mut inner = self.lock_apart(space, pages)?;
        self.split_at_ends(&mut inner, pages)?;
        self.unmap_areas(space.id(), &mut inner, pages);
        Ok(())
    }

    /// Changes the protection of a range. A length of zero changes nothing.
    ///
    /// # Errors
    ///
    /// `EINVAL`: unaligned, also to a huge page of the pool. `ENOMEM`: a page of the range is not
    /// mapped, or an area could not be split.
    pub fn mprotect(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
        protection: Protection,
    ) -> Result<(), Errno> {
        if start.is_aligned() && length == 0 {
            return Ok(());
        }
        let pages = PageRange::of_bytes(start, length)?;
        let mut inner = self.lock_apart(space, pages)?;
        if !inner.vmas.covers(pages) {
            return Err(Errno::ENOMEM);
        }
        self.split_at_ends(&mut inner, pages)?;
        inner.vmas.change(pages, |vma| vma.protection = protection);
        // Stores come back by a fault, which knows whether the page must be copied first.
        if let Some(stale) = self.protect_entries(&inner, pages, |_| protection.read_only()) {
            stale.flush(&self.machine);
        }
        Ok(())
    }

    /// Changes the protection of all mapped pages in `pages`.
    pub(crate) fn protect_entries(
        &self,
        inner: &Inner,
        pages: PageRange,
        change: impl Fn(Protection) -> Protection,
    ) -> Option<Stale> {
        let mut all: Option<Stale> = None;
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((found, entry)) = inner.table.next(&self.machine, range) else {
                break;
            };
            if let Entry::Page(_, now) = entry
                && let Some(stale) = inner
                    .table
                    .protect(&self.machine, found.start(), change(now))
            {
                all = Some(stale.and(all));
            }
            rest = PageRange::new(found.end(), pages.end());
        }
        all
    }

    /// Acts on advice about a range.
    ///
    /// # Errors
    ///
    /// `EINVAL`: unaligned, also to a huge page of the pool; wiping or freeing an area that is not
    /// private and anonymous; forgetting, freeing, cooling or paging out a locked one; advice on
    /// huge pages for an area that has those of the pool. `ENOMEM`: a page of the range is not mapped, or memory
    /// ran out. Collapsing also gives `EINVAL` if a page cannot be read or the memory cannot be
    /// huge, and `EAGAIN` if someone holds a page; what could be collapsed is. Populating also
    /// gives `EFAULT` for a page that may not be accessed so or is beyond its file, and
    /// `EHWPOISON` for one that is lost; pages before it are populated.
    pub fn madvise(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
        advice: Advice,
    ) -> Result<(), Errno> {
        let Some(mut pages) = advised_range(start, length)? else {
            return Ok(());
        };
        if advice == Advice::DontNeed {
            // A part of a huge page of the pool at the end is left out.
            match self.whole_blocks_of(space, pages) {
                Some(whole) => pages = whole,
                None => return Ok(()),
            }
        }
        let mut inner = match advice {
            Advice::PopulateRead | Advice::PopulateWrite | Advice::Collapse => space.0.inner.lock(),
            _ => self.lock_apart(space, pages)?,
        };
        if !inner.vmas.covers(pages) {
            return Err(Errno::ENOMEM);
        }
        match advice {
            Advice::Free => {
                if !inner
                    .vmas
                    .all(pages, |vma| vma.is_private_anonymous() && vma.may_leave())
                {
                    return Err(Errno::EINVAL);
                }
                self.free_lazily(&inner, pages);
            }
            Advice::DontNeed => {
                if !inner.vmas.all(pages, Vma::may_leave) {
                    return Err(Errno::EINVAL);
                }
                self.zap(space.id(), &inner, pages);
            }
            Advice::Fork(on_fork) => {
                if on_fork == OnFork::Wipe && !inner.vmas.all(pages, Vma::is_private_anonymous) {
                    return Err(Errno::EINVAL);
                }
                self.split_at_ends(&mut inner, pages)?;
                inner.vmas.change(pages, |vma| vma.on_fork = on_fork);
            }
            Advice::Mergeable => self.advise_mergeable(space, &mut inner, pages)?,
            Advice::Unmergeable => {
                drop(inner);
                return self.advise_unmergeable(space, pages);
            }
            Advice::Huge(advice) => {
                if inner.vmas.any_pooled(pages) {
                    return Err(Errno::EINVAL);
                }
                self.split_at_ends(&mut inner, pages)?;
                inner.vmas.change(pages, |vma| vma.huge = advice);
            }
            Advice::Collapse => {
                if inner.vmas.any_pooled(pages) {
                    return Err(Errno::EINVAL);
                }
                drop(inner);
                return self.advise_collapse(space, pages);
            }
            Advice::Cold | Advice::PageOut => {
                let may_leave = |vma: &Vma| vma.may_leave() && !vma.is_pooled();
                if !inner.vmas.all(pages, may_leave) {
                    return Err(Errno::EINVAL);
                }
                self.cool(&inner, pages);
                drop(inner);
                if advice == Advice::PageOut {
                    self.page_out(space, pages);
                }
            }
            Advice::PopulateRead | Advice::PopulateWrite => {
                drop(inner);
                let access = if advice == Advice::PopulateRead {
                    Access::Load
                } else {
                    Access::Store
                };
                return self.populate(space, pages, access);
            }
        }
        Ok(())
    }

    fn populate(
        &self,
        space: &AddressSpace,
        pages: PageRange,
        access: Access,
    ) -> Result<(), Errno> {
        (pages.start().0..pages.end().0)
            .try_for_each(|page| self.populate_page(space, VirtualPage(page), access))
    }

    /// Faults one page in.
    pub(crate) fn populate_page(
        &self,
        space: &AddressSpace,
        page: VirtualPage,
        access: Access,
    ) -> Result<(), Errno> {
        loop {
            match self.fault(space, page.address(), access) {
                Outcome::Resolved => return Ok(()),
                Outcome::Retry => crate::lock::relax(),
                Outcome::Oom => return Err(Errno::ENOMEM),
                Outcome::Sigbus(bus) if bus.code.is_memory_error() => {
                    return Err(Errno::EHWPOISON);
                }
                Outcome::Sigbus(_) | Outcome::Sigsegv(_) => return Err(Errno::EFAULT),
            }
        }
    }
}
