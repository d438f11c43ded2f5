//! Descriptors, pipes, polling.

use libc::{EBADF, EFAULT, EINVAL, ENODEV, EOPNOTSUPP, ESPIPE};

use super::ground::{
    CLOSED, EDGE, FILE, FOLDER, GOOD, KERNEL, NULL, PIPE, PIPE_END, PLACE, READ_ONLY, READABLE,
    UNMAPPED,
};
use super::row::{Row, rows};

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_close(CLOSED) = Errno EBADF;
        SYS_close(-1) = Errno EBADF;
        SYS_close(i32::MAX) = Errno EBADF;
        SYS_close_range(5, 4, 0) = Errno EINVAL;
        SYS_close_range(200, 300, 1) = Errno EINVAL;
        SYS_close_range(200, u32::MAX, 0) = Value 0;
        SYS_dup(CLOSED) = Errno EBADF;
        SYS_dup(-1) = Errno EBADF;
        SYS_dup3(CLOSED, 70, 0) = Errno EBADF;
        SYS_dup3(FILE, FILE, 0) = Errno EINVAL;
        SYS_dup3(FILE, -1, 0) = Errno EBADF;
        SYS_dup3(FILE, i32::MAX, 0) = Errno EBADF;
        SYS_dup3(FILE, 70, 1) = Errno EINVAL;
        SYS_fcntl(CLOSED, libc::F_GETFD, 0) = Errno EBADF;
        SYS_fcntl(FILE, -1, 0) = Errno EINVAL;
        SYS_fcntl(FILE, libc::F_DUPFD, -1) = Errno EINVAL;
        SYS_fcntl(FILE, libc::F_DUPFD, i32::MAX) = Errno EINVAL;
        SYS_fcntl(PLACE, libc::F_SETFL, 0) = Errno EBADF;
        SYS_fcntl(PLACE, libc::F_GETFD, 0) = Value 0;
        SYS_pipe2(UNMAPPED, 0) = Errno EFAULT;
        SYS_pipe2(READ_ONLY, 0) = Errno EFAULT;
        SYS_pipe2(KERNEL, 0) = Errno EFAULT;
        SYS_pipe2(GOOD, 1) = Errno EINVAL;
        SYS_pipe2(GOOD, -1) = Errno EINVAL;
        SYS_ftruncate(CLOSED, 0) = Errno EBADF;
        SYS_ftruncate(FILE, -1) = Errno EINVAL;
        SYS_ftruncate(READABLE, 0) = Errno EINVAL;
        SYS_ftruncate(PIPE_END, 0) = Errno EINVAL;
        SYS_ftruncate(FOLDER, 0) = Errno EINVAL;
        SYS_fallocate(CLOSED, 0, 0, 1) = Errno EBADF;
        SYS_fallocate(FILE, 0, -1, 1) = Errno EINVAL;
        SYS_fallocate(FILE, 0, 0, 0) = Errno EINVAL;
        SYS_fallocate(FILE, 0, i64::MAX, i64::MAX) = Errno libc::EFBIG;
        SYS_fallocate(FILE, 0x4000_0000, 0, 1) = Errno EOPNOTSUPP;
        SYS_fallocate(READABLE, 0, 0, 1) = Errno EBADF;
        SYS_fallocate(PIPE_END, 0, 0, 1) = Errno ESPIPE;
        SYS_fallocate(NULL, 0, 0, 1) = Errno ENODEV;
        SYS_fsync(CLOSED) = Errno EBADF;
        SYS_fsync(PIPE) = Errno EINVAL;
        SYS_fdatasync(CLOSED) = Errno EBADF;
        SYS_fdatasync(PIPE) = Errno EINVAL;
        SYS_syncfs(CLOSED) = Errno EBADF;
        SYS_flock(CLOSED, libc::LOCK_SH) = Errno EBADF;
        SYS_flock(FILE, 0) = Errno EINVAL;
        SYS_fadvise64(CLOSED, 0, 0, 0) = Errno EBADF;
        SYS_fadvise64(FILE, 0, 0, 100) = Errno EINVAL;
        SYS_fadvise64(PIPE, 0, 0, 0) = Errno ESPIPE;
        SYS_memfd_create(UNMAPPED, 0) = Errno EFAULT;
        SYS_memfd_create(c"x", 0x8000_0000_u32) = Errno EINVAL;
        SYS_memfd_create([0x6161_6161_6161_6161_u64; 40], 0) = Errno EINVAL;
        SYS_ppoll(UNMAPPED, 1, 0, 0, 0) = Errno EFAULT;
        SYS_ppoll(KERNEL, 1, 0, 0, 0) = Errno EFAULT;
        SYS_ppoll(READ_ONLY, 1, [0_u64, 0], 0, 0) = Errno EFAULT;
        SYS_ppoll(GOOD, u32::MAX, 0, 0, 0) = Errno EINVAL;
        SYS_ppoll(GOOD, 0, UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_ppoll(GOOD, 0, [0_u64, 1_000_000_000], 0, 0) = Errno EINVAL;
        SYS_ppoll(GOOD, 0, [u64::MAX, 0], 0, 0) = Errno EINVAL;
        SYS_ppoll(GOOD, 0, [0_u64, 0], GOOD, 7) = Errno EINVAL;
        SYS_ppoll(GOOD, 0, [0_u64, 0], UNMAPPED, 8) = Errno EFAULT;
        SYS_ppoll([60_u64], 1, [0_u64, 0], 0, 0) = Value 1;
        SYS_pselect6(-1, 0, 0, 0, 0, 0) = Errno EINVAL;
        SYS_pselect6(1, UNMAPPED, 0, 0, 0, 0) = Errno EFAULT;
        SYS_pselect6(1, 0, KERNEL, 0, 0, 0) = Errno EFAULT;
        SYS_pselect6(0, 0, 0, 0, UNMAPPED, 0) = Errno EFAULT;
        SYS_pselect6(0, 0, 0, 0, [0_u64, u64::MAX], 0) = Errno EINVAL;
        SYS_pselect6(0, 0, 0, 0, [0_u64, 0], UNMAPPED) = Errno EFAULT;
        SYS_pselect6(0, 0, 0, 0, [0_u64, 0], [GOOD, 7]) = Errno EINVAL;
        SYS_pselect6(64, [1_u64 << 60], 0, 0, [0_u64, 0], 0) = Errno EBADF;
        SYS_pselect6(64, READ_ONLY, 0, 0, [0_u64, 0], 0) = Errno EFAULT;
        SYS_pselect6(i32::MAX, EDGE, 0, 0, [0_u64, 0], 0) = Value 0;
    }
}
