//! What an address space has, for those who describe it or copy all of it: `/proc/pid/maps`, core
//! dumps.

use crate::{
    Access, AddressSpace, Entry, Errno, FileId, FileKind, Locking, Machine, Memory, Outcome,
    PAGE_SHIFT, PAGE_SIZE, PageRange, Protection, Sharing, UserFrame, VirtualAddress,
};

/// One area: a range of pages that are mapped alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its first byte.
    pub start: VirtualAddress,
    /// The byte after its last.
    pub end: VirtualAddress,
    /// What may be done with it.
    pub protection: Protection,
    /// Who sees stores.
    pub sharing: Sharing,
    /// The file that is mapped.
    pub file: Option<AreaFile>,
    /// It has huge pages of the pool.
    pub pooled: bool,
    /// Its pages stay in memory.
    pub locked: bool,
}

/// The file behind an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AreaFile {
    /// Which.
    pub id: FileId,
    /// Where its pages are when they are not in memory.
    pub kind: FileKind,
    /// The byte of it that the area starts with.
    pub offset: u64,
}

/// A page as a copy of the whole space shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dumped {
    /// It was read.
    Page,
    /// There is nothing that its process has ever stored or read there; or what there was is lost,
    /// and its process could not read it either.
    Hole,
}

impl<M: Machine> Memory<M> {
    /// The first area that ends after an address.
    pub fn area_from(&self, space: &AddressSpace, address: VirtualAddress) -> Option<Area> {
        let inner = space.0.inner.lock();
        let vma = inner.vmas.find_from(address.page())?;
        let file = vma.file_page(vma.pages.start());
        let file = file.map(|(file, index)| AreaFile {
            id: file.id(),
            kind: file.kind(),
            offset: u64::from(index) << PAGE_SHIFT,
        });
        Some(Area {
            start: vma.pages.start().address(),
            end: vma.pages.end().address(),
            protection: vma.protection,
            sharing: vma.sharing,
            file,
            pooled: vma.is_pooled(),
            locked: vma.locking != Locking::Unlocked,
        })
    }

    /// The first page from `start` on, but before `end`, that the space's tables have something of.
    /// It costs as much as there are tables.
    pub fn next_touched(
        &self,
        space: &AddressSpace,
        start: VirtualAddress,
        end: VirtualAddress,
    ) -> Option<VirtualAddress> {
        let pages = PageRange::new(start.page(), end.page())?;
        let inner = space.0.inner.lock();
        let (found, _) = inner.table.next(&self.machine, pages)?;
        Some(found.start().max(start.page()).address())
    }

    /// Reads the page of an address for a dump of the space, whatever the process itself may do
    /// with it. Brings nothing in that the process has not touched, but for pages of files. What
    /// cannot be read is isolated, and is a hole from then on.
    ///
    /// # Errors
    ///
    /// `EAGAIN`: it is being moved: let others run, then repeat. `EHWPOISON`: it could not be
    /// read, and is isolated now. `ENOMEM`.
    pub fn dump_page(
        &self,
        space: &AddressSpace,
        address: VirtualAddress,
        into: &mut [u8; PAGE_SIZE],
    ) -> Result<Dumped, Errno> {
        loop {
            match self.look(space, address) {
                Look::Frame(frame) => {
                    let read = self.machine.read(&frame, 0, into);
                    self.frames.put(frame);
                    return match read {
                        Ok(()) => Ok(Dumped::Page),
                        Err(poisoned) => {
                            self.isolate_consumed(poisoned.pfn);
                            Err(Errno::EHWPOISON)
                        }
                    };
                }
                Look::Nothing => return Ok(Dumped::Hole),
                Look::Elsewhere => match self.fault(space, address, Access::Load) {
                    Outcome::Resolved => {}
                    Outcome::Retry => return Err(Errno::EAGAIN),
                    Outcome::Oom => return Err(Errno::ENOMEM),
                    Outcome::Sigbus(_) | Outcome::Sigsegv(_) => return Ok(Dumped::Hole),
                },
            }
        }
    }

    fn look(&self, space: &AddressSpace, address: VirtualAddress) -> Look {
        let inner = space.0.inner.lock();
        let Some(vma) = inner.vmas.find(address.page()) else {
            return Look::Nothing;
        };
        match inner.table.get(&self.machine, address.page()) {
            Entry::Page(pfn, _) => Look::Frame(self.frames.get(pfn)),
            Entry::Swap(_) | Entry::Migration(_) => Look::Elsewhere,
            Entry::Empty if vma.file_page(address.page()).is_some() => Look::Elsewhere,
            Entry::Empty | Entry::Reserved | Entry::Taken | Entry::HwPoison(_) => Look::Nothing,
        }
    }
}

/// Where a page is.
enum Look {
    Frame(UserFrame),
    /// Not in memory, or not mapped.
    Elsewhere,
    Nothing,
}
