//! Inodes in memory.

use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

use mm::FileKind;

use super::Tmpfs;
use super::directory::Entries;
use crate::error::{Errno, Result};
use crate::fs::attributes::Attributes;
use crate::fs::page_cache::Pages;
use crate::fs::{
    AttributeChange, DeviceNumber, DirectoryEntry, FileOperations, FileType, Inode, Link, Metadata,
    NewInode, OpenFlags, pipe,
};
use crate::memory::{Sink, Source};
use crate::sync::SpinLock;

/// How many entries a listing takes at once.
const BATCH: usize = 16;
/// No file has more names.
const LINKS_MAX: u32 = u32::MAX / 2;

/// An inode.
#[derive(Debug)]
pub(super) struct Node {
    file_system: Weak<Tmpfs>,
    number: u64,
    attributes: Attributes,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    Regular(Pages),
    Directory(SpinLock<Entries>),
    SymbolicLink(Box<[u8]>),
    Fifo(Arc<pipe::Pipe>),
    Socket,
    Device(FileType, DeviceNumber),
}

impl Node {
    pub(super) fn directory(file_system: Weak<Tmpfs>, number: u64, permissions: u16) -> Arc<Self> {
        Arc::new(Self {
            file_system,
            number,
            attributes: Attributes::new(permissions, 2),
            contents: Contents::Directory(SpinLock::new(Entries::new())),
        })
    }

