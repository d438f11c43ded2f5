//! The pool of huge pages: what is reserved, who gets what, and what an error takes.

use std::sync::Arc;

use mm::sim::{FIRST_FRAME, SimMachine, memory_with, try_access};
use mm::{
    Access, Action, AddressSpace, Advice, BusCode, Consumer, Context, Destination, Entry, Errno,
    File, FileKind, FrameState, HugeAdvice, HugetlbStatistics, KillPolicy, Locking, Memory, OnFork,
    Outcome, PAGE_SHIFT, PAGE_SIZE, PageType, Pfn, Placement, Protection, Sharing, Sigbus, Source,
    VirtualAddress,
};

/// Tables of 16 entries, and so huge pages of 16 pages.
const BITS: u32 = 4;
const PIECES: u64 = 1 << BITS;
const HUGE: u64 = PIECES << PAGE_SHIFT;
const HUGE_SHIFT: u32 = PAGE_SHIFT + BITS;
const AT: VirtualAddress = VirtualAddress(4 * HUGE);
const FRAMES: u32 = 160;

type Small = Memory<SimMachine<BITS>>;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE_SIZE as u64)
}

/// A manager with so many huge pages in its pool, and a process.
fn start(pool: u64) -> (Small, AddressSpace) {
    let memory = memory_with::<BITS>(FRAMES);
    assert_eq!(memory.set_hugetlb_pages(pool), pool);
    let space = memory.create().unwrap();
    (memory, space)
}

fn counts(memory: &Small) -> (u64, u64, u64, u64) {
    memory.check().unwrap();
    let HugetlbStatistics {
        total,
        free,
        reserved,
        surplus,
    } = memory.hugetlb_statistics();
    (total, free, reserved, surplus)
}

fn try_map(
    memory: &Small,
    space: &AddressSpace,
    blocks: u64,
    sharing: Sharing,
    source: Source<'_>,
) -> Result<VirtualAddress, Errno> {
    let place = Placement::Fixed(AT);
    let protection = Protection::READ_WRITE;
    memory.mmap(space, place, blocks * HUGE, protection, sharing, source)
}

fn map(memory: &Small, space: &AddressSpace, blocks: u64) {
    try_map(memory, space, blocks, Sharing::Private, Source::Hugetlb).unwrap();
}

fn map_file(memory: &Small, space: &AddressSpace, file: &Arc<File>, sharing: Sharing) {
    let blocks = file.size() / HUGE;
    try_map(memory, space, blocks, sharing, Source::File(file, 0)).unwrap();
}

fn touch(
    memory: &Small,
    space: &AddressSpace,
    at: VirtualAddress,
    access: Access,
    mut act: impl FnMut(&SimMachine<BITS>, Pfn) -> bool,
) -> Outcome {
    for _ in 0..8 {
        match try_access(memory, space, 0, at.page(), access, &mut act).unwrap() {
            None => return Outcome::Resolved,
            Some(Outcome::Resolved) => {}
            Some(other) => return other,
        }
    }
    panic!("it does not end");
}

fn store(memory: &Small, space: &AddressSpace, number: u64, value: u8) -> Outcome {
    touch(
        memory,
        space,
        page(number),
        Access::Store,
        |machine, pfn| {
            machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
            true
        },
    )
}

fn load(memory: &Small, space: &AddressSpace, number: u64) -> Result<u8, Outcome> {
    let mut byte = [0];
    let at = page(number);
    match touch(memory, space, at, Access::Load, |machine, pfn| {
        machine.cpu_load(pfn, 0, &mut byte).is_ok()
    }) {
        Outcome::Resolved => Ok(byte[0]),
        other => Err(other),
    }
}

fn fill(memory: &Small, space: &AddressSpace, pages: u64) {
    for number in 0..pages {
        let stored = store(memory, space, number, 1 + number as u8);
        assert_eq!(stored, Outcome::Resolved);
    }
}

fn frame_of(memory: &Small, space: &AddressSpace, at: VirtualAddress) -> Pfn {
    match memory.entry(space, at) {
        Entry::Page(pfn, _) => pfn,
        entry => panic!("{at:?}: {entry:?}"),
    }
}

fn shift(memory: &Small, space: &AddressSpace, number: u64) -> u32 {
    memory.mapping_shift(space, page(number))
}

fn bus(code: BusCode, number: u64, lsb: u32) -> Outcome {
    Outcome::Sigbus(Sigbus {
        code,
        address: page(number),
        lsb: lsb as u8,
    })
}

fn no_page(number: u64) -> Outcome {
    bus(BusCode::NoPage, number, 0)
}

fn lost(number: u64) -> Outcome {
    bus(BusCode::ActionRequired, number, PAGE_SHIFT)
}

/// Ends everything, and looks whether all frames are free but so many that are isolated.
fn end(memory: &Small, spaces: Vec<AddressSpace>, isolated: usize) {
    spaces.into_iter().for_each(|space| memory.destroy(space));
    let (total, free, reserved, _) = counts(memory);
    assert_eq!((total, reserved), (free, 0));
    memory.set_hugetlb_pages(0);
    assert_eq!(counts(memory), (0, 0, 0, 0));
    assert_eq!(memory.free_frames() + isolated, FRAMES as usize);
}

