//! Archives in the `newc` format of cpio: what a boot loader hands over as the first files.
//!
//! An entry is a header of 110 bytes, a name with a zero behind it, and contents; name and
//! contents each end at a multiple of four bytes. The header is text: a magic number of six
//! characters and thirteen fields of eight hexadecimal digits. Archives may follow one another,
//! with zeros between. Source: the Linux documentation, "initramfs buffer format", and cpio(5).

use core::fmt;

use super::DeviceNumber;

const HEADER: usize = 110;
const MAGIC: &[u8] = b"070701";
/// The same with checksums, which nobody fills in.
const MAGIC_CHECKED: &[u8] = b"070702";
const TRAILER: &[u8] = b"TRAILER!!!";

/// An entry of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// As in the archive: may begin with `/` or `./`.
    pub name: &'a [u8],
    /// The contents of a file, or the text of a symbolic link.
    pub contents: &'a [u8],
    /// Names of one file have the same.
    pub inode: (DeviceNumber, u32),
    /// Type and permissions.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// How many names the file has.
    pub links: u32,
    /// When it was changed last: seconds since 1970.
    pub modified: u32,
    /// Which device it stands for, if it does.
    pub represents: DeviceNumber,
}

/// Why an archive cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadArchive {
    /// Where: bytes from the beginning.
    pub offset: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for BadArchive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cpio archive, byte {}: {}",
            self.offset, self.what
        )
    }
}

impl core::error::Error for BadArchive {}

/// Goes through an archive. After an error there is nothing more.
#[derive(Clone, Debug)]
pub struct Archive<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Archive<'a> {
    /// An archive, or several.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    fn bad(&self, what: &'static str) -> BadArchive {
        BadArchive {
            offset: self.offset,
            what,
        }
    }

    fn field(&self, header: &[u8], index: usize) -> Result<u32, BadArchive> {
        let digits = &header[6 + 8 * index..][..8];
        digits.iter().try_fold(0, |value, digit| {
            let digit = (*digit as char).to_digit(16);
            let digit = digit.ok_or_else(|| self.bad("a header field is not hexadecimal"))?;
            Ok(value << 4 | digit)
        })
    }

    /// Takes so many bytes, and what fills them up to a multiple of four. The end of the archive
    /// may cut off the filling.
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], BadArchive> {
        let rest = &self.bytes[self.offset..];
        let taken = rest.get(..length).ok_or_else(|| self.bad(what))?;
        let end = (self.offset + length).next_multiple_of(4);
        self.offset = end.min(self.bytes.len());
        Ok(taken)
    }

    fn entry(&mut self) -> Result<Entry<'a>, BadArchive> {
        let rest = &self.bytes[self.offset..];
        let magic = rest.get(..MAGIC.len()).unwrap_or(rest);
        if magic != MAGIC && magic != MAGIC_CHECKED {
            return Err(self.bad("not in the newc format (a compressed archive?)"));
        }
        let header = rest
            .get(..HEADER)
            .ok_or_else(|| self.bad("the header is cut off"))?;
        let mut fields = [0; 13];
        for (index, field) in fields.iter_mut().enumerate() {
            *field = self.field(header, index)?;
        }
        let [
            inode,
            mode,
            uid,
            gid,
            links,
            modified,
            size,
            major,
            minor,
            device_major,
            device_minor,
            name_size,
            _checksum,
        ] = fields;
        let name = self.take(HEADER + name_size as usize, "the name is cut off")?;
        let Some((0, name)) = name[HEADER..]
            .split_last()
            .map(|(last, name)| (*last, name))
        else {
            return Err(self.bad("the name before here does not end with a zero"));
        };
        if name.contains(&0) {
            return Err(self.bad("the name before here has a zero in it"));
        }
        Ok(Entry {
            name,
            contents: self.take(size as usize, "the contents are cut off")?,
            inode: (DeviceNumber::new(major, minor), inode),
            mode,
            uid,
            gid,
            links,
            modified,
            represents: DeviceNumber::new(device_major, device_minor),
        })
    }
}

impl<'a> Iterator for Archive<'a> {
    type Item = Result<Entry<'a>, BadArchive>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let zeros = self.bytes[self.offset..]
                .iter()
                .take_while(|byte| **byte == 0);
            self.offset += zeros.count();
            if self.offset == self.bytes.len() {
                return None;
            }
            match self.entry() {
                Ok(Entry { name: TRAILER, .. }) => {}
                Ok(entry) => return Some(Ok(entry)),
                Err(bad) => {
                    self.offset = self.bytes.len();
                    return Some(Err(bad));
                }
            }
        }
    }
}

