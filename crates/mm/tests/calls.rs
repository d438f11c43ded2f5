//! Bad arguments get Linux's error numbers, and change nothing.

use mm::sim::memory;
use mm::{
    Access, Advice, Errno, FileKind, OnFork, Outcome, Pfn, Placement, Protection, SegvCode,
    Sharing, Source, VirtualAddress,
};

const RW: Protection = Protection::READ_WRITE;
const AT: VirtualAddress = VirtualAddress(0x10_0000);

#[test]
fn the_numbers_are_those_of_linux() {
    assert_eq!(Errno::ENOMEM.number(), 12);
    assert_eq!(Errno::EHWPOISON.number(), 133);
    assert_eq!(Errno::EOVERFLOW.number(), 75);
}

#[test]
fn a_manager_needs_frames() {
    let machine = <mm::sim::SimMachine>::default();
    let none = mm::Memory::new(machine, &[Pfn(5)..Pfn(5)]);
    assert_eq!(none.err(), Some(Errno::EINVAL));
    let memory = memory(64);
    assert_eq!((memory.total_frames(), memory.free_frames()), (64, 64));
}

#[test]
fn mmap_refuses_what_makes_no_sense() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let file = memory.create_file(FileKind::Stored, 4096).unwrap();
    let map = |placement, length, source| {
        memory.mmap(&space, placement, length, RW, Sharing::Private, source)
    };
    let fixed = Placement::Fixed(AT);
    for (placement, length, source, error) in [
        (fixed, 0, Source::Anonymous, Errno::EINVAL),
        (
            Placement::Fixed(VirtualAddress(AT.0 + 1)),
            4096,
            Source::Anonymous,
            Errno::EINVAL,
        ),
        (fixed, u64::MAX, Source::Anonymous, Errno::ENOMEM),
        (
            Placement::Fixed(VirtualAddress(!4095)),
            8192,
            Source::Anonymous,
            Errno::ENOMEM,
        ),
        (
            Placement::Anywhere,
            1 << 47,
            Source::Anonymous,
            Errno::ENOMEM,
        ),
        (fixed, 4096, Source::File(&file, 1), Errno::EINVAL),
        (fixed, 4096, Source::File(&file, !4095), Errno::EOVERFLOW),
    ] {
        // The upper half of user space is for automatic placement, and all of it fits.
        let got = map(placement, length, source);
        if length == 1 << 47 {
            assert!(got.is_ok());
            memory.munmap(&space, got.unwrap(), length).unwrap();
        } else {
            assert_eq!(got, Err(error), "{placement:?} {length}");
        }
    }
    assert_eq!(memory.areas(&space), 0);
    assert_eq!(
        map(Placement::Anywhere, (1 << 47) + 1, Source::Anonymous),
        Err(Errno::ENOMEM)
    );
    assert_eq!(map(fixed, 1, Source::Anonymous), Ok(AT));
    assert_eq!(
        map(Placement::FixedNoReplace(AT), 1, Source::Anonymous),
        Err(Errno::EEXIST)
    );
}

#[test]
fn ranges_with_holes_are_refused_and_unchanged() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    memory
        .mmap(
            &space,
            Placement::Fixed(AT),
            4096,
            RW,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    assert_eq!(
        memory.mprotect(&space, AT, 8192, Protection::NONE),
        Err(Errno::ENOMEM)
    );
    assert_eq!(
        memory.madvise(&space, AT, 8192, Advice::DontNeed),
        Err(Errno::ENOMEM)
    );
    assert_eq!(memory.fault(&space, AT, Access::Store), Outcome::Resolved);
    let beyond = VirtualAddress(AT.0 + 4096);
    for address in [beyond, VirtualAddress(u64::MAX)] {
        let outcome = memory.fault(&space, address, Access::Load);
        assert_eq!(outcome, Outcome::Sigsegv(SegvCode::NotMapped));
    }
    memory.mprotect(&space, AT, 0, Protection::NONE).unwrap();
    memory.mprotect(&space, AT, 1, Protection::READ).unwrap();
    let outcome = memory.fault(&space, AT, Access::Store);
    assert_eq!(outcome, Outcome::Sigsegv(SegvCode::Denied));
    let odd = VirtualAddress(AT.0 + 8);
    assert_eq!(memory.munmap(&space, odd, 4096), Err(Errno::EINVAL));
    assert_eq!(memory.munmap(&space, AT, u64::MAX), Err(Errno::EINVAL));
    assert_eq!(memory.mprotect(&space, odd, 4096, RW), Err(Errno::EINVAL));
    assert_eq!(
        memory.madvise(&space, odd, 0, Advice::DontNeed),
        Err(Errno::EINVAL)
    );
    memory.munmap(&space, AT, 1 << 30).unwrap();
    assert_eq!(memory.areas(&space), 0);
}