    pub(super) fn new(
        file_system: Weak<Tmpfs>,
        number: u64,
        what: NewInode<'_>,
        permissions: u16,
    ) -> Result<Arc<Self>> {
        let contents = match what {
            NewInode::Directory => return Ok(Self::directory(file_system, number, permissions)),
            NewInode::Regular => Contents::Regular(Pages::new(FileKind::Memory, 0)?),
            NewInode::SymbolicLink(text) => Contents::SymbolicLink(text.into()),
            NewInode::Fifo => Contents::Fifo(pipe::Pipe::new()),
            NewInode::Socket => Contents::Socket,
            NewInode::CharacterDevice(number) => {
                Contents::Device(FileType::CharacterDevice, number)
            }
            NewInode::BlockDevice(number) => Contents::Device(FileType::BlockDevice, number),
        };
        Ok(Arc::new(Self {
            file_system,
            number,
            attributes: Attributes::new(permissions, 1),
            contents,
        }))
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn file_type(&self) -> FileType {
        match &self.contents {
            Contents::Regular(_) => FileType::Regular,
            Contents::Directory(_) => FileType::Directory,
            Contents::SymbolicLink(_) => FileType::SymbolicLink,
            Contents::Fifo(_) => FileType::Fifo,
            Contents::Socket => FileType::Socket,
            Contents::Device(kind, _) => *kind,
        }
    }

    fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    fn entries(&self) -> Result<&SpinLock<Entries>> {
        match &self.contents {
            Contents::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn pages(&self) -> Result<&Pages> {
        match &self.contents {
            Contents::Regular(pages) => Ok(pages),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Takes a name from the directory, and from what had it.
    fn remove(&self, name: &[u8]) -> Result<()> {
        let removed = self.entries()?.lock().remove(name);
        let removed = removed.ok_or(Errno::ENOENT)?;
        self.lost_name(&removed);
        self.attributes.touch();
        Ok(())
    }

    /// Counts a name that `node` no longer has in this directory.
    fn lost_name(&self, node: &Self) {
        if node.is_directory() {
            node.attributes.change_links(-2);
            self.attributes.change_links(-1);
        } else {
            node.attributes.change_links(-1);
        }
    }
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let values = self.attributes.get();
        let (size, represents) = match &self.contents {
            Contents::Regular(pages) => (pages.size(), DeviceNumber::default()),
            Contents::SymbolicLink(text) => (text.len() as u64, DeviceNumber::default()),
            Contents::Device(_, number) => (0, *number),
            Contents::Directory(_) | Contents::Fifo(_) | Contents::Socket => {
                (0, DeviceNumber::default())
            }
        };
        Metadata {
            device: DeviceNumber::new(0, 1),
            inode: self.number,
            kind: self.file_type(),
            permissions: values.permissions,
            links: values.links,
            uid: values.uid,
            gid: values.gid,
            represents,
            size,
            block_size: mm::PAGE_SIZE as u32,
            blocks: size.div_ceil(mm::PAGE_SIZE as u64) * (mm::PAGE_SIZE as u64 / 512),
            accessed: values.accessed,
            modified: values.modified,
            changed: values.changed,
        }
    }

    fn kind(&self) -> FileType {
        self.file_type()
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        match &self.contents {
            Contents::Regular(_) => Ok(self),
            Contents::Fifo(pipe) => pipe::open(pipe, flags),
            _ => Err(Errno::ENXIO),
        }
    }

    fn change_attributes(&self, change: AttributeChange) -> Result<()> {
        self.attributes.change(change);
        Ok(())
    }

    fn truncate(&self, size: u64) -> Result<()> {
        if self.is_directory() {
            return Err(Errno::EISDIR);
        }
        self.pages()?.truncate(size, || Ok(()))?;
        self.attributes.touch();
        Ok(())
    }

    fn link_target(&self) -> Result<Link> {
        match &self.contents {
            Contents::SymbolicLink(text) => Ok(Link::Text(text.to_vec())),
            _ => Err(Errno::EINVAL),
        }
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let found = self.entries()?.lock().get(name);
        found
            .map(|node| node as Arc<dyn Inode>)
            .ok_or(Errno::ENOENT)
    }

    fn list(&self, from: u64, emit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool) -> Result<()> {
        let mut from = from;
        loop {
            let batch = self.entries()?.lock().from(from, BATCH);
            let Some(last) = batch.last() else {
                return Ok(());
            };
            from = last.next;
            if !batch.iter().all(|entry| emit(entry.show())) {
                return Ok(());
            }
        }
    }

    fn create(&self, name: &[u8], what: NewInode<'_>, permissions: u16) -> Result<Arc<dyn Inode>> {
        let entries = self.entries()?;
        let file_system = self.file_system.upgrade().ok_or(Errno::EIO)?;
        let node = file_system.make(what, permissions)?;
        let before = entries.lock().insert(name, Arc::clone(&node));
        debug_assert!(before.is_none(), "the caller saw that the name is free");
        self.attributes.touch();
        if node.is_directory() {
            self.attributes.change_links(1);
        }
        Ok(node)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let node = node_of(target)?;
        if node.attributes.get().links >= LINKS_MAX {
            return Err(Errno::EMLINK);
        }
        node.attributes.change_links(1);
        let before = self.entries()?.lock().insert(name, node);
        debug_assert!(before.is_none(), "the caller saw that the name is free");
        self.attributes.touch();
        Ok(())
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name)
    }

    fn remove_directory(&self, name: &[u8]) -> Result<()> {
        let node = self.entries()?.lock().get(name).ok_or(Errno::ENOENT)?;
        if !node.entries()?.lock().is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove(name)
    }

    fn rename(&self, name: &[u8], to: &Arc<dyn Inode>, new_name: &[u8]) -> Result<()> {
        let to = node_of(to)?;
        let replaced = to.entries()?.lock().get(new_name);
        if let Some(replaced) = &replaced
            && let Ok(entries) = replaced.entries()
            && !entries.lock().is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        let node = self.entries()?.lock().remove(name).ok_or(Errno::ENOENT)?;
        if node.is_directory() {
            self.attributes.change_links(-1);
            to.attributes.change_links(1);
        }
        let before = to.entries()?.lock().insert(new_name, node);
        if let Some(before) = before {
            to.lost_name(&before);
        }
        self.attributes.touch();
        to.attributes.touch();
        Ok(())
    }
}

impl FileOperations for Node {
    fn read(&self, position: u64, sink: &mut Sink<'_>, _: OpenFlags) -> Result<usize> {
        let length = sink.left();
        self.pages()?.read(position, sink, length)
    }

    fn write(&self, position: u64, source: &mut Source<'_>, _: OpenFlags) -> Result<usize> {
        let length = source.left();
        let done = self.pages()?.write(position, source, length)?;
        self.attributes.touch();
        Ok(done)
    }

    fn append(&self, source: &mut Source<'_>, _: OpenFlags) -> Result<(u64, usize)> {
        let appended = self.pages()?.append(source)?;
        self.attributes.touch();
        Ok(appended)
    }

    fn mapping(&self) -> Result<Arc<mm::File>> {
        let pages = self.pages().map_err(|_| Errno::ENODEV)?;
        Ok(Arc::clone(pages.file()))
    }
}

/// An inode of this kind of file system.
fn node_of(inode: &Arc<dyn Inode>) -> Result<Arc<Node>> {
    let any: Arc<dyn Any + Send + Sync> = Arc::clone(inode) as Arc<dyn Any + Send + Sync>;
    any.downcast().map_err(|_| Errno::EXDEV)
}

impl Drop for Node {
    /// Drops what is below one by one, and not by recursion, which a process could make as deep
    /// as it likes.
    fn drop(&mut self) {
        if let Some(file_system) = self.file_system.upgrade() {
            file_system.forget_inode();
        }
        let Contents::Directory(entries) = &mut self.contents else {
            return;
        };
        let mut rest: Vec<Arc<Self>> = entries.get_mut().take().collect();
        while let Some(node) = rest.pop() {
            if let Some(mut last) = Arc::into_inner(node)
                && let Contents::Directory(entries) = &mut last.contents
            {
                rest.extend(entries.get_mut().take());
            }
        }
    }
}
