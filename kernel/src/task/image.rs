//! An address space for a program, made before the old one goes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::auxvec as aux;
use mm::{
    Advice, File, PAGE_SIZE, PAGES_END, Placement, Protection, Sharing, Source, VirtualAddress,
};

use crate::arch::cpu;
use crate::error::{Errno, Result};
use crate::memory::{UserAddress, manager};
use crate::task::elf::{self, Image, Segment};
use crate::task::limits::STACK_SIZE;
use crate::task::signal::TRAMPOLINE;
use crate::task::stack::{self, Contents, Stack, Strings};
use crate::task::{Break, Layout, UserSpace};

const PAGE: u64 = PAGE_SIZE as u64;
/// Programs that can be anywhere start here or up to [`SHIFT`] higher: below the half of user
/// space in which mappings without an address go.
const RELATIVE_BASE: u64 = 0x5555_5555_0000 & !(PAGE - 1);
/// How far the start of a program is shifted by chance, in bytes.
const SHIFT: u64 = 1 << 30;
/// The end of user space.
const USER_END: u64 = PAGES_END * PAGE;
/// The trampoline that handlers return to has the last page but one.
const TRAMPOLINE_ADDRESS: u64 = USER_END - 2 * PAGE;
/// The stack ends a page below it.
const STACK_TOP: u64 = TRAMPOLINE_ADDRESS - PAGE;
/// The size of a signal frame, with room for registers to come (`AT_MINSIGSTKSZ`).
const MINIMUM_SIGNAL_STACK: u64 = 5120;
/// Clock ticks a second, as `times` counts them (`AT_CLKTCK`).
pub const TICKS: u64 = 100;

/// What a program is started with.
#[derive(Debug)]
pub struct Arguments {
    /// `argv`.
    pub arguments: Strings,
    /// The environment.
    pub environment: Strings,
    /// The path of the program.
    pub path: Vec<u8>,
}

/// What is left to do when the new address space is the running thread's.
#[derive(Debug)]
pub struct Start {
    /// Where the program starts.
    pub entry: u64,
    /// What goes on the stack.
    stack: Stack,
    /// What must be zeros: ranges of writable pages that also hold bytes of the file.
    zeros: Vec<(u64, u64)>,
}

/// Reads bytes of a program's file.
///
/// # Errors
///
/// `ENOEXEC`: there are not so many. `EIO`, `ENOMEM`.
pub fn read_exact(file: &Arc<File>, position: u64, into: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < into.len() {
        match read(file, position + done as u64, &mut into[done..])? {
            0 => return Err(Errno::ENOEXEC),
            more => done += more,
        }
    }
    Ok(())
}

/// Reads bytes of a program's file, and returns how many.
///
/// # Errors
///
/// `EIO`, `ENOMEM`.
pub fn read(file: &Arc<File>, position: u64, into: &mut [u8]) -> Result<usize> {
    loop {
        match manager().read_file(file, position, into) {
            // Another CPU is bringing the page in.
            Err(mm::Errno::EBUSY) => core::hint::spin_loop(),
            read => return Ok(read?),
        }
    }
}

/// Makes the address space for the program in `file`. It is ready but for some bytes.
///
/// # Errors
///
/// `ENOEXEC`, `E2BIG`, `ENOMEM`, `EIO`.
pub fn prepare(file: &Arc<File>, arguments: &Arguments) -> Result<(UserSpace, Start)> {
    let image = elf::parse(|position, into| read_exact(file, position, into))?;
    if image.interpreter.is_some() {
        return Err(Errno::ENOEXEC);
    }
    let space = UserSpace::new()?;
    let bias = bias(&image);
    let mut zeros = Vec::new();
    for segment in &image.segments {
        map_segment(&space, file, segment, bias, &mut zeros)?;
    }
    let end = image.segments.last().map_or(0, Segment::end) + bias;
    let heap = end.next_multiple_of(PAGE);
    *space.heap.lock() = Break {
        start: heap,
        end: heap,
    };
    map_trampoline(&space)?;
    let stack = make_stack(&space, &image, bias, arguments)?;
    *space.layout.lock() = Layout {
        arguments: stack.arguments,
        environment: stack.environment,
        stack: stack.pointer,
        trampoline: TRAMPOLINE_ADDRESS,
    };
    space.auxiliary.lock().clone_from(&stack.auxiliary);
    let start = Start {
        entry: image.entry.wrapping_add(bias),
        stack,
        zeros,
    };
    Ok((space, start))
}

/// How far the program is moved from the addresses in its file.
fn bias(image: &Image) -> u64 {
    if !image.relative {
        return 0;
    }
    let mut bytes = [0; 8];
    crate::random::fill(&mut bytes);
    let base = RELATIVE_BASE + u64::from_le_bytes(bytes) % SHIFT;
    let first = image.segments.first().map_or(0, |segment| segment.address);
    (base & !(image.alignment - 1)).wrapping_sub(first & !(image.alignment - 1))
}

