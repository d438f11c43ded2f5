//! What files are: `stat` and its like.

use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use super::Arguments;
use super::file::{follow_unless, path_name, place};
use super::io::open_file;
use crate::error::{Errno, Result};
use crate::fs::{AttributeChange, DeviceNumber, FileType, Follow, Metadata, Path, Timestamp};
use crate::memory::UserAddress;
use crate::task::clock;

/// Writes numbers one after the other.
struct Writer<const N: usize> {
    bytes: [u8; N],
    at: usize,
}

impl<const N: usize> Writer<N> {
    fn new() -> Self {
        Self {
            bytes: [0; N],
            at: 0,
        }
    }

    fn put<const M: usize>(&mut self, bytes: [u8; M]) {
        self.bytes[self.at..self.at + M].copy_from_slice(&bytes);
        self.at += M;
    }

    fn half(&mut self, value: u32) {
        self.put(value.to_le_bytes());
    }

    fn word(&mut self, value: u64) {
        self.put(value.to_le_bytes());
    }
}

/// `struct stat` of arm64 (`asm-generic/stat.h`).
fn stat_bytes(metadata: &Metadata) -> [u8; 128] {
    let mut writer = Writer::<128>::new();
    writer.word(metadata.device.encode());
    writer.word(metadata.inode);
    writer.half(metadata.mode());
    writer.half(metadata.links);
    writer.half(metadata.uid);
    writer.half(metadata.gid);
    writer.word(metadata.represents.encode());
    writer.word(0);
    writer.word(metadata.size);
    writer.half(metadata.block_size);
    writer.half(0);
    writer.word(metadata.blocks);
    for time in [metadata.accessed, metadata.modified, metadata.changed] {
        writer.word(time.seconds as u64);
        writer.word(time.nanoseconds.into());
    }
    writer.bytes
}

/// `struct statx` (`linux/stat.h`).
fn statx_bytes(metadata: &Metadata) -> [u8; 256] {
    let mut writer = Writer::<256>::new();
    writer.half(linux::STATX_BASIC_STATS);
    writer.half(metadata.block_size);
    writer.word(0);
    writer.half(metadata.links);
    writer.half(metadata.uid);
    writer.half(metadata.gid);
    writer.half(metadata.mode());
    writer.word(metadata.inode);
    writer.word(metadata.size);
    writer.word(metadata.blocks);
    writer.word(0);
    let none = Timestamp::default();
    for time in [metadata.accessed, none, metadata.changed, metadata.modified] {
        writer.word(time.seconds as u64);
        writer.half(time.nanoseconds);
        writer.half(0);
    }
    for DeviceNumber { major, minor } in [metadata.represents, metadata.device] {
        writer.half(major);
        writer.half(minor);
    }
    writer.bytes
}

/// What a descriptor or a path is. A file without a name has metadata too.
fn metadata_at(descriptor: i32, path: UserAddress, flags: u32) -> Result<Metadata> {
    let known = linux::AT_SYMLINK_NOFOLLOW
        | linux::AT_NO_AUTOMOUNT
        | linux::AT_EMPTY_PATH
        | linux::AT_STATX_SYNC_TYPE;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let path = if path.is_null() && flags & linux::AT_EMPTY_PATH != 0 {
        Vec::new()
    } else {
        path_name(path)?
    };
    if path.is_empty() && flags & linux::AT_EMPTY_PATH != 0 && descriptor >= 0 {
        return Ok(open_file(descriptor)?.metadata());
    }
    let follow = follow_unless(flags, linux::AT_SYMLINK_NOFOLLOW);
    Ok(place(descriptor, &path, flags, follow)?.metadata())
}

pub(super) fn newfstatat(a: Arguments) -> Result<u64> {
    let metadata = metadata_at(a.int(0), a.address(1), a.half(3))?;
    a.address(2).write(&stat_bytes(&metadata)).map(|()| 0)
}

pub(super) fn fstat(a: Arguments) -> Result<u64> {
    let metadata = open_file(a.int(0))?.metadata();
    a.address(1).write(&stat_bytes(&metadata)).map(|()| 0)
}

pub(super) fn statx(a: Arguments) -> Result<u64> {
    let (flags, mask) = (a.half(2), a.half(3));
    let sync_type = flags & linux::AT_STATX_SYNC_TYPE;
    if sync_type == linux::AT_STATX_SYNC_TYPE || mask & linux::STATX__RESERVED != 0 {
        return Err(Errno::EINVAL);
    }
    let metadata = metadata_at(a.int(0), a.address(1), flags)?;
    a.address(4).write(&statx_bytes(&metadata)).map(|()| 0)
}

/// Root may do everything but execute what nobody may.
pub(super) fn faccessat(a: Arguments, flags: u32) -> Result<u64> {
    const EXECUTE: u32 = 1;
    const WRITE: u32 = 2;
    let known = linux::AT_EACCESS | linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH;
    if a.half(2) & !7 != 0 || flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let path = path_name(a.address(1))?;
    let follow = follow_unless(flags, linux::AT_SYMLINK_NOFOLLOW);
    let place = place(a.int(0), &path, flags, follow)?;
    let metadata = place.metadata();
    if a.half(2) & WRITE != 0 && metadata.kind != FileType::CharacterDevice {
        place.check_writable()?;
    }
    let may_execute = metadata.kind == FileType::Directory || metadata.permissions & 0o111 != 0;
    if a.half(2) & EXECUTE != 0 && !may_execute {
        return Err(Errno::EACCES);
    }
    Ok(0)
}

