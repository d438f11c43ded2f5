//! Reclaim: what can be had again makes room, and nothing else does.

use std::sync::Arc;

use mm::sim::{SimMachine, memory};
use mm::{
    Access, AddressSpace, Entry, Errno, File, FileKind, FrameState, Memory, Outcome, PAGE_SIZE,
    Placement, Protection, Sharing, Source, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE_SIZE as u64)
}

fn stored(memory: &Memory<SimMachine>, pages: u32) -> Arc<File> {
    let size = u64::from(pages) * PAGE_SIZE as u64;
    let file = memory.create_file(FileKind::Stored, size).unwrap();
    for index in 0..pages {
        memory
            .machine()
            .preset(file.id(), index, [index as u8; PAGE_SIZE]);
    }
    file
}

fn map(memory: &Memory<SimMachine>, space: &AddressSpace, pages: u64, source: Source<'_>) {
    let sharing = match source {
        Source::Anonymous | Source::Hugetlb => Sharing::Private,
        Source::File(..) => Sharing::Shared,
    };
    let (length, protection) = (pages * PAGE_SIZE as u64, Protection::READ_WRITE);
    memory
        .mmap(
            space,
            Placement::Fixed(AT),
            length,
            protection,
            sharing,
            source,
        )
        .unwrap();
}

fn read_all(memory: &Memory<SimMachine>, file: &Arc<File>, pages: u32) {
    let mut bytes = [0; PAGE_SIZE];
    for index in 0..pages {
        let position = u64::from(index) * PAGE_SIZE as u64;
        assert_eq!(
            memory.read_file(file, position, &mut bytes),
            Ok(PAGE_SIZE),
            "page {index}"
        );
        assert_eq!(bytes, [index as u8; PAGE_SIZE]);
    }
}

#[test]
fn a_file_larger_than_memory_can_be_read() {
    let memory = memory(16);
    let file = stored(&memory, 100);
    read_all(&memory, &file, 100);
    read_all(&memory, &file, 100);
    memory.check().unwrap();
}

/// Reads until no frame is free.
fn fill(memory: &Memory<SimMachine>, file: &Arc<File>) {
    for index in 0.. {
        if memory.free_frames() == 0 {
            return;
        }
        let position = index * PAGE_SIZE as u64;
        assert_eq!(memory.read_file(file, position, &mut [0]), Ok(1));
    }
}

#[test]
fn faults_forks_and_moves_find_room_among_clean_pages() {
    let memory = memory(32);
    let file = stored(&memory, 200);
    let space = memory.create().unwrap();
    map(&memory, &space, 12, Source::Anonymous);
    for number in 0..12 {
        fill(&memory, &file);
        assert_eq!(
            memory.fault(&space, page(number), Access::Store),
            Outcome::Resolved
        );
    }
    fill(&memory, &file);
    let child = memory.fork(&space).unwrap();
    fill(&memory, &file);
    let other = memory.create().unwrap();
    let Entry::Page(pfn, _) = memory.entry(&child, page(0)) else {
        panic!("the child has the page");
    };
    fill(&memory, &file);
    assert_eq!(memory.soft_offline(pfn), Ok(()));
    memory.check().unwrap();
    [space, child, other]
        .into_iter()
        .for_each(|space| memory.destroy(space));
}

#[test]
fn dirty_pages_stay_and_the_end_of_memory_is_an_error() {
    let memory = memory(16);
    let file = memory
        .create_file(FileKind::Memory, 40 * PAGE_SIZE as u64)
        .unwrap();
    let bytes = [3; PAGE_SIZE];
    let written = (0..40)
        .map_while(|index| {
            let position = index * PAGE_SIZE as u64;
            memory.write_file(&file, position, &bytes).ok()
        })
        .count();
    assert_eq!(written, 16);
    assert_eq!(memory.reclaim(5), 0);
    assert_eq!(memory.create().err(), Some(Errno::ENOMEM));
    assert_eq!(
        memory.write_file(&file, 30 << 12, &bytes),
        Err(Errno::ENOMEM)
    );
}

#[test]
fn a_mapped_page_is_unmapped_and_read_again() {
    let memory = memory(32);
    let file = stored(&memory, 2);
    let spaces = [(); 2].map(|()| memory.create().unwrap());
    for space in &spaces {
        map(&memory, space, 2, Source::File(&file, 0));
        for number in 0..2 {
            assert_eq!(
                memory.fault(space, page(number), Access::Load),
                Outcome::Resolved
            );
        }
    }
    // The second page is dirty: it stays.
    assert_eq!(
        memory.fault(&spaces[0], page(1), Access::Store),
        Outcome::Resolved
    );
    assert_eq!(memory.reclaim(100), 1);
    for space in &spaces {
        assert_eq!(memory.entry(space, page(0)), Entry::Empty);
        assert!(matches!(memory.entry(space, page(1)), Entry::Page(..)));
        assert_eq!(
            memory.fault(space, page(0), Access::Load),
            Outcome::Resolved
        );
    }
    memory.sync(&file).unwrap();
    assert_eq!(memory.reclaim(100), 2);
    memory.check().unwrap();
}

#[test]
fn a_page_that_was_touched_gets_a_second_chance() {
    let memory = memory(16);
    let file = stored(&memory, 4);
    read_all(&memory, &file, 4);
    assert_eq!(memory.reclaim(1), 1, "nobody is spared twice");
    read_all(&memory, &file, 1);
    let cached = || {
        (0..16)
            .filter_map(
                |frame| match memory.frame_state(mm::Pfn(mm::sim::FIRST_FRAME + frame)) {
                    Some(FrameState::File { index, .. }) => Some(index),
                    _ => None,
                },
            )
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(memory.reclaim(3), 3);
    assert_eq!(cached(), [0].into(), "the page that was just read stays");
}
