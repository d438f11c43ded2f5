//! The names of a directory in memory.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode::Node;
use crate::fs::DirectoryEntry;

/// Names, by name and in the order in which they came: a listing goes on where it stopped, no
/// matter what was added or removed meanwhile.
#[derive(Debug)]
pub(super) struct Entries {
    by_name: BTreeMap<Arc<[u8]>, (u64, Arc<Node>)>,
    by_position: BTreeMap<u64, Arc<[u8]>>,
    next: u64,
}

impl Entries {
    /// None. Positions 0 and 1 belong to `.` and `..`.
    pub(super) fn new() -> Self {
        Self {
            by_name: BTreeMap::new(),
            by_position: BTreeMap::new(),
            next: 2,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<Arc<Node>> {
        self.by_name.get(name).map(|(_, node)| Arc::clone(node))
    }

    /// Adds a name, or gives it to something else. Returns what had it.
    pub(super) fn insert(&mut self, name: &[u8], node: Arc<Node>) -> Option<Arc<Node>> {
        let before = self.remove(name);
        let name: Arc<[u8]> = name.into();
        self.by_position.insert(self.next, Arc::clone(&name));
        self.by_name.insert(name, (self.next, node));
        self.next += 1;
        before
    }

    /// Removes a name. Returns what had it.
    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Arc<Node>> {
        let (position, node) = self.by_name.remove(name)?;
        self.by_position.remove(&position);
        Some(node)
    }

    /// A few entries from a position on, so that they can be given away with no lock held.
    pub(super) fn from(&self, position: u64, most: usize) -> Vec<Entry> {
        let entries = self.by_position.range(position..).take(most);
        entries
            .filter_map(|(position, name)| {
                let (_, node) = self.by_name.get(name)?;
                Some(Entry {
                    name: name.to_vec().into_boxed_slice(),
                    node: Arc::clone(node),
                    next: position + 1,
                })
            })
            .collect()
    }

    /// All of them, at the end of the directory.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Arc<Node>> + use<> {
        self.by_position.clear();
        let by_name = core::mem::take(&mut self.by_name);
        by_name.into_values().map(|(_, node)| node)
    }
}

/// A copy of an entry.
pub(super) struct Entry {
    name: Box<[u8]>,
    node: Arc<Node>,
    pub(super) next: u64,
}

impl Entry {
    pub(super) fn show(&self) -> DirectoryEntry<'_> {
        DirectoryEntry {
            name: &self.name,
            inode: self.node.number(),
            kind: self.node.file_type(),
            next: self.next,
        }
    }
}
