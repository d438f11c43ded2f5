//! Looks at what a guest is made of before QEMU does, which takes what it cannot make sense of for a
//! flat binary and runs it.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use object::LittleEndian;
use object::elf::{EM_AARCH64, ET_EXEC, FileHeader64, PF_X, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// Where Linux wants to be, modulo `text_offset`. See Linux, Documentation/arch/arm64/booting.rst.
const IMAGE_ALIGNMENT: u64 = 0x20_0000;

/// Bytes of the header of an `Image`.
const IMAGE_HEADER: usize = 64;

/// A kernel that can be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Physical address at which it is entered.
    pub(super) entry: u64,
    /// End of all the memory that it asks for.
    pub(super) end: u64,
    /// Where the file as a whole is loaded; `None` for ELF, which says so itself.
    pub(super) flat: Option<u64>,
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Error(String);

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

macro_rules! error {
    ($($text:tt)+) => { Error(format!($($text)+)) };
}

/// Checks a kernel, an ELF file or an `Image`, for a guest that has this memory for it.
///
/// # Errors
///
/// What is wrong with the file, and where in it.
pub(super) fn kernel(path: &Path, memory: &Range<u64>) -> Result<Kernel, Error> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| error!("cannot read the kernel {name}: {error}"))?;
    parse(&bytes, memory).map_err(|Error(what)| error!("cannot boot {name}: {what}"))
}

fn parse(bytes: &[u8], memory: &Range<u64>) -> Result<Kernel, Error> {
    if bytes.starts_with(b"\x7fELF") {
        elf(bytes, memory)
    } else if bytes.get(56..60) == Some(b"ARM\x64") {
        image(bytes, memory)
    } else {
        Err(unknown(bytes))
    }
}

/// Names what is neither ELF nor `Image`, where it is something well known.
fn unknown(bytes: &[u8]) -> Error {
    let packer = compression(bytes);
    if bytes.is_empty() {
        error!("it is empty")
    } else if bytes.get(4..8) == Some(b"zimg") {
        error!(
            "it is a compressed kernel for EFI (zboot), which only firmware can start; take the \
             `Image` from the kernel's build, or boot with firmware"
        )
    } else if let Some(packer) = packer {
        error!("it is compressed with {packer}; unpack it first, e.g. `{packer} -dc FILE > Image`")
    } else if bytes.starts_with(b"MZ") {
        error!("it is an EFI program, but no arm64 `Image`: no \"ARM\\x64\" at byte 56")
    } else {
        error!(
            "it is neither an ELF file (no \"\\x7fELF\" at byte 0) nor an arm64 `Image` (no \
             \"ARM\\x64\" at byte 56)"
        )
    }
}

fn image(bytes: &[u8], memory: &Range<u64>) -> Result<Kernel, Error> {
    if bytes.len() < IMAGE_HEADER {
        return Err(error!(
            "its header of {IMAGE_HEADER} bytes is cut off at byte {}",
            bytes.len()
        ));
    }
    let field = |at: usize| {
        let field = bytes[at..at + 8].iter().rev();
        field.fold(0_u64, |value, &byte| value << 8 | u64::from(byte))
    };
    let [text_offset, size, flags] = [8, 16, 24].map(field);
    if flags & 1 != 0 {
        return Err(error!(
            "it is big-endian (bit 0 of the flags at byte 24), the machine is not"
        ));
    }
    if text_offset >= IMAGE_ALIGNMENT {
        return Err(error!(
            "text_offset, at byte 8, is {text_offset:#x}, over 2 MiB"
        ));
    }
    // Before 3.17 the size was 0.
    if size != 0 && size < bytes.len() as u64 {
        return Err(error!(
            "image_size, at byte 16, is {size:#x}, but the file has {:#x} bytes",
            bytes.len()
        ));
    }
    let entry = memory.start.next_multiple_of(IMAGE_ALIGNMENT) + text_offset;
    let end = entry.saturating_add(size.max(bytes.len() as u64));
    if end > memory.end {
        return Err(error!(
            "it needs {:#x} bytes of RAM from {entry:#x} on, but the guest's RAM ends at {:#x}; \
             give it more",
            end - entry,
            memory.end
        ));
    }
    Ok(Kernel {
        entry,
        end,
        flat: Some(entry),
    })
}

