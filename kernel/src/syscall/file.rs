//! Descriptors, names and directories.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use super::Arguments;
use super::io::{open_file, usable};
use crate::error::{Errno, Result};
use crate::fs::tmpfs;
use crate::fs::{
    Context, DeviceNumber, FileType, Follow, Link, NewInode, OpenFile, OpenFlags, PATH_MAX, Path,
    RenameFlags,
};
use crate::memory::{Sink, UserAddress, UserRange};
use crate::task::current;

/// The context of the running process.
pub(super) fn context() -> Arc<Context> {
    Arc::clone(&current().process.context)
}

/// A path name.
pub(super) fn path_name(address: UserAddress) -> Result<Vec<u8>> {
    address.read_string(PATH_MAX, Errno::ENAMETOOLONG)
}

/// The directory that a relative path goes from; `None` is the working directory.
pub(super) fn base(descriptor: i32, path: &[u8]) -> Result<Option<Arc<OpenFile>>> {
    if descriptor == linux::AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(None);
    }
    open_file(descriptor).map(Some)
}

/// Whether a walk follows a last link, unless a flag says no.
pub(super) fn follow_unless(flags: u32, flag: u32) -> Follow {
    if flags & flag == 0 {
        Follow::Yes
    } else {
        Follow::No
    }
}

/// The place that a descriptor and a path name; with `AT_EMPTY_PATH` an empty path is the
/// descriptor's own file.
pub(super) fn place(descriptor: i32, path: &[u8], flags: u32, follow: Follow) -> Result<Path> {
    if path.is_empty() && flags & linux::AT_EMPTY_PATH != 0 {
        if descriptor == linux::AT_FDCWD {
            return Ok(context().directory());
        }
        let file = open_file(descriptor)?;
        return file.path().cloned().ok_or(Errno::ENOENT);
    }
    let base = base(descriptor, path)?;
    context().resolve(base.as_deref(), path, follow)
}

/// A flag of `close_range`. Linux, `linux/close_range.h`.
const CLOSE_RANGE_CLOEXEC: u32 = 4;

fn check_known(flags: u32, known: u32) -> Result<()> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn openat(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(1))?;
    let flags = OpenFlags::of_call(a.half(2));
    let base = base(a.int(0), &path)?;
    let permissions = a.half(3) as u16 & 0o7777;
    let file = context().open(base.as_deref(), &path, flags, permissions)?;
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    Ok(current().process.files()?.add(file, close_on_exec)? as u64)
}

/// `memfd_create`: a file without a name. Seals are not there, nor are huge pages.
pub(super) fn memfd_create(a: Arguments) -> Result<u64> {
    const NAME_MAX: usize = 250;
    const EXECUTABLE: u32 = linux::MFD_NOEXEC_SEAL | linux::MFD_EXEC;
    let flags = a.half(1);
    check_known(
        flags,
        linux::MFD_CLOEXEC | linux::MFD_ALLOW_SEALING | EXECUTABLE,
    )?;
    if flags & EXECUTABLE == EXECUTABLE {
        return Err(Errno::EINVAL);
    }
    a.address(0).read_string(NAME_MAX, Errno::EINVAL)?;
    let file = tmpfs::nameless_file()?;
    let close_on_exec = flags & linux::MFD_CLOEXEC != 0;
    Ok(current().process.files()?.add(file, close_on_exec)? as u64)
}

pub(super) fn close(a: Arguments) -> Result<u64> {
    current().process.files()?.close(a.int(0)).map(|()| 0)
}

pub(super) fn close_range(a: Arguments) -> Result<u64> {
    let (first, last, flags) = (a.half(0), a.half(1), a.half(2));
    if first > last {
        return Err(Errno::EINVAL);
    }
    check_known(flags, CLOSE_RANGE_CLOEXEC)?;
    let mark = flags & CLOSE_RANGE_CLOEXEC != 0;
    current().process.files()?.close_range(first, last, mark);
    Ok(0)
}

pub(super) fn dup(a: Arguments) -> Result<u64> {
    let files = current().process.files()?;
    let file = files.get(a.int(0))?;
    Ok(files.add(file, false)? as u64)
}

pub(super) fn dup3(a: Arguments) -> Result<u64> {
    let flags = OpenFlags::of_call(a.half(2));
    if a.int(0) == a.int(1) || !(flags - OpenFlags::CLOSE_ON_EXEC).is_empty() {
        return Err(Errno::EINVAL);
    }
    let files = current().process.files()?;
    let file = files.get(a.int(0))?;
    files.replace(a.int(1), file, flags.contains(OpenFlags::CLOSE_ON_EXEC))?;
    Ok(a.half(1).into())
}