#[test]
fn the_pool_grows_and_shrinks_as_far_as_memory_allows() {
    let (memory, space) = start(3);
    assert_eq!(counts(&memory), (3, 3, 0, 0));
    assert_eq!(
        memory.free_frames() as u64,
        u64::from(FRAMES) - 1 - 3 * PIECES
    );
    assert_eq!(memory.set_hugetlb_pages(1), 1);
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    // A frame of one block is a table.
    let most = u64::from(FRAMES) / PIECES - 1;
    assert_eq!(memory.set_hugetlb_pages(1000), most);
    assert_eq!(counts(&memory), (most, most, 0, 0));
    end(&memory, vec![space], 0);
}

#[test]
fn the_pool_grows_into_memory_that_is_scattered_or_in_a_cache() {
    let (memory, space) = start(0);
    // Every other page is of a file that stays, the rest are of one that goes.
    let length = u64::from(FRAMES) / 2 * PAGE_SIZE as u64;
    let kinds = [FileKind::Stored, FileKind::Memory];
    let files = kinds.map(|kind| memory.create_file(kind, length).unwrap());
    let mut byte = [0];
    for position in (0..length - 8 * PAGE_SIZE as u64).step_by(PAGE_SIZE) {
        for file in &files {
            assert_eq!(memory.read_file(file, position, &mut byte), Ok(1));
        }
    }
    assert!(
        memory.free_blocks()[BITS as usize..]
            .iter()
            .all(|count| *count == 0)
    );
    assert_eq!(memory.set_hugetlb_pages(4), 4);
    assert_eq!(counts(&memory), (4, 4, 0, 0));
    files.into_iter().for_each(|file| memory.close(file));
    end(&memory, vec![space], 0);
}

#[test]
fn what_is_mapped_is_reserved_until_it_is_touched_or_unmapped() {
    let (memory, space) = start(3);
    map(&memory, &space, 2);
    assert_eq!(counts(&memory), (3, 3, 2, 0));
    let other = memory.create().unwrap();
    let more = try_map(&memory, &other, 2, Sharing::Private, Source::Hugetlb);
    assert_eq!(more, Err(Errno::ENOMEM));
    assert_eq!(memory.areas(&other), 0);
    assert_eq!(load(&memory, &space, 3), Ok(0));
    assert_eq!(shift(&memory, &space, 3), HUGE_SHIFT);
    assert_eq!(counts(&memory), (3, 2, 1, 0));
    // What was not reserved goes first.
    assert_eq!(memory.set_hugetlb_pages(1), 1);
    assert_eq!(counts(&memory), (2, 1, 1, 1));
    memory.munmap(&space, page(PIECES), HUGE).unwrap();
    assert_eq!(counts(&memory), (1, 0, 0, 0));
    end(&memory, vec![space, other], 0);
}

#[test]
fn a_pool_that_shrinks_below_its_use_gets_there_when_pages_come_back() {
    let (memory, space) = start(2);
    map(&memory, &space, 2);
    fill(&memory, &space, 2 * PIECES);
    assert_eq!(memory.set_hugetlb_pages(0), 0);
    assert_eq!(counts(&memory), (2, 0, 0, 2));
    memory.munmap(&space, page(0), HUGE).unwrap();
    assert_eq!(counts(&memory), (1, 0, 0, 1));
    assert_eq!(memory.set_hugetlb_pages(1), 1);
    assert_eq!(counts(&memory), (1, 0, 0, 0));
    end(&memory, vec![space], 0);
}

#[test]
fn a_mapping_may_need_more_than_the_pool_has_as_long_as_it_lasts() {
    let (memory, space) = start(1);
    memory.set_hugetlb_overcommit(2);
    let four = try_map(&memory, &space, 4, Sharing::Private, Source::Hugetlb);
    assert_eq!(four, Err(Errno::ENOMEM));
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    map(&memory, &space, 3);
    assert_eq!(counts(&memory), (3, 3, 3, 2));
    fill(&memory, &space, 3 * PIECES);
    memory.munmap(&space, page(0), HUGE).unwrap();
    assert_eq!(counts(&memory), (2, 0, 0, 1));
    memory.munmap(&space, page(0), 3 * HUGE).unwrap();
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    end(&memory, vec![space], 0);
}

