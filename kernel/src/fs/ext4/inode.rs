//! Inodes of a volume.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::sync::atomic::AtomicBool;
use core::time::Duration;

use ext4plus::dir::Dir;
use ext4plus::error::Ext4Error;
use ext4plus::inode::{Inode as DiskInode, InodeCreationOptions, InodeFlags, InodeMode};
use ext4plus::path::PathBuf;
use ext4plus::{DirEntryName, file};
use mm::{FileKind, PAGE_SIZE};

use super::volume::{Disk, Volume};
use crate::error::{Errno, Result};
use crate::fs::page_cache::Pages;
use crate::fs::{
    AttributeChange, DeviceNumber, DirectoryEntry, FileOperations, FileType, Inode, Link, Metadata,
    NewInode, OpenFlags, Timestamp, now,
};
use crate::memory::{PageStore, store};
use crate::sync::Mutex;

pub(super) type DiskResult<T> = core::result::Result<T, Ext4Error>;

/// An inode that is in use.
pub(super) struct Node {
    pub(super) volume: Arc<Volume>,
    number: u32,
    kind: FileType,
    /// As it is on the device. Locked after the volume.
    pub(super) disk: Mutex<DiskInode>,
    /// The bytes of a regular file.
    pub(super) pages: Option<Pages>,
    /// Whether its times are newer than the device's.
    pub(super) has_new_times: AtomicBool,
}

impl fmt::Debug for Node {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ext4 inode {}", self.number)
    }
}

impl Node {
    pub(super) fn new(volume: &Arc<Volume>, disk: DiskInode) -> Result<Arc<Self>> {
        let kind = kind_of(disk.file_type());
        let pages = match kind {
            FileType::Regular => Some(Pages::new(FileKind::Stored, disk.size_in_bytes())?),
            _ => None,
        };
        let node = Arc::new(Self {
            volume: Arc::clone(volume),
            number: disk.index.get(),
            kind,
            disk: Mutex::new(disk),
            pages,
            has_new_times: AtomicBool::new(false),
        });
        if let Some(pages) = &node.pages {
            let keeper = Arc::downgrade(&node) as Weak<dyn PageStore>;
            store::register(pages.file().id(), keeper);
        }
        Ok(node)
    }

    pub(super) fn pages(&self) -> Result<&Pages> {
        self.pages.as_ref().ok_or(Errno::EINVAL)
    }

    /// Whether a process has its pages mapped: then the page cache still needs this.
    pub(super) fn is_mapped(&self) -> bool {
        // The memory manager's own reference, and that of `pages`.
        let references = |pages: &Pages| Arc::strong_count(pages.file());
        self.pages
            .as_ref()
            .is_some_and(|pages| references(pages) > 2)
    }

    /// Whether it has no name any more.
    pub(super) fn is_orphan(&self) -> bool {
        self.disk.lock().links_count() == 0
    }

    /// Does something with the format and this inode.
    pub(super) fn with<T>(
        &self,
        act: impl FnOnce(&Disk, &mut DiskInode) -> DiskResult<T>,
    ) -> Result<T> {
        self.volume.with(|disk| act(disk, &mut self.disk.lock()))
    }

    /// Does something with this directory.
    fn with_directory<T>(&self, act: impl FnOnce(&Disk, &mut Dir) -> DiskResult<T>) -> Result<T> {
        self.with(|disk, inode| {
            let mut directory = Dir::open_inode(disk, inode.clone())?;
            let result = act(disk, &mut directory);
            *inode = directory.inode().clone();
            result
        })
    }

    /// The end of its use: what has a name is written, what has none is deleted.
    pub(super) fn finish(&self) -> Result<()> {
        if !self.is_orphan() {
            return self.write_back();
        }
        // The format deletes an inode with its last name, so it gets one for a moment.
        self.volume.root()?.with_directory(|disk, root| {
            let name = alloc::format!(".orphan-{}", self.number);
            let name = entry_name(name.as_bytes())?;
            let mut inode = self.disk.lock();
            root.link(name, &mut inode)?;
            inode.set_links_count(1);
            root.unlink(name, inode.clone())?;
            if self.kind == FileType::Directory {
                lose_subdirectory(disk, root)?;
            }
            Ok(())
        })
    }

    /// Takes a name from this directory. What it stood for loses it too, but is deleted only when
    /// nobody uses it any more.
    fn remove(&self, name: &[u8]) -> Result<()> {
        let child = self.child(name)?;
        self.with_directory(|disk, directory| {
            let mut inode = child.disk.lock();
            let left = match child.kind {
                FileType::Directory => {
                    lose_subdirectory(disk, directory)?;
                    0
                }
                _ => inode.links_count().saturating_sub(1),
            };
            let mut kept = inode.clone();
            // One more than there will be, so that the format does not delete it.
            kept.set_links_count(left.saturating_add(2));
            directory.unlink(entry_name(name)?, kept)?;
            inode.set_links_count(left);
            set_time(&mut inode);
            inode.write(disk)
        })?;
        drop(child);
        self.volume.forget_unused();
        Ok(())
    }

