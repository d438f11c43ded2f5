//! Steps on pinned pages: somebody who is not the process loads and stores by the frame.

use std::format;

use super::World;
use super::model::PageModel;
use super::world::{Checked, INDEX_BITS};
use crate::{
    Access, Entry, Errno, FrameState, Locking, PAGE_SIZE, Pfn, PinnedFrame, Sharing, SpaceId,
    VirtualPage,
};

const PINS: usize = 6;

pub(super) struct Pin {
    pin: PinnedFrame,
    /// What the page's model has, as long as the process has not parted from the pin.
    ticket: Option<u32>,
    space: SpaceId,
    page: VirtualPage,
    /// The page of a file that it may dirty.
    dirties: Option<(usize, u32)>,
    writable: bool,
}

impl World {
    pub(super) fn is_pinned(&self, pfn: Pfn) -> bool {
        self.pins.iter().any(|pin| pin.pin.frame().pfn() == pfn)
    }

    /// Whether a frame of the block that this one is in is pinned.
    pub(super) fn is_block_pinned(&self, pfn: Pfn) -> bool {
        let block = |pfn: Pfn| pfn.0 >> INDEX_BITS;
        self.pins
            .iter()
            .any(|pin| block(pin.pin.frame().pfn()) == block(pfn))
    }

    pub(super) fn pin(&mut self, process: usize, page: VirtualPage, c: u32) -> Checked {
        if self.pins.len() == PINS {
            return Ok(());
        }
        let writable = c & 1 == 0;
        let access = if writable {
            Access::Store
        } else {
            Access::Load
        };
        if writable {
            self.may_dirty(process, page);
        }
        let space = &self.processes[process].space;
        let got = self.memory.pin_user_page(space, page.address(), access);
        self.refused |= self.memory.machine().take_refused();
        self.note_lost_blocks()?;
        let model = self.processes[process].pages.get(&page);
        let pin = match (got, &model) {
            (Ok(pin), Some(model)) if model.protection.allows(access) => pin,
            (Err(Errno::ENOMEM), _) => return self.out_of_memory(),
            (Err(Errno::EFAULT), None) => return Ok(()),
            (Err(Errno::EFAULT), Some(model))
                if self.refused
                    || !model.protection.allows(access)
                    || model.is_beyond_end(&self.files)
                    || self.may_have_no_page(process, model) =>
            {
                return Ok(());
            }
            (Err(Errno::EHWPOISON), Some(model)) if model.may_fail(&self.files) => return Ok(()),
            (got, _) => return Err(format!("process {process}: pin of {page:?}: {got:?}")),
        };
        self.note_copy(process, page);
        self.next_ticket += 1;
        let fresh = self.next_ticket;
        let owner = &mut self.processes[process];
        let Some(model) = owner.pages.get_mut(&page) else {
            return Ok(());
        };
        // A private mapping parts from its file with the first store.
        let stays = model.file_page().is_none() || model.sharing == Sharing::Shared;
        self.pins.push(Pin {
            pin,
            ticket: stays.then(|| *model.pin.get_or_insert(fresh)),
            space: owner.space.id(),
            page,
            dirties: model.file_page().filter(|_| writable),
            writable,
        });
        Ok(())
    }

    pub(super) fn unpin(&mut self, a: u32) {
        if self.pins.is_empty() {
            return;
        }
        let pin = self.pins.swap_remove(a as usize % self.pins.len());
        if let Some((file, index)) = pin.dirties {
            self.files[file].dirty.insert(index);
        }
        self.memory.unpin_user_page(pin.pin);
    }

