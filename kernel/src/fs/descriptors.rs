//! The table of a process: numbers for open files.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::OpenFile;
use crate::error::{Errno, Result};
use crate::sync::SpinLock;

/// Descriptors of a process. Threads, and processes that say so, share one table.
#[derive(Debug)]
pub struct Descriptors {
    table: SpinLock<Table>,
}

#[derive(Clone, Debug)]
struct Table {
    slots: Vec<Option<Slot>>,
    /// No slot before this one is free.
    first_free: usize,
    /// No descriptor is this or greater (`RLIMIT_NOFILE`).
    limit: usize,
}

#[derive(Clone, Debug)]
struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self::new()
    }
}

impl Descriptors {
    /// How many a process can have unless it asks for another limit.
    pub const DEFAULT_LIMIT: usize = 1024;

    /// An empty table.
    pub const fn new() -> Self {
        Self {
            table: SpinLock::new(Table {
                slots: Vec::new(),
                first_free: 0,
                limit: Self::DEFAULT_LIMIT,
            }),
        }
    }

    /// A table of its own for a child process, with the same open files.
    pub fn duplicate(&self) -> Self {
        Self {
            table: SpinLock::new(self.table.lock().clone()),
        }
    }

    /// Sets the limit for new descriptors (`RLIMIT_NOFILE`).
    pub fn set_limit(&self, limit: usize) {
        self.table.lock().limit = limit;
    }

    /// The open file of a descriptor.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn get(&self, descriptor: i32) -> Result<Arc<OpenFile>> {
        let table = self.table.lock();
        let slot = table.slot(descriptor).ok_or(Errno::EBADF)?;
        Ok(Arc::clone(&slot.file))
    }

    /// Gives an open file the lowest free number that is at least `from`.
    ///
    /// # Errors
    ///
    /// `EMFILE`: none is left below the limit; for a `from` beyond it `EINVAL`. `ENOMEM`.
    pub fn add_from(&self, from: i32, file: Arc<OpenFile>, close_on_exec: bool) -> Result<i32> {
        let from = usize::try_from(from).map_err(|_| Errno::EINVAL)?;
        let mut table = self.table.lock();
        if from >= table.limit {
            return Err(if from == 0 {
                Errno::EMFILE
            } else {
                Errno::EINVAL
            });
        }
        let start = from.max(table.first_free);
        let free = |index: &usize| table.slots.get(*index).is_none_or(Option::is_none);
        let index = (start..table.limit).find(free).ok_or(Errno::EMFILE)?;
        if start == table.first_free {
            table.first_free = index + 1;
        }
        table.put(
            index,
            Slot {
                file,
                close_on_exec,
            },
        )?;
        Ok(index as i32)
    }

    /// Gives an open file the lowest free number.
    ///
    /// # Errors
    ///
    /// `EMFILE`, `ENOMEM`.
    pub fn add(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<i32> {
        self.add_from(0, file, close_on_exec)
    }

    /// Gives an open file this number; what had it is closed (`dup3`).
    ///
    /// # Errors
    ///
    /// `EBADF`: the number is not below the limit. `ENOMEM`.
    pub fn replace(&self, number: i32, file: Arc<OpenFile>, close_on_exec: bool) -> Result<()> {
        let index = usize::try_from(number).map_err(|_| Errno::EBADF)?;
        let mut table = self.table.lock();
        if index >= table.limit {
            return Err(Errno::EBADF);
        }
        let before = table.put(
            index,
            Slot {
                file,
                close_on_exec,
            },
        )?;
        drop(table);
        // Closing may sleep.
        drop(before);
        Ok(())
    }

    /// Closes a descriptor.
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn close(&self, descriptor: i32) -> Result<()> {
        let closed = self.table.lock().take(descriptor);
        closed.map(drop).ok_or(Errno::EBADF)
    }

    /// Closes all in a range of numbers, or marks them to end at `execve` (`close_range`).
    pub fn close_range(&self, first: u32, last: u32, only_mark: bool) {
        let mut table = self.table.lock();
        let end = table.slots.len().min((last as usize).saturating_add(1));
        let range = (first as usize).min(end)..end;
        if only_mark {
            for slot in table.slots[range].iter_mut().flatten() {
                slot.close_on_exec = true;
            }
            return;
        }
        let closed: Vec<_> = range.filter_map(|index| table.take(index as i32)).collect();
        drop(table);
        drop(closed);
    }

    /// Closes those that end at `execve`.
    pub fn close_on_exec(&self) {
        let mut table = self.table.lock();
        let ending = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| slot.close_on_exec);
        let closed: Vec<_> = (0..table.slots.len())
            .filter(|index| ending(&table.slots[*index]))
            .collect();
        let closed: Vec<_> = closed
            .into_iter()
            .filter_map(|index| table.take(index as i32))
            .collect();
        drop(table);
        drop(closed);
    }

    /// Closes all: at the end of a process.
    pub fn close_all(&self) {
        self.close_range(0, u32::MAX, false);
    }

    /// Whether a descriptor ends at `execve` (`F_GETFD`).
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn is_close_on_exec(&self, descriptor: i32) -> Result<bool> {
        let table = self.table.lock();
        let slot = table.slot(descriptor).ok_or(Errno::EBADF)?;
        Ok(slot.close_on_exec)
    }

    /// Says whether a descriptor ends at `execve` (`F_SETFD`).
    ///
    /// # Errors
    ///
    /// `EBADF`.
    pub fn set_close_on_exec(&self, descriptor: i32, close_on_exec: bool) -> Result<()> {
        let mut table = self.table.lock();
        let index = usize::try_from(descriptor).map_err(|_| Errno::EBADF)?;
        let slot = table.slots.get_mut(index).and_then(Option::as_mut);
        slot.ok_or(Errno::EBADF)?.close_on_exec = close_on_exec;
        Ok(())
    }

    /// How long the table is: no descriptor is this or greater.
    pub fn slots(&self) -> usize {
        self.table.lock().slots.len()
    }

    /// The open descriptors: `/proc/self/fd`.
    pub fn numbers(&self) -> Vec<i32> {
        let table = self.table.lock();
        let slots = table.slots.iter().enumerate();
        slots
            .filter_map(|(index, slot)| slot.is_some().then_some(index as i32))
            .collect()
    }
}

impl Table {
    fn slot(&self, descriptor: i32) -> Option<&Slot> {
        self.slots.get(usize::try_from(descriptor).ok()?)?.as_ref()
    }

    /// Fills a slot, and returns what was in it.
    fn put(&mut self, index: usize, slot: Slot) -> Result<Option<Slot>> {
        if index >= self.slots.len() {
            super::admit()?;
            let more = index + 1 - self.slots.len();
            self.slots.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
            self.slots.resize(index + 1, None);
        }
        Ok(self.slots[index].replace(slot))
    }

    fn take(&mut self, descriptor: i32) -> Option<Slot> {
        let index = usize::try_from(descriptor).ok()?;
        let slot = self.slots.get_mut(index)?.take()?;
        self.first_free = self.first_free.min(index);
        Some(slot)
    }
}
