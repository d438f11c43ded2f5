//! The file: an ELF header, program headers, notes, and memory. System V ABI, "Object Files".

use alloc::boxed::Box;
use alloc::vec::Vec;

use mm::{Area, Dumped, FileKind, PAGE_SIZE, Sharing, VirtualAddress};

use super::notes::{self, Facts, MappedFile};
use super::{Snapshot, is_killed};
use crate::error::{Errno, Result};
use crate::fs::OpenFile;
use crate::memory::{Source, UserAddress, manager};
use crate::ras;
use crate::task::signal::Info;
use crate::task::{Process, UserSpace, scheduler};

const PAGE: u64 = PAGE_SIZE as u64;

/// Bytes of the ELF header and of a program header.
const HEADER: u64 = 64;
const PROGRAM_HEADER: u64 = 56;

/// `PT_LOAD`, `PT_NOTE`.
const LOAD: u32 = 1;
const NOTE: u32 = 4;

/// Where the file goes, and how long it may become.
pub(super) struct Target<'a> {
    file: &'a OpenFile,
    limit: u64,
}

impl<'a> Target<'a> {
    pub(super) fn new(file: &'a OpenFile, limit: u64) -> Self {
        Self { file, limit }
    }

    /// Writes as much as may be there.
    fn write(&self, position: u64, bytes: &[u8]) -> Result<()> {
        let room = self.limit.saturating_sub(position);
        let mut bytes = &bytes[..bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX))];
        let mut position = position;
        while !bytes.is_empty() {
            let at = i64::try_from(position).map_err(|_| Errno::EFBIG)?;
            let done = self.file.write_at(at, &mut Source::Kernel(bytes))?;
            if done == 0 {
                return Err(Errno::ENOSPC);
            }
            bytes = &bytes[done..];
            position += done as u64;
        }
        Ok(())
    }

    /// Gives the file its length, wherever the last hole ends.
    fn finish(&self, length: u64) -> Result<()> {
        self.file.inode().truncate(length.min(self.limit))
    }
}

/// An area, and how much of it is in the file.
struct Segment {
    area: Area,
    length: u64,
}

/// Writes all of it. A process that is killed meanwhile gets no more than there is by then.
///
/// # Errors
///
/// Those of the file; `ENOMEM`.
pub(super) fn write(
    process: &Process,
    threads: &[Box<Snapshot>],
    info: &Info,
    target: &mut Target<'_>,
) -> Result<()> {
    let space = process.space().ok_or(Errno::EFAULT)?;
    let segments = segments(&space)?;
    let notes = notes::build(&facts(process, &space, &segments), threads, info);
    let start = HEADER + PROGRAM_HEADER * (segments.len() as u64 + 1);
    let first = (start + notes.len() as u64).next_multiple_of(PAGE);
    target.write(0, &headers(&segments, start, notes.len() as u64, first))?;
    target.write(start, &notes)?;
    let mut position = first;
    for segment in &segments {
        copy(process, &space, segment, position, target)?;
        position += segment.length;
    }
    target.finish(position)
}

