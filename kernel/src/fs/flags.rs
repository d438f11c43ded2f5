//! Flags of `open` and `renameat2`, with their values on arm64.

use bitflags::bitflags;

bitflags! {
    /// How a file is opened, and how it behaves while it is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        /// Writing, but not reading. See [`OpenFlags::access`].
        const WRITE_ONLY = 0o1;
        /// Reading and writing.
        const READ_WRITE = 0o2;
        /// Make it if there is none.
        const CREATE = 0o100;
        /// Fail if there is one already.
        const EXCLUSIVE = 0o200;
        /// It does not become the controlling terminal.
        const NO_CONTROLLING_TERMINAL = 0o400;
        /// Empty it.
        const TRUNCATE = 0o1000;
        /// Every write goes to the end.
        const APPEND = 0o2000;
        /// Nothing waits.
        const NON_BLOCKING = 0o4000;
        /// A write returns when its data are on the device.
        const DATA_SYNC = 0o10000;
        /// Signal on readiness; stored, not acted upon.
        const ASYNC = 0o20000;
        /// Fail unless it is a directory. arm64's own value.
        const DIRECTORY = 0o40000;
        /// Fail if the last component is a symbolic link. arm64's own value.
        const NO_FOLLOW = 0o10_0000;
        /// Past the page cache. arm64's own value.
        const DIRECT = 0o20_0000;
        /// Sizes beyond 2 GiB: always. arm64's own value.
        const LARGE_FILE = 0o40_0000;
        /// Reads do not touch the access time.
        const NO_ACCESS_TIME = 0o100_0000;
        /// The descriptor ends at `execve`: a flag of the descriptor, not of the file.
        const CLOSE_ON_EXEC = 0o200_0000;
        /// As `DATA_SYNC`, and the inode's own data.
        const SYNC = 0o400_0000;
        /// Only a place in the tree.
        const PATH = 0o1000_0000;
        /// A file without a name in this directory.
        const TEMPORARY = 0o2000_0000;
    }

    /// Flags of `renameat2`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RenameFlags: u32 {
        /// Fail if the new name exists.
        const NO_REPLACE = 1;
        /// Exchange the two.
        const EXCHANGE = 2;
    }
}

impl OpenFlags {
    /// What `fcntl(F_SETFL)` can change.
    pub const CHANGEABLE: Self = Self::APPEND
        .union(Self::NON_BLOCKING)
        .union(Self::DIRECT)
        .union(Self::ASYNC)
        .union(Self::NO_ACCESS_TIME);

    /// Flags from a system call. Bits without meaning are ignored, as `open` ignores them.
    pub fn of_call(flags: u32) -> Self {
        Self::from_bits_truncate(flags)
    }

    /// Whether it may be read.
    pub fn reads(self) -> bool {
        !self.contains(Self::PATH) && self.bits() & 3 != Self::WRITE_ONLY.bits()
    }

    /// Whether it may be written.
    pub fn writes(self) -> bool {
        !self.contains(Self::PATH) && self.intersects(Self::WRITE_ONLY | Self::READ_WRITE)
    }
}
