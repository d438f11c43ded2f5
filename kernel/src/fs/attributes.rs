//! What file systems in memory keep of each inode besides its contents.

use super::{AttributeChange, Timestamp, now};
use crate::sync::SpinLock;

/// Owner, permissions, times and number of names.
#[derive(Debug)]
pub struct Attributes {
    inner: SpinLock<Values>,
}

/// The values of [`Attributes`].
#[derive(Clone, Copy, Debug)]
pub struct Values {
    /// The low 12 bits of the mode.
    pub permissions: u16,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// How many names.
    pub links: u32,
    /// The last read.
    pub accessed: Timestamp,
    /// The last change of contents.
    pub modified: Timestamp,
    /// The last change of anything.
    pub changed: Timestamp,
}

impl Attributes {
    /// Those of something new, with `links` names, which belongs to root.
    pub fn new(permissions: u16, links: u32) -> Self {
        let now = now();
        Self {
            inner: SpinLock::new(Values {
                permissions,
                uid: 0,
                gid: 0,
                links,
                accessed: now,
                modified: now,
                changed: now,
            }),
        }
    }

    /// The values now.
    pub fn get(&self) -> Values {
        *self.inner.lock()
    }

    /// Changes what is to be changed.
    pub fn change(&self, change: AttributeChange) {
        let mut values = self.inner.lock();
        values.permissions = change.permissions.unwrap_or(values.permissions);
        values.uid = change.uid.unwrap_or(values.uid);
        values.gid = change.gid.unwrap_or(values.gid);
        values.accessed = change.accessed.unwrap_or(values.accessed);
        values.modified = change.modified.unwrap_or(values.modified);
        values.changed = now();
    }

    /// The contents have changed.
    pub fn touch(&self) {
        let mut values = self.inner.lock();
        values.modified = now();
        values.changed = values.modified;
    }

    /// Adds or takes names. Returns how many there are then.
    pub fn change_links(&self, by: i32) -> u32 {
        let mut values = self.inner.lock();
        values.links = values.links.saturating_add_signed(by);
        values.changed = now();
        values.links
    }
}
