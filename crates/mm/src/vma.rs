//! Areas of an address space: what is mapped where, and how.

use alloc::sync::Arc;

use crate::machine::Permit;
use crate::map::OrderedMap;
use crate::{
    Access, Errno, File, FileKind, HugeAdvice, Locking, PageRange, Protection, VirtualPage,
};

/// Whose stores are seen by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Stores stay with the process: the first one to a page copies it.
    Private,
    /// Stores reach the file, and everyone who maps it.
    Shared,
}

/// Where the contents of an area come from.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Zeros.
    Anonymous,
    /// Zeros, in huge pages of the pool.
    Pool,
    /// A file, from this page of it. The area counts as one of its users.
    File(Arc<File>, u32),
}

impl Backing {
    /// The file, if it is one.
    pub(crate) fn file(&self) -> Option<&Arc<File>> {
        match self {
            Self::Anonymous | Self::Pool => None,
            Self::File(file, _) => Some(file),
        }
    }

    /// Whether it has huge pages of the pool.
    pub(crate) fn is_pooled(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Pool => true,
            Self::File(file, _) => file.kind() == FileKind::Hugetlb,
        }
    }

    /// The backing of the part that starts `pages` further on, as another user of the file.
    fn share_from(&self, pages: u64) -> Self {
        match self {
            Self::Anonymous => Self::Anonymous,
            Self::Pool => Self::Pool,
            Self::File(file, first) => {
                file.add_user();
                Self::File(Arc::clone(file), first + pages as u32)
            }
        }
    }
}

/// What a fork does with an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFork {
    /// The child gets it.
    Inherit,
    /// The child does not get it (`MADV_DONTFORK`).
    Omit,
    /// The child gets it filled with zeros (`MADV_WIPEONFORK`).
    Wipe,
}

/// One area: a range of pages that are mapped alike.
#[derive(Debug)]
pub(crate) struct Vma {
    pub(crate) pages: PageRange,
    pub(crate) protection: Protection,
    pub(crate) sharing: Sharing,
    pub(crate) backing: Backing,
    pub(crate) on_fork: OnFork,
    /// Its pages may share frames with pages of equal contents (`MADV_MERGEABLE`).
    pub(crate) mergeable: bool,
    pub(crate) huge: HugeAdvice,
    pub(crate) locking: Locking,
    /// A private mapping of huge pages of the pool, in the process that reserved them: others
    /// give way when there are too few.
    pub(crate) owner: bool,
}

impl Vma {
    /// Whether it allows `access`.
    pub(crate) fn allows(&self, access: Access) -> bool {
        self.protection.allows(access)
    }

    /// Whether its pages need not stay in memory.
    pub(crate) fn may_leave(&self) -> bool {
        self.locking == Locking::Unlocked
    }

    /// Locks or unlocks it. Huge pages of the pool stay anyway.
    pub(crate) fn lock(&mut self, locking: Locking) {
        if !self.is_pooled() {
            self.locking = locking;
        }
    }

    /// Whether it is private memory that starts as zeros.
    pub(crate) fn is_private_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous)
    }

    /// Whether it is mapped by huge pages of the pool, and by nothing smaller unless memory failed.
    pub(crate) fn is_pooled(&self) -> bool {
        self.backing.is_pooled()
    }

    /// The file and the page of it that `page` shows.
    pub(crate) fn file_page(&self, page: VirtualPage) -> Option<(&Arc<File>, u32)> {
        match &self.backing {
            Backing::Anonymous | Backing::Pool => None,
            Backing::File(file, first) => {
                Some((file, first + (page.0 - self.pages.start().0) as u32))
            }
        }
    }

    /// Whether `next`, which starts where this one ends, might as well be part of it.
    fn continues_in(&self, next: &Self) -> bool {
        // Without a rest pattern: what is added to an area must be thought of here.
        let Self {
            pages,
            protection,
            sharing,
            backing,
            on_fork,
            mergeable,
            huge,
            locking,
            owner,
        } = self;
        let backing = match (backing, &next.backing) {
            (Backing::Anonymous, Backing::Anonymous) | (Backing::Pool, Backing::Pool) => true,
            (Backing::File(file, first), Backing::File(other, from)) => {
                Arc::ptr_eq(file, other) && u64::from(*first) + pages.pages() == u64::from(*from)
            }
            _ => false,
        };
        backing
            && pages.end() == next.pages.start()
            && *protection == next.protection
            && *sharing == next.sharing
            && *on_fork == next.on_fork
            && *mergeable == next.mergeable
            && *huge == next.huge
            && *locking == next.locking
            && *owner == next.owner
    }

    /// A second area at `to`, with what this one has from `start` on.
    pub(crate) fn moved(&self, start: VirtualPage, to: PageRange) -> Self {
        Self {
            pages: to,
            backing: self.backing.share_from(start.0 - self.pages.start().0),
            ..*self
        }
    }

    /// A second area with the part `pages` of this one.
    pub(crate) fn part(&self, pages: PageRange) -> Self {
        Self {
            pages,
            backing: self
                .backing
                .share_from(pages.start().0 - self.pages.start().0),
            ..*self
        }
    }
}

