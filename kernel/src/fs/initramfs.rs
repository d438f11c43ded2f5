//! The first files: archives unpacked into the root directory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::cpio::{Archive, BadArchive, Entry};
use super::{
    AttributeChange, Context, DeviceNumber, FileType, Follow, NewInode, OpenFlags, Path, Timestamp,
};
use crate::error::{Errno, Result};
use crate::memory::Source;

/// Why unpacking ended early. What came before is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnpackError {
    /// The archive is damaged.
    Archive(BadArchive),
    /// This entry could not be made.
    Entry(Vec<u8>, Errno),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Archive(bad) => bad.fmt(formatter),
            Self::Entry(name, error) => {
                write!(
                    formatter,
                    "cannot unpack {}: {error:?}",
                    name.escape_ascii()
                )
            }
        }
    }
}

impl core::error::Error for UnpackError {}

/// Unpacks archives below the root directory of `context`. A name that exists is replaced, but a
/// directory keeps what is in it. Returns how many entries there were.
///
/// # Errors
///
/// See [`UnpackError`].
pub fn unpack(context: &Context, archive: &[u8]) -> Result<usize, UnpackError> {
    let mut unpacker = Unpacker {
        context,
        names: BTreeMap::new(),
    };
    let umask = context.set_umask(0);
    let mut count = 0;
    let result = Archive::new(archive).try_for_each(|entry| {
        let entry = entry.map_err(UnpackError::Archive)?;
        count += 1;
        let made = unpacker.make(&entry);
        made.map_err(|error| UnpackError::Entry(entry.name.to_vec(), error))
    });
    context.set_umask(umask);
    result.map(|()| count)
}

struct Unpacker<'a> {
    context: &'a Context,
    /// Files with several names that have one already.
    names: BTreeMap<(DeviceNumber, u32), Path>,
}