fn elf(bytes: &[u8], memory: &Range<u64>) -> Result<Kernel, Error> {
    let little = LittleEndian;
    let not_ours = || error!("it is an ELF file, but not of 64 bits and little-endian");
    let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(|_| not_ours())?;
    if header.is_big_endian() {
        return Err(not_ours());
    }
    let (machine, kind) = (header.e_machine.get(little), header.e_type.get(little));
    if machine != EM_AARCH64 {
        return Err(error!(
            "it is an ELF file for machine {machine}, not for AArch64 ({EM_AARCH64})"
        ));
    }
    if kind != ET_EXEC {
        return Err(error!(
            "it is an ELF file of type {kind}, not an executable at fixed addresses ({ET_EXEC})"
        ));
    }
    let segments = header
        .program_headers(little, bytes)
        .map_err(|_| error!("its ELF program headers are cut off or of the wrong size"))?;
    let entry = header.e_entry.get(little);
    let mut placed: Vec<(usize, Range<u64>)> = Vec::new();
    let mut physical_entry = None;
    for (index, segment) in segments.iter().enumerate() {
        let size = segment.p_memsz(little);
        if segment.p_type(little) != PT_LOAD || size == 0 {
            continue;
        }
        let place = segment_place(segment, bytes, memory)
            .map_err(|Error(what)| error!("ELF program header {index}: {what}"))?;
        let overlaps =
            |(_, other): &&(usize, Range<u64>)| place.start < other.end && other.start < place.end;
        if let Some((other, _)) = placed.iter().find(overlaps) {
            return Err(error!(
                "ELF program headers {other} and {index} want the same memory"
            ));
        }
        let offset = entry.wrapping_sub(segment.p_vaddr(little));
        if offset < size && segment.p_flags(little).contains(PF_X) {
            physical_entry = Some(place.start + offset);
        }
        placed.push((index, place));
    }
    let end = placed.iter().map(|(_, place)| place.end).max();
    let end = end.ok_or_else(|| error!("no ELF program header loads anything"))?;
    match physical_entry {
        Some(entry) if entry % 4 == 0 => Ok(Kernel {
            entry,
            end,
            flat: None,
        }),
        Some(_) => Err(error!("its entry, {entry:#x}, is not a multiple of 4")),
        None => Err(error!(
            "its entry, {entry:#x}, is in no ELF segment that is loaded as code"
        )),
    }
}

/// Where in guest-physical memory a segment goes.
fn segment_place(
    segment: &impl ProgramHeader<Endian = LittleEndian, Word = u64>,
    bytes: &[u8],
    memory: &Range<u64>,
) -> Result<Range<u64>, Error> {
    let little = LittleEndian;
    let (offset, in_file) = segment.file_range(little);
    let (start, size) = (segment.p_paddr(little), segment.p_memsz(little));
    if in_file > size {
        return Err(error!(
            "has {in_file:#x} bytes in the file for {size:#x} in memory"
        ));
    }
    match offset.checked_add(in_file) {
        Some(end) if end <= bytes.len() as u64 => {}
        _ => {
            return Err(error!(
                "wants {in_file:#x} bytes from byte {offset:#x} of the file, which has {:#x}; \
                 the file is cut off",
                bytes.len()
            ));
        }
    }
    match start.checked_add(size) {
        Some(end) if start >= memory.start && end <= memory.end => Ok(start..end),
        _ => Err(error!(
            "wants {size:#x} bytes at physical address {start:#x}, but the guest can have \
             {:#x} to {:#x}; link it there, or give it more RAM",
            memory.start, memory.end
        )),
    }
}

/// Checks an initial RAM disk, as far as it is not compressed, and returns its length.
///
/// # Errors
///
/// What is wrong with the file, and where in it.
pub(super) fn initrd(path: &Path) -> Result<u64, Error> {
    let name = path.display();
    let bytes = fs::read(path).map_err(|error| error!("cannot read the initrd {name}: {error}"))?;
    archives(&bytes).map_err(|Error(what)| error!("cannot use the initrd {name}: {what}"))?;
    Ok(bytes.len() as u64)
}

/// Walks cpio archives, with zeros between them, up to the end or the first that is compressed. See
/// Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
fn archives(bytes: &[u8]) -> Result<(), Error> {
    let mut at = 0;
    while let Some(zeros) = bytes[at..].iter().position(|&byte| byte != 0) {
        at += zeros;
        let rest = &bytes[at..];
        if compression(rest).is_some() {
            return Ok(());
        }
        if !rest.starts_with(b"070701") && !rest.starts_with(b"070702") {
            return Err(error!(
                "at byte {at:#x} there is neither a cpio archive (\"070701\") nor a compression \
                 that Linux knows"
            ));
        }
        at = archive(bytes, at)?;
    }
    if at == 0 {
        return Err(error!("it is empty"));
    }
    Ok(())
}

/// Returns where the archive at `at` ends.
fn archive(bytes: &[u8], mut at: usize) -> Result<usize, Error> {
    const HEADER: usize = 110;
    loop {
        let cut = || error!("the cpio entry at byte {at:#x} is cut off");
        let header = bytes.get(at..at + HEADER).ok_or_else(cut)?;
        if !header.starts_with(b"07070") {
            return Err(error!("at byte {at:#x} a cpio entry should begin"));
        }
        let field = |index: usize| {
            let digits = str::from_utf8(&header[6 + 8 * index..][..8]).ok()?;
            usize::from_str_radix(digits, 16).ok()
        };
        let bad = || error!("the cpio entry at byte {at:#x} has a field that is no number");
        let (size, name_size) = (field(6).ok_or_else(bad)?, field(11).ok_or_else(bad)?);
        let name_at = at + HEADER;
        let name = bytes.get(name_at..name_at + name_size).ok_or_else(cut)?;
        let data = (name_at + name_size).next_multiple_of(4);
        let end = data + size;
        if end > bytes.len() && size > 0 {
            return Err(cut());
        }
        if name == b"TRAILER!!!\0" {
            return Ok(end.min(bytes.len()));
        }
        at = end.next_multiple_of(4);
    }
}

/// The program that unpacks what these bytes begin.
fn compression(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 7] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x5d\0\0", "lzma"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"\x89LZO", "lzop"),
    ];
    MAGICS
        .iter()
        .find(|(magic, _)| bytes.starts_with(magic))
        .map(|(_, program)| *program)
}

#[cfg(test)]
mod tests;