    pub(super) fn pinned_access(&mut self, a: u32, c: u32, d: u32) -> Checked {
        if self.pins.is_empty() {
            return Ok(());
        }
        let pin = &self.pins[a as usize % self.pins.len()];
        let pfn = pin.pin.frame().pfn();
        let known = self.memory.is_poisoned(pfn);
        let owner = self
            .processes
            .iter_mut()
            .find(|process| process.space.id() == pin.space);
        let model = owner
            .and_then(|owner| owner.pages.get_mut(&pin.page))
            .filter(|model| pin.ticket.is_some() && model.pin == pin.ticket && !known);
        let before = self.memory.machine().peek(pfn);
        let offset = c as usize % PAGE_SIZE;
        let length = (1 + d as usize % 300).min(PAGE_SIZE - offset);
        if !pin.writable || c >> 16 & 1 == 0 {
            let mut seen = [0; 300];
            let seen = &mut seen[..length];
            let read = self.memory.read_pinned(&pin.pin, offset, seen);
            return match (read, model) {
                (Ok(()), Some(model)) => {
                    model.saw_freed(0, &before);
                    if *seen == model.bytes(&self.files)[offset..offset + length] {
                        return Ok(());
                    }
                    Err(format!("{:?}: a pin sees other bytes", pin.page))
                }
                // A clean page of a file is read again, but not by who has a pin on its frame.
                (Err(_), Some(model)) => match model.file_page() {
                    Some((file, index)) if self.files[file].may_be_lost.contains(&index) => Ok(()),
                    None if model.may_be_lost => Ok(()),
                    _ => Err(format!("{:?}: a pin cannot be read", pin.page)),
                },
                (_, None) => Ok(()),
            };
        }
        let bytes = [(d >> 8) as u8; 300];
        match model {
            Some(model) => {
                let length = length.min(model.storable(&self.files).saturating_sub(offset));
                let bytes = &bytes[..length];
                self.memory
                    .machine()
                    .cpu_store(pfn, offset.min(PAGE_SIZE - length), bytes);
                model.saw_freed(0, &before);
                model.freed = false;
                let at = offset.min(PAGE_SIZE - length);
                model.bytes_mut(&mut self.files)[at..at + length].copy_from_slice(bytes);
            }
            // Nobody sees what is stored to a page that the process parted from; unless it is a
            // file's, and that is for the model of the file.
            None if self.memory.frame_use(pfn) == Some(FrameState::Anonymous) => {
                self.memory
                    .machine()
                    .cpu_store(pfn, offset, &bytes[..length]);
            }
            None => {}
        }
        Ok(())
    }

    /// What is pinned is what its process sees, until the process itself parts from it.
    pub(super) fn check_pins(&self) -> Checked {
        for pin in &self.pins {
            let pfn = pin.pin.frame().pfn();
            let owner = self.processes.iter().find(|of| of.space.id() == pin.space);
            let attached = owner.filter(|owner| {
                let model = owner.pages.get(&pin.page);
                pin.ticket.is_some() && model.is_some_and(|model| model.pin == pin.ticket)
            });
            let Some(owner) = attached.filter(|_| !self.memory.is_poisoned(pfn)) else {
                continue;
            };
            match self.memory.entry(&owner.space, pin.page.address()) {
                Entry::Page(mapped, _) if mapped == pfn => {}
                // A huge page was split without memory: the next access finds its pieces.
                Entry::Empty if self.is_cached(&owner.pages[&pin.page], pfn) => {}
                // It went with the rest of a huge page.
                Entry::HwPoison(_) if owner.pages[&pin.page].may_be_lost => {}
                entry => return Err(format!("{pfn:?} is pinned, but not mapped: {entry:?}")),
            }
        }
        Ok(())
    }

    /// Whether a frame is what its file has for a page.
    fn is_cached(&self, model: &PageModel, pfn: Pfn) -> bool {
        model.file_page().is_some_and(|(number, index)| {
            let file = &self.files[number].file;
            let state = FrameState::File {
                file: file.id(),
                index,
            };
            file.frames().contains(&(index, pfn)) && self.memory.frame_use(pfn) == Some(state)
        })
    }

    /// The page that somebody pinned has moved to another address.
    pub(super) fn move_pins(&mut self, ticket: Option<u32>, page: VirtualPage) {
        let moved = |pin: &&mut Pin| pin.ticket.is_some() && pin.ticket == ticket;
        self.pins
            .iter_mut()
            .filter(moved)
            .for_each(|pin| pin.page = page);
    }

    /// Whether a fork may fail to copy a page that is pinned.
    pub(super) fn may_lose_pinned(&self, process: usize) -> bool {
        let pages = || self.processes[process].pages.values();
        let pinned_block = pages().any(|model| model.pooled && model.pin.is_some());
        pages()
            .any(|model| model.may_be_lost && (model.pin.is_some() || pinned_block && model.pooled))
    }

    /// What pins may dirty at any time is never clean.
    pub(super) fn dirty_pinned(&mut self) {
        for (file, index) in self.pins.iter().filter_map(|pin| pin.dirties) {
            self.files[file].dirty.insert(index);
        }
    }
}

impl PageModel {
    /// The same page in a child: nobody has pinned it, and it is not locked.
    pub(super) fn inherited(&self) -> Self {
        Self {
            pin: None,
            locking: Locking::Unlocked,
            owner: false,
            ..self.clone()
        }
    }
}
