//! Reading and writing.

use libc::{EAGAIN, EBADF, EFAULT, EINVAL, EISDIR, ENOSPC, ENOTTY, EOPNOTSUPP, ESPIPE};

use super::ground::{
    BROKEN, CLOSED, EDGE, FILE, FOLDER, FORBIDDEN, FULL, GOOD, KERNEL, NOBODYS, NULL, PIPE,
    PIPE_END, PLACE, READ_ONLY, READABLE, UNMAPPED, WRITABLE,
};
use super::row::{Row, rows};

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_read(CLOSED, GOOD, 1) = Errno EBADF;
        SYS_read(-1, GOOD, 1) = Errno EBADF;
        SYS_read(i32::MAX, GOOD, 1) = Errno EBADF;
        SYS_read(WRITABLE, GOOD, 1) = Errno EBADF;
        SYS_read(PLACE, GOOD, 1) = Errno EBADF;
        SYS_read(FOLDER, GOOD, 1) = Errno EISDIR;
        SYS_read(FILE, UNMAPPED, 1) = Errno EFAULT;
        SYS_read(FILE, KERNEL, 1) = Errno EFAULT;
        SYS_read(FILE, NOBODYS, 1) = Errno EFAULT;
        SYS_read(FILE, FORBIDDEN, 1) = Errno EFAULT;
        SYS_read(FILE, READ_ONLY, 1) = Errno EFAULT;
        SYS_read(FILE, 0, 1) = Errno EFAULT;
        SYS_read(FILE, 0, 0) = Value 0;
        SYS_read(FILE, EDGE, 100) = Value 8;
        SYS_read(FILE, GOOD, u64::MAX) = Errno EFAULT;
        SYS_read(FILE, KERNEL, u64::MAX) = Errno EFAULT;
        SYS_read(PIPE, GOOD, 1) = Errno EAGAIN;
        SYS_read(PIPE_END, GOOD, 1) = Errno EBADF;
        SYS_read(FULL, UNMAPPED, 1) = Errno EFAULT;
        SYS_write(CLOSED, GOOD, 1) = Errno EBADF;
        SYS_write(READABLE, GOOD, 1) = Errno EBADF;
        SYS_write(PLACE, GOOD, 1) = Errno EBADF;
        SYS_write(FOLDER, GOOD, 1) = Errno EBADF;
        SYS_write(FILE, UNMAPPED, 1) = Errno EFAULT;
        SYS_write(FILE, KERNEL, 1) = Errno EFAULT;
        SYS_write(FILE, NOBODYS, 1) = Errno EFAULT;
        SYS_write(FILE, FORBIDDEN, 1) = Errno EFAULT;
        SYS_write(FILE, EDGE, u64::MAX) = Errno EFAULT;
        SYS_write(FILE, EDGE, 100) = Value 8;
        SYS_write(PIPE, GOOD, 1) = Errno EBADF;
        SYS_write(PIPE_END, UNMAPPED, 1) = Errno EFAULT;
        SYS_write(BROKEN, GOOD, 1) = Signal libc::SIGPIPE;
        SYS_write(BROKEN, UNMAPPED, 1) = Signal libc::SIGPIPE;
        SYS_write(BROKEN, GOOD, 0) = Value 0;
        SYS_write(NULL, UNMAPPED, 4096) = Value 4096;
        SYS_write(FULL, GOOD, 1) = Errno ENOSPC;
        SYS_readv(CLOSED, GOOD, 1) = Errno EBADF;
        SYS_readv(FILE, UNMAPPED, 1) = Errno EFAULT;
        SYS_readv(FILE, GOOD, 1025) = Errno EINVAL;
        SYS_readv(FILE, GOOD, -1) = Errno EINVAL;
        SYS_readv(FILE, UNMAPPED, 0) = Value 0;
        SYS_readv(FILE, [GOOD, u64::MAX], 1) = Errno EINVAL;
        SYS_readv(FILE, [UNMAPPED, 10], 1) = Errno EFAULT;
        SYS_readv(FILE, [EDGE, 8, UNMAPPED, 10], 2) = Value 8;
        SYS_readv(FILE, [KERNEL, 10], 1) = Errno EFAULT;
        SYS_readv(FILE, EDGE, 1) = Errno EFAULT;
        SYS_writev(CLOSED, GOOD, 1) = Errno EBADF;
        SYS_writev(FILE, UNMAPPED, 1) = Errno EFAULT;
        SYS_writev(FILE, GOOD, 1025) = Errno EINVAL;
        SYS_writev(FILE, [GOOD, u64::MAX], 1) = Errno EINVAL;
        SYS_writev(FILE, [UNMAPPED, 10], 1) = Errno EFAULT;
        SYS_writev(FILE, [KERNEL, 10], 1) = Errno EFAULT;
        SYS_writev(FILE, [EDGE, 8, UNMAPPED, 10], 2) = Value 8;
        SYS_pread64(CLOSED, GOOD, 1, 0) = Errno EBADF;
        SYS_pread64(FILE, GOOD, 1, -1) = Errno EINVAL;
        SYS_pread64(CLOSED, GOOD, 1, -1) = Errno EINVAL;
        SYS_pread64(FILE, GOOD, 1, i64::MAX) = Errno EINVAL;
        SYS_pread64(FILE, GOOD, 1, i64::MAX - 1) = Value 0;
        SYS_pread64(FILE, UNMAPPED, 1, 0) = Errno EFAULT;
        SYS_pread64(PIPE, GOOD, 1, 0) = Errno ESPIPE;
        SYS_pread64(FOLDER, GOOD, 1, 0) = Errno EISDIR;
        SYS_pwrite64(CLOSED, GOOD, 1, 0) = Errno EBADF;
        SYS_pwrite64(FILE, GOOD, 1, -1) = Errno EINVAL;
        SYS_pwrite64(FILE, GOOD, 1, i64::MAX) = Errno EINVAL;
        SYS_pwrite64(FILE, UNMAPPED, 1, 0) = Errno EFAULT;
        SYS_pwrite64(PIPE_END, GOOD, 1, 0) = Errno ESPIPE;
        SYS_pwrite64(READABLE, GOOD, 1, 0) = Errno EBADF;
        SYS_preadv(CLOSED, GOOD, 1, 0) = Errno EBADF;
        SYS_preadv(FILE, UNMAPPED, 1, 0) = Errno EFAULT;
        SYS_preadv(FILE, [GOOD, 1], 1, -1) = Errno EINVAL;
        SYS_preadv(PIPE, [GOOD, 1], 1, 0) = Errno ESPIPE;
        SYS_pwritev(CLOSED, GOOD, 1, 0) = Errno EBADF;
        SYS_pwritev(FILE, UNMAPPED, 1, 0) = Errno EFAULT;
        SYS_pwritev(FILE, [GOOD, 1], 1, -1) = Errno EINVAL;
        SYS_pwritev(PIPE_END, [GOOD, 1], 1, 0) = Errno ESPIPE;
        SYS_preadv2(CLOSED, [GOOD, 1], 1, 0, 0, 0) = Errno EBADF;
        SYS_preadv2(FILE, [GOOD, 1], 1, 0, 0, 0x8000_0000_u32) = Errno EOPNOTSUPP;
        SYS_preadv2(FILE, [UNMAPPED, 1], 1, -1, 0, 0) = Errno EFAULT;
        SYS_pwritev2(CLOSED, [GOOD, 1], 1, 0, 0, 0) = Errno EBADF;
        SYS_pwritev2(FILE, [GOOD, 1], 1, 0, 0, 0x8000_0000_u32) = Errno EOPNOTSUPP;
        SYS_sendfile(CLOSED, FILE, 0, 1) = Errno EBADF;
        SYS_sendfile(NULL, CLOSED, 0, 1) = Errno EBADF;
        SYS_sendfile(READABLE, FILE, 0, 1) = Errno EBADF;
        SYS_sendfile(NULL, WRITABLE, 0, 1) = Errno EBADF;
        SYS_sendfile(NULL, FILE, UNMAPPED, 1) = Errno EFAULT;
        SYS_sendfile(NULL, FILE, [u64::MAX], 1) = Errno EINVAL;
        SYS_sendfile(NULL, PIPE, [0], 1) = Errno ESPIPE;
        SYS_sendfile(NULL, FOLDER, 0, 1) = Errno EINVAL;
        SYS_sendfile(BROKEN, FILE, [0], 1) = Signal libc::SIGPIPE;
        SYS_lseek(CLOSED, 0, 0) = Errno EBADF;
        SYS_lseek(FILE, 0, 5) = Errno EINVAL;
        SYS_lseek(FILE, 0, -1) = Errno EINVAL;
        SYS_lseek(FILE, -1, 0) = Errno EINVAL;
        SYS_lseek(FILE, i64::MIN, 1) = Errno EINVAL;
        SYS_lseek(FILE, i64::MAX, 2) = Errno EINVAL;
        SYS_lseek(FILE, i64::MAX, 3) = Errno libc::ENXIO;
        SYS_lseek(FILE, i64::MAX, 4) = Errno libc::ENXIO;
        SYS_lseek(PIPE, 0, 0) = Errno ESPIPE;
        SYS_lseek(PLACE, 0, 0) = Errno EBADF;
        SYS_ioctl(CLOSED, 0, 0) = Errno EBADF;
        SYS_ioctl(PLACE, 0, 0) = Errno EBADF;
        SYS_ioctl(FILE, -1, GOOD) = Errno ENOTTY;
        SYS_ioctl(FILE, libc::TCGETS, GOOD) = Errno ENOTTY;
        SYS_ioctl(PIPE, libc::TIOCGWINSZ, GOOD) = Errno ENOTTY;
        SYS_ioctl(FILE, libc::FIONREAD, UNMAPPED) = Errno EFAULT;
        SYS_ioctl(PIPE, libc::FIONREAD, KERNEL) = Errno EFAULT;
        SYS_ioctl(PIPE, libc::FIONBIO, UNMAPPED) = Errno EFAULT;
    }
}