    fn child(&self, name: &[u8]) -> Result<Arc<Self>> {
        let inode = self.with_directory(|_, directory| directory.get_entry(entry_name(name)?))?;
        self.volume.node(inode)
    }

    /// Whether a directory has no names but its own two.
    fn is_empty(&self) -> Result<bool> {
        self.with_directory(|_, directory| {
            for entry in directory.read_dir()? {
                if !is_dot(entry?.file_name().as_ref()) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

fn kind_of(kind: ext4plus::FileType) -> FileType {
    match kind {
        ext4plus::FileType::BlockDevice => FileType::BlockDevice,
        ext4plus::FileType::CharacterDevice => FileType::CharacterDevice,
        ext4plus::FileType::Directory => FileType::Directory,
        ext4plus::FileType::Fifo => FileType::Fifo,
        ext4plus::FileType::Regular => FileType::Regular,
        ext4plus::FileType::Socket => FileType::Socket,
        ext4plus::FileType::Symlink => FileType::SymbolicLink,
    }
}

fn entry_name(name: &[u8]) -> DiskResult<DirEntryName<'_>> {
    DirEntryName::try_from(name).map_err(|_| Ext4Error::MalformedPath)
}

fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

/// The `..` of a subdirectory no longer counts: the format's crate adds that link, and leaves
/// taking it away to its caller.
fn lose_subdirectory(disk: &Disk, directory: &mut Dir) -> DiskResult<()> {
    let parent = directory.inode_mut();
    parent.set_links_count(parent.links_count().saturating_sub(1));
    parent.write(disk)
}

fn duration(time: Timestamp) -> Duration {
    Duration::new(u64::try_from(time.seconds).unwrap_or(0), time.nanoseconds)
}

fn timestamp(time: Duration) -> Timestamp {
    Timestamp {
        seconds: time.as_secs() as i64,
        nanoseconds: time.subsec_nanos(),
    }
}

pub(super) fn set_time(inode: &mut DiskInode) {
    let time = duration(now());
    inode.set_mtime(time);
    inode.set_ctime(time);
}

impl Inode for Node {
    fn metadata(&self) -> Metadata {
        let size = self.pages.as_ref().map(Pages::size);
        let inode = self.disk.lock();
        Metadata {
            device: self.volume.number(),
            inode: u64::from(self.number),
            kind: self.kind,
            permissions: inode.mode().bits() & 0o7777,
            links: u32::from(inode.links_count()),
            uid: inode.uid(),
            gid: inode.gid(),
            represents: DeviceNumber::default(),
            size: size.unwrap_or_else(|| inode.size_in_bytes()),
            block_size: PAGE_SIZE as u32,
            blocks: inode.blocks(),
            accessed: timestamp(inode.atime()),
            modified: timestamp(inode.mtime()),
            changed: timestamp(inode.ctime()),
        }
    }

    fn kind(&self) -> FileType {
        self.kind
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        match self.kind {
            FileType::Regular => Ok(self),
            _ => Err(Errno::ENXIO),
        }
    }

    fn change_attributes(&self, change: AttributeChange) -> Result<()> {
        self.with(|disk, inode| {
            if let Some(permissions) = change.permissions {
                let bits = (inode.mode().bits() & !0o7777) | permissions & 0o7777;
                inode.set_mode(InodeMode::from_bits_retain(bits))?;
            }
            if let Some(uid) = change.uid {
                inode.set_uid(uid);
            }
            if let Some(gid) = change.gid {
                inode.set_gid(gid);
            }
            if let Some(time) = change.accessed {
                inode.set_atime(duration(time));
            }
            if let Some(time) = change.modified {
                inode.set_mtime(duration(time));
            }
            inode.set_ctime(duration(now()));
            inode.write(disk)
        })
    }

    fn truncate(&self, size: u64) -> Result<()> {
        if self.kind == FileType::Directory {
            return Err(Errno::EISDIR);
        }
        self.pages()?.truncate(size, || {
            self.check_end(size, 0)?;
            self.with(|disk, inode| file::truncate(disk, inode, size))
        })?;
        self.after_write(OpenFlags::empty())
    }

    fn link_target(&self) -> Result<Link> {
        let target = self.with(|disk, inode| inode.symlink_target(disk))?;
        Ok(Link::Text(target.as_ref().to_vec()))
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Ok(self.child(name)? as Arc<dyn Inode>)
    }

    /// The position of an entry is made of its name, so it stays when others go.
    fn list(&self, from: u64, emit: &mut dyn FnMut(DirectoryEntry<'_>) -> bool) -> Result<()> {
        let mut entries: Vec<(u64, Vec<u8>, u64, FileType)> =
            self.with_directory(|_, directory| {
                let mut entries = Vec::new();
                for entry in directory.read_dir()? {
                    let entry = entry?;
                    let name = entry.file_name();
                    if is_dot(name.as_ref()) {
                        continue;
                    }
                    let inode = directory.get_entry(name)?.index.get();
                    let kind = kind_of(entry.file_type()?);
                    let name = name.as_ref().to_vec();
                    entries.push((position_of(&name), name, u64::from(inode), kind));
                }
                Ok(entries)
            })?;
        entries.sort_unstable_by_key(|(position, ..)| *position);
        for (position, name, inode, kind) in &entries {
            let entry = DirectoryEntry {
                name,
                inode: *inode,
                kind: *kind,
                next: position + 1,
            };
            if *position >= from && !emit(entry) {
                break;
            }
        }
        Ok(())
    }

    fn create(&self, name: &[u8], what: NewInode<'_>, permissions: u16) -> Result<Arc<dyn Inode>> {
        let kind = match what {
            NewInode::Regular => ext4plus::FileType::Regular,
            NewInode::Directory => ext4plus::FileType::Directory,
            NewInode::SymbolicLink(_) => ext4plus::FileType::Symlink,
            NewInode::Fifo
            | NewInode::Socket
            | NewInode::CharacterDevice(_)
            | NewInode::BlockDevice(_) => return Err(Errno::EPERM),
        };
        let inode = self.with_directory(|disk, directory| {
            let time = duration(now());
            let name = entry_name(name)?;
            if let NewInode::SymbolicLink(text) = what {
                let target = PathBuf::try_from(text).map_err(|_| Ext4Error::MalformedPath)?;
                let mut link = disk.symlink(directory, name, target, 0, 0, time)?;
                let mode = FileType::SymbolicLink as u16 | permissions & 0o7777;
                link.set_mode(InodeMode::from_bits_retain(mode))?;
                link.write(disk)?;
                return Ok(link);
            }
            let mode = kind_of(kind) as u16 | permissions & 0o7777;
            let mut inode = disk.create_inode(InodeCreationOptions {
                file_type: kind,
                mode: InodeMode::from_bits_retain(mode),
                uid: 0,
                gid: 0,
                time,
                flags: InodeFlags::empty(),
            })?;
            if what == NewInode::Directory {
                let made = Dir::init(disk.clone(), inode, directory.inode().index)?;
                inode = made.inode().clone();
            }
            directory.link(name, &mut inode)?;
            Ok(inode)
        })?;
        Ok(self.volume.node(inode)? as Arc<dyn Inode>)
    }

    fn link(&self, name: &[u8], target: &Arc<dyn Inode>) -> Result<()> {
        let target = node_of(target)?;
        self.with_directory(|_, directory| {
            directory.link(entry_name(name)?, &mut target.disk.lock())
        })
    }

    fn unlink(&self, name: &[u8]) -> Result<()> {
        self.remove(name)
    }

    fn remove_directory(&self, name: &[u8]) -> Result<()> {
        if !self.child(name)?.is_empty()? {
            return Err(Errno::ENOTEMPTY);
        }
        self.remove(name)
    }

    /// A directory stays below its parent: the format's crate cannot change its `..`. Who gets
    /// `EXDEV` copies, as between file systems.
    fn rename(&self, name: &[u8], to: &Arc<dyn Inode>, new_name: &[u8]) -> Result<()> {
        let to = node_of(to)?;
        let node = self.child(name)?;
        let is_directory = node.kind == FileType::Directory;
        if is_directory && to.number != self.number {
            return Err(Errno::EXDEV);
        }
        match to.child(new_name) {
            Ok(replaced) if replaced.kind == FileType::Directory => {
                if !replaced.is_empty()? {
                    return Err(Errno::ENOTEMPTY);
                }
                to.remove(new_name)?;
            }
            Ok(_) => to.remove(new_name)?,
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(error),
        }
        let links = node.disk.lock().links_count();
        to.with_directory(|disk, directory| {
            let mut inode = node.disk.lock();
            directory.link(entry_name(new_name)?, &mut inode)?;
            if is_directory {
                lose_subdirectory(disk, directory)?;
            }
            Ok(())
        })?;
        self.with_directory(|_, directory| {
            let mut inode = node.disk.lock();
            let mut kept = inode.clone();
            kept.set_links_count(links.saturating_add(1));
            directory.unlink(entry_name(name)?, kept)?;
            inode.set_links_count(links);
            Ok(())
        })
    }

    fn sync(&self, _data_only: bool) -> Result<()> {
        self.write_back()?;
        self.volume.flush()
    }

    fn losses(&self) -> u32 {
        self.pages.as_ref().map_or(0, Pages::losses)
    }
}

/// Where an entry is in a listing: FNV-1a of its name, above the two that every directory has.
fn position_of(name: &[u8]) -> u64 {
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    (hash >> 2) + 2
}

fn node_of(inode: &Arc<dyn Inode>) -> Result<Arc<Node>> {
    let any: Arc<dyn Any + Send + Sync> = Arc::clone(inode) as Arc<dyn Any + Send + Sync>;
    any.downcast().map_err(|_| Errno::EXDEV)
}