/// Makes archives, for tests.
#[cfg(test)]
pub(super) fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let trailer = Entry {
        name: TRAILER,
        contents: b"",
        inode: (DeviceNumber::default(), 0),
        mode: 0,
        uid: 0,
        gid: 0,
        links: 1,
        modified: 0,
        represents: DeviceNumber::default(),
    };
    for entry in entries.iter().chain([&trailer]) {
        let fields = [
            entry.inode.1,
            entry.mode,
            entry.uid,
            entry.gid,
            entry.links,
            entry.modified,
            entry.contents.len() as u32,
            entry.inode.0.major,
            entry.inode.0.minor,
            entry.represents.major,
            entry.represents.minor,
            entry.name.len() as u32 + 1,
            0,
        ];
        bytes.extend_from_slice(MAGIC);
        for field in fields {
            bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        bytes.extend_from_slice(entry.name);
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(entry.contents);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Archive, DeviceNumber, Entry, archive};

    fn entry<'a>(name: &'a [u8], contents: &'a [u8]) -> Entry<'a> {
        Entry {
            name,
            contents,
            inode: (DeviceNumber::new(8, 1), 77),
            mode: 0o100_644,
            uid: 1,
            gid: 2,
            links: 1,
            modified: 1_700_000_000,
            represents: DeviceNumber::new(4, 64),
        }
    }

    #[test]
    fn entries_come_back() {
        let entries = [
            entry(b"a", b""),
            entry(b"dir/name", b"12345"),
            entry(b"", b"x"),
        ];
        let mut bytes = archive(&entries);
        bytes.resize(1024, 0);
        bytes.extend(archive(&[entry(b"second", b"archive")]));
        let found: Result<Vec<_>, _> = Archive::new(&bytes).collect();
        let mut wanted = entries.to_vec();
        wanted.push(entry(b"second", b"archive"));
        assert_eq!(found, Ok(wanted));
    }

    /// Written by GNU cpio 2.13 (`echo f | cpio -o -H newc --reproducible`), without the zeros
    /// that fill its last block.
    #[test]
    fn an_archive_of_another_program_is_read() {
        let bytes = b"07070100000000000081A40000000000000000000000016B03AD2F000000\
            02000000000000000000000000000000000000000200000000f\x00hi\x00\x000707\
            010000000000000000000000000000000000000001000000000000000000\
            0000000000000000000000000000000000000B00000000TRAILER!!!\x00\x00\x00\x00";
        let found: Result<Vec<_>, _> = Archive::new(bytes).collect();
        let found = found.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name, found[0].contents), (&b"f"[..], &b"hi"[..]));
        assert_eq!((found[0].mode, found[0].modified), (0o100_644, 0x6b03_ad2f));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let whole = archive(&[entry(b"name", b"contents")]);
        let reason = |bytes: &[u8]| Archive::new(bytes).find_map(Result::err);
        for length in 1..whole.len() - 3 {
            // What is cut off between entries is only shorter.
            let cut = reason(&whole[..length]);
            assert_eq!(cut.is_none(), length == 124, "{length}: {cut:?}");
        }
        let compressed = reason(b"\x1f\x8b and so on").unwrap();
        assert_eq!(
            (compressed.offset, compressed.what.contains("compressed")),
            (0, true)
        );
        let mut wrong = whole.clone();
        wrong[10] = b'x';
        assert_eq!(
            reason(&wrong).unwrap().what,
            "a header field is not hexadecimal"
        );
        let mut wrong = whole;
        wrong[114] = b'x';
        assert!(
            reason(&wrong)
                .unwrap()
                .what
                .contains("does not end with a zero")
        );
    }

    proptest! {
        #[test]
        fn any_bytes_give_entries_or_a_reason(
            cuts in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
            length in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = archive(&[entry(b"name", b"contents"), entry(b"other", b"x")]);
            for (index, byte) in cuts {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            bytes.truncate(length.index(bytes.len() + 1));
            let results: Vec<_> = Archive::new(&bytes).collect();
            prop_assert!(results.len() <= bytes.len());
            prop_assert!(results.iter().rev().skip(1).all(Result::is_ok));
        }
    }
}