#[test]
fn calls_on_parts_of_huge_pages_are_refused_or_rounded() {
    let (memory, space) = start(4);
    map(&memory, &space, 2);
    fill(&memory, &space, 2 * PIECES);
    let half = HUGE / 2;
    let parts = [(page(8), half), (page(0), half), (page(8), 2 * HUGE)];
    for (at, length) in parts {
        let refused = Err(Errno::EINVAL);
        assert_eq!(memory.munmap(&space, at, length), refused);
        let read = memory.mprotect(&space, at, length, Protection::READ);
        assert_eq!(read, refused);
        let fork = Advice::Fork(OnFork::Omit);
        assert_eq!(memory.madvise(&space, at, length, fork), refused);
        let (place, protection) = (Placement::Fixed(at), Protection::READ);
        let over = memory.mmap(
            &space,
            place,
            length,
            protection,
            Sharing::Private,
            Source::Anonymous,
        );
        assert_eq!(over.map(|_| ()), refused);
        memory
            .mlock(&space, at, length.min(HUGE), Locking::Locked)
            .unwrap();
    }
    assert_eq!(memory.locked_pages(&space), 0);
    let whole = |advice| memory.madvise(&space, page(0), HUGE, advice);
    for advice in [
        Advice::Free,
        Advice::Collapse,
        Advice::Huge(HugeAdvice::For),
        Advice::Fork(OnFork::Wipe),
    ] {
        assert_eq!(whole(advice), Err(Errno::EINVAL), "{advice:?}");
    }
    assert_eq!(whole(Advice::Mergeable), Ok(()));
    let dont_need = |at, length| memory.madvise(&space, at, length, Advice::DontNeed);
    assert_eq!(dont_need(page(1), HUGE), Err(Errno::EINVAL));
    assert_eq!(dont_need(page(0), half), Ok(()));
    assert_eq!(load(&memory, &space, 0), Ok(1));
    assert_eq!(dont_need(page(0), HUGE + half), Ok(()));
    assert_eq!(load(&memory, &space, 0), Ok(0));
    assert_eq!(load(&memory, &space, PIECES), Ok(1 + PIECES as u8));
    // Where and how long it may be.
    let at = |at: u64, length, source| {
        let place = Placement::FixedNoReplace(VirtualAddress(at));
        let (protection, sharing) = (Protection::READ_WRITE, Sharing::Private);
        memory.mmap(&space, place, length, protection, sharing, source)
    };
    assert_eq!(
        at(64 * HUGE + half, HUGE, Source::Hugetlb),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        at(64 * HUGE, half, Source::Hugetlb),
        Ok(VirtualAddress(64 * HUGE))
    );
    let gone = memory.munmap(&space, VirtualAddress(64 * HUGE), HUGE);
    assert_eq!(gone, Ok(()));
    let short = memory.create_file(FileKind::Hugetlb, half);
    assert_eq!(short.unwrap_err(), Errno::EINVAL);
    let file = memory.create_file(FileKind::Hugetlb, 2 * HUGE).unwrap();
    assert_eq!(memory.truncate(&file, half), Err(Errno::EINVAL));
    assert_eq!(
        at(64 * HUGE, half, Source::File(&file, 0)),
        Err(Errno::EINVAL)
    );
    let middle = Source::File(&file, half);
    assert_eq!(at(64 * HUGE, HUGE, middle), Err(Errno::EINVAL));
    assert_eq!(memory.write_file(&file, 0, &[1]), Err(Errno::EINVAL));
    memory.close(file);
    memory.check().unwrap();
    end(&memory, vec![space], 0);
}

#[test]
fn remapping_shrinks_and_moves_whole_pages_only() {
    let (memory, space) = start(3);
    map(&memory, &space, 3);
    fill(&memory, &space, 2 * PIECES);
    let remap = |old, length, destination, keep| {
        memory.mremap(&space, page(0), old, length, destination, keep)
    };
    let (stay, anywhere) = (Destination::Stay, Destination::Anywhere);
    let target = VirtualAddress(64 * HUGE);
    let fixed = Destination::Fixed(target);
    for (old, length, destination, keep) in [
        (3 * HUGE, 4 * HUGE, anywhere, false),
        (3 * HUGE, 3 * HUGE, anywhere, true),
        (0, HUGE, anywhere, false),
        (3 * HUGE, HUGE / 2, stay, false),
        (HUGE / 2, HUGE / 2, anywhere, false),
        (
            3 * HUGE,
            3 * HUGE,
            Destination::Fixed(page(100 * PIECES + 1)),
            false,
        ),
    ] {
        assert_eq!(remap(old, length, destination, keep), Err(Errno::EINVAL));
    }
    assert_eq!(remap(3 * HUGE, 3 * HUGE, fixed, false), Ok(target));
    assert_eq!(counts(&memory), (3, 1, 1, 0));
    assert_eq!(memory.mapping_shift(&space, target), HUGE_SHIFT);
    let back = Destination::Fixed(page(0));
    let got = memory.mremap(&space, target, 3 * HUGE, 2 * HUGE, back, false);
    assert_eq!(got, Ok(page(0)));
    assert_eq!(counts(&memory), (3, 1, 0, 0));
    for number in 0..2 * PIECES {
        assert_eq!(load(&memory, &space, number), Ok(1 + number as u8));
    }
    end(&memory, vec![space], 0);
}

#[test]
fn a_page_that_moves_takes_the_place_of_small_ones_and_their_table() {
    let (memory, space) = start(1);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let to = page(4 * PIECES);
    let (place, rights) = (Placement::Fixed(to), Protection::READ_WRITE);
    memory
        .mmap(
            &space,
            place,
            HUGE,
            rights,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    let stored = store(&memory, &space, 4 * PIECES, 99);
    assert_eq!(stored, Outcome::Resolved);
    assert_eq!(shift(&memory, &space, 4 * PIECES), PAGE_SHIFT);
    let moved = memory.mremap(&space, page(0), HUGE, HUGE, Destination::Fixed(to), false);
    assert_eq!(moved, Ok(to));
    for number in 0..PIECES {
        let loaded = load(&memory, &space, 4 * PIECES + number);
        assert_eq!(loaded, Ok(1 + number as u8));
    }
    assert_eq!(shift(&memory, &space, 4 * PIECES), HUGE_SHIFT);
    end(&memory, vec![space], 0);
}

#[test]
fn a_page_with_many_users_moves_or_stays_whole() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let mut spaces: Vec<_> = (0..5).map(|_| memory.fork(&space).unwrap()).collect();
    spaces.push(space);
    let pfn = frame_of(&memory, &spaces[0], page(5));
    let moved = || memory.soft_offline(pfn).is_ok();
    assert!(refused_each(&memory, moved) > 0, "room for the mappers");
    for space in &spaces {
        assert_eq!(load(&memory, space, 5), Ok(6));
        assert_eq!(shift(&memory, space, 5), HUGE_SHIFT);
    }
    end(&memory, spaces, 1);
}

