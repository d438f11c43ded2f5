//! Address spaces.

use libc::{
    EBADF, EEXIST, EFAULT, EINVAL, ENODEV, ENOMEM, MAP_ANONYMOUS, MAP_FIXED, MAP_FIXED_NOREPLACE,
    MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE,
};

use super::ground::{
    CLOSED, FILE, FOLDER, GOOD, KERNEL, NOBODYS, PIPE, PLACE, READABLE, UNMAPPED, WRITABLE,
};
use super::row::{Row, rows};

/// A mapping of memory only.
const PRIVATE: i32 = MAP_PRIVATE | MAP_ANONYMOUS;

#[rustfmt::skip]
pub(super) fn rows() -> Vec<Row> {
    rows! {
        SYS_mmap(0, 0, PROT_READ, PRIVATE, -1, 0) = Errno EINVAL;
        SYS_mmap(0, 4096, PROT_READ, MAP_ANONYMOUS, -1, 0) = Errno EINVAL;
        SYS_mmap(0, 4096, PROT_READ, PRIVATE, -1, 1) = Errno EINVAL;
        SYS_mmap(0, u64::MAX, PROT_READ, PRIVATE, -1, 0) = Errno ENOMEM;
        SYS_mmap(0, 1_u64 << 50, PROT_READ, PRIVATE, -1, 0) = Errno ENOMEM;
        SYS_mmap(GOOD + 1, 4096, PROT_READ, PRIVATE | MAP_FIXED, -1, 0) = Errno EINVAL;
        SYS_mmap(KERNEL, 4096, PROT_READ, PRIVATE | MAP_FIXED, -1, 0) = Errno ENOMEM;
        SYS_mmap(NOBODYS, 4096, PROT_READ, PRIVATE | MAP_FIXED, -1, 0) = Errno ENOMEM;
        SYS_mmap(GOOD, 4096, PROT_READ, PRIVATE | MAP_FIXED_NOREPLACE, -1, 0) = Errno EEXIST;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, CLOSED, 0) = Errno EBADF;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, PLACE, 0) = Errno EBADF;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, FOLDER, 0) = Errno ENODEV;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, PIPE, 0) = Errno ENODEV;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, WRITABLE, 0) = Errno libc::EACCES;
        SYS_mmap(0, 4096, PROT_WRITE, MAP_SHARED, READABLE, 0) = Errno libc::EACCES;
        SYS_mmap(0, 4096, PROT_READ, MAP_PRIVATE, FILE, 4095) = Errno EINVAL;
        SYS_mmap(0, 8192, PROT_READ, MAP_PRIVATE, FILE, u64::MAX - 4095) = Errno libc::EOVERFLOW;
        SYS_munmap(GOOD + 1, 4096) = Errno EINVAL;
        SYS_munmap(GOOD, 0) = Errno EINVAL;
        SYS_munmap(KERNEL, 4096) = Errno EINVAL;
        SYS_munmap(NOBODYS, 4096) = Errno EINVAL;
        SYS_munmap(GOOD, u64::MAX) = Errno EINVAL;
        SYS_munmap(UNMAPPED, 4096) = Value 0;
        SYS_mprotect(GOOD + 1, 4096, PROT_READ) = Errno EINVAL;
        SYS_mprotect(UNMAPPED, 4096, PROT_READ) = Errno ENOMEM;
        SYS_mprotect(KERNEL, 4096, PROT_READ) = Errno ENOMEM;
        SYS_mprotect(GOOD, u64::MAX, PROT_READ) = Errno ENOMEM;
        SYS_mprotect(GOOD, 0, PROT_READ) = Value 0;
        SYS_mprotect(GOOD, 4096, 0x100) = Errno EINVAL;
        SYS_mprotect(GOOD, 17 * 4096, PROT_READ) = Errno ENOMEM;
        SYS_madvise(GOOD + 1, 4096, 0) = Errno EINVAL;
        SYS_madvise(GOOD, 4096, 12345) = Errno EINVAL;
        SYS_madvise(GOOD, 4096, -1) = Errno EINVAL;
        SYS_madvise(UNMAPPED, 4096, libc::MADV_NORMAL) = Errno ENOMEM;
        SYS_madvise(UNMAPPED, 4096, libc::MADV_DONTNEED) = Errno ENOMEM;
        SYS_madvise(UNMAPPED, 0, libc::MADV_DONTNEED) = Value 0;
        SYS_madvise(GOOD, u64::MAX, libc::MADV_DONTNEED) = Errno EINVAL;
        SYS_madvise(GOOD, -4096, libc::MADV_DONTNEED) = Errno EINVAL;
        SYS_madvise(GOOD, 17 * 4096, libc::MADV_DONTNEED) = Errno ENOMEM;
        SYS_madvise(UNMAPPED, 4096, libc::MADV_POPULATE_READ) = Errno ENOMEM;
        SYS_madvise(UNMAPPED, 4096, libc::MADV_HWPOISON) = Errno EFAULT;
        SYS_msync(GOOD + 1, 4096, libc::MS_SYNC) = Errno EINVAL;
        SYS_msync(GOOD, 4096, 8) = Errno EINVAL;
        SYS_msync(GOOD, 4096, libc::MS_SYNC | libc::MS_ASYNC) = Errno EINVAL;
        SYS_msync(UNMAPPED, 4096, libc::MS_SYNC) = Errno ENOMEM;
        SYS_msync(GOOD, -4096, libc::MS_SYNC) = Errno ENOMEM;
        SYS_mremap(GOOD + 1, 4096, 8192, 0) = Errno EINVAL;
        SYS_mremap(GOOD, 4096, 0, 0) = Errno EINVAL;
        SYS_mremap(GOOD, 4096, 8192, 8) = Errno EINVAL;
        SYS_mremap(GOOD, 4096, 8192, libc::MREMAP_FIXED, UNMAPPED) = Errno EINVAL;
        SYS_mremap(UNMAPPED, 4096, 8192, libc::MREMAP_MAYMOVE) = Errno EFAULT;
        SYS_mremap(KERNEL, 4096, 8192, libc::MREMAP_MAYMOVE) = Errno EFAULT;
        SYS_mremap(GOOD, 4096, u64::MAX, libc::MREMAP_MAYMOVE) = Errno EINVAL;
        SYS_mremap(GOOD, 4096, 1_u64 << 50, libc::MREMAP_MAYMOVE) = Errno ENOMEM;
        SYS_mremap(GOOD, 17 * 4096, 18 * 4096, libc::MREMAP_MAYMOVE) = Errno EFAULT;
        SYS_mremap(GOOD, 4096, 4096, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, KERNEL)
            = Errno EINVAL;
        SYS_mremap(GOOD, 4096, 4096, libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED, GOOD)
            = Errno EINVAL;
        SYS_mincore(GOOD + 1, 4096, GOOD) = Errno EINVAL;
        SYS_mincore(UNMAPPED, 4096, GOOD) = Errno ENOMEM;
        SYS_mincore(GOOD, u64::MAX, GOOD) = Errno ENOMEM;
        SYS_mincore(GOOD, 4096, UNMAPPED) = Errno EFAULT;
        SYS_mincore(KERNEL, 4096, GOOD) = Errno ENOMEM;
        SYS_mlock(UNMAPPED, 4096) = Errno ENOMEM;
        SYS_mlock(KERNEL, 4096) = Errno ENOMEM;
        SYS_mlock(GOOD, u64::MAX) = Value 0;
        SYS_mlock(GOOD, u64::MAX - 8191) = Errno EINVAL;
        SYS_mlock2(GOOD, 4096, 2) = Errno EINVAL;
        SYS_mlock2(UNMAPPED, 4096, 0) = Errno ENOMEM;
        SYS_munlock(UNMAPPED, 4096) = Errno ENOMEM;
        SYS_munlock(GOOD, u64::MAX) = Value 0;
        SYS_munlock(GOOD, u64::MAX - 8191) = Errno EINVAL;
        SYS_mlockall(0) = Errno EINVAL;
        SYS_mlockall(8) = Errno EINVAL;
        SYS_mlockall(4) = Errno EINVAL;
        SYS_remap_file_pages(GOOD, 4096, 1, 0, 0) = Errno EINVAL,
            ours Errno libc::ENOSYS, "nobody has used it for years";
    }
}
