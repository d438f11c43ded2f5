//! Error numbers, with the values Linux has on arm64.

/// Why an operation was refused. Nothing has changed when one is returned, unless the operation
/// says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Errno {
    /// I/O error: a device failed, or a file's page was lost before it was written back.
    EIO = 5,
    /// No such address.
    ENXIO = 6,
    /// Try again: someone uses it for the moment, or there was no memory for it.
    EAGAIN = 11,
    /// Out of memory, or the address range is not mapped.
    ENOMEM = 12,
    /// The protection asked for is not allowed.
    EACCES = 13,
    /// Bad address: it is not mapped, or not with the right protection.
    EFAULT = 14,
    /// Someone uses it.
    EBUSY = 16,
    /// Something is mapped there already.
    EEXIST = 17,
    /// Invalid argument.
    EINVAL = 22,
    /// A file would be too large.
    EFBIG = 27,
    /// There is no room: the pool of huge pages has none to give.
    ENOSPC = 28,
    /// The offset does not fit.
    EOVERFLOW = 75,
    /// Not supported, or not any more.
    EOPNOTSUPP = 95,
    /// The memory has an uncorrectable error.
    EHWPOISON = 133,
}

impl Errno {
    /// The positive number.
    pub const fn number(self) -> i32 {
        self as i32
    }
}
