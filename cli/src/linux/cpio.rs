//! Archives of the `newc` format of cpio, which Linux takes as initial RAM disks.
//!
//! The format is in the kernel's documentation, `driver-api/early-userspace/buffer-format`.

use std::fmt::Write;

/// An archive that is being written. Everything in it belongs to root.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: usize,
}

/// The kinds of file, as in `st_mode`.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// What ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Names and contents start at multiples of this.
const ALIGNMENT: usize = 4;

impl Archive {
    /// Adds a folder. Folders that hold others must come before them.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER | 0o755, &[]);
    }

    /// Adds a file that only needs to be read.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE | 0o644, content);
    }

    /// Adds a program.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE | 0o755, content);
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, LINK | 0o777, target.as_bytes());
    }

    /// The archive. Another one may follow it.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let fields = [
            self.entries, // inode number: equal ones would be hard links
            mode as usize,
            0, // user
            0, // group
            1, // links
            0, // time of the last change
            content.len(),
            0, // device's major number
            0, // and minor
            0, // major number of the device that this is
            0, // and minor
            path.len() + 1,
            0, // checksum, not used by this format
        ];
        let mut header = "070701".to_owned();
        for field in fields {
            // Files of 4 GiB and more have no place in a RAM disk.
            write!(header, "{field:08X}").expect("a string takes everything");
        }
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        let length = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(length, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_header_name_and_content_each_aligned() {
        let mut archive = Archive::default();
        archive.file("a", b"xyz12");
        let bytes = archive.finish();
        let expected = "070701\
             00000001000081A40000000000000000000000010000000000000005\
             00000000000000000000000000000000000000020000000\
             0a\0xyz12\0\0\0";
        assert_eq!(String::from_utf8_lossy(&bytes[..expected.len()]), expected);
        assert!(bytes[expected.len()..].starts_with(b"070701"));
    }

    #[test]
    fn an_archive_ends_with_its_trailer_at_a_multiple_of_four() {
        let mut archive = Archive::default();
        archive.folder("bin");
        archive.link("bin/sh", "busybox");
        archive.program("init", b"1");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        let end = &bytes[bytes.len() - 14..];
        assert_eq!(end, b"TRAILER!!!\0\0\0\0");
    }
}
