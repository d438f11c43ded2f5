//! Linux's error numbers.

use core::fmt;

/// Why a system call failed. Values: Linux's for arm64 (`asm-generic/errno.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// What operations of the kernel return.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

impl Errno {
    /// The positive number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl Errno {
    /// A signal ended the wait: the call starts again, unless a handler runs that does not want
    /// that (`SA_RESTART`). User space never sees it.
    pub const RESTART: Self = Self(512);
    /// The call starts again if no handler runs; otherwise it is `EINTR`. Never seen either.
    pub const RESTART_UNLESS_HANDLED: Self = Self(514);
    /// The same, for a wait up to a point in time that is remembered (`restart_syscall`).
    pub const RESTART_WAIT: Self = Self(516);

    /// Whether it is one of those that user space never sees.
    pub const fn is_restart(self) -> bool {
        self.0 >= 512
    }
}

impl From<mm::Errno> for Errno {
    fn from(error: mm::Errno) -> Self {
        Self(error.number() as u16)
    }
}

macro_rules! numbers {
    ($($name:ident = $number:literal)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`.")] pub const $name: Self = Self($number);)*
        }

        impl fmt::Debug for Errno {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    $($number => formatter.write_str(stringify!($name)),)*
                    number => write!(formatter, "errno {number}"),
                }
            }
        }
    };
}

numbers! {
    EPERM = 1 ENOENT = 2 ESRCH = 3 EINTR = 4 EIO = 5 ENXIO = 6 E2BIG = 7 ENOEXEC = 8 EBADF = 9
    ECHILD = 10 EAGAIN = 11 ENOMEM = 12 EACCES = 13 EFAULT = 14 ENOTBLK = 15 EBUSY = 16 EEXIST = 17
    EXDEV = 18 ENODEV = 19 ENOTDIR = 20 EISDIR = 21 EINVAL = 22 ENFILE = 23 EMFILE = 24 ENOTTY = 25
    ETXTBSY = 26 EFBIG = 27 ENOSPC = 28 ESPIPE = 29 EROFS = 30 EMLINK = 31 EPIPE = 32 EDOM = 33
    ERANGE = 34 EDEADLK = 35 ENAMETOOLONG = 36 ENOLCK = 37 ENOSYS = 38 ENOTEMPTY = 39 ELOOP = 40
    EOVERFLOW = 75 EOPNOTSUPP = 95 ETIMEDOUT = 110 EUCLEAN = 117 EHWPOISON = 133
}
