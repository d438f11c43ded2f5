//! What `stat` tells of a file.

use crate::arch::time;

/// What kind of file an inode is. Values: the type bits of `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum FileType {
    /// A named pipe.
    Fifo = 0o010_000,
    /// A character device.
    CharacterDevice = 0o020_000,
    /// A directory.
    Directory = 0o040_000,
    /// A block device.
    BlockDevice = 0o060_000,
    /// A file of bytes.
    Regular = 0o100_000,
    /// A symbolic link.
    SymbolicLink = 0o120_000,
    /// A socket's name.
    Socket = 0o140_000,
}

impl FileType {
    /// The type in `st_mode`, if there is one.
    pub fn of_mode(mode: u32) -> Option<Self> {
        const ALL: [FileType; 7] = [
            FileType::Fifo,
            FileType::CharacterDevice,
            FileType::Directory,
            FileType::BlockDevice,
            FileType::Regular,
            FileType::SymbolicLink,
            FileType::Socket,
        ];
        ALL.into_iter()
            .find(|kind| u32::from(*kind as u16) == mode & 0o170_000)
    }

    /// `d_type` of a directory entry: the type bits of the mode, shifted.
    pub fn directory_entry_type(self) -> u8 {
        (self as u16 >> 12) as u8
    }
}

/// Names a device: its driver and which of the driver's devices it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device.
    pub minor: u32,
}

impl DeviceNumber {
    /// A number of its parts.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The form that `stat` and `mknod` use on arm64: 12 bits of major inside 32 of minor.
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major as u64, self.minor as u64);
        (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
    }

    /// The inverse of [`encode`](Self::encode).
    pub const fn decode(number: u64) -> Self {
        Self {
            major: (number >> 8 & 0xfff) as u32,
            minor: (number & 0xff | number >> 12 & 0xff_ff00) as u32,
        }
    }
}

/// A moment: time since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: i64,
    /// Nanoseconds beyond them: less than a thousand million.
    pub nanoseconds: u32,
}

/// The moment that goes into the times of files: boot counts as 1970.
pub fn now() -> Timestamp {
    let now = time::now();
    Timestamp {
        seconds: (now / 1_000_000_000) as i64,
        nanoseconds: (now % 1_000_000_000) as u32,
    }
}

/// What `stat` tells of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// The file system's device number.
    pub device: DeviceNumber,
    /// The inode's number in its file system.
    pub inode: u64,
    /// What kind of file it is.
    pub kind: FileType,
    /// Permission bits, with set-uid, set-gid and sticky: the low 12 bits of `st_mode`.
    pub permissions: u16,
    /// How many names it has.
    pub links: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Which device it stands for, if it does.
    pub represents: DeviceNumber,
    /// In bytes.
    pub size: u64,
    /// The best size of a transfer, in bytes.
    pub block_size: u32,
    /// How much storage it takes, in units of 512 bytes.
    pub blocks: u64,
    /// The last read.
    pub accessed: Timestamp,
    /// The last change of its contents.
    pub modified: Timestamp,
    /// The last change of anything.
    pub changed: Timestamp,
}

impl Metadata {
    /// `st_mode`: the type and the permissions.
    pub fn mode(&self) -> u32 {
        u32::from(self.kind as u16 | self.permissions)
    }
}

#[cfg(test)]
mod tests {
    use super::{DeviceNumber, FileType};

    #[test]
    fn device_numbers_have_the_form_of_linux() {
        // From `stat` of Linux: /dev/console is 5:1, 0x501; 259:300000 is an invented large one.
        assert_eq!(DeviceNumber::new(5, 1).encode(), 0x501);
        let large = DeviceNumber::new(259, 300_000);
        assert_eq!(large.encode(), 0x4931_03e0);
        assert_eq!(DeviceNumber::decode(large.encode()), large);
    }

    #[test]
    fn types_are_found_in_modes() {
        assert_eq!(FileType::of_mode(0o040_755), Some(FileType::Directory));
        assert_eq!(FileType::of_mode(0o000_755), None);
        assert_eq!(FileType::Regular.directory_entry_type(), 8);
    }
}