#[test]
fn a_child_shares_huge_pages_until_someone_stores() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 2), Ok(3));
    assert_eq!(store(&memory, &child, 2, 99), Outcome::Resolved);
    assert_eq!(load(&memory, &child, 2), Ok(99));
    assert_eq!(shift(&memory, &child, 2), HUGE_SHIFT);
    assert_eq!(counts(&memory), (2, 0, 0, 0));
    assert_eq!(load(&memory, &space, 2), Ok(3));
    assert_eq!(load(&memory, &child, 3), Ok(4));
    assert_eq!(store(&memory, &space, 2, 77), Outcome::Resolved);
    assert_eq!(load(&memory, &child, 2), Ok(99));
    end(&memory, vec![space, child], 0);
}

#[test]
fn a_child_gives_way_when_the_pool_has_no_page_for_its_parent() {
    let (memory, space) = start(1);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let child = memory.fork(&space).unwrap();
    let grandchild = memory.fork(&child).unwrap();
    // A child's own store has no claim.
    assert_eq!(store(&memory, &child, 2, 99), no_page(2));
    assert_eq!(load(&memory, &child, 2), Ok(3));
    assert_eq!(store(&memory, &space, 2, 77), Outcome::Resolved);
    assert_eq!(load(&memory, &space, 2), Ok(77));
    assert_eq!(memory.entry(&child, page(5)), Entry::Taken);
    // It is not served zeros, even when there is a page.
    memory.set_hugetlb_pages(3);
    assert_eq!(load(&memory, &child, 5), Err(no_page(5)));
    assert_eq!(load(&memory, &grandchild, 6), Err(no_page(6)));
    let heir = memory.fork(&child).unwrap();
    assert_eq!(load(&memory, &heir, 7), Err(no_page(7)));
    memory
        .madvise(&child, page(0), HUGE, Advice::DontNeed)
        .unwrap();
    assert_eq!(load(&memory, &child, 5), Ok(0));
    // And who got it may have children again.
    let last = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &last, 2), Ok(77));
    end(&memory, vec![space, child, grandchild, heir, last], 0);
}

#[test]
fn a_child_has_no_part_in_a_reservation() {
    let (memory, space) = start(1);
    map(&memory, &space, 1);
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 0), Err(no_page(0)));
    memory.set_hugetlb_overcommit(1);
    assert_eq!(load(&memory, &child, 0), Ok(0));
    assert_eq!(counts(&memory), (2, 1, 1, 1));
    assert_eq!(store(&memory, &space, 0, 5), Outcome::Resolved);
    memory.destroy(child);
    assert_eq!(counts(&memory), (1, 0, 0, 0));
    end(&memory, vec![space], 0);
}

#[test]
fn files_share_huge_pages_and_keep_them() {
    let (memory, space) = start(2);
    let file = memory.create_file(FileKind::Hugetlb, 3 * HUGE).unwrap();
    let all = try_map(&memory, &space, 3, Sharing::Shared, Source::File(&file, 0));
    assert_eq!(all, Err(Errno::ENOMEM));
    assert_eq!(counts(&memory), (2, 2, 0, 0));
    memory.truncate(&file, 2 * HUGE).unwrap();
    let other = memory.create().unwrap();
    map_file(&memory, &space, &file, Sharing::Shared);
    assert_eq!(counts(&memory), (2, 2, 2, 0));
    map_file(&memory, &other, &file, Sharing::Shared);
    assert_eq!(counts(&memory), (2, 2, 2, 0));
    assert_eq!(store(&memory, &space, 3, 33), Outcome::Resolved);
    assert_eq!(load(&memory, &other, 3), Ok(33));
    assert_eq!(shift(&memory, &other, 3), HUGE_SHIFT);
    memory.munmap(&space, page(0), 2 * HUGE).unwrap();
    memory.munmap(&other, page(0), 2 * HUGE).unwrap();
    // The reservation is the file's.
    assert_eq!(counts(&memory), (2, 1, 1, 0));
    let mut bytes = vec![9; 2 * HUGE as usize];
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(bytes.len()));
    assert_eq!(bytes[3 * PAGE_SIZE], 33);
    assert_eq!(bytes[HUGE as usize], 0, "a hole");
    assert_eq!(counts(&memory), (2, 1, 1, 0));
    memory.truncate(&file, HUGE).unwrap();
    assert_eq!(counts(&memory), (2, 1, 0, 0));
    memory.truncate(&file, 0).unwrap();
    assert_eq!(counts(&memory), (2, 2, 0, 0));
    memory.close(file);
    end(&memory, vec![space, other], 0);
}

#[test]
fn truncation_takes_huge_pages_away() {
    let (memory, space) = start(2);
    let file = memory.create_file(FileKind::Hugetlb, 2 * HUGE).unwrap();
    map_file(&memory, &space, &file, Sharing::Shared);
    fill(&memory, &space, 2 * PIECES);
    memory.truncate(&file, HUGE).unwrap();
    assert_eq!(load(&memory, &space, PIECES), Err(no_page(PIECES)));
    assert_eq!(load(&memory, &space, 4), Ok(5));
    memory.truncate(&file, 2 * HUGE).unwrap();
    assert_eq!(load(&memory, &space, PIECES), Ok(0));
    memory.close(file);
    end(&memory, vec![space], 0);
}

