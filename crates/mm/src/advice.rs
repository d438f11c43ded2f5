//! Advice on pages rather than areas: freeing them lazily, and making them fail on purpose.

use crate::calls::advised_range;
use crate::memory::Inner;
use crate::table::Stale;
use crate::{
    Access, AddressSpace, Consumer, Context, Entry, Errno, FrameState, Machine, Memory, PageRange,
    Pfn, Sigbus, UserFrame, VirtualAddress, VirtualPage,
};

impl<M: Machine> Memory<M> {
    /// Gives up the private pages that nobody shares; what is lost already reads as zeros again.
    pub(crate) fn free_lazily(&self, inner: &Inner, pages: PageRange) {
        let mut stale: Option<Stale> = None;
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((found, entry)) = inner.table.next(&self.machine, range) else {
                break;
            };
            let page = found.start();
            rest = PageRange::new(found.end(), pages.end());
            match entry {
                Entry::Page(pfn, protection) if self.mark_lazy_free(pfn) => {
                    // A store comes back by a fault, which keeps the page.
                    let read_only = protection.read_only();
                    if let Some(more) = inner.table.protect(&self.machine, page, read_only) {
                        stale = Some(more.and(stale.take()));
                    }
                }
                Entry::HwPoison(_) => {
                    let none = inner.table.unmap(&self.machine, page, Entry::Empty);
                    debug_assert!(none.is_none(), "a lost page has no frame");
                }
                Entry::Swap(slot) => {
                    let none = inner.table.unmap(&self.machine, page, Entry::Empty);
                    debug_assert!(none.is_none(), "a page in swap has no frame");
                    self.drop_swap_entry(slot);
                }
                _ => {}
            }
        }
        if let Some(stale) = stale {
            stale.flush(&self.machine);
        }
    }

    fn mark_lazy_free(&self, pfn: Pfn) -> bool {
        let mut frame = self.frames.lock_known(pfn);
        let may = frame.state == FrameState::Anonymous
            && !self.is_shared(&mut frame)
            && frame.references == 1
            && !frame.has_failed();
        frame.lazy_free |= may;
        frame.touched &= !may;
        may
    }

    /// Makes the memory of a range fail, as a test does (`MADV_HWPOISON`): faults each page in
    /// and isolates its frame. `tell` gets each signal that the caller must be sent.
    ///
    /// # Errors
    ///
    /// `EINVAL`: unaligned. `EFAULT`: a page that may not be loaded, is beyond the end of its
    /// file, or lost already. `ENOMEM`. The pages before it have failed.
    pub fn inject_failure(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
        mut tell: impl FnMut(Sigbus),
    ) -> Result<(), Errno> {
        self.for_each_frame(space, start, length, |address, frame| {
            let consumer = Some(Consumer {
                space: space.id(),
                address,
            });
            let simulated = true;
            let context = Context {
                consumer,
                simulated,
            };
            let report = self.fail_frame(frame.pfn(), Some(frame), context)?;
            report.signal.into_iter().for_each(&mut tell);
            Ok(())
        })
    }

    /// Moves the pages of a range to other frames, and takes theirs out of use
    /// (`MADV_SOFT_OFFLINE`).
    ///
    /// # Errors
    ///
    /// As [`inject_failure`](Self::inject_failure) and [`soft_offline`](Self::soft_offline). The
    /// pages before it have moved.
    pub fn soft_offline_range(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
    ) -> Result<(), Errno> {
        let mut done = None;
        self.for_each_frame(space, start, length, |address, frame| {
            let pfn = frame.pfn();
            // A huge page of the pool moves once, whole.
            let pooled = self.frames.lock(&frame).is_pooled();
            let block = pooled.then_some(address.page().0 >> M::INDEX_BITS);
            if pooled && block == core::mem::replace(&mut done, block) {
                self.frames.put(frame);
                return Ok(());
            }
            // Nobody else may hold a page that moves.
            self.frames.put(frame);
            self.soft_offline(pfn)
        })
    }

    /// Faults each page of a range in for loads, and calls `act` with its frame.
    fn for_each_frame(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        length: u64,
        mut act: impl FnMut(VirtualAddress, UserFrame) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(pages) = advised_range(start, length).map_err(in_user_space)? else {
            return Ok(());
        };
        for page in (pages.start().0..pages.end().0).map(VirtualPage) {
            let frame = self
                .faulted_frame(space, page)
                .map_err(|error| match error {
                    Errno::EHWPOISON => Errno::EFAULT,
                    error => error,
                })?;
            act(page.address(), frame)?;
        }
        Ok(())
    }

    fn faulted_frame(&self, space: &AddressSpace, page: VirtualPage) -> Result<UserFrame, Errno> {
        loop {
            self.populate_page(space, page, Access::Load)?;
            let inner = space.0.inner.lock();
            if let Entry::Page(pfn, _) = inner.table.get(&self.machine, page) {
                return Ok(self.frames.get(pfn));
            }
        }
    }
}

/// Nothing is mapped beyond user space.
fn in_user_space(error: Errno) -> Errno {
    match error {
        Errno::ENOMEM => Errno::EFAULT,
        error => error,
    }
}
