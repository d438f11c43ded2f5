//! File systems as wholes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as linux;

use super::Arguments;
use super::file::{context, path_name};
use super::io::open_file;
use crate::error::{Errno, Result};
use crate::fs::block::{self, Disk};
use crate::fs::ext4::Ext4;
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{FileSystem, FileType, Follow, NAME_MAX, devfs};
use crate::interfaces;
use crate::memory::{UserAddress, total_bytes};

/// `UMOUNT_NOFOLLOW` and `MNT_DETACH`. Linux, `linux/fs.h`.
const NO_FOLLOW: u32 = 8;
const DETACH: u32 = 2;

/// `struct statfs` of a 64-bit machine (`asm-generic/statfs.h`).
fn write_statistics(file_system: &dyn FileSystem, to: UserAddress) -> Result<u64> {
    let statistics = file_system.statistics();
    let words = [
        statistics.magic,
        statistics.block_size,
        statistics.blocks,
        statistics.free,
        statistics.free,
        statistics.inodes,
        statistics.free_inodes,
        0,
        NAME_MAX as u64,
        statistics.block_size,
    ];
    let mut bytes = [0; 120];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    to.write(&bytes).map(|()| 0)
}

pub(super) fn statfs(a: Arguments) -> Result<u64> {
    let path = path_name(a.address(0))?;
    let place = context().resolve(None, &path, Follow::Yes)?;
    write_statistics(&**place.mount().file_system(), a.address(1))
}

pub(super) fn fstatfs(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    // What has no name is in no file system that anybody could ask about.
    let path = file.path().ok_or(Errno::ENOSYS)?;
    write_statistics(&**path.mount().file_system(), a.address(1))
}

/// Makes a file system of a kind, or finds the one that is on a device.
fn make(kind: &[u8], source: &[u8]) -> Result<Arc<dyn FileSystem>> {
    match kind {
        b"ext4" => Ok(Ext4::on(&disk(source)?)?),
        // Up to half of memory, as elsewhere.
        b"tmpfs" => Ok(Tmpfs::new("tmpfs", total_bytes() / 2)),
        b"proc" => Ok(interfaces::proc()),
        b"sysfs" => Ok(interfaces::sysfs()),
        b"debugfs" => Ok(interfaces::debugfs()),
        b"devtmpfs" => Ok(devfs::new()?),
        _ => Err(Errno::ENODEV),
    }
}

/// The disk that a name leads to.
fn disk(name: &[u8]) -> Result<Arc<Disk>> {
    let place = context().resolve(None, name, Follow::Yes)?;
    if place.inode().kind() != FileType::BlockDevice {
        return Err(Errno::ENOTBLK);
    }
    block::find(place.metadata().represents).ok_or(Errno::ENXIO)
}

pub(super) fn mount(a: Arguments) -> Result<u64> {
    let flags = a.word(3) as u32;
    let target = path_name(a.address(1))?;
    let context = context();
    let place = context.resolve(None, &target, Follow::Yes)?;
    let read_only = flags & linux::MS_RDONLY != 0;
    if flags & linux::MS_REMOUNT != 0 {
        if !place.is_mount_root() {
            return Err(Errno::EINVAL);
        }
        place.mount().set_read_only(read_only);
        return Ok(0);
    }
    if flags & (linux::MS_BIND | linux::MS_MOVE) != 0 {
        return Err(Errno::EINVAL);
    }
    let source = match a.address(0) {
        address if address.is_null() => Vec::new(),
        address => path_name(address)?,
    };
    if a.address(2).is_null() {
        return Err(Errno::EINVAL);
    }
    let file_system = make(&path_name(a.address(2))?, &source)?;
    let namespace = context.namespace();
    namespace.mount(file_system, place, &source, read_only)?;
    Ok(0)
}

pub(super) fn umount2(a: Arguments) -> Result<u64> {
    let flags = a.half(1);
    if flags & !(NO_FOLLOW | DETACH) != 0 {
        return Err(Errno::EINVAL);
    }
    let path = path_name(a.address(0))?;
    let follow = if flags & NO_FOLLOW == 0 {
        Follow::Yes
    } else {
        Follow::No
    };
    let context = context();
    let place = context.resolve(None, &path, follow)?;
    context.namespace().unmount(place, flags & DETACH != 0)?;
    Ok(0)
}

pub(super) fn sync() -> Result<u64> {
    // `sync` has no way to report an error; whoever wants to know uses `fsync`.
    context().namespace().sync().unwrap_or(());
    Ok(0)
}

pub(super) fn syncfs(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    if let Some(path) = file.path() {
        path.mount().file_system().sync()?;
    }
    Ok(0)
}