#[test]
fn a_private_mapping_of_a_file_has_its_own_pages() {
    let (memory, space) = start(3);
    let file = memory.create_file(FileKind::Hugetlb, 2 * HUGE).unwrap();
    map_file(&memory, &space, &file, Sharing::Shared);
    assert_eq!(store(&memory, &space, 3, 33), Outcome::Resolved);
    let other = memory.create().unwrap();
    // One page is in the file, one is reserved for it, and one is left.
    let private = try_map(&memory, &other, 2, Sharing::Private, Source::File(&file, 0));
    assert_eq!(private, Err(Errno::ENOMEM));
    assert_eq!(counts(&memory), (3, 2, 1, 0));
    try_map(&memory, &other, 1, Sharing::Private, Source::File(&file, 0)).unwrap();
    assert_eq!(counts(&memory), (3, 2, 2, 0));
    assert_eq!(load(&memory, &other, 3), Ok(33));
    assert_eq!(store(&memory, &other, 3, 44), Outcome::Resolved);
    assert_eq!(load(&memory, &space, 3), Ok(33));
    assert_eq!(counts(&memory), (3, 1, 1, 0));
    // Without a reservation a load shares the file's page, and a store finds none.
    memory
        .madvise(&other, page(0), HUGE, Advice::DontNeed)
        .unwrap();
    memory.set_hugetlb_pages(2);
    assert_eq!(load(&memory, &other, 3), Ok(33));
    assert_eq!(counts(&memory), (2, 1, 1, 0));
    assert_eq!(store(&memory, &other, 3, 44), no_page(3));
    assert_eq!(load(&memory, &other, 3), Ok(33));
    memory.close(file);
    end(&memory, vec![space, other], 0);
}

#[test]
fn shared_memory_without_a_name_goes_with_its_mapping() {
    let (memory, space) = start(2);
    try_map(&memory, &space, 2, Sharing::Shared, Source::Hugetlb).unwrap();
    assert_eq!(counts(&memory), (2, 2, 2, 0));
    assert_eq!(store(&memory, &space, 1, 5), Outcome::Resolved);
    let child = memory.fork(&space).unwrap();
    assert_eq!(store(&memory, &child, 2, 6), Outcome::Resolved);
    assert_eq!(load(&memory, &space, 2), Ok(6));
    assert_eq!(counts(&memory), (2, 1, 1, 0));
    memory.destroy(child);
    assert_eq!(counts(&memory), (2, 1, 1, 0));
    memory.munmap(&space, page(0), 2 * HUGE).unwrap();
    assert_eq!(counts(&memory), (2, 2, 0, 0));
    end(&memory, vec![space], 0);
}

#[test]
fn a_pinned_page_is_copied_by_a_fork() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let pin = memory
        .pin_user_page(&space, page(2), Access::Store)
        .unwrap();
    let child = memory.fork(&space).unwrap();
    assert_eq!(counts(&memory), (2, 0, 0, 0));
    assert_eq!(load(&memory, &child, 4), Ok(5));
    memory.check().unwrap();
    // There is no page for another.
    assert_eq!(memory.fork(&space).unwrap_err(), Errno::ENOMEM);
    memory.destroy(child);
    // What cannot be read is lost, but only that.
    let pfn = frame_of(&memory, &space, page(7));
    memory.machine().poison(pfn, 3);
    assert_eq!(memory.fork(&space).unwrap_err(), Errno::EHWPOISON);
    assert_eq!(load(&memory, &space, 7), Err(lost(7)));
    assert_eq!(load(&memory, &space, 8), Ok(9));
    assert_eq!(frame_of(&memory, &space, page(2)), pin.frame().pfn());
    memory.unpin_user_page(pin);
    end(&memory, vec![space], 1);
}

#[test]
fn a_pin_of_a_shared_page_gets_a_copy() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let child = memory.fork(&space).unwrap();
    let pin = memory.pin_user_page(&child, page(2), Access::Load).unwrap();
    assert_ne!(
        frame_of(&memory, &space, page(2)),
        frame_of(&memory, &child, page(2))
    );
    assert_eq!(shift(&memory, &child, 2), HUGE_SHIFT);
    memory.check().unwrap();
    memory.unpin_user_page(pin);
    end(&memory, vec![space, child], 0);
}

// Errors.

fn failed(memory: &Small, pfn: Pfn, context: Context) -> (PageType, Action, Option<Sigbus>) {
    memory.machine().poison(pfn, 0);
    let report = memory.memory_failure(pfn, context).unwrap();
    memory.check().unwrap();
    (report.page, report.action, report.signal)
}

#[test]
fn an_error_in_a_page_that_waits_costs_the_pool_that_page() {
    for piece in [0, 5] {
        let (memory, space) = start(2);
        let head = (0..u64::from(FRAMES))
            .map(|frame| Pfn(FIRST_FRAME + frame))
            .find(|pfn| memory.frame_state(*pfn) == Some(FrameState::Hugetlb))
            .unwrap();
        let pfn = Pfn(head.0 + piece);
        let free = memory.free_frames();
        let report = failed(&memory, pfn, Context::default());
        assert_eq!(report, (PageType::FreeHuge, Action::Recovered, None));
        assert_eq!(PageType::FreeHuge.to_string(), "free huge page");
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        assert_eq!(memory.free_frames() as u64, free as u64 + PIECES - 1);
        assert_eq!(counts(&memory), (1, 1, 0, 0));
        let again = memory.memory_failure(pfn, Context::default());
        assert_eq!(again, Err(Errno::EHWPOISON));
        end(&memory, vec![space], 1);
    }
}

