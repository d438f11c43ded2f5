//! The oracle: what each process and each file must contain, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::vec::Vec;

use crate::{
    AddressSpace, File, HugeAdvice, Locking, OnFork, PAGE_SIZE, Protection, Sharing, VirtualPage,
};

/// Shared until one side writes, as the memory itself is after a fork.
pub(super) type Bytes = Rc<[u8; PAGE_SIZE]>;

/// A file. Its contents are what was written last, wherever that is now.
pub(super) struct FileModel {
    pub(super) file: Arc<File>,
    /// In bytes. Pages beyond it hold zeros.
    pub(super) size: u64,
    pub(super) pages: Vec<Bytes>,
    /// Pages whose memory failed, and that nobody has written or read as a whole since.
    pub(super) may_be_lost: BTreeSet<u32>,
    /// Pages of which the store may have an older version. Only such can be lost.
    pub(super) dirty: BTreeSet<u32>,
    /// Pages that someone failed to reach: everybody must, until they are written as a whole.
    pub(super) lost: BTreeSet<u32>,
    /// The next sync may have to report a page that was lost, and is not any more.
    pub(super) may_report: bool,
}

impl FileModel {
    /// Whether the page may be unreadable because of a memory error.
    pub(super) fn may_fail(&self, index: u32) -> bool {
        self.may_be_lost.contains(&index) && self.dirty.contains(&index)
    }

    /// All of the page was read or written, so none of its memory has failed.
    pub(super) fn is_sound(&mut self, index: u32) {
        self.may_report |= self.may_be_lost.remove(&index);
        self.lost.remove(&index);
    }
}

/// What a page of a process shows.
#[derive(Clone)]
pub(super) enum Shows {
    Anonymous,
    /// A file by its number, and the page of it.
    File(usize, u32),
}

#[derive(Clone)]
pub(super) struct PageModel {
    pub(super) protection: Protection,
    pub(super) sharing: Sharing,
    pub(super) shows: Shows,
    /// Private contents, once stored to.
    pub(super) own: Option<Bytes>,
    /// The memory that held the private contents failed: accesses may fail.
    pub(super) may_be_lost: bool,
    /// The process was told that the page is lost: accesses must fail.
    pub(super) told: bool,
    /// The private contents were given up: they may have become zeros.
    pub(super) freed: bool,
    pub(super) huge: HugeAdvice,
    /// It may share its frame with pages of equal contents.
    pub(super) mergeable: bool,
    pub(super) locking: Locking,
    /// Somebody pinned the page: which number they got.
    pub(super) pin: Option<u32>,
    pub(super) on_fork: OnFork,
    /// It has huge pages of the pool.
    pub(super) pooled: bool,
    /// ... and what it has or had reserved there.
    pub(super) owner: bool,
    /// The huge page that was shared with the owner is gone.
    pub(super) taken: bool,
}

pub(super) struct Process {
    pub(super) space: AddressSpace,
    /// It wants to be told of lost memory before it touches it.
    pub(super) early_kill: bool,
    /// What it maps is mergeable from the start.
    pub(super) merges_all: bool,
    /// How what it maps is locked.
    pub(super) lock_later: Locking,
    pub(super) pages: BTreeMap<VirtualPage, PageModel>,
}

impl PageModel {
    /// The bytes a load must see.
    pub(super) fn bytes<'a>(&'a self, files: &'a [FileModel]) -> &'a [u8; PAGE_SIZE] {
        const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        match (&self.own, &self.shows) {
            (Some(own), _) => own,
            (None, Shows::Anonymous) => &ZEROS,
            (None, Shows::File(file, index)) => &files[*file].pages[*index as usize],
        }
    }

    /// The bytes that a store changes.
    pub(super) fn bytes_mut<'a>(
        &'a mut self,
        files: &'a mut [FileModel],
    ) -> &'a mut [u8; PAGE_SIZE] {
        if let (Sharing::Shared, Shows::File(file, index)) = (self.sharing, &self.shows) {
            return Rc::make_mut(&mut files[*file].pages[*index as usize]);
        }
        self.detach(files);
        Rc::make_mut(self.own.as_mut().expect("it was just detached"))
    }

    /// Gives the page contents of its own: from here on it does not follow its file.
    pub(super) fn detach(&mut self, files: &[FileModel]) {
        if self.own.is_none() {
            self.own = Some(match self.shows {
                Shows::Anonymous => Rc::new([0; PAGE_SIZE]),
                Shows::File(file, index) => Rc::clone(&files[file].pages[index as usize]),
            });
        }
    }

    /// Whether the page lies beyond the end of its file.
    pub(super) fn is_beyond_end(&self, files: &[FileModel]) -> bool {
        match (&self.own, &self.shows) {
            (None, Shows::File(file, index)) => {
                u64::from(*index) * PAGE_SIZE as u64 >= files[*file].size
            }
            _ => false,
        }
    }

    /// How many bytes from the start of the page a store may change. What a page holds beyond
    /// the end of its file is unspecified, so the simulation leaves it zero.
    pub(super) fn storable(&self, files: &[FileModel]) -> usize {
        match (self.sharing, &self.shows) {
            (Sharing::Shared, Shows::File(file, index)) => {
                let start = u64::from(*index) * PAGE_SIZE as u64;
                files[*file]
                    .size
                    .saturating_sub(start)
                    .min(PAGE_SIZE as u64) as usize
            }
            _ => PAGE_SIZE,
        }
    }

    /// Whether an access may be refused because of a memory error.
    pub(super) fn may_fail(&self, files: &[FileModel]) -> bool {
        match (&self.own, &self.shows) {
            (None, Shows::File(file, index)) => files[*file].may_fail(*index),
            _ => self.may_be_lost,
        }
    }

    /// The page of a file that an access reaches, by its file's number.
    pub(super) fn file_page(&self) -> Option<(usize, u32)> {
        match (&self.own, &self.shows) {
            (None, Shows::File(file, index)) => Some((*file, *index)),
            _ => None,
        }
    }

    /// Whether somebody was told that the page is lost.
    pub(super) fn is_lost(&self, files: &[FileModel]) -> bool {
        match self.file_page() {
            Some((file, index)) => files[file].lost.contains(&index),
            None => self.told,
        }
    }

    /// Whoever reaches the page is told that it is lost.
    pub(super) fn tell(&mut self, files: &mut [FileModel]) {
        match self.file_page() {
            Some((file, index)) => drop(files[file].lost.insert(index)),
            None => self.told = true,
        }
    }

    /// Somebody saw `bytes` at `offset` of a page that was given up: if they are zeros and were
    /// not, all of it is zeros from now on.
    pub(super) fn saw_freed(&mut self, offset: usize, bytes: &[u8]) {
        let changed = self
            .own
            .as_ref()
            .is_some_and(|own| own[offset..offset + bytes.len()] != *bytes);
        if self.freed && changed && bytes.iter().all(|byte| *byte == 0) {
            self.own = None;
            self.freed = false;
        }
    }

    /// Forgets private contents.
    pub(super) fn forget(&mut self) {
        self.own = None;
        self.freed = false;
        self.pin = None;
        self.may_be_lost = false;
        self.told = false;
        self.taken = false;
    }
}
