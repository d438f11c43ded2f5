//! Files by name.

use libc::{
    AT_EMPTY_PATH, AT_FDCWD, EBADF, EBUSY, EEXIST, EFAULT, EINVAL, EISDIR, ELOOP, ENAMETOOLONG,
    ENODEV, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EXDEV,
};

use super::ground::{
    CLOSED, EDGE, FILE, FOLDER, FORBIDDEN, GOOD, KERNEL, NOBODYS, PIPE, READ_ONLY, READABLE,
    UNMAPPED,
};
use super::row::{Row, rows};

/// A name of 4096 bytes without an end, so it is no path; a component of 256 bytes; and a good path
/// that is followed by nothing.
const LONG_PATH: [u64; 600] = [u64::from_le_bytes(*b"a/a/a/a/"); 600];
const LONG_NAME: [u64; 33] = {
    let mut words = [u64::from_le_bytes(*b"aaaaaaaa"); 33];
    words[32] = 0;
    words
};

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_openat(AT_FDCWD, UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_openat(AT_FDCWD, KERNEL, 0, 0) = Errno EFAULT;
        SYS_openat(AT_FDCWD, NOBODYS, 0, 0) = Errno EFAULT;
        SYS_openat(AT_FDCWD, FORBIDDEN, 0, 0) = Errno EFAULT;
        SYS_openat(AT_FDCWD, 0, 0, 0) = Errno EFAULT;
        SYS_openat(AT_FDCWD, READ_ONLY, 0, 0) = Errno ENOENT;
        SYS_openat(AT_FDCWD, EDGE, 0, 0) = Errno ENOENT;
        SYS_openat(AT_FDCWD, LONG_PATH, 0, 0) = Errno ENAMETOOLONG;
        SYS_openat(AT_FDCWD, LONG_NAME, 0, 0) = Errno ENAMETOOLONG;
        SYS_openat(AT_FDCWD, c"", 0, 0) = Errno ENOENT;
        SYS_openat(AT_FDCWD, c"none", 0, 0) = Errno ENOENT;
        SYS_openat(AT_FDCWD, c"none/file", libc::O_CREAT, 0) = Errno ENOENT;
        SYS_openat(AT_FDCWD, c"loop", 0, 0) = Errno ELOOP;
        SYS_openat(AT_FDCWD, c"link", libc::O_NOFOLLOW, 0) = Errno ELOOP;
        SYS_openat(AT_FDCWD, c"file/", 0, 0) = Errno ENOTDIR;
        SYS_openat(AT_FDCWD, c"file/x", 0, 0) = Errno ENOTDIR;
        SYS_openat(AT_FDCWD, c"file", libc::O_DIRECTORY, 0) = Errno ENOTDIR;
        SYS_openat(AT_FDCWD, c"file", libc::O_CREAT | libc::O_EXCL, 0) = Errno EEXIST;
        SYS_openat(AT_FDCWD, c"new", libc::O_CREAT | libc::O_DIRECTORY, 0) = Errno EINVAL;
        SYS_openat(AT_FDCWD, c"new/", libc::O_CREAT, 0) = Errno EISDIR;
        SYS_openat(AT_FDCWD, c"folder", libc::O_WRONLY, 0) = Errno EISDIR;
        SYS_openat(AT_FDCWD, c"folder", libc::O_CREAT, 0) = Errno EISDIR;
        SYS_openat(CLOSED, c"file", 0, 0) = Errno EBADF;
        SYS_openat(FILE, c"file", 0, 0) = Errno ENOTDIR;
        SYS_openat(PIPE, c"file", 0, 0) = Errno ENOTDIR;
        SYS_mkdirat(AT_FDCWD, UNMAPPED, 0) = Errno EFAULT;
        SYS_mkdirat(AT_FDCWD, c"", 0) = Errno ENOENT;
        SYS_mkdirat(AT_FDCWD, c"file", 0) = Errno EEXIST;
        SYS_mkdirat(AT_FDCWD, c"loop", 0) = Errno EEXIST;
        SYS_mkdirat(AT_FDCWD, c".", 0) = Errno EEXIST;
        SYS_mkdirat(AT_FDCWD, c"/", 0) = Errno EEXIST;
        SYS_mkdirat(AT_FDCWD, c"none/new", 0) = Errno ENOENT;
        SYS_mkdirat(CLOSED, c"new", 0) = Errno EBADF;
        SYS_mkdirat(AT_FDCWD, LONG_NAME, 0) = Errno ENAMETOOLONG;
        SYS_mknodat(AT_FDCWD, UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_mknodat(AT_FDCWD, c"new", 0o040_000, 0) = Errno EPERM;
        SYS_mknodat(AT_FDCWD, c"new", 0o120_000, 0) = Errno EINVAL;
        SYS_mknodat(AT_FDCWD, c"new", 0o170_000, 0) = Errno EINVAL;
        SYS_mknodat(AT_FDCWD, c"file", 0, 0) = Errno EEXIST;
        SYS_mknodat(AT_FDCWD, c"new/", 0, 0) = Errno ENOENT;
        SYS_symlinkat(UNMAPPED, AT_FDCWD, c"new") = Errno EFAULT;
        SYS_symlinkat(c"x", AT_FDCWD, UNMAPPED) = Errno EFAULT;
        SYS_symlinkat(c"", AT_FDCWD, c"new") = Errno ENOENT;
        SYS_symlinkat(c"x", AT_FDCWD, c"file") = Errno EEXIST;
        SYS_symlinkat(c"x", CLOSED, c"new") = Errno EBADF;
        SYS_linkat(AT_FDCWD, UNMAPPED, AT_FDCWD, c"new", 0) = Errno EFAULT;
        SYS_linkat(AT_FDCWD, c"file", AT_FDCWD, UNMAPPED, 0) = Errno EFAULT;
        SYS_linkat(AT_FDCWD, c"file", AT_FDCWD, c"new", 1) = Errno EINVAL;
        SYS_linkat(AT_FDCWD, c"file", AT_FDCWD, c"folder", 0) = Errno EEXIST;
        SYS_linkat(AT_FDCWD, c"folder", AT_FDCWD, c"new", 0) = Errno EPERM;
        SYS_linkat(AT_FDCWD, c"none", AT_FDCWD, c"new", 0) = Errno ENOENT;
        SYS_linkat(AT_FDCWD, c"file", AT_FDCWD, c"/dev/new", 0) = Errno EXDEV;
        SYS_linkat(CLOSED, c"file", AT_FDCWD, c"new", 0) = Errno EBADF;
        SYS_unlinkat(AT_FDCWD, UNMAPPED, 0) = Errno EFAULT;
        SYS_unlinkat(AT_FDCWD, c"file", 1) = Errno EINVAL;
        SYS_unlinkat(AT_FDCWD, c"folder", 0) = Errno EISDIR;
        SYS_unlinkat(AT_FDCWD, c"file", libc::AT_REMOVEDIR) = Errno ENOTDIR;
        SYS_unlinkat(AT_FDCWD, c"folder", libc::AT_REMOVEDIR) = Errno ENOTEMPTY;
        SYS_unlinkat(AT_FDCWD, c".", libc::AT_REMOVEDIR) = Errno EINVAL;
        SYS_unlinkat(AT_FDCWD, c"..", libc::AT_REMOVEDIR) = Errno ENOTEMPTY;
        SYS_unlinkat(AT_FDCWD, c"/", libc::AT_REMOVEDIR) = Errno EBUSY;
        SYS_unlinkat(AT_FDCWD, c"/proc", libc::AT_REMOVEDIR) = Errno EBUSY;
        SYS_unlinkat(AT_FDCWD, c"none", 0) = Errno ENOENT;
        SYS_unlinkat(AT_FDCWD, c"", 0) = Errno ENOENT;
        SYS_unlinkat(CLOSED, c"file", 0) = Errno EBADF;
        SYS_renameat(AT_FDCWD, UNMAPPED, AT_FDCWD, c"new") = Errno EFAULT;
        SYS_renameat(AT_FDCWD, c"file", AT_FDCWD, UNMAPPED) = Errno EFAULT;
        SYS_renameat(AT_FDCWD, c"folder", AT_FDCWD, c"folder/x") = Errno EINVAL;
        SYS_renameat(AT_FDCWD, c"file", AT_FDCWD, c"folder") = Errno EISDIR;
        SYS_renameat(AT_FDCWD, c"folder", AT_FDCWD, c"file") = Errno ENOTDIR;
        SYS_renameat(AT_FDCWD, c".", AT_FDCWD, c"new") = Errno EBUSY;
        SYS_renameat(AT_FDCWD, c"none", AT_FDCWD, c"new") = Errno ENOENT;
        SYS_renameat2(AT_FDCWD, c"file", AT_FDCWD, c"new", -1) = Errno EINVAL;
        SYS_renameat2(AT_FDCWD, c"file", AT_FDCWD, c"folder", 1) = Errno EEXIST;
        SYS_renameat2(AT_FDCWD, c"file", AT_FDCWD, c"none", 2) = Errno ENOENT,
            ours Errno EINVAL, "no file system here exchanges names; Linux says so of such ones";
        SYS_renameat2(AT_FDCWD, c"file", AT_FDCWD, c"folder", 3) = Errno EINVAL;
        SYS_readlinkat(AT_FDCWD, UNMAPPED, GOOD, 10) = Errno EFAULT;
        SYS_readlinkat(AT_FDCWD, c"link", UNMAPPED, 10) = Errno EFAULT;
        SYS_readlinkat(AT_FDCWD, c"link", GOOD, 0) = Errno EINVAL;
        SYS_readlinkat(AT_FDCWD, c"link", GOOD, -1) = Errno EINVAL;
        SYS_readlinkat(AT_FDCWD, c"link", GOOD, 2) = Value 2;
        SYS_readlinkat(AT_FDCWD, c"file", GOOD, 10) = Errno EINVAL;
        SYS_readlinkat(AT_FDCWD, c"", GOOD, 10) = Errno ENOENT;
        SYS_newfstatat(AT_FDCWD, UNMAPPED, GOOD, 0) = Errno EFAULT;
        SYS_newfstatat(AT_FDCWD, c"file", UNMAPPED, 0) = Errno EFAULT;
        SYS_newfstatat(AT_FDCWD, c"file", READ_ONLY, 0) = Errno EFAULT;
        SYS_newfstatat(AT_FDCWD, c"file", EDGE, 0) = Errno EFAULT;
        SYS_newfstatat(AT_FDCWD, c"file", GOOD, 1) = Errno EINVAL;
        SYS_newfstatat(AT_FDCWD, c"", GOOD, 0) = Errno ENOENT;
        SYS_newfstatat(CLOSED, c"", GOOD, AT_EMPTY_PATH) = Errno EBADF;
        SYS_newfstatat(CLOSED, c"file", GOOD, 0) = Errno EBADF;
        SYS_fstat(CLOSED, GOOD) = Errno EBADF;
        SYS_fstat(FILE, UNMAPPED) = Errno EFAULT;
        SYS_fstat(FILE, KERNEL) = Errno EFAULT;
        SYS_statx(AT_FDCWD, UNMAPPED, 0, 0, GOOD) = Errno EFAULT;
        SYS_statx(AT_FDCWD, c"file", 0, 0, UNMAPPED) = Errno EFAULT;
        SYS_statx(AT_FDCWD, c"file", 1, 0, GOOD) = Errno EINVAL;
        SYS_statx(AT_FDCWD, c"file", 0x6000, 0, GOOD) = Errno EINVAL;
        SYS_statx(AT_FDCWD, c"file", 0, 0x8000_0000_u32, GOOD) = Errno EINVAL;
        SYS_statx(CLOSED, c"file", 0, 0, GOOD) = Errno EBADF;
        SYS_faccessat(AT_FDCWD, UNMAPPED, 0) = Errno EFAULT;
        SYS_faccessat(AT_FDCWD, c"file", 8) = Errno EINVAL;
        SYS_faccessat(AT_FDCWD, c"file", 1) = Errno libc::EACCES;
        SYS_faccessat(AT_FDCWD, c"none", 0) = Errno ENOENT;
        SYS_faccessat2(AT_FDCWD, c"file", 0, 1) = Errno EINVAL;
        SYS_faccessat2(CLOSED, c"file", 0, 0) = Errno EBADF;
        SYS_fchmod(CLOSED, 0) = Errno EBADF;
        SYS_fchmodat(AT_FDCWD, UNMAPPED, 0) = Errno EFAULT;
        SYS_fchmodat(AT_FDCWD, c"none", 0) = Errno ENOENT;
        SYS_fchown(CLOSED, 0, 0) = Errno EBADF;
        SYS_fchownat(AT_FDCWD, UNMAPPED, 0, 0, 0) = Errno EFAULT;
        SYS_fchownat(AT_FDCWD, c"file", 0, 0, 1) = Errno EINVAL;
        SYS_fchownat(AT_FDCWD, c"none", 0, 0, 0) = Errno ENOENT;
        SYS_utimensat(AT_FDCWD, UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_utimensat(AT_FDCWD, c"file", UNMAPPED, 0) = Errno EFAULT;
        SYS_utimensat(AT_FDCWD, c"file", [0_u64, 1_000_000_000, 0, 0], 0) = Errno EINVAL;
        SYS_utimensat(AT_FDCWD, c"file", [0_u64, 0, 0, u64::MAX], 0) = Errno EINVAL;
        SYS_utimensat(AT_FDCWD, c"file", 0, 1) = Errno EINVAL;
        SYS_utimensat(AT_FDCWD, c"none", 0, 0) = Errno ENOENT;
        SYS_utimensat(CLOSED, 0, 0, 0) = Errno EBADF;
        SYS_truncate(UNMAPPED, 0) = Errno EFAULT;
        SYS_truncate(c"file", -1) = Errno EINVAL;
        SYS_truncate(c"folder", 0) = Errno EISDIR;
        SYS_truncate(c"none", 0) = Errno ENOENT;
        SYS_truncate(c"file", i64::MAX) = Value 0,
            ours Errno libc::EFBIG, "pages of files have numbers of 32 bits";
        SYS_chdir(UNMAPPED) = Errno EFAULT;
        SYS_chdir(c"file") = Errno ENOTDIR;
        SYS_chdir(c"none") = Errno ENOENT;
        SYS_chdir(c"") = Errno ENOENT;
        SYS_chroot(UNMAPPED) = Errno EFAULT;
        SYS_chroot(c"file") = Errno ENOTDIR;
        SYS_fchdir(CLOSED) = Errno EBADF;
        SYS_fchdir(FILE) = Errno ENOTDIR;
        SYS_fchdir(PIPE) = Errno ENOTDIR;
        SYS_getcwd(UNMAPPED, 100) = Errno EFAULT;
        SYS_getcwd(GOOD, 1) = Errno libc::ERANGE;
        SYS_getcwd(GOOD, 0) = Errno libc::ERANGE;
        SYS_statfs(UNMAPPED, GOOD) = Errno EFAULT;
        SYS_statfs(c"file", UNMAPPED) = Errno EFAULT;
        SYS_statfs(c"none", GOOD) = Errno ENOENT;
        SYS_fstatfs(CLOSED, GOOD) = Errno EBADF;
        SYS_fstatfs(FILE, EDGE) = Errno EFAULT;
        SYS_mount(UNMAPPED, c"folder", c"tmpfs", 0, 0) = Errno EFAULT;
        SYS_mount(c"x", UNMAPPED, c"tmpfs", 0, 0) = Errno EFAULT;
        SYS_mount(c"x", c"folder", UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_mount(c"x", c"folder", c"none", 0, 0) = Errno ENODEV;
        SYS_mount(c"x", c"folder", 0, 0, 0) = Errno EINVAL;
        SYS_mount(c"x", c"file", c"tmpfs", 0, 0) = Errno ENOTDIR;
        SYS_mount(c"x", c"none", c"tmpfs", 0, 0) = Errno ENOENT;
        SYS_mount(c"x", c"folder", c"tmpfs", libc::MS_REMOUNT | libc::MS_RDONLY, 0) = Errno EINVAL;
        SYS_umount2(UNMAPPED, 0) = Errno EFAULT;
        SYS_umount2(c"folder", 0) = Errno EINVAL;
        SYS_umount2(c"none", 0) = Errno ENOENT;
        SYS_umount2(c"/proc", -1) = Errno EINVAL;
        SYS_getdents64(CLOSED, GOOD, 100) = Errno EBADF;
        SYS_getdents64(FILE, GOOD, 100) = Errno ENOTDIR;
        SYS_getdents64(FOLDER, UNMAPPED, 100) = Errno EFAULT;
        SYS_getdents64(FOLDER, GOOD, 1) = Errno EINVAL;
        SYS_getdents64(PIPE, GOOD, 100) = Errno ENOTDIR;
        SYS_execve(UNMAPPED, 0, 0) = Errno EFAULT;
        SYS_execve(c"", 0, 0) = Errno ENOENT;
        SYS_execve(c"none", 0, 0) = Errno ENOENT;
        SYS_execve(c"file", 0, 0) = Errno libc::EACCES;
        SYS_execve(c"folder", 0, 0) = Errno libc::EACCES;
        SYS_execve(c"program", 0, 0) = Errno libc::ENOEXEC;
        SYS_execve(c"program", UNMAPPED, 0) = Errno EFAULT;
        SYS_execve(c"program", [UNMAPPED, 0], 0) = Errno EFAULT;
        SYS_execve(c"program", 0, [KERNEL, 0]) = Errno EFAULT;
        SYS_execveat(CLOSED, c"program", 0, 0, 0) = Errno EBADF;
        SYS_execveat(READABLE, c"", 0, 0, 0) = Errno ENOENT;
        SYS_execveat(READABLE, c"", 0, 0, AT_EMPTY_PATH) = Errno libc::EACCES;
        SYS_execveat(AT_FDCWD, c"program", 0, 0, 1) = Errno EINVAL;
        SYS_execveat(AT_FDCWD, c"link", 0, 0, libc::AT_SYMLINK_NOFOLLOW) = Errno ELOOP;
    }
}