#[test]
fn a_reservation_outlives_the_loss_of_its_page_if_there_is_another() {
    let (memory, space) = start(1);
    map(&memory, &space, 1);
    let head = (0..u64::from(FRAMES))
        .map(|frame| Pfn(FIRST_FRAME + frame))
        .find(|pfn| memory.frame_state(*pfn) == Some(FrameState::Hugetlb))
        .unwrap();
    let report = failed(&memory, head, Context::default());
    assert_eq!(report.1, Action::Recovered);
    assert_eq!(counts(&memory), (0, 0, 1, 0));
    // Whatever the limit: it was promised.
    assert_eq!(store(&memory, &space, 0, 1), Outcome::Resolved);
    assert_eq!(counts(&memory), (1, 0, 0, 1));
    end(&memory, vec![space], 1);
}

#[test]
fn an_error_in_a_mapped_page_costs_4_kib_of_it() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let child = memory.fork(&space).unwrap();
    child.set_kill_policy(KillPolicy::Early);
    let pfn = frame_of(&memory, &space, page(5));
    let consumer = Some(Consumer {
        space: space.id(),
        address: VirtualAddress(page(5).0 + 8),
    });
    let context = Context {
        consumer,
        ..Context::default()
    };
    let (page_type, action, signal) = failed(&memory, pfn, context);
    assert_eq!((page_type, action), (PageType::HugePage, Action::Recovered));
    assert_eq!(PageType::HugePage.to_string(), "huge page");
    assert_eq!(signal.map(Outcome::Sigbus), Some(lost(5)));
    let victims = memory.machine().take_victims();
    let told = victims.iter().map(|victim| victim.signal.lsb);
    assert_eq!(told.collect::<Vec<_>>(), [PAGE_SHIFT as u8]);
    // The pool has one less, and its users keep the rest.
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    for number in (0..PIECES).filter(|number| *number != 5) {
        assert_eq!(load(&memory, &space, number), Ok(1 + number as u8));
        assert_eq!(load(&memory, &child, number), Ok(1 + number as u8));
    }
    assert_eq!(load(&memory, &child, 5), Err(lost(5)));
    assert_eq!(store(&memory, &child, 6, 66), Outcome::Resolved);
    assert_eq!(load(&memory, &space, 6), Ok(7));
    // It is still an area of whole blocks.
    let part = memory.munmap(&space, page(0), 4 * PAGE_SIZE as u64);
    assert_eq!(part, Err(Errno::EINVAL));
    memory
        .madvise(&child, page(0), HUGE, Advice::DontNeed)
        .unwrap();
    assert_eq!(load(&memory, &child, 5), Ok(0));
    assert_eq!(shift(&memory, &child, 5), HUGE_SHIFT);
    let target = VirtualAddress(64 * HUGE);
    let moved = memory.mremap(
        &space,
        page(0),
        HUGE,
        HUGE,
        Destination::Fixed(target),
        false,
    );
    assert_eq!(moved, Ok(target));
    assert!(matches!(
        memory.entry(&space, VirtualAddress(target.0 + 5 * PAGE_SIZE as u64)),
        Entry::HwPoison(_)
    ));
    end(&memory, vec![space, child], 1);
}

#[test]
fn an_error_in_a_file_leaves_all_other_bytes_to_readers_and_processes() {
    let (memory, space) = start(2);
    let file = memory.create_file(FileKind::Hugetlb, HUGE).unwrap();
    map_file(&memory, &space, &file, Sharing::Shared);
    fill(&memory, &space, PIECES);
    let other = memory.create().unwrap();
    try_map(&memory, &other, 1, Sharing::Private, Source::File(&file, 0)).unwrap();
    let pfn = frame_of(&memory, &space, page(5));
    memory.machine().poison(pfn, 7);
    assert_eq!(load(&memory, &space, 5), Ok(6), "another line of it");
    let mut all = [0; PAGE_SIZE];
    let at = 5 * PAGE_SIZE as u64;
    assert_eq!(memory.read_file(&file, at, &mut all), Ok(7 * 64));
    assert_eq!(
        memory.read_file(&file, at + 7 * 64, &mut all),
        Err(Errno::EIO)
    );
    assert_eq!(counts(&memory), (1, 1, 1, 0));
    for number in (0..PIECES).filter(|number| *number != 5) {
        assert_eq!(load(&memory, &space, number), Ok(1 + number as u8));
        let at = number * PAGE_SIZE as u64;
        assert_eq!(memory.read_file(&file, at, &mut all), Ok(PAGE_SIZE));
        assert_eq!(all, [1 + number as u8; PAGE_SIZE]);
        assert_eq!(load(&memory, &other, number), Ok(1 + number as u8));
    }
    assert_eq!(load(&memory, &space, 5), Err(lost(5)));
    assert_eq!(load(&memory, &other, 5), Err(lost(5)));
    // What is split is had in small pages: nothing is reserved for it any more.
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    assert_eq!(store(&memory, &other, 6, 66), Outcome::Resolved);
    assert_eq!(load(&memory, &space, 6), Ok(7));
    memory.truncate(&file, 0).unwrap();
    memory.truncate(&file, HUGE).unwrap();
    assert_eq!(load(&memory, &space, 5), Ok(0));
    assert_eq!(shift(&memory, &space, 5), HUGE_SHIFT);
    memory.close(file);
    end(&memory, vec![space, other], 1);
}

