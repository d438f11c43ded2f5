//! Entries of directories in the form of `struct linux_dirent64`.
//!
//! | offset | size | what |
//! |---|---|---|
//! | 0 | 8 | inode |
//! | 8 | 8 | position after this entry |
//! | 16 | 2 | length of the entry, a multiple of 8 |
//! | 18 | 1 | type |
//! | 19 | | name, with a zero behind it |

use super::{DirectoryEntry, FileType, NAME_MAX, Path};
use crate::error::{Errno, Result};
use crate::memory::Sink;

const HEADER: usize = 19;
const LONGEST: usize = (HEADER + NAME_MAX + 1).next_multiple_of(8);

/// Puts entries from `position` on into `sink`, and moves the position behind them. Returns how
/// many bytes they take; zero at the end.
///
/// # Errors
///
/// `EINVAL`: not even one entry fits. `EFAULT`, `EIO`.
pub(super) fn list(path: &Path, position: &mut u64, sink: &mut Sink<'_>) -> Result<usize> {
    let mut list = List {
        position,
        sink,
        done: 0,
        stopped: None,
    };
    let above = path.dentry.parent();
    let above = above.as_ref().unwrap_or(&path.dentry).inode();
    let dots = [(&b"."[..], path.inode()), (&b".."[..], above)];
    for (index, (name, inode)) in dots.into_iter().enumerate().skip(*list.position as usize) {
        let entry = DirectoryEntry {
            name,
            inode: inode.metadata().inode,
            kind: FileType::Directory,
            next: index as u64 + 1,
        };
        if !list.put(entry) {
            return list.outcome();
        }
    }
    let from = *list.position;
    path.inode().list(from, &mut |entry| list.put(entry))?;
    list.outcome()
}

struct List<'a, 'b> {
    position: &'a mut u64,
    sink: &'a mut Sink<'b>,
    done: usize,
    stopped: Option<Errno>,
}

impl List<'_, '_> {
    /// Adds an entry. Returns whether there may be room for another.
    fn put(&mut self, entry: DirectoryEntry<'_>) -> bool {
        let name = &entry.name[..entry.name.len().min(NAME_MAX)];
        let length = (HEADER + name.len() + 1).next_multiple_of(8);
        if length > self.sink.left() {
            self.stopped = Some(Errno::EINVAL);
            return false;
        }
        let mut bytes = [0; LONGEST];
        bytes[0..8].copy_from_slice(&entry.inode.to_le_bytes());
        bytes[8..16].copy_from_slice(&entry.next.to_le_bytes());
        bytes[16..18].copy_from_slice(&(length as u16).to_le_bytes());
        bytes[18] = entry.kind.directory_entry_type();
        bytes[HEADER..HEADER + name.len()].copy_from_slice(name);
        if let Err(stopped) = self.sink.put(&bytes[..length]) {
            self.stopped = Some(stopped.errno());
            return false;
        }
        self.done += length;
        *self.position = entry.next;
        true
    }

    fn outcome(self) -> Result<usize> {
        match self.stopped {
            Some(error) if self.done == 0 => Err(error),
            _ => Ok(self.done),
        }
    }
}
