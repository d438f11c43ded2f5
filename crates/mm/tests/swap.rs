//! Swap: private pages leave memory and come back, byte for byte or as an error that is told.

use mm::sim::{SimMachine, memory, memory_with, try_access};
use mm::{
    Access, Action, AddressSpace, Advice, BusCode, Context, Entry, Errno, FrameState, HugePolicy,
    Locking, Memory, Outcome, PAGE_SIZE, PageType, Pfn, Placement, Protection, Sharing, Source,
    SwapStatistics, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const LENGTH: u64 = PAGE_SIZE as u64;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * LENGTH)
}

fn map(memory: &Memory<SimMachine>, space: &AddressSpace, pages: u64) {
    memory
        .mmap(
            space,
            Placement::Fixed(AT),
            pages * LENGTH,
            Protection::READ_WRITE,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
}

/// A memory with so many slots of swap, and a process with a page of each of these values.
fn world(slots: u32, values: &[u8]) -> (Memory<SimMachine>, AddressSpace) {
    let memory = memory(64);
    memory.swap_on(slots).unwrap();
    let space = memory.create().unwrap();
    map(&memory, &space, values.len() as u64);
    for (number, value) in (0..).zip(values) {
        store(&memory, &space, number, *value);
    }
    (memory, space)
}

fn store(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64, value: u8) {
    let at = page(number).page();
    let act = |machine: &SimMachine, pfn| {
        machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
        true
    };
    while let Some(outcome) = try_access(memory, space, 0, at, Access::Store, act).unwrap() {
        assert_eq!(outcome, Outcome::Resolved);
    }
}

/// The first byte of a page whose bytes are all alike, or what the process is told.
fn load(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Result<u8, Outcome> {
    let mut seen = [0; PAGE_SIZE];
    let at = page(number).page();
    loop {
        let act = |machine: &SimMachine, pfn| machine.cpu_load(pfn, 0, &mut seen).is_ok();
        match try_access(memory, space, 1, at, Access::Load, act).unwrap() {
            None => break,
            Some(Outcome::Resolved) => {}
            Some(outcome) => return Err(outcome),
        }
    }
    assert_eq!(seen, [seen[0]; PAGE_SIZE], "a torn page");
    Ok(seen[0])
}

fn page_out(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) {
    memory
        .madvise(space, page(number), LENGTH, Advice::PageOut)
        .unwrap();
}

fn is_swapped(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> bool {
    matches!(memory.entry(space, page(number)), Entry::Swap(_))
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Pfn {
    match memory.entry(space, page(number)) {
        Entry::Page(pfn, _) => pfn,
        entry => panic!("page {number} is not mapped: {entry:?}"),
    }
}

fn used(memory: &Memory<SimMachine>) -> usize {
    let SwapStatistics { slots, free, .. } = memory.swap_statistics();
    assert_eq!(
        memory.machine().swapped(),
        slots - free,
        "the store disagrees"
    );
    memory.check().unwrap();
    slots - free
}

#[test]
fn a_page_survives_a_round_trip() {
    let (memory, space) = world(4, &[7, 8]);
    let free = memory.free_frames();
    page_out(&memory, &space, 0);
    assert!(is_swapped(&memory, &space, 0) && !is_swapped(&memory, &space, 1));
    assert_eq!((memory.free_frames(), used(&memory)), (free + 1, 1));
    assert_eq!(load(&memory, &space, 0), Ok(7));
    assert_eq!(memory.swap_statistics().cached, 1, "it is in both places");
    // It leaves again without being written.
    memory.machine().refuse_io(0);
    page_out(&memory, &space, 0);
    memory.machine().relent();
    assert!(is_swapped(&memory, &space, 0));
    // A store takes it out of swap.
    store(&memory, &space, 0, 9);
    assert_eq!(used(&memory), 0);
    assert_eq!(load(&memory, &space, 0), Ok(9));
    // A page in both places leaves both with its last mapping.
    page_out(&memory, &space, 1);
    assert_eq!((load(&memory, &space, 1), used(&memory)), (Ok(8), 1));
    memory.destroy(space);
    assert_eq!((memory.free_frames(), used(&memory)), (64, 0));
}

#[test]
fn without_swap_pages_stay() {
    let memory = memory(64);
    let space = memory.create().unwrap();
    map(&memory, &space, 1);
    store(&memory, &space, 0, 7);
    page_out(&memory, &space, 0);
    assert_eq!(memory.reclaim(10), 0);
    assert_eq!(load(&memory, &space, 0), Ok(7));
    assert_eq!(memory.swap_off(), Err(Errno::EINVAL));
    for slots in [0, u32::MAX] {
        assert_eq!(memory.swap_on(slots), Err(Errno::EINVAL));
    }
    for allocation in 0..2 {
        memory.machine().refuse_allocation(allocation);
        assert_eq!(memory.swap_on(4), Err(Errno::ENOMEM));
    }
    assert_eq!(memory.swap_on(4), Ok(()));
    assert_eq!(memory.swap_on(4), Err(Errno::EBUSY));
}

#[test]
fn a_process_may_be_larger_than_memory() {
    let memory = memory(64);
    memory.swap_on(400).unwrap();
    let space = memory.create().unwrap();
    map(&memory, &space, 150);
    for number in 0..150 {
        store(&memory, &space, number, number as u8);
    }
    let child = memory.fork(&space).unwrap();
    for number in (0..150).rev() {
        assert_eq!(load(&memory, &space, number), Ok(number as u8));
        store(&memory, &child, number, !number as u8);
    }
    for number in 0..150 {
        assert_eq!(load(&memory, &space, number), Ok(number as u8));
        assert_eq!(load(&memory, &child, number), Ok(!number as u8));
    }
    memory.destroy(child);
    memory.destroy(space);
    assert_eq!((memory.free_frames(), used(&memory)), (64, 0));
}

#[test]
fn who_shares_a_page_finds_the_one_copy() {
    let (memory, parent) = world(4, &[7]);
    let child = memory.fork(&parent).unwrap();
    // Advice leaves what others map alone; reclaim does not.
    page_out(&memory, &parent, 0);
    assert!(!is_swapped(&memory, &parent, 0));
    assert_eq!(memory.reclaim(1), 1);
    assert!(is_swapped(&memory, &parent, 0) && is_swapped(&memory, &child, 0));
    let grandchild = memory.fork(&child).unwrap();
    assert_eq!(used(&memory), 1);
    assert_eq!(load(&memory, &parent, 0), Ok(7));
    assert_eq!(load(&memory, &child, 0), Ok(7));
    assert_eq!(frame(&memory, &parent, 0), frame(&memory, &child, 0));
    // One who stores gets a copy, though nobody else maps the page.
    memory.destroy(child);
    store(&memory, &parent, 0, 8);
    assert_eq!((load(&memory, &parent, 0), used(&memory)), (Ok(8), 1));
    assert_eq!(load(&memory, &grandchild, 0), Ok(7));
    store(&memory, &grandchild, 0, 9);
    assert_eq!(used(&memory), 0, "nobody needs the slot any more");
    [parent, grandchild]
        .into_iter()
        .for_each(|space| memory.destroy(space));
    assert_eq!(memory.free_frames(), 64);
}

/// What a call leaves of a page in swap, and of one that is back but that its child has in swap.
#[test]
fn slots_are_given_back() {
    type Call = fn(&Memory<SimMachine>, &AddressSpace);
    let calls: [Call; 4] = [
        |memory, space| memory.munmap(space, AT, 2 * LENGTH).unwrap(),
        |memory, space| {
            memory
                .madvise(space, AT, 2 * LENGTH, Advice::DontNeed)
                .unwrap();
        },
        |memory, space| memory.madvise(space, AT, 2 * LENGTH, Advice::Free).unwrap(),
        |memory, space| map(memory, space, 2),
    ];
    for call in calls {
        let (memory, space) = world(4, &[7, 8]);
        page_out(&memory, &space, 0);
        page_out(&memory, &space, 1);
        let child = memory.fork(&space).unwrap();
        assert_eq!(load(&memory, &space, 1), Ok(8));
        call(&memory, &space);
        assert_eq!(used(&memory), 2, "the child has them");
        assert_eq!(load(&memory, &child, 0), Ok(7));
        assert_eq!(load(&memory, &child, 1), Ok(8));
        call(&memory, &child);
        assert_eq!(load(&memory, &space, 0).unwrap_or(0), 0);
        memory.reclaim(64);
        [child, space]
            .into_iter()
            .for_each(|space| memory.destroy(space));
        assert_eq!((used(&memory), memory.free_frames()), (0, 64));
    }
}

#[test]
fn pages_in_swap_move_with_their_mapping() {
    let (memory, space) = world(4, &[7]);
    page_out(&memory, &space, 0);
    let to = page(9);
    let moved = memory.mremap(
        &space,
        AT,
        LENGTH,
        LENGTH,
        mm::Destination::Fixed(to),
        false,
    );
    assert_eq!(moved, Ok(to));
    assert_eq!((load(&memory, &space, 9), used(&memory)), (Ok(7), 1));
    // A new protection holds for what comes back.
    page_out(&memory, &space, 9);
    memory
        .mprotect(&space, to, LENGTH, Protection::READ)
        .unwrap();
    assert_eq!(load(&memory, &space, 9), Ok(7));
    let denied = memory.fault(&space, to, Access::Store);
    assert!(matches!(denied, Outcome::Sigsegv(_)));
}

#[test]
fn locked_and_pinned_pages_stay() {
    let (memory, space) = world(4, &[7, 8, 9]);
    memory
        .mlock(&space, page(0), LENGTH, Locking::OnFault)
        .unwrap();
    let pin = memory.pin_user_page(&space, page(1), Access::Load).unwrap();
    for advice in [Advice::PageOut, Advice::Cold] {
        let advised = memory.madvise(&space, AT, 3 * LENGTH, advice);
        assert_eq!(advised, Err(Errno::EINVAL));
    }
    assert_eq!(memory.reclaim(64), 1);
    assert_eq!(
        [0, 1, 2].map(|number| is_swapped(&memory, &space, number)),
        [false, false, true]
    );
    memory.unpin_user_page(pin);
    // What is locked comes in.
    memory
        .mlock(&space, page(2), LENGTH, Locking::Locked)
        .unwrap();
    assert_eq!(load(&memory, &space, 2), Ok(9));
    assert_eq!(memory.reclaim(64), 1);
    assert!(is_swapped(&memory, &space, 1));
    // A pin brings it back, and out of swap: who has it may see stores.
    let pin = memory.pin_user_page(&space, page(1), Access::Load).unwrap();
    assert_eq!(used(&memory), 0);
    memory.unpin_user_page(pin);
    memory.check().unwrap();
}

#[test]
fn cold_pages_leave_first() {
    let (memory, space) = world(4, &[7, 8]);
    memory
        .madvise(&space, page(1), LENGTH, Advice::Cold)
        .unwrap();
    assert_eq!(memory.reclaim(1), 1);
    assert!(is_swapped(&memory, &space, 1) && !is_swapped(&memory, &space, 0));
}

#[test]
fn a_page_that_cannot_be_written_stays() {
    let (memory, space) = world(4, &[7, 8]);
    memory.machine().refuse_io(0);
    let advised = memory.madvise(&space, AT, 2 * LENGTH, Advice::PageOut);
    assert_eq!(advised, Ok(()));
    assert_eq!(used(&memory), 0);
    memory.machine().refuse_io(0);
    assert_eq!(memory.reclaim(2), 0, "the store failed");
    assert_eq!(
        [0, 1].map(|number| load(&memory, &space, number)),
        [Ok(7), Ok(8)]
    );
    assert_eq!(memory.reclaim(2), 2);
    assert_eq!(
        [0, 1].map(|number| load(&memory, &space, number)),
        [Ok(7), Ok(8)]
    );
}

#[test]
fn a_page_that_cannot_be_read_is_not_written() {
    type Reclaim = fn(&Memory<SimMachine>, &AddressSpace);
    let ways: [Reclaim; 2] = [
        |memory, space| page_out(memory, space, 0),
        |memory, _| assert_eq!(memory.reclaim(64), 1, "the other page"),
    ];
    for reclaim in ways {
        let (memory, space) = world(4, &[7, 8]);
        let pfn = frame(&memory, &space, 0);
        memory.machine().poison(pfn, 3);
        reclaim(&memory, &space);
        assert_eq!(memory.entry(&space, page(0)), Entry::HwPoison(pfn));
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        let Err(Outcome::Sigbus(bus)) = load(&memory, &space, 0) else {
            panic!("the page is lost");
        };
        assert_eq!((bus.code, bus.lsb), (BusCode::ActionRequired, 12));
        assert_eq!(load(&memory, &space, 1), Ok(8));
        memory.check().unwrap();
    }
}

#[test]
fn a_page_that_swap_has_too_is_read_again() {
    let (memory, space) = world(4, &[7]);
    let child = memory.fork(&space).unwrap();
    assert_eq!(memory.reclaim(1), 1);
    assert_eq!(load(&memory, &space, 0), Ok(7));
    assert_eq!(load(&memory, &child, 0), Ok(7));
    let pfn = frame(&memory, &space, 0);
    memory.machine().poison(pfn, 3);
    let report = memory.memory_failure(pfn, Context::default()).unwrap();
    assert_eq!(report.page, PageType::CleanSwapCache);
    assert_eq!((report.action, report.signal), (Action::Recovered, None));
    assert_eq!(report.page.to_string(), "clean swapcache page");
    assert!(is_swapped(&memory, &space, 0) && is_swapped(&memory, &child, 0));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(load(&memory, &child, 0), Ok(7));
    assert_eq!(load(&memory, &space, 0), Ok(7));
    // Also if it fails while it is copied.
    let pfn = frame(&memory, &space, 0);
    memory.machine().poison(pfn, 3);
    store(&memory, &space, 0, 8);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(
        [&space, &child].map(|space| load(&memory, space, 0)),
        [Ok(8), Ok(7)]
    );
    // Or while nobody maps it.
    assert_eq!(memory.soft_offline(frame(&memory, &child, 0)), Ok(()));
    memory.check().unwrap();
}

#[test]
fn a_page_that_is_only_cached_may_fail_or_move() {
    let (memory, space) = world(4, &[7]);
    page_out(&memory, &space, 0);
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 0), Ok(7));
    let pfn = frame(&memory, &child, 0);
    memory.destroy(child);
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Anonymous));
    assert_eq!(
        memory.soft_offline(pfn),
        Ok(()),
        "it moves within the cache"
    );
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(load(&memory, &space, 0), Ok(7));
    page_out(&memory, &space, 0);
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 0), Ok(7));
    let pfn = frame(&memory, &child, 0);
    memory.destroy(child);
    let report = memory.memory_failure(pfn, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::CleanSwapCache, Action::Recovered)
    );
    assert_eq!(load(&memory, &space, 0), Ok(7));
    // Without mappers it leaves at once.
    page_out(&memory, &space, 0);
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 0), Ok(7));
    memory.destroy(child);
    memory.machine().refuse_io(0);
    assert_eq!(memory.reclaim(64), 1);
    memory.machine().relent();
    assert_eq!((used(&memory), memory.swap_statistics().cached), (1, 0));
    // Or with the last entry.
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &child, 0), Ok(7));
    memory.destroy(child);
    assert_eq!((used(&memory), memory.swap_statistics().cached), (1, 1));
    memory.destroy(space);
    assert_eq!((used(&memory), memory.free_frames()), (0, 62));
}