#[test]
fn a_copy_that_meets_an_error_changes_nothing_else() {
    for reserved in [false, true] {
        let (memory, space) = start(3);
        let file = memory.create_file(FileKind::Hugetlb, HUGE).unwrap();
        let sharer = memory.create().unwrap();
        if reserved {
            // A private mapping of a file copies at the first touch.
            map_file(&memory, &sharer, &file, Sharing::Shared);
            fill(&memory, &sharer, PIECES);
            map_file(&memory, &space, &file, Sharing::Private);
        } else {
            map(&memory, &sharer, 1);
            fill(&memory, &sharer, PIECES);
        }
        let child = memory.fork(&sharer).unwrap();
        let writer = if reserved { &space } else { &child };
        let pfn = frame_of(&memory, &sharer, page(9));
        memory.machine().poison(pfn, 1);
        assert_eq!(store(&memory, writer, 9, 1), lost(9));
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        for number in (0..PIECES).filter(|number| *number != 9) {
            assert_eq!(load(&memory, writer, number), Ok(1 + number as u8));
            assert_eq!(load(&memory, &sharer, number), Ok(1 + number as u8));
        }
        assert_eq!(load(&memory, &sharer, 9), Err(lost(9)));
        assert_eq!(counts(&memory), (2, 2, 0, 0));
        memory.close(file);
        end(&memory, vec![space, sharer, child], 1);
    }
}

#[test]
fn without_memory_to_split_it_all_of_a_private_page_is_lost() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let pfn = frame_of(&memory, &space, page(5));
    let consumer = Some(Consumer {
        space: space.id(),
        address: page(5),
    });
    memory.machine().refuse_allocation(0);
    let context = Context {
        consumer,
        ..Context::default()
    };
    let (page_type, action, signal) = failed(&memory, pfn, context);
    assert_eq!((page_type, action), (PageType::HugePage, Action::Recovered));
    let whole = bus(BusCode::ActionRequired, 5, HUGE_SHIFT);
    assert_eq!(signal.map(Outcome::Sigbus), Some(whole));
    let next = bus(BusCode::ActionRequired, 6, HUGE_SHIFT);
    assert_eq!(load(&memory, &space, 6), Err(next));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(counts(&memory), (1, 1, 0, 0));
    end(&memory, vec![space], 1);
}

#[test]
fn simulated_errors_can_be_undone() {
    let (memory, space) = start(1);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let length = 2 * PAGE_SIZE as u64;
    let mut told = Vec::new();
    let tell = |signal: Sigbus| told.push(Outcome::Sigbus(signal));
    let frames = [5, 6].map(|number| frame_of(&memory, &space, page(number)));
    memory
        .inject_failure(&space, page(5), length, tell)
        .unwrap();
    assert_eq!(told, [lost(5), lost(6)]);
    for pfn in frames {
        memory.unpoison(pfn).unwrap();
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Free));
    }
    memory.check().unwrap();
    end(&memory, vec![space], 0);
}

#[test]
fn soft_offline_moves_the_whole_page() {
    for shared in [false, true] {
        let (memory, space) = start(2);
        let sharing = if shared {
            Sharing::Shared
        } else {
            Sharing::Private
        };
        try_map(&memory, &space, 1, sharing, Source::Hugetlb).unwrap();
        fill(&memory, &space, PIECES);
        let child = memory.fork(&space).unwrap();
        load(&memory, &child, 0).unwrap();
        let pfn = frame_of(&memory, &space, page(5));
        memory.soft_offline(pfn).unwrap();
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        assert_eq!(counts(&memory), (1, 0, 0, 0));
        // No store has it.
        assert_eq!(memory.reclaim(100), 0);
        for number in 0..PIECES {
            assert_eq!(load(&memory, &space, number), Ok(1 + number as u8));
            assert_eq!(load(&memory, &child, number), Ok(1 + number as u8));
        }
        assert_eq!(shift(&memory, &space, 5), HUGE_SHIFT);
        // The pool has none, but the allocator.
        let pfn = frame_of(&memory, &space, page(5));
        memory.soft_offline(pfn).unwrap();
        assert_eq!(counts(&memory), (1, 0, 0, 0));
        assert_eq!(load(&memory, &space, 5), Ok(6));
        end(&memory, vec![space, child], 2);
    }
}

/// Whoever reads it again would be given zeros.
#[test]
fn an_error_in_a_page_of_a_file_that_moved_is_told() {
    let (memory, space) = start(2);
    try_map(&memory, &space, 1, Sharing::Shared, Source::Hugetlb).unwrap();
    fill(&memory, &space, PIECES);
    let old = frame_of(&memory, &space, page(5));
    memory.soft_offline(old).unwrap();
    assert_eq!(load(&memory, &space, 5), Ok(6));
    let moved = frame_of(&memory, &space, page(5));
    assert_ne!(moved, old);
    memory.machine().poison(moved, 0);
    assert_eq!(load(&memory, &space, 5), Err(lost(5)));
    assert_eq!(load(&memory, &space, 6), Ok(7));
    end(&memory, vec![space], 2);
}