pub(super) fn fcntl(a: Arguments) -> Result<u64> {
    let files = current().process.files()?;
    let file = files.get(a.int(0))?;
    let is_place = file.flags().contains(OpenFlags::PATH);
    match a.half(1) {
        linux::F_DUPFD => Ok(files.add_from(a.int(2), file, false)? as u64),
        linux::F_DUPFD_CLOEXEC => Ok(files.add_from(a.int(2), file, true)? as u64),
        linux::F_GETFD => Ok(files.is_close_on_exec(a.int(0))?.into()),
        linux::F_SETFD => {
            files.set_close_on_exec(a.int(0), a.half(2) & linux::FD_CLOEXEC != 0)?;
            Ok(0)
        }
        linux::F_GETFL => Ok((file.flags() | OpenFlags::LARGE_FILE).bits().into()),
        linux::F_SETFL if is_place => Err(Errno::EBADF),
        linux::F_SETFL => {
            file.set_flags(OpenFlags::of_call(a.half(2)));
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn pipe2(a: Arguments) -> Result<u64> {
    let flags = OpenFlags::of_call(a.half(1));
    let known = OpenFlags::CLOSE_ON_EXEC | OpenFlags::NON_BLOCKING | OpenFlags::DIRECT;
    if !(flags - known).is_empty() || flags.contains(OpenFlags::DIRECT) {
        return Err(Errno::EINVAL);
    }
    let close_on_exec = flags.contains(OpenFlags::CLOSE_ON_EXEC);
    let files = current().process.files()?;
    let (read_end, write_end) = crate::fs::pipe::pipe(flags - OpenFlags::CLOSE_ON_EXEC)?;
    let first = files.add(read_end, close_on_exec)?;
    let second = files.add(write_end, close_on_exec);
    let told = second.and_then(|second| {
        let mut numbers = [0; 8];
        numbers[..4].copy_from_slice(&first.to_le_bytes());
        numbers[4..].copy_from_slice(&second.to_le_bytes());
        a.address(0).write(&numbers)
    });
    if let Err(error) = told {
        files.close(first)?;
        if let Ok(second) = second {
            files.close(second)?;
        }
        return Err(error);
    }
    Ok(0)
}

pub(super) fn getdents64(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let mut ranges = [UserRange {
        start: a.address(1),
        length: a.half(2) as usize,
    }];
    Ok(file.read_directory(&mut Sink::User(&mut ranges))? as u64)
}

fn size(word: u64) -> Result<u64> {
    if i64::try_from(word).is_ok() {
        Ok(word)
    } else {
        Err(Errno::EINVAL)
    }
}

pub(super) fn ftruncate(a: Arguments) -> Result<u64> {
    let size = size(a.word(1))?;
    open_file(a.int(0))?.truncate(size).map(|()| 0)
}

pub(super) fn truncate(a: Arguments) -> Result<u64> {
    let size = size(a.word(1))?;
    let path = path_name(a.address(0))?;
    let path = context().resolve(None, &path, Follow::Yes)?;
    if path.inode().kind() == FileType::Directory {
        return Err(Errno::EISDIR);
    }
    path.check_writable()?;
    path.inode().truncate(size).map(|()| 0)
}

/// Storage is allocated when it is written: to allocate is to make a file longer.
pub(super) fn fallocate(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    if a.half(1) & !linux::FALLOC_FL_KEEP_SIZE != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let (offset, length) = (size(a.word(2))?, size(a.word(3))?);
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let end = offset
        .checked_add(length)
        .filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or(Errno::EFBIG)?;
    if !file.flags().writes() {
        return Err(Errno::EBADF);
    }
    match file.inode().kind() {
        FileType::Regular => {}
        FileType::Fifo => return Err(Errno::ESPIPE),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::ENODEV),
    }
    if a.half(1) == 0 && end > file.metadata().size {
        file.truncate(end)?;
    }
    Ok(0)
}

pub(super) fn fsync(a: Arguments, data_only: bool) -> Result<u64> {
    open_file(a.int(0))?.sync(data_only).map(|()| 0)
}

/// `flock`: nobody but root could contend for the lock of a whole file, so it is always free.
pub(super) fn flock(a: Arguments) -> Result<u64> {
    let operation = a.half(1) & !linux::LOCK_NB;
    if ![linux::LOCK_SH, linux::LOCK_EX, linux::LOCK_UN].contains(&operation) {
        return Err(Errno::EINVAL);
    }
    usable(a.int(0)).map(|_| 0)
}

/// `fadvise64`: advice about access, which nobody takes.
pub(super) fn fadvise64(a: Arguments) -> Result<u64> {
    let file = usable(a.int(0))?;
    if file.inode().kind() == FileType::Fifo {
        return Err(Errno::ESPIPE);
    }
    if a.half(3) > linux::POSIX_FADV_NOREUSE || i64::try_from(a.word(2)).is_err() {
        return Err(Errno::EINVAL);
    }
    Ok(0)
}

pub(super) fn getcwd(a: Arguments) -> Result<u64> {
    let context = context();
    let mut name = context.name_of(&context.directory()).ok_or(Errno::ENOENT)?;
    name.push(0);
    if name.len() > a.size(1) {
        return Err(Errno::ERANGE);
    }
    a.address(0).write(&name)?;
    Ok(name.len() as u64)
}

pub(super) fn chdir(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(0))?;
    let context = context();
    let place = context.resolve(None, &path, Follow::Yes)?;
    context.set_directory(place).map(|()| 0)
}

pub(super) fn fchdir(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let place = file.path().cloned().ok_or(Errno::ENOTDIR)?;
    context().set_directory(place).map(|()| 0)
}

pub(super) fn chroot(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(0))?;
    let context = context();
    let place = context.resolve(None, &path, Follow::Yes)?;
    context.set_root(place).map(|()| 0)
}