fn map(
    space: &UserSpace,
    (start, end): (u64, u64),
    protection: Protection,
    source: Source<'_>,
) -> Result<()> {
    manager().mmap(
        space.handle(),
        Placement::Fixed(VirtualAddress(start)),
        end - start,
        protection,
        Sharing::Private,
        source,
    )?;
    Ok(())
}

/// Brings pages in, so that stores to them need no memory later.
fn populate(space: &UserSpace, (start, end): (u64, u64)) -> Result<()> {
    let start = start & !(PAGE - 1);
    let result = manager().madvise(
        space.handle(),
        VirtualAddress(start),
        end - start,
        Advice::PopulateWrite,
    );
    // A page of the file that is not there, or whose memory has failed.
    result.map_err(|error| match error {
        mm::Errno::ENOMEM => Errno::ENOMEM,
        _ => Errno::ENOEXEC,
    })
}

fn map_segment(
    space: &UserSpace,
    file: &Arc<File>,
    segment: &Segment,
    bias: u64,
    zeros: &mut Vec<(u64, u64)>,
) -> Result<()> {
    // A segment that ends beyond user space when it is moved does not start there.
    let address = segment.address.checked_add(bias).ok_or(Errno::ENOEXEC)?;
    let end = address.checked_add(segment.length).ok_or(Errno::ENOEXEC)?;
    if end > STACK_TOP - STACK_SIZE {
        return Err(Errno::ENOMEM);
    }
    let in_page = address % PAGE;
    let file_end = address + segment.file_length;
    let file_pages = (address - in_page, file_end.next_multiple_of(PAGE));
    let last_page = end.next_multiple_of(PAGE);
    let mut start = address - in_page;
    if segment.file_length != 0 {
        let source = Source::File(file, segment.offset - in_page);
        map(space, file_pages, segment.protection, source)?;
        start = file_pages.1;
        if segment.length > segment.file_length && segment.protection.write && file_end < start {
            populate(space, (file_end, start))?;
            zeros.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            zeros.push((file_end, start));
        }
    }
    if start < last_page {
        map(
            space,
            (start, last_page),
            segment.protection,
            Source::Anonymous,
        )?;
    }
    Ok(())
}

/// Maps the page with the code that handlers return to.
fn map_trampoline(space: &UserSpace) -> Result<()> {
    static PAGE_OF_ALL: spin::Once<Arc<File>> = spin::Once::new();
    let file = PAGE_OF_ALL.try_call_once(|| {
        let manager = manager();
        let file = manager.create_file(mm::FileKind::Memory, PAGE)?;
        manager.write_file(&file, 0, &TRAMPOLINE)?;
        Ok::<_, mm::Errno>(file)
    })?;
    let range = (TRAMPOLINE_ADDRESS, TRAMPOLINE_ADDRESS + PAGE);
    map(
        space,
        range,
        Protection::READ_EXECUTE,
        Source::File(file, 0),
    )
}

fn make_stack(space: &UserSpace, image: &Image, bias: u64, arguments: &Arguments) -> Result<Stack> {
    let protection = Protection {
        execute: image.executable_stack,
        ..Protection::READ_WRITE
    };
    map(
        space,
        (STACK_TOP - STACK_SIZE, STACK_TOP),
        protection,
        Source::Anonymous,
    )?;
    let headers = match image.program_headers {
        0 => 0,
        address => address.wrapping_add(bias),
    };
    let (capabilities, capabilities2) = cpu::capabilities();
    let mut random = [0; 16];
    crate::random::fill(&mut random);
    let stack = stack::build(
        STACK_TOP,
        &Contents {
            arguments: &arguments.arguments,
            environment: &arguments.environment,
            path: &arguments.path,
            random,
            auxiliary: &[
                (aux::AT_HWCAP, capabilities),
                (aux::AT_PAGESZ, PAGE),
                (aux::AT_CLKTCK, TICKS),
                (aux::AT_PHDR, headers),
                (aux::AT_PHENT, 56),
                (aux::AT_PHNUM, image.program_header_count),
                (aux::AT_BASE, 0),
                (aux::AT_FLAGS, 0),
                (aux::AT_ENTRY, image.entry.wrapping_add(bias)),
                (aux::AT_UID, 0),
                (aux::AT_EUID, 0),
                (aux::AT_GID, 0),
                (aux::AT_EGID, 0),
                (aux::AT_SECURE, 0),
                (aux::AT_HWCAP2, capabilities2),
                (aux::AT_MINSIGSTKSZ, MINIMUM_SIGNAL_STACK),
            ],
        },
    )?;
    if stack.bytes.len() as u64 > STACK_SIZE / 4 {
        return Err(Errno::E2BIG);
    }
    populate(space, (stack.pointer, STACK_TOP))?;
    Ok(stack)
}

