//! `mremap`.

use std::format;
use std::vec::Vec;

use super::World;
use super::model::{PageModel, Shows};
use super::world::{Checked, FILE_PAGES, INDEX_BITS, WINDOW, WINDOW_PAGES};
use crate::{Destination, Errno, Locking, PAGE_SIZE, Sharing, VirtualAddress, VirtualPage};

impl World {
    pub(super) fn remap(&mut self, process: usize, page: VirtualPage, c: u32, d: u32) -> Checked {
        if c >> 16 & 1 == 0 && self.is_pooled(process, page) {
            return self.remap_block(process);
        }
        let old_pages = u64::from(c % 6);
        let target = VirtualPage(WINDOW + u64::from(d >> 8) % u64::from(WINDOW_PAGES - 6));
        let target = target.address();
        let destination = match d % 4 {
            0 => Destination::Stay,
            1 => Destination::Anywhere,
            _ => Destination::Fixed(target),
        };
        let keep = d >> 4 & 3 == 0;
        let new_pages = if keep {
            old_pages
        } else {
            u64::from(c >> 8) % 7
        };
        let model = self.processes[process].pages.get(&page);
        // The model of a file has so many pages.
        let new_pages = match model.map(|model| &model.shows) {
            Some(Shows::File(_, index)) => new_pages.min(u64::from(FILE_PAGES - index)),
            _ => new_pages,
        };
        if keep && new_pages != old_pages {
            return Ok(());
        }
        let got = self.mremap(process, page, old_pages, new_pages, destination, keep)?;
        // Back to where processes look.
        match got.filter(|_| destination == Destination::Anywhere) {
            Some(at) if at != page.address() => {
                let back = Destination::Fixed(target);
                let moved = self.mremap(process, at.page(), new_pages, new_pages, back, false)?;
                if moved.is_none() {
                    let space = &self.processes[process].space;
                    let length = new_pages * PAGE_SIZE as u64;
                    let got = self.memory.munmap(space, at, length);
                    if self.call(got, Ok(()), "munmap")? {
                        self.take(process, at.page(), new_pages);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn mremap(
        &mut self,
        process: usize,
        page: VirtualPage,
        old_pages: u64,
        new_pages: u64,
        destination: Destination,
        keep: bool,
    ) -> Checked<Option<VirtualAddress>> {
        let expected = self.expected_remap(process, page, old_pages, new_pages, destination, keep);
        let length = |pages| pages * PAGE_SIZE as u64;
        let got = self.memory.mremap(
            &self.processes[process].space,
            page.address(),
            length(old_pages),
            length(new_pages),
            destination,
            keep,
        );
        let at = match (got, expected) {
            (Ok(at), Ok(expected)) if expected.is_none_or(|expected| expected == at) => at,
            (Err(Errno::ENOMEM), Ok(_)) => return self.out_of_memory().map(|()| None),
            (Err(got), Err(expected)) if got == expected => return Ok(None),
            _ => {
                return Err(format!(
                    "mremap {page:?} {old_pages} {new_pages} {destination:?} {keep}: got {got:?}, \
                     expected {expected:?}"
                ));
            }
        };
        let Some(first) = self.processes[process].pages.get(&page).cloned() else {
            return Ok(None);
        };
        let mut moved = match old_pages {
            // A second mapping.
            0 => Vec::new(),
            _ => self.take(process, page, old_pages),
        };
        if keep {
            for (count, model) in moved.iter().enumerate() {
                let page = VirtualPage(page.0 + count as u64);
                let mut left = model.emptied();
                left.locking = Locking::Unlocked;
                self.processes[process].pages.insert(page, left);
            }
        }
        moved.truncate(new_pages as usize);
        for count in moved.len() as u64..new_pages {
            let mut fresh = first.emptied();
            if let Shows::File(_, index) = &mut fresh.shows {
                *index += count as u32;
            }
            moved.push(fresh);
        }
        for (count, model) in moved.into_iter().enumerate() {
            let page = VirtualPage(at.page().0 + count as u64);
            self.move_pins(model.pin, page);
            self.processes[process].pages.insert(page, model);
            self.note_copy(process, page);
        }
        Ok(Some(at))
    }

    pub(super) fn take(&mut self, process: usize, page: VirtualPage, pages: u64) -> Vec<PageModel> {
        let owner = &mut self.processes[process];
        (page.0..page.0 + pages)
            .filter_map(|page| owner.pages.remove(&VirtualPage(page)))
            .collect()
    }

    /// Where the mapping must be, if that is certain.
    fn expected_remap(
        &self,
        process: usize,
        page: VirtualPage,
        old_pages: u64,
        new_pages: u64,
        destination: Destination,
        keep: bool,
    ) -> Result<Option<VirtualAddress>, Errno> {
        let stays = destination == Destination::Stay;
        if new_pages == 0 || keep && (stays || old_pages != new_pages) {
            return Err(Errno::EINVAL);
        }
        let owner = &self.processes[process];
        let model = |page| owner.pages.get(&VirtualPage(page));
        let Some(first) = model(page.0) else {
            return Err(Errno::EFAULT);
        };
        if old_pages == 0 && first.sharing == Sharing::Private {
            return Err(Errno::EINVAL);
        }
        // An area ends where the next page is of another sort.
        let mut end = page.0 + 1;
        while let (Some(last), Some(next)) = (model(end - 1), model(end))
            && last.continues_in(next)
        {
            end += 1;
        }
        if page.0 + old_pages > end {
            return Err(Errno::EFAULT);
        }
        let block = 1 << INDEX_BITS;
        let whole = |pages: u64| pages.is_multiple_of(block);
        if first.pooled && !(whole(page.0) && whole(old_pages) && new_pages == old_pages) {
            return Err(Errno::EINVAL);
        }
        if let Destination::Fixed(to) = destination {
            let start = to.page().0;
            if start < page.0 + old_pages && page.0 < start + new_pages {
                return Err(Errno::EINVAL);
            }
            self.whole(process, to.page(), new_pages)?;
            return Ok(Some(to));
        }
        let may_grow = old_pages > 0
            && page.0 + old_pages == end
            && (end..page.0 + new_pages).all(|page| model(page).is_none());
        match (new_pages <= old_pages && old_pages > 0, may_grow, keep) {
            (true, _, false) | (_, true, false) => Ok(Some(page.address())),
            _ if stays => Err(Errno::ENOMEM),
            _ => Ok(None),
        }
    }
}

impl PageModel {
    /// The same page of an area, before anybody touched it.
    fn emptied(&self) -> Self {
        let mut model = self.clone();
        model.forget();
        model
    }

    /// Whether the next page belongs to the same area.
    fn continues_in(&self, next: &Self) -> bool {
        let shows = match (&self.shows, &next.shows) {
            (Shows::Anonymous, Shows::Anonymous) => true,
            (Shows::File(file, index), Shows::File(other, next)) => {
                file == other && index + 1 == *next
            }
            _ => false,
        };
        shows
            && self.protection == next.protection
            && self.sharing == next.sharing
            && self.on_fork == next.on_fork
            && self.mergeable == next.mergeable
            && self.huge == next.huge
            && self.locking == next.locking
            && (self.pooled, self.owner) == (next.pooled, next.owner)
    }
}
