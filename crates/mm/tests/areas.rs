//! Areas that are alike are one.

use mm::sim::{SimMachine, memory};
use mm::{
    AddressSpace, Advice, Errno, FileKind, Memory, OnFork, PAGE_SIZE, Placement, Protection,
    Sharing, Source, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const PAGE: u64 = PAGE_SIZE as u64;
const RW: Protection = Protection::READ_WRITE;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE)
}

fn map(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    at: u64,
    pages: u64,
    source: Source<'_>,
) -> Result<(), Errno> {
    let placement = Placement::Fixed(page(at));
    memory
        .mmap(space, placement, pages * PAGE, RW, Sharing::Private, source)
        .map(|_| ())
}

#[test]
fn neighbours_that_are_alike_merge() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    for at in [4, 0, 2] {
        map(&memory, &space, at, 2, Source::Anonymous).unwrap();
    }
    assert_eq!(memory.areas(&space), 1);
    memory
        .mprotect(&space, page(1), PAGE, Protection::READ)
        .unwrap();
    assert_eq!(memory.areas(&space), 3);
    memory.mprotect(&space, page(0), 6 * PAGE, RW).unwrap();
    assert_eq!(memory.areas(&space), 1);
    let advise = |advice| memory.madvise(&space, page(2), PAGE, advice).unwrap();
    advise(Advice::Fork(OnFork::Omit));
    assert_eq!(memory.areas(&space), 3);
    advise(Advice::Fork(OnFork::Inherit));
    assert_eq!(memory.areas(&space), 1);
    memory.munmap(&space, page(3), PAGE).unwrap();
    assert_eq!(memory.areas(&space), 2, "a hole keeps them apart");
    map(&memory, &space, 3, 1, Source::Anonymous).unwrap();
    assert_eq!(memory.areas(&space), 1);
    memory.check().unwrap();
}

#[test]
fn areas_of_a_file_merge_where_it_goes_on() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let files = [(); 2].map(|()| memory.create_file(FileKind::Stored, 8 * PAGE).unwrap());
    let map = |at, file, from| {
        let source = Source::File(&files[file], from * PAGE);
        map(&memory, &space, at, 2, source).unwrap();
        memory.areas(&space)
    };
    assert_eq!(map(0, 0, 0), 1);
    assert_eq!(map(2, 0, 2), 1);
    assert_eq!(map(4, 0, 5), 2, "a page is skipped");
    assert_eq!(map(6, 1, 7), 3, "another file");
    assert_eq!(map(4, 0, 4), 2);
    memory.munmap(&space, page(0), 20 * PAGE).unwrap();
    // No area was counted as a user of its file twice, or not at all.
    files.into_iter().for_each(|file| {
        let weak = std::sync::Arc::downgrade(&file);
        memory.close(file);
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn a_split_that_was_in_vain_is_undone() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    map(&memory, &space, 0, 6, Source::Anonymous).unwrap();
    for refused in 0..2 {
        memory.machine().refuse_allocation(refused);
        let protect = memory.mprotect(&space, page(2), PAGE, Protection::NONE);
        assert_eq!((protect, memory.areas(&space)), (Err(Errno::ENOMEM), 1));
        memory.machine().refuse_allocation(refused);
        let unmap = memory.munmap(&space, page(2), PAGE);
        assert_eq!((unmap, memory.areas(&space)), (Err(Errno::ENOMEM), 1));
    }
    memory.machine().refuse_allocation(2);
    let remap = map(&memory, &space, 2, 1, Source::Anonymous);
    assert_eq!((remap, memory.areas(&space)), (Err(Errno::ENOMEM), 1));
    memory.check().unwrap();
}
