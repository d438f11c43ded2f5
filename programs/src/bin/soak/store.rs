//! A file, and what must be in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use programs::page::SIZE;

/// Pages of the file.
pub(crate) const PAGES: usize = 16;

/// A file of one worker's.
pub(crate) struct Store {
    pub(crate) file: File,
    /// What each page is filled with, if that is known.
    pub(crate) fills: [Option<u64>; PAGES],
    /// Whether there is a disk behind it.
    pub(crate) on_disk: bool,
    /// Pages of which the disk has what memory has.
    pub(crate) synced: [bool; PAGES],
}

impl Store {
    /// A new one, all zeros.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub(crate) fn new(directory: &Path, number: u64, on_disk: bool) -> Result<Self> {
        let mut store = Self {
            file: super::open_file(directory, number)?,
            fills: [Some(0); PAGES],
            on_disk,
            synced: [false; PAGES],
        };
        store.empty()?;
        Ok(store)
    }

    /// Makes it all zeros, by cutting it off.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn empty(&mut self) -> Result<()> {
        let length = (PAGES * SIZE) as u64;
        for length in [0, length] {
            self.file
                .set_len(length)
                .context("cannot truncate a file")?;
        }
        // The disk has no such page, so nothing of it can be lost but zeros.
        (self.fills, self.synced) = ([Some(0); PAGES], [false; PAGES]);
        // What a hole reads as is not asked of the disk.
        self.file
            .read_exact_at(&mut [0; 1], length - 1)
            .context("cannot read a file that was made longer")
    }

    /// Whether a loss of this page's memory is one that nobody needs to be told of.
    pub(crate) fn can_be_read_again(&self, page: usize) -> bool {
        self.on_disk && self.synced[page]
    }
}