#[test]
fn a_page_that_cannot_be_read_from_its_slot_can_be_tried_again() {
    let (memory, space) = world(4, &[7]);
    page_out(&memory, &space, 0);
    memory.machine().refuse_io(0);
    let Err(Outcome::Sigbus(bus)) = load(&memory, &space, 0) else {
        panic!("the store failed");
    };
    assert_eq!((bus.code, bus.address, bus.lsb), (BusCode::NoPage, AT, 0));
    memory.check().unwrap();
    for allocation in 0..2 {
        memory.machine().refuse_allocation(allocation);
        assert_eq!(memory.fault(&space, AT, Access::Load), Outcome::Oom);
        memory.check().unwrap();
    }
    assert_eq!(load(&memory, &space, 0), Ok(7));
}

#[test]
fn slots_that_only_the_cache_needs_are_taken() {
    let (memory, space) = world(2, &[7, 8, 9]);
    page_out(&memory, &space, 0);
    page_out(&memory, &space, 1);
    page_out(&memory, &space, 2);
    assert!(!is_swapped(&memory, &space, 2), "there is no slot");
    assert_eq!(load(&memory, &space, 1), Ok(8));
    page_out(&memory, &space, 2);
    assert!(is_swapped(&memory, &space, 2));
    assert_eq!((used(&memory), memory.swap_statistics().cached), (2, 0));
    assert_eq!(
        [0, 1, 2].map(|number| load(&memory, &space, number)),
        [Ok(7), Ok(8), Ok(9)]
    );
}

