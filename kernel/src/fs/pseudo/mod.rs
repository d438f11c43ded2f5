//! File systems whose files are made by functions: `/proc`, `/sys`, debugfs.
//!
//! Whoever has something to show adds it to a [`Tree`]:
//!
//! ```
//! use kernel::fs::pseudo::{Tree, read_only};
//! let tree = Tree::new();
//! let memory = tree.directory("memory");
//! memory.file("size", 0o444, read_only(|| Ok("64 MiB\n".into())));
//! ```
//!
//! A directory whose names come and go by themselves is a [`Directory`] of its own.

mod file;
mod inode;
mod tree;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Debug;

pub use self::file::{PseudoFile, read_only, read_write, write_only};
pub use self::tree::Tree;
use super::{FileOperations, FileSystem, FileSystemStatistics, FileType, Inode, Link};
use crate::error::Result;

/// Something with a name in such a file system.
#[derive(Clone, Debug)]
pub enum Node {
    /// A directory.
    Directory(Arc<dyn Directory>),
    /// A file whose whole contents are made when it is read, with its permissions.
    File(Arc<dyn PseudoFile>, u16),
    /// A file that is read and written by position, with its permissions.
    Special(Arc<dyn FileOperations>, u16),
    /// A symbolic link.
    Link(Arc<dyn Target>),
}

impl Node {
    /// What it is.
    pub fn kind(&self) -> FileType {
        match self {
            Self::Directory(_) => FileType::Directory,
            Self::File(..) | Self::Special(..) => FileType::Regular,
            Self::Link(_) => FileType::SymbolicLink,
        }
    }
}

/// A directory.
pub trait Directory: Debug + Send + Sync {
    /// What has this name.
    fn lookup(&self, name: &[u8]) -> Option<Node>;

    /// All names, in an order that stays, with what they are.
    fn list(&self) -> Vec<(Vec<u8>, FileType)>;

    /// Whether names go away again, so that none may be remembered.
    fn is_volatile(&self) -> bool;
}

/// Where a symbolic link leads: a function of the moment.
pub trait Target: Debug + Send + Sync {
    /// Where.
    ///
    /// # Errors
    ///
    /// `ENOENT`: nowhere, any more.
    fn target(&self) -> Result<Link>;
}

/// A link that always leads to the same path.
#[derive(Clone, Copy, Debug)]
pub struct To(pub &'static str);

impl Target for To {
    fn target(&self) -> Result<Link> {
        Ok(Link::Text(self.0.as_bytes().to_vec()))
    }
}

/// A file system made of a directory.
#[derive(Debug)]
pub struct PseudoFs {
    name: &'static str,
    magic: u64,
    root: Arc<dyn Directory>,
}

impl PseudoFs {
    /// One with this name in `/proc/mounts`, this `f_type`, and this root.
    pub fn new(name: &'static str, magic: u64, root: Arc<dyn Directory>) -> Arc<Self> {
        Arc::new(Self { name, magic, root })
    }
}

impl FileSystem for PseudoFs {
    fn name(&self) -> &'static str {
        self.name
    }

    fn root(&self) -> Arc<dyn Inode> {
        inode::PseudoInode::root(Node::Directory(Arc::clone(&self.root)))
    }

    fn statistics(&self) -> FileSystemStatistics {
        FileSystemStatistics {
            magic: self.magic,
            block_size: mm::PAGE_SIZE as u64,
            ..FileSystemStatistics::default()
        }
    }
}

/// The text of a write, without the newline at its end: what most settings want.
///
/// # Errors
///
/// `EINVAL`: it is not UTF-8.
pub fn trimmed(bytes: &[u8]) -> Result<&str> {
    let text = core::str::from_utf8(bytes).map_err(|_| crate::error::Errno::EINVAL)?;
    Ok(text.trim())
}

/// A number that was written, decimal or with `0x`.
///
/// # Errors
///
/// `EINVAL`: it is none.
pub fn number(bytes: &[u8]) -> Result<u64> {
    let text = trimmed(bytes)?;
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| crate::error::Errno::EINVAL)
}

/// A line of text of something that can be shown.
pub fn line(value: impl core::fmt::Display) -> String {
    alloc::format!("{value}\n")
}

#[cfg(test)]
mod tests;
