//! From path names to places in the tree.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::{Dentry, FileType, Inode, LINKS_MAX, Link, Metadata, Mount, NAME_MAX, Namespace};
use crate::error::{Errno, Result};

/// A place in the tree: a dentry as seen through a mount.
#[derive(Clone, Debug)]
pub struct Path {
    pub(super) mount: Arc<Mount>,
    pub(super) dentry: Arc<Dentry>,
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.mount, &other.mount) && Arc::ptr_eq(&self.dentry, &other.dentry)
    }
}

impl Path {
    /// What is there.
    pub fn inode(&self) -> &Arc<dyn Inode> {
        self.dentry.inode()
    }

    /// What `stat` tells of it.
    pub fn metadata(&self) -> Metadata {
        self.inode().metadata()
    }

    /// Whether it is the root of what is mounted there.
    pub fn is_mount_root(&self) -> bool {
        Arc::ptr_eq(&self.mount().root().dentry, &self.dentry)
    }

    /// Through which mount it is seen.
    pub fn mount(&self) -> &Arc<Mount> {
        &self.mount
    }

    /// Refuses changes through a mount that allows none.
    ///
    /// # Errors
    ///
    /// `EROFS`.
    pub fn check_writable(&self) -> Result<()> {
        if self.mount.is_read_only() {
            Err(Errno::EROFS)
        } else {
            Ok(())
        }
    }

    /// Its absolute name as seen from `root`. `None` if it is not below that, or removed.
    pub fn name_from(&self, root: &Self) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = self.clone();
        while at != *root {
            if at.dentry.is_removed() {
                return None;
            }
            match at.dentry.parent() {
                Some(parent) => {
                    names.push(at.dentry.name());
                    at.dentry = parent;
                }
                None => at = at.mount.mount_point()?.clone(),
            }
        }
        let mut path = Vec::new();
        for name in names.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Some(path)
    }
}

/// Whether a symbolic link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Yes.
    Yes,
    /// No: the link itself is meant.
    No,
}

/// Where a walk to the directory of the last component ended.
#[derive(Debug)]
pub(super) enum Last {
    /// At a directory itself: `/`, or a path that ends in `.` or `..`.
    Directory,
    /// Before this name in the directory.
    Name {
        /// Where in the path the name is: see [`Walk::name`].
        name: Range<usize>,
        /// It had a slash behind it, so it must be a directory.
        slash: bool,
    },
}

/// A walk along a path.
pub(super) struct Walk<'a> {
    namespace: &'a Namespace,
    root: &'a Path,
    /// How far it has come.
    pub(super) at: Path,
    /// What is left of the path.
    rest: Cow<'a, [u8]>,
    /// Where in `rest` it goes on.
    index: usize,
    links: u32,
}

impl<'a> Walk<'a> {
    /// A walk along `path`, from `start` unless it is absolute.
    ///
    /// # Errors
    ///
    /// `ENOENT`: the path is empty.
    pub(super) fn new(
        namespace: &'a Namespace,
        root: &'a Path,
        start: impl FnOnce() -> Result<Path>,
        path: &'a [u8],
    ) -> Result<Self> {
        let at = match path.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') => root.clone(),
            Some(_) => start()?,
        };
        Ok(Self {
            namespace,
            root,
            at,
            rest: Cow::Borrowed(path),
            index: 0,
            links: 0,
        })
    }

    /// Goes on to the end.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `ENOMEM`, `EIO`.
    pub(super) fn finish(mut self, follow: Follow) -> Result<Path> {
        while let Last::Name { name, slash } = self.advance()? {
            let child = self.child(self.name(&name))?;
            if child.inode().kind() == FileType::SymbolicLink && (slash || follow == Follow::Yes) {
                self.enter_link(&child)?;
                continue;
            }
            if slash && child.inode().kind() != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            return Ok(child);
        }
        Ok(self.at)
    }

    /// Goes on to the directory of the last component.
    ///
    /// # Errors
    ///
    /// As for [`finish`](Self::finish).
    pub(super) fn advance(&mut self) -> Result<Last> {
        loop {
            let rest = &self.rest[self.index..];
            let start = rest.iter().position(|byte| *byte != b'/');
            let Some(start) = start else {
                self.check_directory()?;
                return Ok(Last::Directory);
            };
            let rest = &rest[start..];
            let length = rest.iter().position(|byte| *byte == b'/');
            let length = length.unwrap_or(rest.len());
            let begin = self.index + start;
            let end = begin + length;
            let slash = rest.len() > length;
            let is_last = rest[length..].iter().all(|byte| *byte == b'/');
            self.index = end;
            match &self.rest[begin..end] {
                b"." => self.check_directory()?,
                b".." => self.up()?,
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                _ if is_last => {
                    self.check_directory()?;
                    let name = begin..end;
                    return Ok(Last::Name { name, slash });
                }
                name => {
                    let child = self.child(name)?;
                    if child.inode().kind() == FileType::SymbolicLink {
                        self.enter_link(&child)?;
                    } else {
                        self.at = child;
                    }
                }
            }
        }
    }

    /// A name that [`advance`](Self::advance) found, as long as the walk does not go on.
    pub(super) fn name(&self, name: &Range<usize>) -> &[u8] {
        &self.rest[name.clone()]
    }

    /// What has this name here.
    pub(super) fn child(&self, name: &[u8]) -> Result<Path> {
        let path = Path {
            mount: Arc::clone(&self.at.mount),
            dentry: self.at.dentry.child(name)?,
        };
        Ok(if path.dentry.is_mount_point() {
            self.namespace.covered(path)
        } else {
            path
        })
    }

    /// Goes on along a symbolic link in the directory where the walk is. Slashes behind its name
    /// are still in the rest, and make sure that it leads to a directory.
    ///
    /// # Errors
    ///
    /// `ELOOP`, `ENOENT` for an empty link, `ENAMETOOLONG`, `EIO`.
    pub(super) fn enter_link(&mut self, link: &Path) -> Result<()> {
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let rest = &self.rest[self.index..];
        let path = match link.inode().link_target()? {
            Link::Place(place) => {
                self.at = place;
                // An empty rest ends the walk at the place, be it a directory or not.
                rest.to_vec()
            }
            Link::Text(text) => {
                if text.is_empty() {
                    return Err(Errno::ENOENT);
                }
                if text.first() == Some(&b'/') {
                    self.at = self.root.clone();
                }
                [&text, rest].concat()
            }
        };
        if path.len() >= super::PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        self.rest = Cow::Owned(path);
        self.index = 0;
        Ok(())
    }

    fn up(&mut self) -> Result<()> {
        self.check_directory()?;
        while self.at != *self.root {
            if let Some(dentry) = self.at.dentry.parent() {
                self.at.dentry = dentry;
                break;
            }
            let Some(on) = self.at.mount.mount_point().cloned() else {
                break;
            };
            self.at = on;
        }
        self.at = self.namespace.covered(self.at.clone());
        Ok(())
    }

    fn check_directory(&self) -> Result<()> {
        if self.rest.is_empty() || self.at.inode().kind() == FileType::Directory {
            Ok(())
        } else {
            Err(Errno::ENOTDIR)
        }
    }
}