/// The areas of an address space, in order; they do not overlap.
#[derive(Debug)]
pub(crate) struct Vmas {
    by_start: OrderedMap<VirtualPage, Vma>,
    /// The end of user space.
    end: VirtualPage,
    /// Where the search for room starts.
    next: VirtualPage,
}

impl Vmas {
    /// No areas, in a user space that ends at `end`.
    pub(crate) fn new(end: VirtualPage) -> Self {
        let mut vmas = Self {
            by_start: OrderedMap::new(),
            end,
            next: end,
        };
        vmas.next = vmas.placement_start();
        vmas
    }

    /// Automatic placement starts here, well above any program linked at a fixed address.
    fn placement_start(&self) -> VirtualPage {
        VirtualPage(self.end.0 / 2)
    }

    /// The area that holds `page`.
    pub(crate) fn find(&self, page: VirtualPage) -> Option<&Vma> {
        let (_, vma) = self.by_start.floor(page)?;
        vma.pages.contains(page).then_some(vma)
    }

    /// The first area that ends after `page`.
    pub(crate) fn find_from(&self, page: VirtualPage) -> Option<&Vma> {
        self.find(page)
            .or_else(|| self.by_start.ceiling(page).map(|(_, vma)| vma))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Vma> {
        self.by_start.iter().map(|(_, vma)| vma)
    }

    /// Whether no area has a page in `pages`.
    pub(crate) fn is_unused(&self, pages: PageRange) -> bool {
        self.find_from(pages.start())
            .is_none_or(|vma| vma.pages.start() >= pages.end())
    }

    /// Whether every page of `pages` is in an area.
    pub(crate) fn covers(&self, pages: PageRange) -> bool {
        let mut page = pages.start();
        while page < pages.end() {
            match self.find(page) {
                Some(vma) => page = vma.pages.end(),
                None => return false,
            }
        }
        true
    }

    /// Whether all areas with a page in `pages` satisfy `predicate`.
    pub(crate) fn all(&self, pages: PageRange, predicate: impl Fn(&Vma) -> bool) -> bool {
        let mut page = pages.start();
        while let Some(vma) = self
            .find_from(page)
            .filter(|vma| vma.pages.start() < pages.end())
        {
            if !predicate(vma) {
                return false;
            }
            page = vma.pages.end();
        }
        true
    }

    /// Whether an area with a page in `pages` has huge pages of the pool.
    pub(crate) fn any_pooled(&self, pages: PageRange) -> bool {
        !self.all(pages, |vma| !vma.is_pooled())
    }

    /// The first room for `count` pages, at a multiple of `align`, after the last placement; after
    /// the end, from the start.
    pub(crate) fn find_room(&self, count: u64, align: u64) -> Option<PageRange> {
        self.find_room_between(self.next, self.end, count, align)
            .or_else(|| self.find_room_between(self.placement_start(), self.end, count, align))
    }

    fn find_room_between(
        &self,
        mut start: VirtualPage,
        end: VirtualPage,
        count: u64,
        align: u64,
    ) -> Option<PageRange> {
        loop {
            start = VirtualPage(start.0.next_multiple_of(align));
            let room = PageRange::new(start, VirtualPage(start.0.checked_add(count)?))?;
            if room.end() > end {
                return None;
            }
            match self.find_from(start) {
                Some(vma) if vma.pages.start() < room.end() => start = vma.pages.end(),
                _ => return Some(room),
            }
        }
    }

    /// Lets an area whose end is that of `range` grow until that has `count` pages. Returns
    /// whether it could.
    pub(crate) fn grow(&mut self, range: Option<PageRange>, count: u64) -> bool {
        let Some((range, vma)) = range.and_then(|range| Some((range, self.find(range.start())?)))
        else {
            return false;
        };
        let start = vma.pages.start();
        let at_end = vma.pages.end() == range.end();
        let end = range.start().0.checked_add(count).map(VirtualPage);
        let more = end.and_then(|end| PageRange::new(range.end(), end));
        let Some(more) = more.filter(|more| more.end() <= self.end) else {
            return false;
        };
        if !at_end || !self.is_unused(more) {
            return false;
        }
        if let Some(vma) = self.by_start.get_mut(start) {
            vma.pages = vma.pages.hull(more);
        }
        self.merge(more);
        true
    }

    /// Adds an area where there is none. On `ENOMEM` nothing changed, and the area is gone: the
    /// caller has its file still.
    pub(crate) fn insert(&mut self, permit: Permit, vma: Vma) -> Result<(), Errno> {
        self.reserve(permit)?;
        self.insert_reserved(vma);
        Ok(())
    }

    /// Makes room for one [`insert_reserved`](Self::insert_reserved), whatever is removed before.
    pub(crate) fn reserve(&mut self, permit: Permit) -> Result<(), Errno> {
        self.by_start.reserve(permit)
    }

    /// Adds an area where there is none, but room was made.
    pub(crate) fn insert_reserved(&mut self, vma: Vma) {
        debug_assert!(self.is_unused(vma.pages));
        let pages = vma.pages;
        self.by_start.insert_reserved(pages.start(), vma);
        self.merge(pages);
        if pages.start() >= self.placement_start() {
            self.next = pages.end();
        }
    }

    /// Splits the area that spans `page`, so that one starts there. This alone changes nothing
    /// that anyone can see, and [`merge`](Self::merge) undoes it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; nothing changed.
    pub(crate) fn split(
        &mut self,
        permit: impl FnOnce() -> Permit,
        page: VirtualPage,
    ) -> Result<(), Errno> {
        let Some(vma) = self.find(page) else {
            return Ok(());
        };
        let (start, pages) = (vma.pages.start(), vma.pages);
        let (Some(lower), Some(upper)) = (
            PageRange::new(start, page),
            PageRange::new(page, pages.end()),
        ) else {
            return Ok(());
        };
        let permit = permit();
        let upper = vma.part(upper);
        let file = upper.file_page(page).map(|(file, _)| Arc::clone(file));
        if let Err(error) = self.by_start.insert(permit, page, upper) {
            if let Some(file) = file {
                // The lower half is a user still, so this is never the last.
                file.remove_user();
            }
            return Err(error);
        }
        if let Some(vma) = self.by_start.get_mut(start) {
            vma.pages = lower;
        }
        Ok(())
    }

    /// Removes an area that lies within `pages`, of which no area crosses the ends.
    pub(crate) fn remove_in(&mut self, pages: PageRange) -> Option<Vma> {
        let (start, _) = self.by_start.ceiling(pages.start())?;
        if start < pages.end() {
            self.by_start.remove(start)
        } else {
            None
        }
    }

    /// Applies `change` to the areas within `pages`, of which no area crosses the ends, and
    /// merges those that became alike.
    pub(crate) fn change(&mut self, pages: PageRange, mut change: impl FnMut(&mut Vma)) {
        let mut page = pages.start();
        while let Some((start, _)) = self.by_start.ceiling(page)
            && start < pages.end()
            && let Some(vma) = self.by_start.get_mut(start)
        {
            change(vma);
            page = vma.pages.end();
        }
        self.merge(pages);
    }

    /// Merges areas that are alike within `pages` and across its ends.
    pub(crate) fn merge(&mut self, pages: PageRange) {
        let mut page = pages.start();
        while page <= pages.end() {
            self.merge_at(page);
            match self.find_from(page) {
                Some(vma) => page = vma.pages.end(),
                None => return,
            }
        }
    }

    /// Merges the areas that end and start at `page`, if they are alike.
    fn merge_at(&mut self, page: VirtualPage) {
        let Some((start, pages)) = self.mergeable_at(page) else {
            return;
        };
        let upper = self.by_start.remove(page);
        if let Some(Backing::File(file, _)) = upper.map(|upper| upper.backing) {
            // The lower half is a user still, so this is never the last.
            file.remove_user();
        }
        if let Some(lower) = self.by_start.get_mut(start) {
            lower.pages = pages;
        }
    }

    /// Where the area starts that ends at `page` and might go on, and what it would span.
    fn mergeable_at(&self, page: VirtualPage) -> Option<(VirtualPage, PageRange)> {
        let upper = self.by_start.get(page)?;
        let lower = self.find(VirtualPage(page.0.checked_sub(1)?))?;
        lower
            .continues_in(upper)
            .then(|| (lower.pages.start(), lower.pages.hull(upper.pages)))
    }

    /// The first place where two areas meet that are alike.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn unmerged(&self) -> Option<VirtualPage> {
        self.iter()
            .map(|vma| vma.pages.start())
            .find(|start| self.mergeable_at(*start).is_some())
    }

    pub(crate) fn len(&self) -> usize {
        self.by_start.len()
    }
}
