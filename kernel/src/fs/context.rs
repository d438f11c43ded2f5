//! The calls that take path names.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, Ordering};

use super::dentry::LockedDirectory;
use super::walk::{Last, Walk};
use super::{
    Dentry, FileType, Follow, Link, Namespace, NewInode, OpenFile, OpenFlags, Path, RenameFlags,
};
use crate::error::{Errno, Result};
use crate::sync::SpinLock;

/// What a process's path names mean: its root, working directory and umask.
///
/// Calls take `base`, the open directory from which a relative path goes; `None` is the working
/// directory (`AT_FDCWD`).
#[derive(Debug)]
pub struct Context {
    namespace: Arc<Namespace>,
    places: SpinLock<Places>,
    umask: AtomicU16,
}

#[derive(Clone, Debug)]
struct Places {
    root: Path,
    directory: Path,
}

/// Something about to be made: the directory is locked, and has no such name.
struct Vacancy<'a> {
    directory: LockedDirectory<'a>,
    name: &'a [u8],
}

impl Context {
    /// The context of the first process: everything from the root, umask 022.
    pub fn new(namespace: Arc<Namespace>) -> Self {
        let root = namespace.root();
        let directory = root.clone();
        Self {
            namespace,
            places: SpinLock::new(Places { root, directory }),
            umask: AtomicU16::new(0o022),
        }
    }

    /// A context of its own for a child process.
    pub fn duplicate(&self) -> Self {
        Self {
            namespace: Arc::clone(&self.namespace),
            places: SpinLock::new(self.places.lock().clone()),
            umask: AtomicU16::new(self.umask.load(Ordering::Relaxed)),
        }
    }

    /// The tree.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// The root directory.
    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    /// The working directory.
    pub fn directory(&self) -> Path {
        self.places.lock().directory.clone()
    }

    /// `chdir`.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`.
    pub fn set_directory(&self, path: Path) -> Result<()> {
        check_directory(&path)?;
        let before = core::mem::replace(&mut self.places.lock().directory, path);
        drop(before);
        Ok(())
    }

    /// `chroot`.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`.
    pub fn set_root(&self, path: Path) -> Result<()> {
        check_directory(&path)?;
        let before = core::mem::replace(&mut self.places.lock().root, path);
        drop(before);
        Ok(())
    }

    /// Permission bits that new files do not get.
    pub fn umask(&self) -> u16 {
        self.umask.load(Ordering::Relaxed)
    }

    /// Sets the umask, and returns the one before.
    pub fn set_umask(&self, umask: u16) -> u16 {
        self.umask.swap(umask & 0o777, Ordering::Relaxed)
    }

    /// The absolute name of a place as this process sees it. `None` if it has none: it was
    /// removed, or is outside the process's root.
    pub fn name_of(&self, path: &Path) -> Option<Vec<u8>> {
        path.name_from(&self.root())
    }

