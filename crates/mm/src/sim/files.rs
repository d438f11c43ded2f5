//! Steps on files.

use std::format;
use std::ops::Range;
use std::rc::Rc;

use super::World;
use super::model::{FileModel, Shows};
use super::world::{Checked, FILE_PAGES, HUGE_SIZE};
use crate::{Errno, FileKind, PAGE_SIZE};

/// The pieces of a range of bytes: the page, where in it, and where in the range.
fn pieces(
    position: usize,
    length: usize,
) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let (page, offset) = ((position + done) / PAGE_SIZE, (position + done) % PAGE_SIZE);
        let count = (length - done).min(PAGE_SIZE - offset);
        done += count;
        (count > 0).then_some((page, offset..offset + count, done - count..done))
    })
}

impl FileModel {
    /// Whether it contains `bytes` at `position`.
    fn has(&self, position: usize, bytes: &[u8]) -> bool {
        pieces(position, bytes.len())
            .all(|(page, inside, part)| self.pages[page][inside] == bytes[part])
    }

    fn put(&mut self, position: usize, bytes: &[u8]) {
        for (page, inside, part) in pieces(position, bytes.len()) {
            Rc::make_mut(&mut self.pages[page])[inside].copy_from_slice(&bytes[part]);
        }
    }

    fn was_read(&mut self, position: usize, length: usize) -> Checked {
        for (page, inside, _) in pieces(position, length) {
            let index = page as u32;
            if self.lost.contains(&index) {
                return Err(format!("page {page} of a file is lost and was read"));
            }
            if inside == (0..PAGE_SIZE) {
                self.is_sound(index);
            }
        }
        Ok(())
    }

    fn was_written(&mut self, position: usize, length: usize) -> Checked {
        for (page, inside, _) in pieces(position, length) {
            let index = page as u32;
            if inside == (0..PAGE_SIZE) {
                self.is_sound(index);
            } else if self.lost.contains(&index) {
                return Err(format!(
                    "part of page {page} of a file, which is lost, was written"
                ));
            }
        }
        Ok(())
    }
}

impl World {
    pub(super) fn read(&mut self, a: u32, b: u32, c: u32) -> Checked {
        let number = a as usize % self.files.len();
        let position = b % (FILE_PAGES * PAGE_SIZE as u32);
        let left = (self.files[number].size as u32).saturating_sub(position);
        let length = 1 + c as usize % (2 * PAGE_SIZE);
        let mut seen = [0; 2 * PAGE_SIZE];
        let seen = &mut seen[..length];
        let got = self
            .memory
            .read_file(&self.files[number].file, u64::from(position), seen);
        self.refused |= self.memory.machine().take_refused();
        let length = length.min(left as usize);
        let model = &mut self.files[number];
        let done = got.unwrap_or(0);
        if !model.has(position as usize, &seen[..done]) {
            return Err(format!("file {number}: wrong bytes at {position}"));
        }
        model.was_read(position as usize, done)?;
        let failed = (position as usize + done) / PAGE_SIZE;
        let may_fail = self.refused || model.may_fail(failed as u32);
        if got == Err(Errno::EIO) && !self.refused && may_fail {
            model.lost.insert(failed as u32);
        }
        match got {
            Ok(done) if done == length || (may_fail && done > 0) => Ok(()),
            Err(Errno::EIO) if may_fail => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            got => Err(format!(
                "file {number}: read of {length} at {position}: {got:?}"
            )),
        }
    }

    pub(super) fn write(&mut self, a: u32, b: u32, c: u32, d: u32) -> Checked {
        let number = a as usize % self.files.len();
        let size = FILE_PAGES * PAGE_SIZE as u32;
        // Whole pages often: they bring lost ones back.
        let position = if d & 1 == 0 {
            b % size
        } else {
            b % FILE_PAGES * PAGE_SIZE as u32
        };
        let length = if d & 1 == 0 {
            1 + c % 300
        } else {
            PAGE_SIZE as u32
        };
        let length = length.min(size - position) as usize;
        let bytes = [(d >> 1) as u8; PAGE_SIZE];
        let bytes = &bytes[..length];
        let pages = pieces(position as usize, length).map(|piece| piece.0 as u32);
        self.files[number].dirty.extend(pages);
        let got = self
            .memory
            .write_file(&self.files[number].file, u64::from(position), bytes);
        self.refused |= self.memory.machine().take_refused();
        if self.files[number].file.kind() == FileKind::Hugetlb {
            return self
                .call(got.map(|_| ()), Err(Errno::EINVAL), "write")
                .map(drop);
        }
        let done = got.unwrap_or(0);
        let model = &mut self.files[number];
        model.put(position as usize, &bytes[..done]);
        model.was_written(position as usize, done)?;
        if done > 0 {
            model.size = model.size.max(u64::from(position) + done as u64);
        }
        let failed = ((position as usize + done) / PAGE_SIZE) as u32;
        let may_fail = self.refused || model.may_fail(failed);
        match got {
            Ok(done) if done == length || (may_fail && done > 0) => Ok(()),
            Err(Errno::EIO) if may_fail => Ok(()),
            Err(Errno::ENOMEM) => self.out_of_memory(),
            got => Err(format!(
                "file {number}: write of {length} at {position}: {got:?}"
            )),
        }
    }