impl Start {
    /// Writes what could not be written before: the space is the running thread's now. Returns
    /// the stack pointer.
    ///
    /// # Errors
    ///
    /// `EFAULT`: memory has failed since. The program cannot run.
    pub fn complete(&self) -> Result<u64> {
        const ZEROS: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        for (start, end) in &self.zeros {
            UserAddress(*start).write(&ZEROS[..(end - start) as usize])?;
        }
        UserAddress(self.stack.pointer).write(&self.stack.bytes)?;
        Ok(self.stack.pointer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mm::{Access, Entry, FileKind, Outcome, Protection, VirtualAddress};

    use super::{Arguments, STACK_TOP, Strings, TRAMPOLINE_ADDRESS, prepare};
    use crate::error::Errno;
    use crate::memory::manager;
    use crate::task::UserSpace;
    use crate::task::elf::tests::{Load, file};

    fn stored(bytes: &[u8]) -> Arc<mm::File> {
        let stored = manager().create_file(FileKind::Memory, 0).unwrap();
        manager().write_file(&stored, 0, bytes).unwrap();
        stored
    }

    fn arguments() -> Arguments {
        let mut arguments = Strings::default();
        arguments.push(b"program").unwrap();
        Arguments {
            arguments,
            environment: Strings::default(),
            path: b"/program".to_vec(),
        }
    }

    fn protection(space: &UserSpace, address: u64) -> Option<Protection> {
        let address = VirtualAddress(address);
        let outcome = manager().fault(space.handle(), address, Access::Load);
        if outcome != Outcome::Resolved {
            return None;
        }
        match manager().entry(space.handle(), address) {
            Entry::Page(_, protection) => Some(protection),
            other => panic!("{other:?}"),
        }
    }

    const TEXT: Load = (1, 5, 0, 0x40_0000, 0x800, 0x800);
    const DATA: Load = (1, 6, 0x800, 0x41_0800, 0x10, 0x3000);

    #[test]
    fn a_program_is_laid_out() {
        let mut bytes = file(2, 0x40_0100, &[TEXT, DATA]);
        bytes.resize(0x900, 0x55);
        let (space, start) = prepare(&stored(&bytes), &arguments()).unwrap();
        let space = &space;
        assert_eq!(start.entry, 0x40_0100);
        assert_eq!(start.zeros, [(0x41_0810, 0x41_1000)]);
        assert_eq!(protection(space, 0x40_0000), Some(Protection::READ_EXECUTE));
        for address in [0x41_0000, 0x41_3000] {
            let protection = protection(space, address).unwrap();
            assert!(!protection.execute, "{address:#x}");
        }
        assert_eq!(protection(space, 0x41_4000), None);
        assert_eq!(space.heap.lock().start, 0x41_4000);
        assert_eq!(
            protection(space, STACK_TOP - 16),
            Some(Protection::READ_WRITE)
        );
        assert_eq!(
            protection(space, TRAMPOLINE_ADDRESS),
            Some(Protection::READ_EXECUTE)
        );
        assert_eq!(protection(space, STACK_TOP), None);
    }

    #[test]
    fn a_relative_program_is_moved() {
        let load = (1, 5, 0, 0, 0x100, 0x100);
        let mut bytes = file(3, 0x80, &[load]);
        bytes.resize(0x100, 0);
        let (space, start) = prepare(&stored(&bytes), &arguments()).unwrap();
        assert!(start.entry > 0x5000_0000_0000 && start.entry % 4096 == 0x80);
        assert!(protection(&space, start.entry).is_some());
    }

    #[test]
    fn a_program_that_is_cut_short_is_refused() {
        let bytes = file(
            2,
            0x40_0100,
            &[TEXT, (1, 6, 0x5800, 0x41_0800, 0x10, 0x3000)],
        );
        for length in [0, 10, 63, 64, 100] {
            let cut = prepare(&stored(&bytes[..length]), &arguments());
            assert_eq!(cut.err(), Some(Errno::ENOEXEC), "{length}");
        }
        let without_data = prepare(&stored(&bytes), &arguments());
        assert_eq!(without_data.err(), Some(Errno::ENOEXEC));
    }

    #[test]
    fn a_program_that_would_cover_the_stack_is_refused() {
        let bytes = file(2, 0, &[(1, 6, 0, STACK_TOP - 8192, 0, 4096)]);
        assert_eq!(
            prepare(&stored(&bytes), &arguments()).err(),
            Some(Errno::ENOMEM)
        );
    }
}