pub(super) fn umask(a: Arguments) -> Result<u64> {
    Ok(context().set_umask(a.half(0) as u16).into())
}

/// Makes something that a descriptor and a path name.
fn make(descriptor: i32, path: UserAddress, what: NewInode<'_>, mode: u32) -> Result<u64> {
    let path = path_name(path)?;
    let base = base(descriptor, &path)?;
    let permissions = mode as u16 & 0o7777;
    context().make(base.as_deref(), &path, what, permissions)?;
    Ok(0)
}

pub(super) fn mkdirat(a: Arguments) -> Result<u64> {
    make(a.int(0), a.address(1), NewInode::Directory, a.half(2))
}

pub(super) fn mknodat(a: Arguments) -> Result<u64> {
    let mode = a.half(2);
    let device = DeviceNumber::decode(a.half(3).into());
    let kind = match mode & 0o170_000 {
        0 => Some(FileType::Regular),
        _ => FileType::of_mode(mode),
    };
    let what = match kind {
        Some(FileType::Regular) => NewInode::Regular,
        Some(FileType::Fifo) => NewInode::Fifo,
        Some(FileType::Socket) => NewInode::Socket,
        Some(FileType::CharacterDevice) => NewInode::CharacterDevice(device),
        Some(FileType::BlockDevice) => NewInode::BlockDevice(device),
        Some(FileType::Directory) => return Err(Errno::EPERM),
        _ => return Err(Errno::EINVAL),
    };
    make(a.int(0), a.address(1), what, mode)
}

pub(super) fn symlinkat(a: Arguments) -> Result<u64> {
    let target = path_name(a.address(0))?;
    make(
        a.int(1),
        a.address(2),
        NewInode::SymbolicLink(&target),
        0o777,
    )
}

pub(super) fn linkat(a: Arguments) -> Result<u64> {
    let flags = a.half(4);
    check_known(flags, linux::AT_SYMLINK_FOLLOW | linux::AT_EMPTY_PATH)?;
    let (old, new) = (path_name(a.address(1))?, path_name(a.address(3))?);
    let follow = if flags & linux::AT_SYMLINK_FOLLOW != 0 {
        Follow::Yes
    } else {
        Follow::No
    };
    let old = place(a.int(0), &old, flags, follow)?;
    let base = base(a.int(2), &new)?;
    context().link(&old, base.as_deref(), &new).map(|()| 0)
}

pub(super) fn unlinkat(a: Arguments) -> Result<u64> {
    check_known(a.half(2), linux::AT_REMOVEDIR)?;
    let path = path_name(a.address(1))?;
    let base = base(a.int(0), &path)?;
    let context = context();
    if a.half(2) & linux::AT_REMOVEDIR != 0 {
        context.remove_directory(base.as_deref(), &path)?;
    } else {
        context.unlink(base.as_deref(), &path)?;
    }
    Ok(0)
}

pub(super) fn renameat2(a: Arguments, flags: u32) -> Result<u64> {
    let flags = RenameFlags::from_bits(flags).ok_or(Errno::EINVAL)?;
    let (old, new) = (path_name(a.address(1))?, path_name(a.address(3))?);
    let (from, to) = (base(a.int(0), &old)?, base(a.int(2), &new)?);
    context().rename(from.as_deref(), &old, to.as_deref(), &new, flags)?;
    Ok(0)
}

pub(super) fn readlinkat(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(1))?;
    let size = usize::try_from(a.int(3)).map_err(|_| Errno::EINVAL)?;
    if size == 0 {
        return Err(Errno::EINVAL);
    }
    // An empty path is the link that was opened with `O_PATH`.
    let place = place(a.int(0), &path, linux::AT_EMPTY_PATH, Follow::No)?;
    let target = match place.inode().link_target() {
        // It is the name that is wrong then.
        Err(Errno::EINVAL) if path.is_empty() => return Err(Errno::ENOENT),
        target => target?,
    };
    let target = match target {
        Link::Text(text) => text,
        Link::Place(place) => context().name_of(&place).ok_or(Errno::ENOENT)?,
    };
    let length = target.len().min(size);
    a.address(2).write(&target[..length])?;
    Ok(length as u64)
}
