//! Frame numbers, virtual addresses and ranges of pages.

use crate::Errno;

/// Bits of the offset within a page: the granule is 4 KiB.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// Bits of a user address (TTBR0 with four levels of 4 KiB tables; Arm ARM DDI 0487, D8.2).
pub const ADDRESS_BITS: u32 = 48;
/// The first page number that user space cannot have.
pub const PAGES_END: u64 = 1 << (ADDRESS_BITS - PAGE_SHIFT);

/// A page frame number: a physical address divided by the page size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pfn(pub u64);

/// An address in a process. Any value is allowed; operations check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress(pub u64);

impl VirtualAddress {
    /// The page that holds this address.
    pub const fn page(self) -> VirtualPage {
        VirtualPage(self.0 >> PAGE_SHIFT)
    }

    /// The offset in that page, in bytes.
    pub const fn offset(self) -> usize {
        self.0 as usize & (PAGE_SIZE - 1)
    }

    /// Whether a page starts here.
    pub const fn is_aligned(self) -> bool {
        self.offset() == 0
    }
}

/// The number of a virtual page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPage(pub u64);

impl VirtualPage {
    /// Its first address.
    pub const fn address(self) -> VirtualAddress {
        VirtualAddress(self.0 << PAGE_SHIFT)
    }

    /// The page after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A half-open range of pages, never empty, that lies in user space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRange {
    start: VirtualPage,
    end: VirtualPage,
}

impl PageRange {
    /// The pages from `start` up to but not including `end`, or `None` if there are none or
    /// they leave user space.
    pub const fn new(start: VirtualPage, end: VirtualPage) -> Option<Self> {
        if start.0 < end.0 && end.0 <= PAGES_END {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// One page. `page` must lie in user space.
    pub(crate) const fn single(page: VirtualPage) -> Self {
        Self {
            start: page,
            end: page.next(),
        }
    }

    /// The naturally aligned block of `2^order` pages that holds `page`, which must lie in user
    /// space.
    pub(crate) const fn block(page: VirtualPage, order: u32) -> Self {
        let start = page.0 >> order << order;
        Self {
            start: VirtualPage(start),
            end: VirtualPage(start + (1 << order)),
        }
    }

    /// All of user space.
    pub const ALL: Self = Self {
        start: VirtualPage(0),
        end: VirtualPage(PAGES_END),
    };

    /// The pages that hold `length` bytes from `start`, with the length rounded up to pages.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `start` is unaligned or the length is zero; `ENOMEM` if the range leaves user
    /// space or wraps around.
    pub fn of_bytes(start: VirtualAddress, length: u64) -> Result<Self, Errno> {
        if !start.is_aligned() || length == 0 {
            return Err(Errno::EINVAL);
        }
        let pages = length.div_ceil(PAGE_SIZE as u64);
        let end = start.page().0.checked_add(pages).ok_or(Errno::ENOMEM)?;
        Self::new(start.page(), VirtualPage(end)).ok_or(Errno::ENOMEM)
    }

    /// The first page.
    pub const fn start(self) -> VirtualPage {
        self.start
    }

    /// The page after the last.
    pub const fn end(self) -> VirtualPage {
        self.end
    }

    /// How many pages.
    pub const fn pages(self) -> u64 {
        self.end.0 - self.start.0
    }

    /// Whether `page` is one of them.
    pub const fn contains(self, page: VirtualPage) -> bool {
        self.start.0 <= page.0 && page.0 < self.end.0
    }

    /// Whether all pages of `other` are among them.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// The pages in both ranges, if any.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// The first `count` pages, or all if there are fewer. `None` if `count` is zero.
    pub(crate) fn first(self, count: u64) -> Option<Self> {
        Self::new(
            self.start,
            VirtualPage(self.start.0 + count.min(self.pages())),
        )
    }

    /// The smallest range that holds both.
    pub(crate) fn hull(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}