#[test]
fn swap_can_be_taken_away() {
    let (memory, space) = world(4, &[7, 8, 9]);
    memory
        .mprotect(&space, page(0), LENGTH, Protection::NONE)
        .unwrap();
    for number in 0..3 {
        page_out(&memory, &space, number);
    }
    let child = memory.fork(&space).unwrap();
    assert_eq!(load(&memory, &space, 2), Ok(9));
    assert_eq!(memory.swap_off(), Ok(()));
    assert_eq!(memory.swap_statistics(), SwapStatistics::default());
    assert_eq!(memory.machine().swapped(), 0);
    memory.check().unwrap();
    for space in [&space, &child] {
        memory
            .mprotect(space, page(0), LENGTH, Protection::READ)
            .unwrap();
        assert_eq!(
            [0, 1, 2].map(|number| load(&memory, space, number)),
            [Ok(7), Ok(8), Ok(9)]
        );
    }
    assert_eq!(memory.swap_on(1), Ok(()));
    [space, child]
        .into_iter()
        .for_each(|space| memory.destroy(space));
    assert_eq!(memory.free_frames(), 64);
}

#[test]
fn what_swap_cannot_give_back_is_lost() {
    let (memory, space) = world(4, &[7, 8]);
    page_out(&memory, &space, 0);
    page_out(&memory, &space, 1);
    let child = memory.fork(&space).unwrap();
    memory.machine().refuse_io(0);
    assert_eq!(memory.swap_off(), Ok(()));
    let Err(Outcome::Sigbus(bus)) = load(&memory, &space, 0) else {
        panic!("the page is lost");
    };
    assert_eq!((bus.code, bus.lsb), (BusCode::ActionRequired, 12));
    // The store worked again for the child.
    assert_eq!(load(&memory, &child, 0), Ok(7));
    assert_eq!(load(&memory, &space, 1), Ok(8));
    [space, child]
        .into_iter()
        .for_each(|space| memory.destroy(space));
    assert_eq!(memory.free_frames(), 64);
}