/// The ELF header and the program headers. The notes start at `start`, memory at `first`.
fn headers(segments: &[Segment], start: u64, notes: u64, first: u64) -> Vec<u8> {
    /// 64 bits, little-endian, version 1.
    const IDENTITY: [u8; 16] = [0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// `ET_CORE` and `EM_AARCH64`.
    const TYPE_AND_MACHINE: [u16; 2] = [4, 183];
    let mut bytes = IDENTITY.to_vec();
    let mut put = |part: &[u8]| bytes.extend_from_slice(part);
    TYPE_AND_MACHINE
        .iter()
        .for_each(|part| put(&part.to_le_bytes()));
    put(&1u32.to_le_bytes());
    // No entry; program headers follow; no section headers.
    [0, HEADER, 0]
        .iter()
        .for_each(|part| put(&part.to_le_bytes()));
    put(&0u32.to_le_bytes());
    let counts = [HEADER, PROGRAM_HEADER, segments.len() as u64 + 1, 0, 0, 0];
    counts
        .iter()
        .for_each(|part| put(&(*part as u16).to_le_bytes()));

    let mut header = |kind: u32, flags: u32, words: [u64; 6]| {
        put(&kind.to_le_bytes());
        put(&flags.to_le_bytes());
        words.iter().for_each(|word| put(&word.to_le_bytes()));
    };
    header(NOTE, 0, [start, 0, 0, notes, 0, 4]);
    let mut position = first;
    for Segment { area, length } in segments {
        let rights = area.protection;
        let flags =
            u32::from(rights.read) << 2 | u32::from(rights.write) << 1 | u32::from(rights.execute);
        let size = area.end.0 - area.start.0;
        header(
            LOAD,
            flags,
            [position, area.start.0, 0, *length, size, PAGE],
        );
        position += length;
    }
    bytes
}

/// All areas in order. Which are in the file: Linux's default for `/proc/pid/coredump_filter`.
fn segments(space: &UserSpace) -> Result<Vec<Segment>> {
    let mut segments = Vec::new();
    let mut from = VirtualAddress(0);
    let next = |from| manager().area_from(space.handle(), from);
    while let Some(area) = next(from) {
        segments.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let length = length_in_file(space, &area);
        segments.push(Segment { area, length });
        from = area.end;
    }
    Ok(segments)
}

fn length_in_file(space: &UserSpace, area: &Area) -> u64 {
    let all = area.end.0 - area.start.0;
    match (area.file, area.sharing) {
        (None, _) => all,
        (Some(_), Sharing::Private) if area.pooled || has_own_pages(space, area) => all,
        (Some(file), Sharing::Private) if file.offset == 0 && begins_a_program(area) => PAGE,
        // Memory that has no name is as good as anonymous.
        (Some(file), Sharing::Shared) if file.kind == FileKind::Memory => {
            if space.path_of(file.id).is_none() {
                all
            } else {
                0
            }
        }
        (Some(_), _) => 0,
    }
}

/// Whether the process has stored to a private mapping.
fn has_own_pages(space: &UserSpace, area: &Area) -> bool {
    touched(space, area.start, area.end).any(|at| {
        let manager = manager();
        match manager.entry(space.handle(), at) {
            mm::Entry::Page(pfn, _) => {
                !matches!(manager.frame_state(pfn), Some(mm::FrameState::File { .. }))
            }
            mm::Entry::Swap(_) => true,
            _ => false,
        }
    })
}

/// Whether it is readable and starts with an ELF header, by which a debugger knows the program.
fn begins_a_program(area: &Area) -> bool {
    let mut magic = [0; 4];
    let read = crate::arch::user::copy_from_user(&mut magic, UserAddress(area.start.0));
    area.protection.read && read.is_ok() && magic == *b"\x7fELF"
}

/// The pages of a range that there is something of.
fn touched(
    space: &UserSpace,
    start: VirtualAddress,
    end: VirtualAddress,
) -> impl Iterator<Item = VirtualAddress> {
    let mut from = start;
    core::iter::from_fn(move || {
        let found = manager().next_touched(space.handle(), from, end)?;
        from = VirtualAddress(found.0 + PAGE);
        Some(found)
    })
}

/// Copies the pages of a segment that can be read to where it starts in the file.
fn copy(
    process: &Process,
    space: &UserSpace,
    segment: &Segment,
    position: u64,
    target: &Target<'_>,
) -> Result<()> {
    let start = segment.area.start;
    let end = VirtualAddress(start.0 + segment.length);
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut one = |at: VirtualAddress| {
        if is_killed(process) {
            return Err(Errno::EINTR);
        }
        match read(space, at, &mut page)? {
            Dumped::Page => target.write(position + (at.0 - start.0), &page[..]),
            Dumped::Hole => Ok(()),
        }
    };
    if segment.area.file.is_some() {
        // What is not mapped now is in the file.
        let mut pages = (start.0..end.0).step_by(PAGE_SIZE).map(VirtualAddress);
        return pages.try_for_each(&mut one);
    }
    touched(space, start, end).try_for_each(one)
}

/// Reads a page. One that cannot be read is a hole.
fn read(space: &UserSpace, at: VirtualAddress, into: &mut [u8; PAGE_SIZE]) -> Result<Dumped> {
    loop {
        let read = manager().dump_page(space.handle(), at, into);
        match read {
            Err(mm::Errno::EAGAIN) => scheduler::yield_now(),
            Err(mm::Errno::EHWPOISON) => {
                log::warn!("Core dump: the page at {:#x} cannot be read", at.0);
                // Reports must not pile up until the end.
                ras::finish_last();
                return Ok(Dumped::Hole);
            }
            read => return Ok(read?),
        }
    }
}

fn facts(process: &Process, space: &UserSpace, segments: &[Segment]) -> Facts {
    let (parent, group, session) = process.family();
    let arguments = space.layout.lock().arguments;
    Facts {
        numbers: [process.id.0, parent.0, group.0, session.0],
        name: process.name().bytes().to_vec(),
        arguments: one_line(arguments),
        auxiliary: space.auxiliary.lock().clone(),
        files: segments
            .iter()
            .filter_map(|one| mapped(process, space, one))
            .collect(),
    }
}

/// The start of the argument strings, with blanks between them.
fn one_line((start, end): (u64, u64)) -> Vec<u8> {
    let mut text = [0; 80];
    let length = text.len().min(end.saturating_sub(start) as usize);
    let text = &mut text[..length];
    if crate::arch::user::copy_from_user(text, UserAddress(start)).is_err() {
        return Vec::new();
    }
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    let blank = |byte: &u8| if *byte == 0 { b' ' } else { *byte };
    text.iter().map(blank).collect()
}

fn mapped(process: &Process, space: &UserSpace, segment: &Segment) -> Option<MappedFile> {
    let file = segment.area.file?;
    let path = space.path_of(file.id)?;
    Some(MappedFile {
        start: segment.area.start.0,
        end: segment.area.end.0,
        page: file.offset / PAGE,
        name: process.context.name_of(&path)?,
    })
}