#[test]
fn soft_offline_of_a_page_that_cannot_move_changes_nothing() {
    let (memory, space) = start(2);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let pin = memory.pin_user_page(&space, page(2), Access::Load).unwrap();
    let pfn = frame_of(&memory, &space, page(5));
    assert_eq!(memory.soft_offline(pfn), Err(Errno::EBUSY));
    assert_eq!(load(&memory, &space, 5), Ok(6));
    assert_eq!(counts(&memory), (2, 1, 0, 0));
    memory.unpin_user_page(pin);
    // Another piece cannot be read: it is lost, and then the page that is asked for moves alone.
    let bad = frame_of(&memory, &space, page(9));
    memory.machine().poison(bad, 0);
    memory.soft_offline(pfn).unwrap();
    assert_eq!(memory.frame_state(bad), Some(FrameState::Isolated));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(load(&memory, &space, 9), Err(lost(9)));
    assert_eq!(load(&memory, &space, 5), Ok(6));
    end(&memory, vec![space], 2);
}

#[test]
fn soft_offline_takes_a_page_that_waits_unless_it_is_reserved() {
    let (memory, space) = start(1);
    let head = (0..u64::from(FRAMES))
        .map(|frame| Pfn(FIRST_FRAME + frame))
        .find(|pfn| memory.frame_state(*pfn) == Some(FrameState::Hugetlb))
        .unwrap();
    map(&memory, &space, 1);
    assert_eq!(memory.soft_offline(Pfn(head.0 + 1)), Err(Errno::EBUSY));
    memory.munmap(&space, page(0), HUGE).unwrap();
    memory.soft_offline(Pfn(head.0 + 1)).unwrap();
    assert_eq!(counts(&memory), (0, 0, 0, 0));
    end(&memory, vec![space], 1);
}

/// Refuses one allocation after the other, until `act` needs no more: each time it must fail and
/// leave everything as it was. Returns how many there were.
fn refused_each(memory: &Small, mut act: impl FnMut() -> bool) -> u32 {
    for allocation in 0..100 {
        let before = counts(memory);
        memory.machine().refuse_allocation(allocation);
        let done = act();
        memory.machine().relent();
        if done {
            memory.check().unwrap();
            return allocation;
        }
        // What a file has got by then it keeps.
        let now = counts(memory);
        let fetched = (
            before.0,
            before.1.wrapping_sub(1),
            before.2.wrapping_sub(1),
            before.3,
        );
        assert!(
            now == before || now == fetched,
            "allocation {allocation}: {now:?}"
        );
    }
    panic!("it needs ever more");
}

#[test]
fn what_is_refused_leaves_the_pool_as_it_was() {
    let (memory, space) = start(3);
    let mapped = |sharing| {
        let map = || try_map(&memory, &space, 2, sharing, Source::Hugetlb).is_ok();
        assert!(refused_each(&memory, map) > 2, "{sharing:?}");
        memory.munmap(&space, page(0), 2 * HUGE).unwrap();
        assert_eq!(counts(&memory), (3, 3, 0, 0));
    };
    mapped(Sharing::Private);
    mapped(Sharing::Shared);
    let file = memory.create_file(FileKind::Hugetlb, 2 * HUGE).unwrap();
    map_file(&memory, &space, &file, Sharing::Shared);
    let stored = || store(&memory, &space, 3, 3) == Outcome::Resolved;
    assert!(refused_each(&memory, stored) > PIECES as u32 / 2);
    assert_eq!(counts(&memory), (3, 2, 1, 0));
    let other = memory.create().unwrap();
    try_map(&memory, &other, 1, Sharing::Private, Source::File(&file, 0)).unwrap();
    let stored = || store(&memory, &other, 3, 4) == Outcome::Resolved;
    assert!(refused_each(&memory, stored) > 0);
    assert_eq!(counts(&memory), (3, 1, 1, 0));
    memory.munmap(&space, page(0), 2 * HUGE).unwrap();
    memory.truncate(&file, 0).unwrap();
    // A copy for a child, and one of what a child shares.
    let pin = memory.pin_user_page(&other, page(1), Access::Load);
    assert_eq!(pin.unwrap_err(), Errno::EFAULT, "beyond the end");
    memory.close(file);
    map(&memory, &space, 1);
    fill(&memory, &space, PIECES);
    let pin = memory.pin_user_page(&space, page(1), Access::Load).unwrap();
    let mut child = None;
    let forked = || {
        child = memory.fork(&space).ok();
        child.is_some()
    };
    assert!(refused_each(&memory, forked) > 3);
    memory.unpin_user_page(pin);
    memory.destroy(child.unwrap());
    let child = memory.fork(&space).unwrap();
    let stored = || store(&memory, &child, 3, 9) == Outcome::Resolved;
    assert!(refused_each(&memory, stored) > 0);
    let pfn = frame_of(&memory, &space, page(2));
    memory.destroy(other);
    let moved = || memory.soft_offline(pfn).is_ok();
    refused_each(&memory, moved);
    let target = Destination::Fixed(VirtualAddress(1 << (3 * BITS + PAGE_SHIFT)));
    let remapped = || {
        memory
            .mremap(&space, page(0), HUGE, HUGE, target, false)
            .is_ok()
    };
    assert!(refused_each(&memory, remapped) > 0);
    end(&memory, vec![space, child], 1);
}