#[test]
fn without_room_swap_stays() {
    for allocation in 0..5 {
        let (memory, space) = world(4, &[7, 8]);
        page_out(&memory, &space, 0);
        page_out(&memory, &space, 1);
        memory.machine().refuse_allocation(allocation);
        if memory.swap_off() == Ok(()) {
            assert_eq!(allocation, 4, "a frame and a mapper for each page");
            return;
        }
        assert_eq!(memory.swap_statistics().slots, 4);
        memory.check().unwrap();
        assert_eq!(
            [0, 1].map(|number| load(&memory, &space, number)),
            [Ok(7), Ok(8)]
        );
        page_out(&memory, &space, 0);
        assert!(is_swapped(&memory, &space, 0), "it is still in use");
        assert_eq!(memory.swap_off(), Ok(()));
        assert_eq!(
            [0, 1].map(|number| load(&memory, &space, number)),
            [Ok(7), Ok(8)]
        );
    }
    panic!("it never succeeds");
}

#[test]
fn pages_in_swap_are_not_merged_under_their_sharers() {
    let (memory, space) = world(4, &[7, 7]);
    memory
        .madvise(&space, AT, 2 * LENGTH, Advice::Mergeable)
        .unwrap();
    page_out(&memory, &space, 0);
    page_out(&memory, &space, 1);
    let child = memory.fork(&space).unwrap();
    assert_eq!(
        [0, 1].map(|number| load(&memory, &space, number)),
        [Ok(7), Ok(7)]
    );
    (0..3).for_each(|_| while memory.ksm_scan(8) == 8 {});
    assert_eq!(
        memory.ksm_merging_pages(&space),
        0,
        "the child's entries name their slots"
    );
    memory.destroy(child);
    (0..3).for_each(|_| while memory.ksm_scan(8) == 8 {});
    assert_eq!((memory.ksm_merging_pages(&space), used(&memory)), (2, 0));
}

