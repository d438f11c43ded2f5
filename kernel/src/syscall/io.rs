//! Reading and writing open files.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Arguments;
use crate::arch::thread::has_signal;
use crate::error::{Errno, Result};
use crate::fs::{FileType, OpenFile, OpenFlags, Whence};
use crate::memory::{Sink, Source, UserAddress, UserRange};
use crate::task::current;
use crate::task::signal::{Info, Signal, send_to_thread};

/// The most that one call transfers, in bytes: what fits an `int`, in whole pages.
const TRANSFER_LIMIT: usize = 0x7fff_f000;
/// The most parts of a vector (`UIO_MAXIOV`).
const PARTS_LIMIT: usize = 1024;
/// How much `sendfile` moves at a time, in bytes.
const PIECE: usize = 16 << 10;

pub(super) fn open_file(descriptor: i32) -> Result<Arc<OpenFile>> {
    current().process.file(descriptor)
}

/// An open file that is more than a place (`O_PATH`).
pub(super) fn usable(descriptor: i32) -> Result<Arc<OpenFile>> {
    let file = open_file(descriptor)?;
    if file.flags().contains(OpenFlags::PATH) {
        return Err(Errno::EBADF);
    }
    Ok(file)
}

/// The range of user memory that a call is about. All that was asked for must be possible, though
/// not all of it is transferred.
fn range(a: Arguments) -> Result<[UserRange; 1]> {
    let mut range = a.address(1).range(a.size(2))?;
    range.length = range.length.min(TRANSFER_LIMIT);
    Ok([range])
}

/// The position in a file that a call names, and from which `length` bytes are to be possible.
fn position(word: u64, length: usize) -> Result<i64> {
    let position = i64::try_from(word).map_err(|_| Errno::EINVAL)?;
    let end = position.checked_add_unsigned(length as u64);
    end.map(|_| position).ok_or(Errno::EINVAL)
}

/// Reads an `iovec` array.
fn ranges(array: UserAddress, count: usize) -> Result<Vec<UserRange>> {
    if count > PARTS_LIMIT {
        return Err(Errno::EINVAL);
    }
    let mut ranges = Vec::new();
    ranges.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    let mut left = TRANSFER_LIMIT;
    for index in 0..count {
        let part = array.offset(index * 16);
        let length = part.offset(8).read_u64()?;
        if i64::try_from(length).is_err() {
            return Err(Errno::EINVAL);
        }
        let mut range = UserAddress(part.read_u64()?).range(length as usize)?;
        range.length = range.length.min(left);
        left -= range.length;
        ranges.push(range);
    }
    Ok(ranges)
}

/// A write to something that nobody reads any more also sends a signal.
fn written(result: Result<usize>) -> Result<u64> {
    if result == Err(Errno::EPIPE) {
        // A standard signal always finds room.
        send_to_thread(&current().share(), Info::kernel(Signal::SIGPIPE)).unwrap_or(());
    }
    result.map(|done| done as u64)
}

pub(super) fn read(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    Ok(file.read(&mut Sink::User(&mut range(a)?))? as u64)
}

pub(super) fn write(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    written(file.write(&mut Source::User(&mut range(a)?)))
}

pub(super) fn readv(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let mut ranges = ranges(a.address(1), a.size(2))?;
    Ok(file.read(&mut Sink::User(&mut ranges))? as u64)
}

pub(super) fn writev(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let mut ranges = ranges(a.address(1), a.size(2))?;
    written(file.write(&mut Source::User(&mut ranges)))
}

pub(super) fn pread64(a: Arguments) -> Result<u64> {
    let position = position(a.word(3), 0)?;
    let file = open_file(a.int(0))?;
    self::position(a.word(3), a.size(2))?;
    Ok(file.read_at(position, &mut Sink::User(&mut range(a)?))? as u64)
}

pub(super) fn pwrite64(a: Arguments) -> Result<u64> {
    let position = position(a.word(3), 0)?;
    let file = open_file(a.int(0))?;
    self::position(a.word(3), a.size(2))?;
    written(file.write_at(position, &mut Source::User(&mut range(a)?)))
}

pub(super) fn preadv(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let mut ranges = ranges(a.address(1), a.size(2))?;
    Ok(file.read_at(a.word(3) as i64, &mut Sink::User(&mut ranges))? as u64)
}