#[test]
fn what_needs_memory_finds_out_whether_all_of_it_is_mapped() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let page = |number: u64| VirtualAddress(AT.0 + number * 4096);
    // Three pages, in areas that cannot merge; a hole; and another page.
    for (first, pages, protection) in [(0, 2, RW), (2, 1, Protection::NONE), (4, 1, RW)] {
        let (place, length) = (Placement::Fixed(page(first)), pages * 4096);
        let (sharing, source) = (Sharing::Private, Source::Anonymous);
        memory
            .mmap(&space, place, length, protection, sharing, source)
            .unwrap();
    }
    let check = |start, length| memory.check_mapped(&space, start, length);
    // What nobody may touch, or has touched, is mapped all the same; a part of a page is a page.
    for (first, length) in [(0, 1), (0, 3 * 4096), (2, 4096), (4, 17)] {
        assert_eq!(check(page(first), length), Ok(()), "{first} {length}");
    }
    for (first, length) in [(0, 3 * 4096 + 1), (0, 5 * 4096), (3, 1), (4, 4097), (5, 1)] {
        let answer = check(page(first), length);
        assert_eq!(answer, Err(Errno::ENOMEM), "{first} {length}");
    }
    // Nothing is everywhere, but not just anywhere.
    assert_eq!(check(page(3), 0), Ok(()));
    let odd = VirtualAddress(AT.0 + 1);
    let einval = Err(Errno::EINVAL);
    assert_eq!([check(odd, 0), check(odd, 1)], [einval; 2]);
    assert_eq!(check(page(0), u64::MAX), einval);
    memory.check().unwrap();
}

#[test]
fn shared_anonymous_memory_is_shared_with_a_child_and_ends_with_the_last_area() {
    let memory = memory(64);
    let before = memory.free_frames();
    let parent = memory.create().unwrap();
    let at = memory
        .mmap(
            &parent,
            Placement::Anywhere,
            3 * 4096,
            RW,
            Sharing::Shared,
            Source::Anonymous,
        )
        .unwrap();
    assert_eq!(memory.fault(&parent, at, Access::Store), Outcome::Resolved);
    let child = memory.fork(&parent).unwrap();
    assert_eq!(memory.fault(&child, at, Access::Store), Outcome::Resolved);
    assert_eq!(memory.entry(&parent, at), memory.entry(&child, at));
    let wipe = memory.madvise(&child, at, 4096, Advice::Fork(OnFork::Wipe));
    assert_eq!(wipe, Err(Errno::EINVAL), "only private memory can be wiped");
    memory
        .munmap(&parent, VirtualAddress(at.0 + 4096), 4096)
        .unwrap();
    memory.destroy(parent);
    memory.check().unwrap();
    memory.destroy(child);
    assert_eq!(memory.free_frames(), before);
}

#[test]
fn ten_thousand_areas_in_a_terabyte() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    let step = 1u64 << 27;
    for area in 1..=10_000 {
        let at = Placement::FixedNoReplace(VirtualAddress(area * step));
        memory
            .mmap(&space, at, 4096, RW, Sharing::Private, Source::Anonymous)
            .unwrap();
    }
    assert_eq!(memory.areas(&space), 10_000);
    assert_eq!(
        memory.fault(&space, VirtualAddress(7777 * step), Access::Store),
        Outcome::Resolved
    );
    memory.munmap(&space, VirtualAddress(0), 1 << 42).unwrap();
    assert_eq!(memory.areas(&space), 0);
    memory.destroy(space);
    assert_eq!(memory.free_frames(), 64);
}

#[test]
fn user_space_is_what_the_tables_can_map() {
    let memory = mm::sim::memory_with::<4>(64);
    let space = memory.create().unwrap();
    let map = |at| {
        let place = Placement::Fixed(VirtualAddress(at));
        memory.mmap(&space, place, 4096, RW, Sharing::Private, Source::Anonymous)
    };
    let last = VirtualAddress(0xffff << 12);
    assert_eq!(map(1 << 28), Err(Errno::ENOMEM));
    assert_eq!(map(last.0), Ok(last));
    assert_eq!(memory.fault(&space, last, Access::Store), Outcome::Resolved);
    let beyond = VirtualAddress(1 << 28);
    let outcome = memory.fault(&space, beyond, Access::Load);
    assert_eq!(outcome, Outcome::Sigsegv(SegvCode::NotMapped));
    assert_eq!(memory.entry(&space, beyond), mm::Entry::Empty);
    memory.check().unwrap();
}

#[test]
fn memory_that_others_can_share_has_a_name() {
    let memory = memory(64);
    let (one, other) = (memory.create().unwrap(), memory.create().unwrap());
    let file = memory.create_file(FileKind::Memory, 3 * 4096).unwrap();
    let map = |space, at, sharing, source| {
        memory
            .mmap(space, Placement::Fixed(at), 4096, RW, sharing, source)
            .unwrap();
    };
    let higher = VirtualAddress(AT.0 + 0x5000);
    map(&one, AT, Sharing::Shared, Source::File(&file, 4096));
    map(&other, higher, Sharing::Shared, Source::File(&file, 4096));
    let name = memory.shared_page(&one, VirtualAddress(AT.0 + 8));
    assert_eq!(name, Some((file.id(), 1)));
    assert_eq!(memory.shared_page(&other, higher), name);
    map(&one, higher, Sharing::Private, Source::File(&file, 4096));
    map(&other, AT, Sharing::Private, Source::Anonymous);
    assert_eq!(memory.shared_page(&one, higher), None);
    assert_eq!(memory.shared_page(&other, AT), None);
    assert_eq!(memory.shared_page(&one, VirtualAddress(0)), None);
    let child = memory.fork(&one).unwrap();
    assert_eq!(memory.shared_page(&child, AT), name);
}
