//! All of a space, as somebody sees it who copies it: area by area, page by page.

use mm::sim::{SimMachine, memory, try_access};
use mm::{
    Access, AddressSpace, Advice, Area, AreaFile, Context, Dumped, Entry, Errno, FileKind,
    FrameState, Memory, Outcome, PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source,
    VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const PAGE: u64 = PAGE_SIZE as u64;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE)
}

fn map(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    (first, pages): (u64, u64),
    sharing: Sharing,
    source: Source<'_>,
) {
    let placement = Placement::Fixed(page(first));
    let rights = Protection::READ_WRITE;
    memory
        .mmap(space, placement, pages * PAGE, rights, sharing, source)
        .unwrap();
}

fn store(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64, value: u8) {
    let act = |machine: &SimMachine, pfn| {
        machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
        true
    };
    let at = page(number).page();
    while let Some(outcome) = try_access(memory, space, 0, at, Access::Store, act).unwrap() {
        assert_eq!(outcome, Outcome::Resolved);
    }
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Pfn {
    match memory.entry(space, page(number)) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

/// The byte of which a page consists.
fn dump(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Result<u8, Dumped> {
    let mut bytes = [0xee; PAGE_SIZE];
    let dumped = memory.dump_page(space, page(number), &mut bytes).unwrap();
    assert_eq!(bytes, [bytes[0]; PAGE_SIZE]);
    match dumped {
        Dumped::Page => Ok(bytes[0]),
        hole => Err(hole),
    }
}

#[test]
fn areas_are_listed_in_order() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let file = memory.create_file(FileKind::Stored, 8 * PAGE).unwrap();
    map(
        &memory,
        &space,
        (4, 2),
        Sharing::Shared,
        Source::File(&file, PAGE),
    );
    map(&memory, &space, (0, 2), Sharing::Private, Source::Anonymous);
    let first = memory.area_from(&space, VirtualAddress(0)).unwrap();
    let expected = Area {
        start: page(0),
        end: page(2),
        protection: Protection::READ_WRITE,
        sharing: Sharing::Private,
        file: None,
        pooled: false,
        locked: false,
    };
    assert_eq!(first, expected);
    assert_eq!(memory.area_from(&space, page(1)), Some(expected));
    let second = memory.area_from(&space, first.end).unwrap();
    assert_eq!((second.start, second.sharing), (page(4), Sharing::Shared));
    let mapped = AreaFile {
        id: file.id(),
        kind: FileKind::Stored,
        offset: PAGE,
    };
    assert_eq!(second.file, Some(mapped));
    assert_eq!(memory.area_from(&space, second.end), None);
    memory.destroy(space);
    memory.close(file);
}

#[test]
fn what_was_never_touched_stays_so() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    map(&memory, &space, (0, 4), Sharing::Private, Source::Anonymous);
    store(&memory, &space, 1, 7);
    let free = memory.free_frames();
    let seen = [0, 1, 2, 9].map(|number| dump(&memory, &space, number));
    assert_eq!(
        seen,
        [
            Err(Dumped::Hole),
            Ok(7),
            Err(Dumped::Hole),
            Err(Dumped::Hole)
        ]
    );
    assert_eq!(memory.free_frames(), free);
    let next = |start, end| memory.next_touched(&space, page(start), page(end));
    assert_eq!(next(0, 4), Some(page(1)));
    assert_eq!([next(0, 1), next(2, 4), next(3, 3)], [None; 3]);
    memory.destroy(space);
}

#[test]
fn rights_do_not_matter_and_swap_and_files_are_read() {
    let memory = memory(64);
    memory.swap_on(8).unwrap();
    let space = memory.create().unwrap();
    let file = memory.create_file(FileKind::Memory, 0).unwrap();
    memory.write_file(&file, 0, &[5; PAGE_SIZE]).unwrap();
    map(&memory, &space, (0, 2), Sharing::Private, Source::Anonymous);
    map(
        &memory,
        &space,
        (4, 2),
        Sharing::Shared,
        Source::File(&file, 0),
    );
    store(&memory, &space, 0, 1);
    store(&memory, &space, 1, 2);
    memory
        .mprotect(&space, page(0), PAGE, Protection::NONE)
        .unwrap();
    memory
        .madvise(&space, page(1), PAGE, Advice::PageOut)
        .unwrap();
    assert!(matches!(memory.entry(&space, page(1)), Entry::Swap(_)));
    let seen = [0, 1, 4, 5].map(|number| dump(&memory, &space, number));
    // The file ends after its first page.
    assert_eq!(seen, [Ok(1), Ok(2), Ok(5), Err(Dumped::Hole)]);
    memory.destroy(space);
    memory.close(file);
    memory.check().unwrap();
}

#[test]
fn a_page_that_cannot_be_read_is_isolated_and_then_a_hole() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    map(&memory, &space, (0, 3), Sharing::Private, Source::Anonymous);
    (0..3).for_each(|number| store(&memory, &space, number, 3));
    let lost = frame(&memory, &space, 1);
    memory.machine().poison(lost, 17);
    let mut bytes = [0; PAGE_SIZE];
    assert_eq!(
        memory.dump_page(&space, page(1), &mut bytes),
        Err(Errno::EHWPOISON)
    );
    assert_eq!(memory.frame_state(lost), Some(FrameState::Isolated));
    let seen = [0, 1, 2].map(|number| dump(&memory, &space, number));
    assert_eq!(seen, [Ok(3), Err(Dumped::Hole), Ok(3)]);
    // One that another found is no different.
    let other = frame(&memory, &space, 2);
    let _ = memory.memory_failure(other, Context::default()).unwrap();
    assert_eq!(dump(&memory, &space, 2), Err(Dumped::Hole));
    memory.destroy(space);
    memory.check().unwrap();
}