impl Unpacker<'_> {
    fn make(&mut self, entry: &Entry<'_>) -> Result<()> {
        let name = [b"/", entry.name].concat();
        // The archive's own root, `.`, is there.
        if entry.name.iter().all(|byte| matches!(byte, b'.' | b'/')) {
            return Ok(());
        }
        let kind = FileType::of_mode(entry.mode).ok_or(Errno::EINVAL)?;
        if kind != FileType::Directory {
            match self.context.unlink(None, &name) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(error) => return Err(error),
            }
        }
        if kind == FileType::Regular && entry.links > 1 {
            self.make_one_of_several(entry, &name)?;
        } else {
            self.make_new(entry, &name, kind)?;
        }
        let path = self.context.resolve(None, &name, Follow::No)?;
        let modified = Timestamp {
            seconds: i64::from(entry.modified),
            nanoseconds: 0,
        };
        path.inode().change_attributes(AttributeChange {
            permissions: Some((entry.mode & 0o7777) as u16),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            accessed: Some(modified),
            modified: Some(modified),
        })
    }

    fn make_new(&self, entry: &Entry<'_>, name: &[u8], kind: FileType) -> Result<()> {
        let what = match kind {
            FileType::Regular => return self.write(entry, name),
            FileType::Directory => NewInode::Directory,
            FileType::SymbolicLink => NewInode::SymbolicLink(entry.contents),
            FileType::Fifo => NewInode::Fifo,
            FileType::Socket => NewInode::Socket,
            FileType::CharacterDevice => NewInode::CharacterDevice(entry.represents),
            FileType::BlockDevice => NewInode::BlockDevice(entry.represents),
        };
        match self.context.make(None, name, what, 0o700) {
            Err(Errno::EEXIST) if kind == FileType::Directory => {
                let path = self.context.resolve(None, name, Follow::No)?;
                match path.inode().kind() {
                    FileType::Directory => Ok(()),
                    _ => Err(Errno::ENOTDIR),
                }
            }
            made => made,
        }
    }

    /// The contents come with the last name of a file; the others have none.
    fn make_one_of_several(&mut self, entry: &Entry<'_>, name: &[u8]) -> Result<()> {
        if let Some(first) = self.names.get(&entry.inode) {
            self.context.link(first, None, name)?;
            if entry.contents.is_empty() {
                return Ok(());
            }
        }
        self.write(entry, name)?;
        let path = self.context.resolve(None, name, Follow::No)?;
        self.names.entry(entry.inode).or_insert(path);
        Ok(())
    }

    fn write(&self, entry: &Entry<'_>, name: &[u8]) -> Result<()> {
        let flags = OpenFlags::WRITE_ONLY | OpenFlags::CREATE | OpenFlags::NO_FOLLOW;
        let file = self.context.open(None, name, flags, 0o600)?;
        let mut source = Source::Kernel(entry.contents);
        while source.left() > 0 {
            file.write(&mut source)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::cpio::archive;
    use super::super::tmpfs::Tmpfs;
    use super::*;
    use crate::fs::Namespace;
    use crate::memory::Sink;

    fn entry<'a>(name: &'a [u8], mode: u32, contents: &'a [u8]) -> Entry<'a> {
        Entry {
            name,
            contents,
            inode: (DeviceNumber::default(), 1),
            mode,
            uid: 5,
            gid: 6,
            links: 1,
            modified: 1000,
            represents: DeviceNumber::new(1, 3),
        }
    }

    fn context() -> Context {
        Context::new(Namespace::new(Tmpfs::new("rootfs", 100)))
    }

    fn contents(context: &Context, path: &[u8]) -> Vec<u8> {
        let file = context.open(None, path, OpenFlags::empty(), 0).unwrap();
        let mut buffer = [0; 100];
        let done = file.read(&mut Sink::Kernel(&mut buffer)).unwrap();
        buffer[..done].to_vec()
    }

    #[test]
    fn all_kinds_of_files_are_made() {
        let context = context();
        let link = |contents| Entry {
            links: 2,
            ..entry(b"second", 0o100_644, contents)
        };
        let archive = archive(&[
            entry(b".", 0o040_755, b""),
            entry(b"bin", 0o040_555, b""),
            entry(b"bin/program", 0o104_755, b"#!/bin/sh"),
            entry(b"./sh", 0o120_777, b"bin/program"),
            entry(b"/null", 0o020_666, b""),
            entry(b"bin", 0o040_755, b""),
            Entry {
                name: b"first",
                ..link(b"")
            },
            link(b"shared"),
        ]);
        assert_eq!(unpack(&context, &archive), Ok(8));
        assert_eq!(context.umask(), 0o022);
        assert_eq!(contents(&context, b"/sh"), b"#!/bin/sh");
        assert_eq!(contents(&context, b"/first"), b"shared");
        let metadata = |path| context.resolve(None, path, Follow::No).unwrap().metadata();
        assert_eq!(metadata(b"/first").links, 2);
        let program = metadata(b"/bin/program");
        assert_eq!(
            (program.mode(), program.uid, program.gid),
            (0o104_755, 5, 6)
        );
        assert_eq!(program.modified.seconds, 1000);
        assert_eq!(metadata(b"/bin").mode(), 0o040_755);
        assert_eq!(metadata(b"/null").represents, DeviceNumber::new(1, 3));
    }

    #[test]
    fn hostile_archives_stay_below_the_root() {
        let context = context();
        let nested = archive(&[entry(b"../../escaped", 0o100_644, b"x")]);
        assert_eq!(unpack(&context, &nested), Ok(1));
        assert_eq!(contents(&context, b"/escaped"), b"x");
        let error = |archive: &[u8]| unpack(&context, archive).unwrap_err();
        let refused = |entry: Entry<'_>, errno| {
            let name = entry.name.to_vec();
            assert_eq!(error(&archive(&[entry])), UnpackError::Entry(name, errno));
        };
        refused(entry(b"none/file", 0o100_644, b""), Errno::ENOENT);
        refused(entry(b"typeless", 0o644, b""), Errno::EINVAL);
        refused(entry(b"empty link", 0o120_777, b""), Errno::ENOENT);
        refused(entry(b"escaped", 0o040_755, b""), Errno::ENOTDIR);
        refused(entry(&[b'x'; 300], 0o100_644, b""), Errno::ENAMETOOLONG);
        assert!(matches!(error(b"not an archive"), UnpackError::Archive(_)));
    }
}
