//! Invariants that hold whenever no operation is under way. For tests: it visits everything.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use crate::rmap::Mapper;
use crate::table::pages_end;
use crate::{Entry, FrameState, Machine, Memory, PageRange, Pfn, VirtualPage};

/// An invariant does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The reverse map of a frame differs from the entries that name it.
    ReverseMap(Pfn),
    /// A frame has another number of references than there are users: `(found, expected)`.
    References(Pfn, u32, u32),
    /// A frame is free but not in the allocator, or the other way round.
    Allocator(Pfn),
    /// A poisoned frame is still in use.
    PoisonInUse(Pfn),
    /// A page is mapped for stores though the store's copy counts as good, or it is shared.
    Writable(Pfn),
    /// An entry lies outside all areas.
    OutsideAreas(Pfn),
    /// A slot of the page cache and its frame disagree.
    Slot(Pfn),
}

impl<M: Machine> Memory<M> {
    /// Whether an error in the frame is known.
    pub fn is_poisoned(&self, pfn: Pfn) -> bool {
        self.frames.find(pfn).is_some_and(|frame| frame.poisoned)
    }

    /// Checks all invariants.
    ///
    /// # Errors
    ///
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        let mapped = self.check_spaces()?;
        let cached = self.check_files()?;
        for pfn in self.frames.all() {
            let frame = self.frames.lock_known(pfn);
            let mappers = mapped.get(&pfn).map_or(&[][..], Vec::as_slice);
            if frame.mappers.as_slice() != mappers {
                return Err(Violation::ReverseMap(pfn));
            }
            let expected = match frame.state {
                FrameState::Kernel => 1,
                _ => mappers.len() as u32 + u32::from(cached.contains(&pfn)),
            };
            if frame.references != expected {
                return Err(Violation::References(pfn, frame.references, expected));
            }
            if frame.is_user() && (frame.poisoned || frame.references == 0) {
                return Err(Violation::PoisonInUse(pfn));
            }
            let free = frame.state == FrameState::Free;
            drop(frame);
            if free != self.frames.is_in_allocator(pfn) {
                return Err(Violation::Allocator(pfn));
            }
        }
        Ok(())
    }

    fn check_spaces(&self) -> Result<BTreeMap<Pfn, Vec<Mapper>>, Violation> {
        let mut mapped: BTreeMap<Pfn, Vec<Mapper>> = BTreeMap::new();
        let spaces: Vec<_> = self
            .spaces
            .lock()
            .iter()
            .map(|(_, space)| space.clone())
            .collect();
        for space in spaces {
            let inner = space.inner.lock();
            let mut rest = PageRange::new(VirtualPage(0), pages_end::<M>());
            while let Some(range) = rest {
                let Some((page, entry)) = inner.table.next(&self.machine, range) else {
                    break;
                };
                rest = PageRange::new(page.next(), range.end());
                let (Entry::Page(pfn, _) | Entry::HwPoison(pfn) | Entry::Migration(pfn)) = entry
                else {
                    continue;
                };
                if inner.vmas.find(page).is_none() {
                    return Err(Violation::OutsideAreas(pfn));
                }
                if let Entry::Page(pfn, protection) = entry {
                    let frame = self.frames.lock_known(pfn);
                    let may_write = match frame.state {
                        FrameState::Anonymous => frame.mappers.len() == 1,
                        _ => frame.dirty,
                    };
                    if protection.write && !may_write {
                        return Err(Violation::Writable(pfn));
                    }
                }
                if !matches!(entry, Entry::HwPoison(_)) {
                    mapped
                        .entry(pfn)
                        .or_default()
                        .push(Mapper::new(space.id, page));
                }
            }
        }
        Ok(mapped)
    }

    fn check_files(&self) -> Result<BTreeSet<Pfn>, Violation> {
        let mut cached = BTreeSet::new();
        let files: Vec<_> = self
            .files
            .lock()
            .iter()
            .map(|(_, file)| file.clone())
            .collect();
        for file in files {
            for (index, pfn) in file.frames() {
                let state = FrameState::File {
                    file: file.id(),
                    index,
                };
                if self.frame_state(pfn) != Some(state) || !cached.insert(pfn) {
                    return Err(Violation::Slot(pfn));
                }
            }
        }
        Ok(cached)
    }
}
