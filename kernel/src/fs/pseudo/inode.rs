//! Inodes of files that are made by functions.

use alloc::sync::Arc;

use super::Node;
use super::file::OpenPseudoFile;
use crate::error::{Errno, Result};
use crate::fs::attributes::Attributes;
use crate::fs::{
    AttributeChange, DeviceNumber, DirectoryEntry, FileOperations, FileType, Inode, Link, Metadata,
    OpenFlags,
};

const ROOT: u64 = 1;

/// An inode. It is made at each lookup; its number comes from its path, and so stays.
#[derive(Debug)]
pub(super) struct PseudoInode {
    node: Node,
    number: u64,
    attributes: Attributes,
}

impl PseudoInode {
    pub(super) fn root(node: Node) -> Arc<Self> {
        Self::new(node, ROOT)
    }

    fn new(node: Node, number: u64) -> Arc<Self> {
        let (permissions, links) = match &node {
            Node::Directory(_) => (0o555, 2),
            Node::File(_, permissions) | Node::Special(_, permissions) => (*permissions, 1),
            Node::Link(_) => (0o777, 1),
        };
        Arc::new(Self {
            node,
            number,
            attributes: Attributes::new(permissions, links),
        })
    }

    /// The number of a child: FNV-1a of its name, from its parent's number on.
    fn number_of(&self, name: &[u8]) -> u64 {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        name.iter().fold(mix(self.number, &b'/'), mix) >> 1
    }
}

impl Inode for PseudoInode {
    fn metadata(&self) -> Metadata {
        let values = self.attributes.get();
        Metadata {
            device: DeviceNumber::new(0, 3),
            inode: self.number,
            kind: self.kind(),
            permissions: values.permissions,
            links: values.links,
            uid: values.uid,
            gid: values.gid,
            represents: DeviceNumber::default(),
            size: 0,
            block_size: mm::PAGE_SIZE as u32,
            blocks: 0,
            accessed: values.accessed,
            modified: values.modified,
            changed: values.changed,
        }
    }

    fn kind(&self) -> FileType {
        self.node.kind()
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        match &self.node {
            Node::File(file, _) => Ok(Arc::new(OpenPseudoFile::new(Arc::clone(file)))),
            Node::Special(operations, _) => Ok(Arc::clone(operations)),
            Node::Directory(_) | Node::Link(_) => Err(Errno::ENXIO),
        }
    }

    fn change_attributes(&self, change: AttributeChange) -> Result<()> {
        self.attributes.change(change);
        Ok(())
    }

    /// There is nothing to cut off: shells truncate what they write to.
    fn truncate(&self, _: u64) -> Result<()> {
        match self.kind() {
            FileType::Regular => Ok(()),
            FileType::Directory => Err(Errno::EISDIR),
            _ => Err(Errno::EINVAL),
        }
    }

    fn link_target(&self) -> Result<Link> {
        match &self.node {
            Node::Link(target) => target.target(),
            _ => Err(Errno::EINVAL),
        }
    }

    fn is_volatile(&self) -> bool {
        match &self.node {
            Node::Directory(directory) => directory.is_volatile(),
            _ => false,
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let Node::Directory(directory) = &self.node else {
            return Err(Errno::ENOTDIR);
        };
        let node = directory.lookup(name).ok_or(Errno::ENOENT)?;
        Ok(Self::new(node, self.number_of(name)))
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool) -> Result<()> {
        let Node::Directory(directory) = &self.node else {
            return Err(Errno::ENOTDIR);
        };
        for (index, (name, kind)) in directory.list().into_iter().enumerate() {
            let position = index as u64 + 2;
            let entry = DirectoryEntry {
                name: &name,
                inode: self.number_of(&name),
                kind,
                next: position + 1,
            };
            if position >= from && !emit(entry) {
                break;
            }
        }
        Ok(())
    }
}
