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

mod remap {
    use mm::{Access, Context, Destination, Entry, Outcome, Pfn};

    use super::*;

    fn setup(pages: u64) -> (Memory<SimMachine>, AddressSpace) {
        let memory = memory(64);
        let space = memory.create().unwrap();
        map(&memory, &space, 0, pages, Source::Anonymous).unwrap();
        (memory, space)
    }

    fn store(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Pfn {
        assert_eq!(
            memory.fault(space, page(number), Access::Store),
            Outcome::Resolved
        );
        frame(memory, space, number).unwrap()
    }

    fn frame(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Option<Pfn> {
        match memory.entry(space, page(number)) {
            Entry::Page(pfn, _) => Some(pfn),
            _ => None,
        }
    }

    #[test]
    fn a_mapping_grows_where_it_is_or_moves_with_its_pages() {
        let (memory, space) = setup(2);
        let frames = [0, 1].map(|number| store(&memory, &space, number));
        let grow = |pages, destination| {
            memory.mremap(&space, AT, 2 * PAGE, pages * PAGE, destination, false)
        };
        map(&memory, &space, 4, 1, Source::Anonymous).unwrap();
        assert_eq!(grow(5, Destination::Stay), Err(Errno::ENOMEM));
        assert_eq!(grow(4, Destination::Stay), Ok(AT));
        assert_eq!(memory.areas(&space), 1, "it reaches its neighbour");
        assert_eq!(grow(1, Destination::Stay), Ok(AT));
        assert_eq!(memory.areas(&space), 2);
        assert_eq!(frame(&memory, &space, 1), None);
        assert_eq!(memory.free_frames() + 1 + 4, 64, "one page and its tables");

        let at = memory
            .mremap(&space, AT, PAGE, 2 * PAGE, Destination::Anywhere, false)
            .unwrap();
        assert_eq!(at, AT, "there was room where it is");
        let target = Destination::Fixed(page(40));
        assert_eq!(
            memory.mremap(&space, AT, 3 * PAGE, 2 * PAGE, target, false),
            Ok(page(40))
        );
        assert_eq!(frame(&memory, &space, 0), None);
        assert_eq!(frame(&memory, &space, 40), Some(frames[0]));
        memory.check().unwrap();

        // The mapper moved too: an error finds the page where it is now.
        let _ = memory
            .memory_failure(frames[0], Context::default())
            .unwrap();
        assert_eq!(memory.entry(&space, page(40)), Entry::HwPoison(frames[0]));
        let back = memory.mremap(
            &space,
            page(40),
            PAGE,
            PAGE,
            Destination::Fixed(page(50)),
            false,
        );
        assert_eq!(back, Ok(page(50)));
        assert_eq!(memory.entry(&space, page(50)), Entry::HwPoison(frames[0]));
        memory.check().unwrap();
    }

    #[test]
    fn pages_that_processes_share_move_in_one_of_them() {
        let (memory, space) = setup(2);
        let pfn = store(&memory, &space, 1);
        let child = memory.fork(&space).unwrap();
        let mut at = 0;
        for target in [30, 20, 60] {
            let to = Destination::Fixed(page(target));
            let moved = memory.mremap(&space, page(at), 2 * PAGE, 2 * PAGE, to, false);
            assert_eq!(moved, Ok(page(target)));
            assert_eq!(frame(&memory, &space, target + 1), Some(pfn));
            memory.check().unwrap();
            at = target;
        }
        assert_eq!(frame(&memory, &child, 1), Some(pfn));
        assert_eq!(memory.soft_offline(pfn), Ok(()));
        assert_eq!(frame(&memory, &child, 1), frame(&memory, &space, 61));
    }

    #[test]
    fn the_old_range_may_stay_without_its_pages() {
        let (memory, space) = setup(4);
        let pfn = store(&memory, &space, 1);
        let moved = memory.mremap(
            &space,
            page(1),
            2 * PAGE,
            2 * PAGE,
            Destination::Anywhere,
            true,
        );
        let at = moved.unwrap();
        assert!(matches!(memory.entry(&space, at), Entry::Page(of, _) if of == pfn));
        assert_eq!(frame(&memory, &space, 1), None);
        assert_eq!(
            memory.areas(&space),
            2,
            "the old one was put together again"
        );
        assert_ne!(store(&memory, &space, 1), pfn);
        memory.check().unwrap();
    }

    #[test]
    fn shared_memory_can_be_mapped_twice() {
        let memory = memory(64);
        let space = memory.create().unwrap();
        let file = memory.create_file(FileKind::Memory, 4 * PAGE).unwrap();
        let source = Source::File(&file, 0);
        memory
            .mmap(
                &space,
                Placement::Fixed(AT),
                4 * PAGE,
                RW,
                Sharing::Shared,
                source,
            )
            .unwrap();
        let again = |to| memory.mremap(&space, page(1), 0, 2 * PAGE, Destination::Fixed(to), false);
        assert_eq!(again(page(0)), Err(Errno::EINVAL), "it would go itself");
        assert_eq!(again(page(10)), Ok(page(10)));
        assert_eq!(store(&memory, &space, 1), store(&memory, &space, 10));
        memory.check().unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let (memory, space) = setup(4);
        let stay = Destination::Stay;
        let anywhere = Destination::Anywhere;
        for (old, old_pages, new_pages, destination, keep, error) in [
            (VirtualAddress(AT.0 + 1), 1, 1, stay, false, Errno::EINVAL),
            (AT, 1, 0, stay, false, Errno::EINVAL),
            (AT, 1, 1, stay, true, Errno::EINVAL),
            (AT, 1, 2, anywhere, true, Errno::EINVAL),
            (AT, 0, 2, anywhere, false, Errno::EINVAL),
            (page(9), 1, 1, stay, false, Errno::EFAULT),
            (AT, 5, 1, stay, false, Errno::EFAULT),
            (AT, u64::MAX >> 12, 1, stay, false, Errno::EFAULT),
            (AT, 4, u64::MAX >> 12, anywhere, false, Errno::ENOMEM),
            (AT, 2, 3, stay, false, Errno::ENOMEM),
            (AT, 2, 2, Destination::Fixed(page(1)), false, Errno::EINVAL),
            (
                AT,
                2,
                2,
                Destination::Fixed(VirtualAddress(8)),
                false,
                Errno::EINVAL,
            ),
            (
                AT,
                2,
                2,
                Destination::Fixed(VirtualAddress(1 << 48)),
                false,
                Errno::EINVAL,
            ),
        ] {
            let length = |pages: u64| pages * PAGE;
            let got = memory.mremap(
                &space,
                old,
                length(old_pages),
                length(new_pages),
                destination,
                keep,
            );
            assert_eq!(
                got,
                Err(error),
                "{old:?} {old_pages} {new_pages} {destination:?}"
            );
            assert_eq!(memory.areas(&space), 1);
        }
        let file = memory.create_file(FileKind::Memory, PAGE).unwrap();
        let last = (u64::from(u32::MAX) - 2) * PAGE;
        map(&memory, &space, 20, 2, Source::File(&file, last)).unwrap();
        assert_eq!(
            memory.mremap(&space, page(20), 2 * PAGE, 3 * PAGE, stay, false),
            Err(Errno::EINVAL)
        );
    }

    #[test]
    fn every_allocation_of_a_move_may_be_refused() {
        let (memory, space) = setup(4);
        let frames = [0, 1, 2, 3].map(|number| store(&memory, &space, number));
        map(&memory, &space, 1000, 4, Source::Anonymous).unwrap();
        let other = store(&memory, &space, 1001);
        let mut refusals = 0;
        loop {
            memory.machine().refuse_allocation(refusals);
            let to = Destination::Fixed(page(1001));
            let moved = memory.mremap(&space, page(1), 2 * PAGE, 2 * PAGE, to, false);
            memory.machine().relent();
            memory.check().unwrap();
            if moved.is_ok() {
                break;
            }
            assert_eq!(moved, Err(Errno::ENOMEM));
            assert_eq!(memory.areas(&space), 2);
            assert_eq!(frame(&memory, &space, 1001), Some(other));
            for (number, pfn) in frames.iter().enumerate() {
                assert_eq!(frame(&memory, &space, number as u64), Some(*pfn));
            }
            refusals += 1;
        }
        assert!(refusals >= 5, "only {refusals}");
        assert_eq!(frame(&memory, &space, 1001), Some(frames[1]));
        assert_eq!(frame(&memory, &space, 1002), Some(frames[2]));
    }
}
