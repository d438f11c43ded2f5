//! What an ELF file asks for: checked, so that what follows can rely on it.

use alloc::vec::Vec;

use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::segment::{ProgramHeader, SegmentTable};
use mm::{PAGE_SIZE, PAGES_END, Protection};

use crate::error::{Errno, Result};

/// The length of an ELF header of 64-bit machines in bytes.
pub const HEADER_SIZE: usize = 64;
/// The length of a program header in bytes.
const PROGRAM_HEADER_SIZE: usize = 56;
/// No program needs more; a file that claims more is not worth the memory.
const MAX_PROGRAM_HEADERS: usize = 128;
/// The end of user space.
const USER_END: u64 = PAGES_END * PAGE_SIZE as u64;

/// A part of a file, and where it goes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The address of its first byte, relative to the load address.
    pub address: u64,
    /// Where it is in the file: at the same offset in a page as the address.
    pub offset: u64,
    /// How many bytes come from the file.
    pub file_length: u64,
    /// How many bytes it has in memory: the rest is zeros. Not less, and not 0.
    pub length: u64,
    /// What the program may do with it.
    pub protection: Protection,
}

impl Segment {
    /// The address after its last byte.
    pub fn end(&self) -> u64 {
        self.address + self.length
    }
}

/// What a program needs in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its segments, in order of their addresses, which do not overlap. There is one at least.
    pub segments: Vec<Segment>,
    /// Whether the addresses are relative to a load address that the loader chooses.
    pub relative: bool,
    /// The greatest alignment that a segment wants: a power of two, a page at least.
    pub alignment: u64,
    /// Where it starts.
    pub entry: u64,
    /// The address of its program headers in memory; 0 if they are not loaded.
    pub program_headers: u64,
    /// How many there are.
    pub program_header_count: u64,
    /// The place of the interpreter's path in the file: offset and length.
    pub interpreter: Option<(u64, u64)>,
    /// Whether the stack holds code.
    pub executable_stack: bool,
}