pub(super) fn pwritev(a: Arguments) -> Result<u64> {
    let file = open_file(a.int(0))?;
    let mut ranges = ranges(a.address(1), a.size(2))?;
    written(file.write_at(a.word(3) as i64, &mut Source::User(&mut ranges)))
}

/// Flags are hints or promises that cannot be kept here.
fn check_flags(a: Arguments) -> Result<()> {
    if a.half(5) == 0 {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

pub(super) fn preadv2(a: Arguments) -> Result<u64> {
    check_flags(a)?;
    if a.word(3) == u64::MAX {
        readv(a)
    } else {
        preadv(a)
    }
}

pub(super) fn pwritev2(a: Arguments) -> Result<u64> {
    check_flags(a)?;
    if a.word(3) == u64::MAX {
        writev(a)
    } else {
        pwritev(a)
    }
}

/// Reads a piece from where `sendfile` reads.
fn read_piece(file: &OpenFile, position: Option<u64>, into: &mut [u8]) -> Result<usize> {
    let mut sink = Sink::Kernel(into);
    match position {
        Some(position) => file.read_at(position as i64, &mut sink),
        None => file.read(&mut sink),
    }
}

pub(super) fn sendfile(a: Arguments) -> Result<u64> {
    let (to, from) = (open_file(a.int(0))?, open_file(a.int(1))?);
    if !to.flags().writes() || !from.flags().reads() {
        return Err(Errno::EBADF);
    }
    if from.inode().kind() == FileType::Directory {
        return Err(Errno::EINVAL);
    }
    let place = a.address(2);
    let mut position = if place.is_null() {
        None
    } else {
        Some(place.read_u64()?)
    };
    let length = a.size(3).min(TRANSFER_LIMIT);
    let mut buffer = Vec::new();
    let size = PIECE.min(length);
    buffer.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(size, 0);
    let mut done = 0;
    let mut result = Ok(());
    // Two gigabytes take a while: who is to end need not wait for the last.
    while done < length && (done == 0 || !has_signal()) {
        let wanted = size.min(length - done);
        let piece = read_piece(&from, position, &mut buffer[..wanted]);
        let read = match piece {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                result = Err(error);
                break;
            }
        };
        let written = match to.write(&mut Source::Kernel(&buffer[..read])) {
            Ok(written) => written,
            Err(error) => {
                result = Err(error);
                0
            }
        };
        done += written;
        match &mut position {
            Some(position) => *position += written as u64,
            // What was read and not written is given back.
            None if written < read && !from.operations().is_stream() => {
                from.seek(written as i64 - read as i64, Whence::Current)?;
            }
            None => {}
        }
        if written < read {
            break;
        }
    }
    if let Some(position) = position {
        place.write(&position.to_le_bytes())?;
    }
    match result {
        Err(error) if done == 0 => written(Err(error)),
        _ => Ok(done as u64),
    }
}

pub(super) fn lseek(a: Arguments) -> Result<u64> {
    let whence = match a.half(2) {
        0 => Whence::Set,
        1 => Whence::Current,
        2 => Whence::End,
        3 => Whence::Data,
        4 => Whence::Hole,
        _ => return Err(Errno::EINVAL),
    };
    open_file(a.int(0))?.seek(a.word(1) as i64, whence)
}

pub(super) fn ioctl(a: Arguments) -> Result<u64> {
    use linux_raw_sys::ioctl;

    let files = current().process.files()?;
    let file = files.get(a.int(0))?;
    match a.half(1) {
        ioctl::FIOCLEX => files.set_close_on_exec(a.int(0), true).map(|()| 0),
        ioctl::FIONCLEX => files.set_close_on_exec(a.int(0), false).map(|()| 0),
        ioctl::FIONBIO => {
            let wanted = a.address(2).read_u32()? != 0;
            let mut flags = file.flags();
            flags.set(OpenFlags::NON_BLOCKING, wanted);
            file.set_flags(flags);
            Ok(0)
        }
        ioctl::FIONREAD if file.inode().kind() == FileType::Regular => {
            let here = file.seek(0, Whence::Current)?;
            let left = file.metadata().size.saturating_sub(here);
            a.address(2).write(&(left as u32).to_le_bytes())?;
            Ok(0)
        }
        request => file.control(request, a.address(2)),
    }
}