#[test]
fn a_huge_page_leaves_in_small_ones() {
    let memory = memory_with::<4>(256);
    memory.swap_on(64).unwrap();
    memory.set_huge_policy(HugePolicy::Always);
    let space = memory.create().unwrap();
    let length = 16 * LENGTH;
    let start = VirtualAddress(0x10_0000);
    memory
        .mmap(
            &space,
            Placement::Fixed(start),
            length,
            Protection::READ_WRITE,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    let out = |memory: &Memory<SimMachine<4>>| {
        assert_eq!(
            memory.fault(&space, start, Access::Store),
            Outcome::Resolved
        );
        memory.swap_statistics().slots - memory.swap_statistics().free
    };
    assert_eq!(out(&memory), 0);
    assert_eq!(memory.mapping_shift(&space, start), 16);
    memory
        .madvise(&space, start, length, Advice::PageOut)
        .unwrap();
    assert_eq!(memory.swap_statistics().free, 48);
    // Back into a huge page.
    memory
        .madvise(&space, start, length, Advice::Collapse)
        .unwrap();
    assert_eq!(memory.mapping_shift(&space, start), 16);
    assert_eq!(out(&memory), 0);
    // Reclaim splits it, and takes its pieces when it comes by again.
    assert_eq!(memory.reclaim(16), 16);
    assert_eq!(memory.swap_statistics().free, 48);
    memory.check().unwrap();
    memory.destroy(space);
    assert_eq!(memory.free_frames(), 256);
}