    /// Starts a walk along a path, and gives it to `go`.
    fn walk<T>(
        &self,
        base: Option<&OpenFile>,
        path: &[u8],
        go: impl FnOnce(Walk<'_>) -> Result<T>,
    ) -> Result<T> {
        let root = self.root();
        let start = || match base {
            None => Ok(self.directory()),
            Some(base) => base.path().cloned().ok_or(Errno::ENOTDIR),
        };
        go(Walk::new(&self.namespace, &root, start, path)?)
    }

    /// The place that a path names.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `ENOMEM`, `EIO`.
    pub fn resolve(&self, base: Option<&OpenFile>, path: &[u8], follow: Follow) -> Result<Path> {
        self.walk(base, path, |walk| walk.finish(follow))
    }

    /// Opens a file. New ones get `permissions` without the umask.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and: `EEXIST`, `EISDIR`, `EROFS`, `EINVAL`, `ELOOP` for
    /// a link with `NO_FOLLOW`; those of the file's own opening.
    pub fn open(
        &self,
        base: Option<&OpenFile>,
        path: &[u8],
        flags: OpenFlags,
        permissions: u16,
    ) -> Result<Arc<OpenFile>> {
        if flags.contains(OpenFlags::TEMPORARY) {
            return Err(Errno::EOPNOTSUPP);
        }
        if flags.contains(OpenFlags::CREATE | OpenFlags::DIRECTORY) {
            return Err(Errno::EINVAL);
        }
        self.walk(base, path, |mut walk| {
            loop {
                let (name, slash) = match walk.advance()? {
                    Last::Directory => return self.open_existing(walk.at, flags),
                    Last::Name { name, slash } => (name, slash),
                };
                let creates = flags.contains(OpenFlags::CREATE) && !flags.contains(OpenFlags::PATH);
                let child = match walk.child(walk.name(&name)) {
                    Err(Errno::ENOENT) if creates && slash => return Err(Errno::EISDIR),
                    Err(Errno::ENOENT) if creates => {
                        match self.create_file(&walk.at, walk.name(&name), permissions)? {
                            Some(path) => return OpenFile::open(path, flags),
                            // Someone else was faster.
                            None => walk.child(walk.name(&name))?,
                        }
                    }
                    found => found?,
                };
                if creates && flags.contains(OpenFlags::EXCLUSIVE) {
                    return Err(Errno::EEXIST);
                }
                if child.inode().kind() == FileType::SymbolicLink {
                    if slash || !flags.contains(OpenFlags::NO_FOLLOW) {
                        walk.enter_link(&child)?;
                        continue;
                    }
                    if !flags.contains(OpenFlags::PATH) {
                        return Err(Errno::ELOOP);
                    }
                }
                if slash {
                    check_directory(&child)?;
                }
                return self.open_existing(child, flags);
            }
        })
    }

    fn open_existing(&self, path: Path, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        let kind = path.inode().kind();
        if flags.contains(OpenFlags::DIRECTORY) && kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if !flags.contains(OpenFlags::PATH) {
            let changes = flags.writes() || flags.contains(OpenFlags::TRUNCATE);
            if kind == FileType::Directory && (changes || flags.contains(OpenFlags::CREATE)) {
                return Err(Errno::EISDIR);
            }
            if kind == FileType::Regular && changes {
                path.check_writable()?;
            }
            if kind == FileType::Regular && flags.contains(OpenFlags::TRUNCATE) {
                path.inode().truncate(0)?;
            }
        }
        OpenFile::open(path, flags)
    }

    /// Makes a regular file, unless someone else just did.
    fn create_file(&self, at: &Path, name: &[u8], permissions: u16) -> Result<Option<Path>> {
        let directory = at.dentry.lock()?;
        if directory.find(name)?.is_some() {
            return Ok(None);
        }
        at.check_writable()?;
        let dentry = self.create(&directory, at, name, NewInode::Regular, permissions)?;
        Ok(Some(Path {
            mount: Arc::clone(&at.mount),
            dentry,
        }))
    }

    fn create(
        &self,
        directory: &LockedDirectory<'_>,
        at: &Path,
        name: &[u8],
        what: NewInode<'_>,
        permissions: u16,
    ) -> Result<Arc<Dentry>> {
        directory.check_present()?;
        super::admit()?;
        let permissions = match what {
            NewInode::SymbolicLink(_) => 0o777,
            _ => permissions & 0o7777 & !self.umask(),
        };
        let inode = at.inode().create(name, what, permissions)?;
        Ok(directory.remember(name, inode))
    }

    /// Finds the directory in which something is to be made, and locks it.
    fn vacancy<T>(
        &self,
        base: Option<&OpenFile>,
        path: &[u8],
        is_directory: bool,
        make: impl FnOnce(&Path, Vacancy<'_>) -> Result<T>,
    ) -> Result<T> {
        self.walk(base, path, |mut walk| {
            let Last::Name { name, slash } = walk.advance()? else {
                return Err(Errno::EEXIST);
            };
            let (at, name) = (&walk.at, walk.name(&name));
            let directory = at.dentry.lock()?;
            if directory.find(name)?.is_some() {
                return Err(Errno::EEXIST);
            }
            if slash && !is_directory {
                return Err(Errno::ENOENT);
            }
            at.check_writable()?;
            directory.check_present()?;
            make(at, Vacancy { directory, name })
        })
    }

    /// `mkdir`, `mknod`, `symlink`: makes something new. It gets `permissions` without the umask.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and `EEXIST`, `EROFS`, `ENOSPC`, `EPERM`.
    pub fn make(
        &self,
        base: Option<&OpenFile>,
        path: &[u8],
        what: NewInode<'_>,
        permissions: u16,
    ) -> Result<()> {
        if let NewInode::SymbolicLink(b"") = what {
            return Err(Errno::ENOENT);
        }
        let is_directory = what == NewInode::Directory;
        self.vacancy(base, path, is_directory, |at, vacancy| {
            self.create(&vacancy.directory, at, vacancy.name, what, permissions)?;
            Ok(())
        })
    }

    /// `link`: gives `old` another name.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and `EEXIST`, `EROFS`, `EXDEV`, `EPERM` for a directory,
    /// `EMLINK`, `ENOSPC`.
    pub fn link(&self, old: &Path, base: Option<&OpenFile>, path: &[u8]) -> Result<()> {
        self.vacancy(base, path, false, |at, vacancy| {
            if !Arc::ptr_eq(&old.mount, &at.mount) {
                return Err(Errno::EXDEV);
            }
            if old.inode().kind() == FileType::Directory {
                return Err(Errno::EPERM);
            }
            if old.metadata().links == 0 {
                return Err(Errno::ENOENT);
            }
            super::admit()?;
            at.inode().link(vacancy.name, old.inode())?;
            let inode = Arc::clone(old.inode());
            vacancy.directory.remember(vacancy.name, inode);
            Ok(())
        })
    }

    /// `unlink`.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and `EISDIR`, `EBUSY`, `EROFS`, `EPERM`.
    pub fn unlink(&self, base: Option<&OpenFile>, path: &[u8]) -> Result<()> {
        self.walk(base, path, |mut walk| {
            let Last::Name { name, slash } = walk.advance()? else {
                return Err(Errno::EISDIR);
            };
            let (at, name) = (&walk.at, walk.name(&name));
            let directory = at.dentry.lock()?;
            let child = directory.child(name)?;
            match child.inode().kind() {
                FileType::Directory => return Err(Errno::EISDIR),
                _ if slash => return Err(Errno::ENOTDIR),
                _ => {}
            }
            at.check_writable()?;
            at.inode().unlink(name)?;
            directory.forget(name, &child);
            // The child may be the last of its file: it goes after the lock.
            drop(directory);
            Ok(())
        })
    }

    /// `rmdir`.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and `ENOTEMPTY`, `EBUSY`, `EINVAL` for a path that ends
    /// in `.`, `EROFS`, `EPERM`.
    pub fn remove_directory(&self, base: Option<&OpenFile>, path: &[u8]) -> Result<()> {
        self.walk(base, path, |mut walk| {
            let Last::Name { name, .. } = walk.advance()? else {
                return Err(
                    match path
                        .rsplit(|byte| *byte == b'/')
                        .find(|name| !name.is_empty())
                    {
                        None => Errno::EBUSY,
                        Some(b"..") => Errno::ENOTEMPTY,
                        Some(_) => Errno::EINVAL,
                    },
                );
            };
            let (at, name) = (&walk.at, walk.name(&name));
            let directory = at.dentry.lock()?;
            let child = directory.child(name)?;
            if child.is_mount_point() {
                return Err(Errno::EBUSY);
            }
            let mut inside = child.lock()?;
            at.check_writable()?;
            at.inode().remove_directory(name)?;
            inside.mark_removed();
            drop(inside);
            directory.forget(name, &child);
            drop(directory);
            Ok(())
        })
    }

    /// `renameat2`.
    ///
    /// # Errors
    ///
    /// As for [`resolve`](Self::resolve), and `EEXIST`, `ENOTEMPTY`, `EISDIR`, `ENOTDIR`, `EXDEV`,
    /// `EBUSY`, `EROFS`, `EINVAL`: a directory into itself, or flags that are not supported.
    pub fn rename(
        &self,
        old_base: Option<&OpenFile>,
        old_path: &[u8],
        new_base: Option<&OpenFile>,
        new_path: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        if flags.contains(RenameFlags::EXCHANGE) {
            return Err(Errno::EINVAL);
        }
        self.walk(old_base, old_path, |mut old| {
            let Last::Name {
                name: old_name,
                slash: old_slash,
            } = old.advance()?
            else {
                return Err(Errno::EBUSY);
            };
            self.walk(new_base, new_path, |mut new| {
                let Last::Name {
                    name: new_name,
                    slash: new_slash,
                } = new.advance()?
                else {
                    return Err(Errno::EBUSY);
                };
                if !Arc::ptr_eq(&old.at.mount, &new.at.mount) {
                    return Err(Errno::EXDEV);
                }
                old.at.check_writable()?;
                let rename = Rename {
                    from: &old.at.dentry,
                    name: old.name(&old_name),
                    to: &new.at.dentry,
                    new_name: new.name(&new_name),
                    replace: !flags.contains(RenameFlags::NO_REPLACE),
                    must_be_directory: old_slash || new_slash,
                };
                if Arc::ptr_eq(rename.from, rename.to) {
                    let directory = rename.from.lock()?;
                    return rename.run(&directory, &directory);
                }
                let _alone = self.namespace.renames.lock();
                // A directory above the other is locked first, as everywhere; otherwise any
                // order will do, because only one thread at a time locks two of them.
                if rename.to.is_above(rename.from) {
                    let to = rename.to.lock()?;
                    rename.run(&rename.from.lock()?, &to)
                } else {
                    let from = rename.from.lock()?;
                    rename.run(&from, &rename.to.lock()?)
                }
            })
        })
    }

    /// What a symbolic link says.
    ///
    /// # Errors
    ///
    /// `EINVAL`: it is not one. `EIO`.
    pub fn read_link(&self, path: &Path) -> Result<Vec<u8>> {
        match path.inode().link_target()? {
            Link::Text(text) => Ok(text),
            Link::Place(place) => self.name_of(&place).ok_or(Errno::ENOENT),
        }
    }
}

/// A rename whose directories are known.
struct Rename<'a> {
    from: &'a Arc<Dentry>,
    name: &'a [u8],
    to: &'a Arc<Dentry>,
    new_name: &'a [u8],
    replace: bool,
    must_be_directory: bool,
}

impl Rename<'_> {
    /// Both directories are locked (they may be the same).
    fn run(&self, from: &LockedDirectory<'_>, to: &LockedDirectory<'_>) -> Result<()> {
        let source = from.child(self.name)?;
        let target = to.find(self.new_name)?;
        to.check_present()?;
        if target.is_some() && !self.replace {
            return Err(Errno::EEXIST);
        }
        let is_directory = source.inode().kind() == FileType::Directory;
        if self.must_be_directory && !is_directory {
            return Err(Errno::ENOTDIR);
        }
        if is_directory && source.is_above(self.to) {
            return Err(Errno::EINVAL);
        }
        let Some(target) = target else {
            return self.finish(from, &source);
        };
        if Arc::ptr_eq(source.inode(), target.inode()) {
            return Ok(());
        }
        let replaces_directory = target.inode().kind() == FileType::Directory;
        match (is_directory, replaces_directory) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        if source.is_mount_point() || target.is_mount_point() {
            return Err(Errno::EBUSY);
        }
        if !replaces_directory {
            self.finish(from, &source)?;
            target.mark_removed();
            return Ok(());
        }
        if target.is_above(self.from) {
            return Err(Errno::ENOTEMPTY);
        }
        let mut inside = target.lock()?;
        self.finish(from, &source)?;
        inside.mark_removed();
        target.mark_removed();
        Ok(())
    }

    fn finish(&self, from: &LockedDirectory<'_>, source: &Arc<Dentry>) -> Result<()> {
        if source.is_mount_point() {
            return Err(Errno::EBUSY);
        }
        let to = self.to.inode();
        self.from.inode().rename(self.name, to, self.new_name)?;
        from.renamed(self.name, source, self.to, self.new_name);
        Ok(())
    }
}

fn check_directory(path: &Path) -> Result<()> {
    if path.inode().kind() == FileType::Directory {
        Ok(())
    } else {
        Err(Errno::ENOTDIR)
    }
}