/// Reads the headers of a program for this machine. `read` fills a buffer from a byte position of
/// the file, or fails.
///
/// # Errors
///
/// `ENOEXEC`: it is no such program, or one that contradicts itself. Errors of `read`.
pub fn parse(mut read: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<Image> {
    let mut bytes = [0; HEADER_SIZE];
    read(0, &mut bytes)?;
    let header = header(&bytes).ok_or(Errno::ENOEXEC)?;
    let count = usize::from(header.e_phnum);
    if !(1..=MAX_PROGRAM_HEADERS).contains(&count) {
        return Err(Errno::ENOEXEC);
    }
    let mut table = Vec::new();
    let length = count * PROGRAM_HEADER_SIZE;
    table.try_reserve_exact(length).map_err(|_| Errno::ENOMEM)?;
    table.resize(length, 0);
    read(header.e_phoff, &mut table)?;
    let table = SegmentTable::new(LittleEndian, Class::ELF64, &table);
    image(&header, table.iter()).ok_or(Errno::ENOEXEC)
}

fn header(bytes: &[u8; HEADER_SIZE]) -> Option<FileHeader<LittleEndian>> {
    let (ident, tail) = bytes.split_at(abi::EI_NIDENT);
    let ident = parse_ident::<LittleEndian>(ident).ok()?;
    if ident.1 != Class::ELF64 {
        return None;
    }
    let header = FileHeader::parse_tail(ident, tail).ok()?;
    let fits = header.e_machine == abi::EM_AARCH64
        && matches!(header.e_type, abi::ET_EXEC | abi::ET_DYN)
        && usize::from(header.e_phentsize) == PROGRAM_HEADER_SIZE;
    fits.then_some(header)
}

fn image(
    header: &FileHeader<LittleEndian>,
    program_headers: impl Iterator<Item = ProgramHeader>,
) -> Option<Image> {
    let mut image = Image {
        segments: Vec::new(),
        relative: header.e_type == abi::ET_DYN,
        alignment: PAGE_SIZE as u64,
        entry: header.e_entry,
        program_headers: 0,
        program_header_count: header.e_phnum.into(),
        interpreter: None,
        executable_stack: false,
    };
    for program_header in program_headers {
        match program_header.p_type {
            abi::PT_LOAD if program_header.p_memsz != 0 => {
                let segment = segment(&program_header)?;
                if image
                    .segments
                    .last()
                    .is_some_and(|last| last.end() > segment.address)
                {
                    return None;
                }
                if program_header.p_align.is_power_of_two() {
                    image.alignment = image.alignment.max(program_header.p_align);
                }
                image.segments.push(segment);
            }
            abi::PT_INTERP => {
                image.interpreter = Some((program_header.p_offset, program_header.p_filesz));
            }
            abi::PT_GNU_STACK => {
                image.executable_stack = program_header.p_flags & abi::PF_X != 0;
            }
            _ => {}
        }
    }
    if image.alignment > USER_END / 4 || image.segments.is_empty() {
        return None;
    }
    let holds_headers = |segment: &&Segment| {
        (segment.offset..segment.offset + segment.file_length).contains(&header.e_phoff)
    };
    if let Some(segment) = image.segments.iter().find(holds_headers) {
        image.program_headers = segment.address + (header.e_phoff - segment.offset);
    }
    Some(image)
}

fn segment(header: &ProgramHeader) -> Option<Segment> {
    let in_page = |value: u64| value % PAGE_SIZE as u64;
    let end = header.p_vaddr.checked_add(header.p_memsz)?;
    let file_end = header.p_offset.checked_add(header.p_filesz)?;
    let sound = header.p_filesz <= header.p_memsz
        && in_page(header.p_offset) == in_page(header.p_vaddr)
        && end <= USER_END
        && i64::try_from(file_end).is_ok();
    sound.then_some(Segment {
        address: header.p_vaddr,
        offset: header.p_offset,
        file_length: header.p_filesz,
        length: header.p_memsz,
        protection: Protection {
            read: header.p_flags & abi::PF_R != 0,
            write: header.p_flags & abi::PF_W != 0,
            execute: header.p_flags & abi::PF_X != 0,
        },
    })
}

#[cfg(test)]
pub(in crate::task) mod tests {
    use proptest::prelude::*;

    use super::{HEADER_SIZE, Image, PROGRAM_HEADER_SIZE, parse};
    use crate::error::{Errno, Result};

    /// One program header: type, flags, offset, address, length in the file, in memory.
    pub(in crate::task) type Load = (u32, u32, u64, u64, u64, u64);

    /// A file with these program headers after its header.
    pub(in crate::task) fn file(kind: u16, entry: u64, loads: &[Load]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend(kind.to_le_bytes());
        file.extend(183u16.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        for word in [entry, HEADER_SIZE as u64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [HEADER_SIZE, PROGRAM_HEADER_SIZE, loads.len(), 64, 0, 0] {
            file.extend((half as u16).to_le_bytes());
        }
        for (kind, flags, offset, address, in_file, in_memory) in loads {
            file.extend(kind.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for word in [offset, address, address, in_file, in_memory, &0x1000] {
                file.extend(word.to_le_bytes());
            }
        }
        file
    }

    fn parse_bytes(file: &[u8]) -> Result<Image> {
        parse(|position, into| {
            let start = usize::try_from(position).map_err(|_| Errno::ENOEXEC)?;
            let end = start.checked_add(into.len()).ok_or(Errno::ENOEXEC)?;
            into.copy_from_slice(file.get(start..end).ok_or(Errno::ENOEXEC)?);
            Ok(())
        })
    }

    const TEXT: Load = (1, 5, 0, 0x40_0000, 0x800, 0x800);
    const DATA: Load = (1, 6, 0x800, 0x41_0800, 0x10, 0x3000);

    #[test]
    fn a_static_program() {
        let image = parse_bytes(&file(2, 0x40_0100, &[TEXT, DATA])).unwrap();
        assert!(!image.relative && !image.executable_stack);
        assert_eq!(image.program_headers, 0x40_0040);
        assert_eq!(image.segments[1].end(), 0x41_3800);
        assert!(image.segments[1].protection.write);
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong: [&[Load]; 7] = [
            &[],
            &[DATA, TEXT],
            &[(1, 5, 8, 0x40_0000, 8, 8)],
            &[(1, 5, 0, 0x40_0000, 9, 8)],
            &[(1, 5, 0, u64::MAX - 4095, 8, 4096)],
            &[(1, 5, 0, 0xffff_ffff_f000, 8, 8192)],
            &[(1, 5, u64::MAX - 4095, 0x40_0000, 4096, 4096)],
        ];
        for loads in wrong {
            assert_eq!(
                parse_bytes(&file(2, 0, loads)),
                Err(Errno::ENOEXEC),
                "{loads:x?}"
            );
        }
        let good = file(2, 0, &[TEXT]);
        assert!(parse_bytes(&good).is_ok());
        for (place, value) in [(0, 0), (4, 1), (5, 2), (16, 1), (18, 62), (54, 55), (56, 0)] {
            let mut bad = good.clone();
            bad[place] = value;
            assert_eq!(parse_bytes(&bad), Err(Errno::ENOEXEC), "byte {place}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_image_or_an_error(
            loads in prop::collection::vec(
                (0u32..8, any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
                0..5,
            ),
            changes in prop::collection::vec((0usize..300, any::<u8>()), 0..8),
        ) {
            let mut bytes = file(3, 0, &loads);
            for (place, value) in changes {
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = value;
                }
            }
            if let Ok(image) = parse_bytes(&bytes) {
                prop_assert!(image.segments.iter().all(|segment| segment.file_length <= segment.length));
                prop_assert!(image.segments.windows(2).all(|pair| pair[0].end() <= pair[1].address));
            }
        }
    }
}