    pub(super) fn truncate(&mut self, a: u32, b: u32, c: u32) -> Checked {
        let number = a as usize % self.files.len();
        let mut size = u64::from(b % (FILE_PAGES * PAGE_SIZE as u32 + 1));
        if c & 1 == 0 {
            size = size.next_multiple_of(PAGE_SIZE as u64);
        }
        let pooled = self.files[number].file.kind() == FileKind::Hugetlb;
        if pooled && c & 2 == 0 {
            size = u64::from(b & 1) * HUGE_SIZE;
        }
        let expected = match pooled && !size.is_multiple_of(HUGE_SIZE) {
            true => Err(Errno::EINVAL),
            false => Ok(()),
        };
        let got = self.memory.truncate(&self.files[number].file, size);
        self.refused |= self.memory.machine().take_refused();
        match got {
            Ok(()) if expected.is_ok() => {}
            Err(_) if got == expected => return Ok(()),
            Err(Errno::EIO) if self.refused => return Ok(()),
            got => return Err(format!("file {number}: truncate to {size}: {got:?}")),
        }
        let model = &mut self.files[number];
        model.size = size;
        for (index, page) in model.pages.iter_mut().enumerate() {
            let kept = size.saturating_sub((index * PAGE_SIZE) as u64) as usize;
            Rc::make_mut(page)[kept.min(PAGE_SIZE)..].fill(0);
        }
        let gone = size.div_ceil(PAGE_SIZE as u64) as u32;
        for index in gone..FILE_PAGES {
            model.is_sound(index);
            if model.file.kind() == FileKind::Stored {
                model.dirty.remove(&index);
            }
        }
        for process in &mut self.processes {
            for page in process.pages.values_mut() {
                if matches!(page.shows, Shows::File(of, index) if of == number && index >= gone) {
                    page.forget();
                }
            }
        }
        Ok(())
    }

    /// Nothing that anyone can see changes, so nothing changes in the model.
    pub(super) fn reclaim(&mut self, a: u32) -> Checked {
        let locked = self.locked_frames();
        let (free, tables) = (self.memory.free_frames(), self.tables());
        let freed = self.memory.reclaim(1 + a as usize % 12);
        if self.locked_frames() != locked {
            return Err("a locked page was reclaimed".into());
        }
        // Huge pages are split into tables.
        if self.memory.free_frames() + self.tables() != free + tables + freed {
            return Err(format!("{freed} frames reclaimed, but others are free"));
        }
        Ok(())
    }

    pub(super) fn sync(&mut self, a: u32) -> Checked {
        let number = a as usize % self.files.len();
        let model = &mut self.files[number];
        let got = self.memory.sync(&model.file);
        self.refused |= self.memory.machine().take_refused();
        let may_report = std::mem::take(&mut model.may_report) || !model.may_be_lost.is_empty();
        match got {
            Ok(()) if model.file.kind() == FileKind::Stored && !self.refused => {
                let wrong = (0..FILE_PAGES).find(|index| {
                    let stored = self.memory.machine().stored(model.file.id(), *index);
                    stored != *model.pages[*index as usize] && !model.may_be_lost.contains(index)
                });
                if let Some(index) = wrong {
                    return Err(format!(
                        "file {number}: page {index} is not in the store after a sync"
                    ));
                }
                // What may be lost may have been left out.
                model
                    .dirty
                    .retain(|index| model.may_be_lost.contains(index));
                self.dirty_pinned();
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(Errno::EIO) if self.refused || may_report => Ok(()),
            Err(error) => Err(format!("file {number}: sync: {error:?}")),
        }
    }
}
