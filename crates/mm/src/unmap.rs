//! Unmapping ranges: entries first, then the translation caches, then the frames.

use crate::memory::Inner;
use crate::rmap::Mapper;
use crate::table::{Detached, Unmapped};
use crate::vma::Backing;
use crate::{Entry, Machine, Memory, PageRange, SpaceId};

const BATCH: usize = 32;
const TABLES: usize = 8;

/// Unmapped pages that share one invalidation, and tables that were emptied by that. Their frames
/// stay mapped, as far as the reverse map is concerned, until that is done.
///
/// The only ways from an unmapped page to a frame that can be freed go through an invalidation:
///
/// ```compile_fail,E0603
/// use mm::table::Unmapped;
/// ```
pub(crate) struct Gather<'m, M: Machine> {
    memory: &'m Memory<M>,
    space: SpaceId,
    pages: [Option<Unmapped>; BATCH],
    count: usize,
    tables: [Option<Detached>; TABLES],
    table_count: usize,
    range: Option<PageRange>,
}

impl<'m, M: Machine> Gather<'m, M> {
    pub(crate) fn new(memory: &'m Memory<M>, space: SpaceId) -> Self {
        Self {
            memory,
            space,
            pages: [const { None }; BATCH],
            count: 0,
            tables: [const { None }; TABLES],
            table_count: 0,
            range: None,
        }
    }

    pub(crate) fn add(&mut self, unmapped: Unmapped) {
        self.owe(unmapped.pages());
        self.pages[self.count] = Some(unmapped);
        self.count += 1;
        if self.count == BATCH {
            self.flush();
        }
    }

    pub(crate) fn add_table(&mut self, table: Detached) {
        self.owe(table.pages());
        self.tables[self.table_count] = Some(table);
        self.table_count += 1;
        if self.table_count == TABLES {
            self.flush();
        }
    }

    fn owe(&mut self, pages: PageRange) {
        self.range = Some(self.range.map_or(pages, |range| range.hull(pages)));
    }

    /// Invalidates, and gives the frames back.
    pub(crate) fn finish(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        let Some(range) = self.range.take() else {
            return;
        };
        self.memory.machine.invalidate(self.space, range);
        for unmapped in self.pages[..self.count].iter_mut().filter_map(Option::take) {
            let (page, frame) = unmapped.flushed_with(range);
            self.memory
                .end_mapping(Mapper::new(self.space, page), frame);
        }
        self.count = 0;
        let tables = &mut self.tables[..self.table_count];
        for table in tables.iter_mut().filter_map(Option::take) {
            self.memory.frames.free_table(table.flushed_with(range));
        }
        self.table_count = 0;
    }
}

impl<M: Machine> Memory<M> {
    /// Replaces one mapping, of a page or a block, by `left`, and removes every translation of it.
    pub(crate) fn unmap_one(&self, inner: &Inner, mapper: Mapper, left: Entry) {
        if let Some(unmapped) = inner.table.unmap(&self.machine, mapper.page(), left) {
            let frame = unmapped.flush(&self.machine);
            self.end_mapping(mapper, frame);
        }
    }

    /// Empties all entries in `pages`, and gives back the tables that this leaves empty. No block
    /// crosses its ends.
    pub(crate) fn zap(&self, space: SpaceId, inner: &Inner, pages: PageRange) {
        let mut gather = Gather::new(self, space);
        self.zap_entries(&mut gather, inner, pages, true);
        self.zap_tables(&mut gather, inner, pages);
        gather.finish();
    }

    /// Empties all entries. What is reserved for areas that stay remains so.
    fn zap_entries(
        &self,
        gather: &mut Gather<'_, M>,
        inner: &Inner,
        pages: PageRange,
        areas_stay: bool,
    ) {
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some((found, entry)) = inner.table.next(&self.machine, range) else {
                break;
            };
            debug_assert!(
                pages.covers(found) || matches!(entry, Entry::HwPoison(_)),
                "a block crosses the end"
            );
            let first = found.start();
            rest = PageRange::new(found.end(), pages.end());
            if entry == Entry::Reserved {
                if areas_stay {
                    continue;
                }
                self.frames.unreserve(1);
            }
            if let Some(unmapped) = inner.table.unmap(&self.machine, first, Entry::Empty) {
                gather.add(unmapped);
            }
            if let Entry::Swap(slot) = entry {
                self.drop_swap_entry(slot);
            }
        }
    }

    /// Gives back the tables in `pages` that are empty.
    pub(crate) fn zap_tables(&self, gather: &mut Gather<'_, M>, inner: &Inner, pages: PageRange) {
        let mut rest = Some(pages);
        while let Some(range) = rest {
            let Some(span) = inner.table.next_table(&self.machine, range) else {
                break;
            };
            if let Some(table) = inner.table.detach_empty(&self.machine, span.start()) {
                gather.add_table(table);
            }
            rest = PageRange::new(span.end(), pages.end());
        }
    }

    /// Unmaps `pages`, of which no area crosses the ends.
    pub(crate) fn unmap_areas(&self, space: SpaceId, inner: &mut Inner, pages: PageRange) {
        let mut gather = Gather::new(self, space);
        self.remove_areas(&mut gather, inner, pages);
        self.zap_tables(&mut gather, inner, pages);
        gather.finish();
    }

    /// The same, but keeps the tables.
    pub(crate) fn remove_areas(
        &self,
        gather: &mut Gather<'_, M>,
        inner: &mut Inner,
        pages: PageRange,
    ) {
        while let Some(vma) = inner.vmas.remove_in(pages) {
            self.zap_entries(gather, inner, vma.pages, false);
            if let Backing::File(file, _) = vma.backing {
                self.close(file);
            }
        }
    }

    /// Unmaps the whole space. Its tables are freed all at once, and need not be looked through
    /// for such as are empty.
    pub(crate) fn unmap_all(&self, space: SpaceId, inner: &mut Inner) {
        let mut gather = Gather::new(self, space);
        self.remove_areas(&mut gather, inner, PageRange::ALL);
        gather.finish();
    }
}