fn change(place: &Path, change: AttributeChange) -> Result<u64> {
    place.check_writable()?;
    place.inode().change_attributes(change).map(|()| 0)
}

fn change_open(descriptor: i32, wanted: AttributeChange) -> Result<u64> {
    let file = open_file(descriptor)?;
    match file.path() {
        Some(path) => change(path, wanted),
        None => file.inode().change_attributes(wanted).map(|()| 0),
    }
}

fn permissions(mode: u32) -> AttributeChange {
    AttributeChange {
        permissions: Some(mode as u16 & 0o7777),
        ..AttributeChange::default()
    }
}

/// -1 leaves one as it is.
fn owner(uid: u32, gid: u32) -> AttributeChange {
    let wanted = |id: u32| (id != u32::MAX).then_some(id);
    AttributeChange {
        uid: wanted(uid),
        gid: wanted(gid),
        ..AttributeChange::default()
    }
}

pub(super) fn fchmod(a: Arguments) -> Result<u64> {
    change_open(a.int(0), permissions(a.half(1)))
}

pub(super) fn fchmodat(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(1))?;
    let place = place(a.int(0), &path, 0, Follow::Yes)?;
    change(&place, permissions(a.half(2)))
}

pub(super) fn fchown(a: Arguments) -> Result<u64> {
    change_open(a.int(0), owner(a.half(1), a.half(2)))
}

pub(super) fn fchownat(a: Arguments) -> Result<u64> {
    let flags = a.half(4);
    if flags & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = path_name(a.address(1))?;
    let follow = follow_unless(flags, linux::AT_SYMLINK_NOFOLLOW);
    let place = place(a.int(0), &path, flags, follow)?;
    change(&place, owner(a.half(2), a.half(3)))
}

/// A `timespec` of `utimensat`: `None` if the time is to stay as it is.
fn file_time(at: UserAddress) -> Result<Option<Timestamp>> {
    let (seconds, nanoseconds) = (at.read_u64()? as i64, at.offset(8).read_u64()?);
    match nanoseconds {
        nanoseconds if nanoseconds == u64::from(linux::UTIME_NOW) => Ok(Some(now())),
        nanoseconds if nanoseconds == u64::from(linux::UTIME_OMIT) => Ok(None),
        0..1_000_000_000 => Ok(Some(Timestamp {
            seconds,
            nanoseconds: nanoseconds as u32,
        })),
        _ => Err(Errno::EINVAL),
    }
}

fn now() -> Timestamp {
    let now = clock::realtime();
    Timestamp {
        seconds: (now / 1_000_000_000) as i64,
        nanoseconds: (now % 1_000_000_000) as u32,
    }
}

pub(super) fn utimensat(a: Arguments) -> Result<u64> {
    let flags = a.half(3);
    if flags & !(linux::AT_SYMLINK_NOFOLLOW | linux::AT_EMPTY_PATH) != 0 {
        return Err(Errno::EINVAL);
    }
    let (accessed, modified) = if a.address(2).is_null() {
        (Some(now()), Some(now()))
    } else {
        (
            file_time(a.address(2))?,
            file_time(a.address(2).offset(16))?,
        )
    };
    let wanted = AttributeChange {
        accessed,
        modified,
        ..AttributeChange::default()
    };
    if a.address(1).is_null() {
        return change_open(a.int(0), wanted);
    }
    let path = path_name(a.address(1))?;
    let follow = follow_unless(flags, linux::AT_SYMLINK_NOFOLLOW);
    change(&place(a.int(0), &path, flags, follow)?, wanted)
}

#[cfg(test)]
mod tests {
    use super::{stat_bytes, statx_bytes};
    use crate::fs::{DeviceNumber, FileType, Metadata, Timestamp};

    fn metadata() -> Metadata {
        let time = |seconds| Timestamp {
            seconds,
            nanoseconds: 7,
        };
        Metadata {
            device: DeviceNumber::new(0, 21),
            inode: 12,
            kind: FileType::Regular,
            permissions: 0o644,
            links: 1,
            uid: 0,
            gid: 0,
            represents: DeviceNumber::new(0, 0),
            size: 4097,
            block_size: 4096,
            blocks: 16,
            accessed: time(1),
            modified: time(2),
            changed: time(3),
        }
    }

    /// Offsets from `offsetof(struct stat, ...)` on an arm64 system.
    #[test]
    fn stat_is_laid_out_as_on_arm64() {
        let bytes = stat_bytes(&metadata());
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(
            (word(0), word(8), half(16), half(20)),
            (21, 12, 0o100_644, 1)
        );
        assert_eq!((word(48), half(56), word(64)), (4097, 4096, 16));
        assert_eq!((word(72), word(88), word(104)), (1, 2, 3));
    }

    #[test]
    fn statx_is_what_the_c_library_reads() {
        #[expect(unsafe_code, reason = "statx is plain data")]
        // SAFETY: both have 256 bytes, and any bytes are a statx.
        let statx: libc::statx = unsafe { core::mem::transmute(statx_bytes(&metadata())) };
        assert_eq!(
            (statx.stx_ino, statx.stx_size, statx.stx_blocks),
            (12, 4097, 16)
        );
        assert_eq!(u32::from(statx.stx_mode), 0o100_644);
        assert_eq!((statx.stx_atime.tv_sec, statx.stx_ctime.tv_sec), (1, 3));
        assert_eq!((statx.stx_mtime.tv_sec, statx.stx_mtime.tv_nsec), (2, 7));
        assert_eq!((statx.stx_dev_major, statx.stx_dev_minor), (0, 21));
    }
}
