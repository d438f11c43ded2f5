//! Huge pages: who gets one, what splits one, and what an error in one takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use mm::sim::{CPUS, FIRST_FRAME, Held, Random, SimMachine, memory, memory_with, try_access};
use mm::{
    Access, Action, AddressSpace, Advice, BusCode, Consumer, Context, Entry, Errno, File, FileKind,
    FrameState, HugeAdvice, HugePolicy, KillPolicy, Memory, Outcome, PAGE_SHIFT, PAGE_SIZE,
    PageType, Pfn, Placement, Protection, Sharing, Sigbus, Source, VirtualAddress,
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

/// A manager that gives huge pages, and a process with a piece of memory before and after one.
fn start() -> (Small, AddressSpace) {
    let memory = memory_with::<BITS>(FRAMES);
    memory.set_huge_policy(HugePolicy::Always);
    let space = memory.create().unwrap();
    map(&memory, &space, AT.0 - HUGE / 2, 2 * HUGE);
    (memory, space)
}

fn map(memory: &Small, space: &AddressSpace, at: u64, length: u64) {
    let place = Placement::Fixed(VirtualAddress(at));
    let (protection, sharing) = (Protection::READ_WRITE, Sharing::Private);
    memory
        .mmap(space, place, length, protection, sharing, Source::Anonymous)
        .unwrap();
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

/// Fills the huge page: each page with its number.
fn fill(memory: &Small, space: &AddressSpace) {
    for number in 0..PIECES {
        assert_eq!(
            store(memory, space, number, number as u8),
            Outcome::Resolved
        );
    }
    assert_eq!(memory.mapping_shift(space, AT), HUGE_SHIFT);
}

fn all_there(memory: &Small, space: &AddressSpace) {
    for number in 0..PIECES {
        assert_eq!(load(memory, space, number), Ok(number as u8));
    }
}

fn frame(memory: &Small, space: &AddressSpace, number: u64) -> Pfn {
    match memory.entry(space, page(number)) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

const fn lost(number: u64, lsb: u32) -> Outcome {
    Outcome::Sigbus(Sigbus {
        code: BusCode::ActionRequired,
        address: VirtualAddress(AT.0 + number * PAGE_SIZE as u64),
        lsb: lsb as u8,
    })
}

#[test]
fn the_hardware_maps_two_megabytes_by_one_entry() {
    let memory = memory(1200);
    let space = memory.create().unwrap();
    let place = Placement::Fixed(VirtualAddress(1 << 30));
    let (protection, sharing) = (Protection::READ_WRITE, Sharing::Private);
    let at = memory
        .mmap(
            &space,
            place,
            1 << 21,
            protection,
            sharing,
            Source::Anonymous,
        )
        .unwrap();
    memory
        .madvise(&space, at, 1 << 21, Advice::Huge(HugeAdvice::For))
        .unwrap();
    let before = memory.free_frames();
    let inside = VirtualAddress(at.0 + 0x12_3456);
    assert_eq!(
        memory.fault(&space, inside, Access::Store),
        Outcome::Resolved
    );
    assert_eq!(memory.mapping_shift(&space, at), 21);
    let Entry::Page(pfn, _) = memory.entry(&space, at) else {
        panic!("nothing is mapped");
    };
    assert!(pfn.0.is_multiple_of(512));
    let piece = Entry::Page(Pfn(pfn.0 + 0x123), Protection::READ_WRITE);
    assert_eq!(memory.entry(&space, inside), piece);
    // The page, and tables of two levels.
    assert_eq!(memory.free_frames(), before - 512 - 2);
    memory.munmap(&space, at, 1 << 21).unwrap();
    assert_eq!(memory.free_frames(), before - 2);
    memory.check().unwrap();
}

#[test]
fn policy_advice_and_room_decide_who_gets_one() {
    let (memory, space) = start();
    let mut shifts = Vec::new();
    for policy in [HugePolicy::Always, HugePolicy::Madvise, HugePolicy::Never] {
        memory.set_huge_policy(policy);
        for advice in [HugeAdvice::None, HugeAdvice::For, HugeAdvice::Against] {
            map(&memory, &space, AT.0, HUGE);
            memory
                .madvise(&space, AT, HUGE, Advice::Huge(advice))
                .unwrap();
            assert_eq!(load(&memory, &space, 3), Ok(0));
            shifts.push(memory.mapping_shift(&space, page(3)) - PAGE_SHIFT);
        }
    }
    assert_eq!(shifts, [BITS, BITS, 0, 0, BITS, 0, 0, 0, 0]);
    // An area that is a page too short has no room.
    memory.set_huge_policy(HugePolicy::Always);
    memory.munmap(&space, AT, 2 * HUGE).unwrap();
    map(&memory, &space, AT.0, HUGE - PAGE_SIZE as u64);
    assert_eq!(load(&memory, &space, 3), Ok(0));
    assert_eq!(memory.mapping_shift(&space, page(3)), PAGE_SHIFT);
    memory.check().unwrap();
}

#[test]
fn small_pages_do_where_memory_has_no_huge_one() {
    let (memory, space) = start();
    // An error in each block leaves no block whole.
    for block in 0..u64::from(FRAMES) / PIECES {
        let pfn = Pfn(FIRST_FRAME + block * PIECES + 15);
        let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    }
    assert_eq!(store(&memory, &space, 3, 1), Outcome::Resolved);
    assert_eq!(memory.mapping_shift(&space, page(3)), PAGE_SHIFT);
    let (memory, space) = start();
    assert_eq!(load(&memory, &space, 100), Err(not_mapped()));
    // The first two allocations are tables, the third the huge page.
    memory.machine().refuse_allocation(2);
    assert_eq!(store(&memory, &space, 3, 1), Outcome::Resolved);
    assert!(memory.machine().take_refused());
    assert_eq!(memory.mapping_shift(&space, page(3)), PAGE_SHIFT);
    memory.check().unwrap();
}

fn not_mapped() -> Outcome {
    Outcome::Sigsegv(mm::SegvCode::NotMapped)
}

#[test]
fn a_fork_shares_it_and_a_store_splits_and_copies_one_page() {
    let (memory, parent) = start();
    fill(&memory, &parent);
    let before = memory.free_frames();
    let child = memory.fork(&parent).unwrap();
    assert_eq!(memory.mapping_shift(&child, AT), HUGE_SHIFT);
    assert_eq!(frame(&memory, &parent, 5), frame(&memory, &child, 5));
    // The child has a root and two tables.
    assert_eq!(memory.free_frames(), before - 3);
    assert_eq!(store(&memory, &child, 5, 99), Outcome::Resolved);
    assert_eq!(load(&memory, &child, 5), Ok(99));
    all_there(&memory, &parent);
    assert_eq!(memory.mapping_shift(&parent, AT), PAGE_SHIFT);
    // Two more tables and the copy.
    assert_eq!(memory.free_frames(), before - 6);
    memory.check().unwrap();
    memory.destroy(child);

    let (memory, parent) = start();
    fill(&memory, &parent);
    let child = memory.fork(&parent).unwrap();
    memory.destroy(child);
    let old = frame(&memory, &parent, 5);
    assert_eq!(store(&memory, &parent, 5, 7), Outcome::Resolved);
    assert_eq!(
        frame(&memory, &parent, 5),
        old,
        "who is left alone does not copy"
    );
    assert_eq!(memory.mapping_shift(&parent, AT), HUGE_SHIFT);
    memory.check().unwrap();
}

#[test]
fn a_call_on_a_part_splits_and_one_on_the_whole_does_not() {
    let length = 3 * PAGE_SIZE as u64;
    type Call = fn(&Small, &AddressSpace, VirtualAddress, u64) -> Result<(), Errno>;
    let calls: [Call; 4] = [
        |memory, space, at, length| memory.munmap(space, at, length),
        |memory, space, at, length| memory.mprotect(space, at, length, Protection::READ),
        |memory, space, at, length| memory.madvise(space, at, length, Advice::DontNeed),
        |memory, space, at, length| {
            map(memory, space, at.0, length);
            Ok(())
        },
    ];
    for call in calls {
        let (memory, space) = start();
        fill(&memory, &space);
        call(&memory, &space, page(4), length).unwrap();
        assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
        for number in (0..4).chain(7..PIECES) {
            assert_eq!(load(&memory, &space, number), Ok(number as u8));
        }
        memory.check().unwrap();

        let (memory, space) = start();
        fill(&memory, &space);
        let old = frame(&memory, &space, 0);
        call(&memory, &space, AT, HUGE).unwrap();
        memory.check().unwrap();
        match memory.entry(&space, AT) {
            Entry::Page(pfn, protection) => {
                assert_eq!((pfn, protection), (old, Protection::READ));
                assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
            }
            entry => {
                assert_eq!(entry, Entry::Empty);
                assert_eq!(memory.frame_state(old), Some(FrameState::Free));
            }
        }
    }
}

#[test]
fn a_split_for_many_that_finds_no_memory_changes_nothing() {
    let (memory, space) = start();
    fill(&memory, &space);
    let children = [(); 2].map(|()| memory.fork(&space).unwrap());
    let free = memory.free_frames();
    let part = || memory.mprotect(&space, page(1), PAGE_SIZE as u64, Protection::READ);
    let mut refused = 0;
    loop {
        memory.machine().refuse_allocation(refused);
        let done = part();
        memory.machine().relent();
        memory.check().unwrap();
        if done.is_ok() {
            break;
        }
        assert_eq!(done, Err(Errno::ENOMEM));
        if memory.mapping_shift(&space, AT) == HUGE_SHIFT {
            assert_eq!(memory.free_frames(), free, "allocation {refused}");
        }
        refused += 1;
    }
    // Two lists, the mappers of each other piece, and three tables, at least.
    assert!(refused >= 2 + PIECES as u32 - 1 + 3, "{refused}");
    assert_eq!(memory.free_frames(), free - 3);
    for space in children.into_iter().chain([space]) {
        memory.destroy(space);
    }
    assert_eq!(memory.free_frames(), FRAMES as usize);
}

/// Lets an error split the huge page that a child shares, and the child act when that has begun.
fn while_split(act: impl Fn(&Small, &AddressSpace)) {
    let (memory, space) = start();
    fill(&memory, &space);
    let child = memory.fork(&space).unwrap();
    let frame = frame(&memory, &space, 3);
    let held = memory.machine().hold(Held::Allocation);
    thread::scope(|scope| {
        scope.spawn(|| memory.memory_failure(frame, Context::default()));
        held.wait();
        act(&memory, &child);
        held.wait();
    });
    memory.check().unwrap();
    assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
    memory.destroy(child);
    memory.destroy(space);
    assert_eq!(memory.free_frames(), FRAMES as usize - 1);
}

#[test]
fn a_page_that_is_being_split_gains_no_mapper() {
    let (memory, space) = start();
    fill(&memory, &space);
    let child = memory.fork(&space).unwrap();
    let frame = frame(&memory, &space, 3);
    let held = memory.machine().hold(Held::Allocation);
    let (early, grandchild) = thread::scope(|scope| {
        scope.spawn(|| memory.memory_failure(frame, Context::default()));
        held.wait();
        let fork = scope.spawn(|| memory.fork(&child));
        // It waits for the split, which waits for us.
        thread::sleep(Duration::from_millis(100));
        let early = fork.is_finished();
        held.wait();
        (early, fork.join().unwrap().unwrap())
    });
    assert!(!early);
    memory.check().unwrap();
    for space in [space, child, grandchild] {
        memory.destroy(space);
    }
    assert_eq!(memory.free_frames(), FRAMES as usize - 1);
}

#[test]
fn a_page_that_is_being_split_may_lose_a_mapper() {
    while_split(|memory, child| memory.munmap(child, AT, HUGE).unwrap());
}

#[test]
fn populating_a_part_leaves_it_whole() {
    let (memory, space) = start();
    fill(&memory, &space);
    let length = PAGE_SIZE as u64;
    let advice = Advice::PopulateWrite;
    memory.madvise(&space, page(4), length, advice).unwrap();
    assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
}

#[test]
fn a_call_that_cannot_split_changes_nothing() {
    let (memory, space) = start();
    fill(&memory, &space);
    for allocation in 0..3 {
        memory.machine().refuse_allocation(allocation);
        let got = memory.munmap(&space, page(4), PAGE_SIZE as u64);
        assert_eq!(got, Err(Errno::ENOMEM), "{allocation}");
        memory.check().unwrap();
        assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
        all_there(&memory, &space);
    }
    assert_eq!(memory.areas(&space), 1);
    // With several mappers there must be room for them in each piece, too.
    let child = memory.fork(&space).unwrap();
    for allocation in 0..PIECES as u32 + 3 {
        memory.machine().refuse_allocation(allocation);
        let got = memory.split(frame(&memory, &space, 7));
        assert_eq!(got, Err(Errno::ENOMEM), "{allocation}");
        memory.check().unwrap();
    }
    all_there(&memory, &child);
    memory.split(frame(&memory, &space, 7)).unwrap();
    memory.check().unwrap();
    all_there(&memory, &child);
    assert_eq!(
        memory.split(frame(&memory, &space, 7)),
        Ok(()),
        "it is small"
    );
    assert_eq!(memory.split(Pfn(1)), Ok(()), "it is nobody's");
}

#[test]
fn an_error_takes_four_kilobytes() {
    for consumer in [None, Some(9)] {
        let (memory, parent) = start();
        fill(&memory, &parent);
        let child = memory.fork(&parent).unwrap();
        let pfn = frame(&memory, &parent, 9);
        memory.machine().poison(pfn, 0);
        match consumer {
            Some(number) => assert_eq!(load(&memory, &child, number), Err(lost(9, 12))),
            None => {
                let report = memory.memory_failure(pfn, Context::default()).unwrap();
                assert_eq!(report.page, PageType::DirtyLru);
                assert_eq!((report.action, report.signal), (Action::Recovered, None));
            }
        }
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        memory.check().unwrap();
        for space in [&parent, &child] {
            assert_eq!(memory.entry(space, page(9)), Entry::HwPoison(pfn));
            for number in (0..PIECES).filter(|number| *number != 9) {
                assert_eq!(load(&memory, space, number), Ok(number as u8));
            }
        }
        assert_eq!(store(&memory, &parent, 9, 1), lost(9, 12));
    }
}

/// A huge page that parent and child share, after an error in page 9 of it that met no memory to
/// split it with.
fn unsplit() -> (Small, AddressSpace, AddressSpace, Pfn) {
    let (memory, parent) = start();
    fill(&memory, &parent);
    parent.set_kill_policy(KillPolicy::Early);
    let child = memory.fork(&parent).unwrap();
    child.set_kill_policy(KillPolicy::Late);
    let pfn = frame(&memory, &parent, 9);
    memory.machine().refuse_allocation(0);
    let consumer = Some(Consumer {
        space: child.id(),
        address: page(9),
    });
    let context = Context {
        consumer,
        simulated: true,
    };
    let report = memory.memory_failure(pfn, context).unwrap();
    assert_eq!(report.page.to_string(), "unsplit thp");
    assert_eq!(report.action, Action::Failed);
    assert_eq!(
        report.signal.map(Outcome::Sigbus),
        Some(lost(9, HUGE_SHIFT))
    );
    (memory, parent, child, pfn)
}

#[test]
fn what_was_given_up_and_cannot_be_split_is_no_loss() {
    let (memory, space) = start();
    fill(&memory, &space);
    space.set_kill_policy(KillPolicy::Early);
    memory.madvise(&space, AT, HUGE, Advice::Free).unwrap();
    let pfn = frame(&memory, &space, 9);
    memory.machine().refuse_allocation(0);
    let report = memory.memory_failure(pfn, Context::default()).unwrap();
    assert!(memory.machine().take_refused());
    assert_eq!(
        (report.page, report.action, report.signal),
        (PageType::UnsplitThp, Action::Failed, None)
    );
    assert!(memory.machine().take_victims().is_empty());
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    for number in 0..PIECES {
        assert_eq!(load(&memory, &space, number), Ok(0));
    }
    memory.check().unwrap();
}

#[test]
fn what_cannot_be_split_is_lost_as_a_whole_but_only_one_frame_is() {
    let (memory, parent, child, pfn) = unsplit();
    memory.check().unwrap();
    let victims = memory.machine().take_victims();
    assert_eq!((victims.len(), victims[0].space), (1, parent.id()));
    let signal = victims[0].signal;
    assert_eq!(signal.code, BusCode::ActionOptional);
    assert_eq!(
        (signal.address, u32::from(signal.lsb)),
        (page(9), HUGE_SHIFT)
    );
    let head = pfn.0 - 9;
    for piece in (head..head + PIECES).map(Pfn) {
        let state = match piece == pfn {
            true => FrameState::Isolated,
            false => FrameState::Free,
        };
        assert_eq!(memory.frame_state(piece), Some(state));
    }
    assert_eq!(memory.corrupted_bytes(), PAGE_SIZE as u64);
    for space in [&parent, &child] {
        assert_eq!(load(&memory, space, 2), Err(lost(2, HUGE_SHIFT)));
    }
    // A child inherits the loss.
    let grandchild = memory.fork(&child).unwrap();
    assert_eq!(store(&memory, &grandchild, 3, 1), lost(3, HUGE_SHIFT));
    // Part of it can be replaced; the rest stays lost.
    memory.machine().refuse_allocation(0);
    let one = PAGE_SIZE as u64;
    let part = memory.madvise(&child, page(4), one, Advice::DontNeed);
    assert_eq!(part, Err(Errno::ENOMEM));
    assert_eq!(load(&memory, &child, 4), Err(lost(4, HUGE_SHIFT)));
    memory
        .madvise(&child, page(4), one, Advice::DontNeed)
        .unwrap();
    assert_eq!(load(&memory, &child, 4), Ok(0));
    assert_eq!(load(&memory, &child, 5), Err(lost(5, PAGE_SHIFT)));
    memory.madvise(&parent, AT, HUGE, Advice::DontNeed).unwrap();
    assert_eq!(load(&memory, &parent, 9), Ok(0));
    assert_eq!(memory.unpoison(pfn), Ok(()));
    memory.check().unwrap();
}

#[test]
fn soft_offline_takes_one_page_and_keeps_its_contents() {
    let (memory, space) = start();
    fill(&memory, &space);
    let pfn = frame(&memory, &space, 9);
    // All of the huge page moves, if there is another.
    assert_eq!(memory.soft_offline(pfn), Ok(()));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(memory.corrupted_bytes(), PAGE_SIZE as u64);
    assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
    all_there(&memory, &space);
    memory.check().unwrap();
    // Otherwise it is split, and so it is if somebody holds another piece, or one is lost.
    for way in 0..3 {
        let (memory, space) = start();
        fill(&memory, &space);
        let pfn = frame(&memory, &space, 9);
        let other = frame(&memory, &space, 3);
        let pin = (way == 1)
            .then(|| memory.pin_user_page(&space, page(3), Access::Load))
            .transpose();
        match way {
            0 => memory.machine().refuse_allocation(0),
            2 => memory.machine().poison(other, 0),
            _ => {}
        }
        assert_eq!(memory.soft_offline(pfn), Ok(()));
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
        assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
        let pieces = (0..PIECES).filter(|number| way != 2 || *number != 3);
        for number in pieces {
            assert_eq!(load(&memory, &space, number), Ok(number as u8));
        }
        let isolated = memory.frame_state(other) == Some(FrameState::Isolated);
        assert_eq!(isolated, way == 2);
        memory.check().unwrap();
        if let Some(pin) = pin.unwrap() {
            memory.unpin_user_page(pin);
        }
    }
}

/// A block of small pages with everything that [`fill`] stores.
fn small() -> (Small, AddressSpace) {
    let (memory, space) = start();
    memory.set_huge_policy(HugePolicy::Never);
    for number in 0..PIECES {
        let done = store(&memory, &space, number, number as u8);
        assert_eq!(done, Outcome::Resolved);
    }
    assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
    memory.set_huge_policy(HugePolicy::Always);
    (memory, space)
}

fn collapse(memory: &Small, space: &AddressSpace) -> Result<(), Errno> {
    memory.madvise(space, AT, HUGE, Advice::Collapse)
}

#[test]
fn small_pages_become_a_huge_one() {
    let (memory, space) = small();
    let free = memory.free_frames();
    memory.set_huge_policy(HugePolicy::Never);
    assert_eq!(memory.khugepaged_scan(5), 0, "the policy does not let it");
    assert_eq!(
        collapse(&memory, &space),
        Ok(()),
        "that does not mind the policy"
    );
    assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
    // The table is gone.
    assert_eq!(memory.free_frames(), free + 1);
    all_there(&memory, &space);
    assert_eq!(collapse(&memory, &space), Ok(()), "it is huge already");
    let statistics = memory.khugepaged_statistics();
    assert_eq!((statistics.pages_collapsed, statistics.full_scans), (1, 1));
    // A range without a whole block has nothing to collapse.
    let part = memory.madvise(&space, page(1), HUGE, Advice::Collapse);
    assert_eq!(part, Ok(()));
    memory.check().unwrap();
}

#[test]
fn the_scanner_visits_every_process_and_keeps_to_its_limits() {
    let (memory, parent) = small();
    let child = memory.fork(&parent).unwrap();
    assert_eq!(memory.set_khugepaged_limits(PIECES, 0), Err(Errno::EINVAL));
    memory.set_khugepaged_limits(3, 3).unwrap();
    let shift = |space: &AddressSpace| memory.mapping_shift(space, AT);
    // Everything is shared.
    assert_eq!(memory.khugepaged_scan(9), 2, "one block in each process");
    assert_eq!((shift(&parent), shift(&child)), (PAGE_SHIFT, PAGE_SHIFT));
    for number in 3..PIECES {
        assert_eq!(
            store(&memory, &child, number, number as u8),
            Outcome::Resolved
        );
    }
    memory.khugepaged_scan(9);
    assert_eq!((shift(&parent), shift(&child)), (HUGE_SHIFT, HUGE_SHIFT));
    for space in [&parent, &child] {
        all_there(&memory, space);
    }
    memory.check().unwrap();
    // Missing pages become zeros, if they are few.
    let (memory, space) = small();
    memory.set_khugepaged_limits(3, 3).unwrap();
    let one = PAGE_SIZE as u64;
    memory
        .madvise(&space, page(2), 4 * one, Advice::DontNeed)
        .unwrap();
    memory.khugepaged_scan(9);
    assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
    assert_eq!(store(&memory, &space, 5, 5), Outcome::Resolved);
    memory.khugepaged_scan(9);
    assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
    assert_eq!(
        (load(&memory, &space, 4), load(&memory, &space, 5)),
        (Ok(0), Ok(5))
    );
    memory.check().unwrap();
}

#[test]
fn what_cannot_be_read_stops_a_collapse_and_nothing_else() {
    let (memory, space) = small();
    let pfn = frame(&memory, &space, 9);
    memory.machine().poison(pfn, 3);
    let before = memory.free_frames();
    assert_eq!(collapse(&memory, &space), Err(Errno::EINVAL));
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    assert_eq!(memory.free_frames(), before, "the huge page is given back");
    memory.check().unwrap();
    for number in (0..PIECES).filter(|number| *number != 9) {
        assert_eq!(load(&memory, &space, number), Ok(number as u8));
    }
    assert_eq!(load(&memory, &space, 9), Err(lost(9, PAGE_SHIFT)));
    assert_eq!(
        collapse(&memory, &space),
        Err(Errno::EINVAL),
        "a page is lost"
    );
    assert_eq!(memory.khugepaged_statistics().pages_collapsed, 0);
}

#[test]
fn a_collapse_without_memory_or_with_a_pinned_page_changes_nothing() {
    let (memory, space) = small();
    for allocation in 0..2 {
        memory.machine().refuse_allocation(allocation);
        assert_eq!(collapse(&memory, &space), Err(Errno::ENOMEM));
        memory.check().unwrap();
        all_there(&memory, &space);
    }
    let pin = memory.pin_user_page(&space, page(3), Access::Load).unwrap();
    assert_eq!(collapse(&memory, &space), Err(Errno::EAGAIN));
    memory.unpin_user_page(pin);
    let advice = Advice::Huge(HugeAdvice::Against);
    memory.madvise(&space, AT, HUGE, advice).unwrap();
    assert_eq!(collapse(&memory, &space), Err(Errno::EINVAL));
    let advice = Advice::Huge(HugeAdvice::For);
    memory.madvise(&space, AT, HUGE, advice).unwrap();
    assert_eq!(collapse(&memory, &space), Ok(()));
    all_there(&memory, &space);
    // A block that is empty, or lost as a whole, cannot be collapsed.
    memory.madvise(&space, AT, HUGE, Advice::DontNeed).unwrap();
    assert_eq!(collapse(&memory, &space), Err(Errno::EINVAL));
    let (memory, parent, _child, _) = unsplit();
    assert_eq!(collapse(&memory, &parent), Err(Errno::EINVAL));
}

#[test]
fn a_pin_on_a_piece_stays_when_the_rest_is_split_or_forked() {
    let (memory, parent) = start();
    fill(&memory, &parent);
    let pin = memory
        .pin_user_page(&parent, page(7), Access::Store)
        .unwrap();
    let child = memory.fork(&parent).unwrap();
    memory.check().unwrap();
    assert_eq!(
        memory.mapping_shift(&parent, AT),
        PAGE_SHIFT,
        "one page was copied"
    );
    assert_eq!(frame(&memory, &parent, 7), pin.frame().pfn());
    assert_ne!(frame(&memory, &child, 7), pin.frame().pfn());
    assert_eq!(frame(&memory, &child, 8), frame(&memory, &parent, 8));
    all_there(&memory, &child);
    memory.unpin_user_page(pin);
    memory.check().unwrap();
    // A huge page is given back with the last pin.
    let (memory, space) = start();
    fill(&memory, &space);
    let pin = memory
        .pin_user_page(&space, page(7), Access::Store)
        .unwrap();
    let before = memory.free_frames();
    memory.munmap(&space, AT, HUGE).unwrap();
    assert_eq!(memory.free_frames(), before);
    memory.check().unwrap();
    memory.unpin_user_page(pin);
    assert_eq!(memory.free_frames(), before + PIECES as usize);
    memory.check().unwrap();
}

/// A file with a page of each number, mapped where a huge page may be.
fn file(memory: &Small, kind: FileKind, sharing: Sharing) -> (AddressSpace, Arc<File>) {
    let file = memory.create_file(kind, HUGE).unwrap();
    for number in 0..PIECES {
        let position = number * PAGE_SIZE as u64;
        let bytes = [number as u8; PAGE_SIZE];
        assert_eq!(memory.write_file(&file, position, &bytes), Ok(PAGE_SIZE));
    }
    memory.sync(&file).unwrap();
    (map_file(memory, &file, sharing), file)
}

fn map_file(memory: &Small, file: &Arc<File>, sharing: Sharing) -> AddressSpace {
    let space = memory.create().unwrap();
    let (place, source) = (Placement::Fixed(AT), Source::File(file, 0));
    memory
        .mmap(&space, place, HUGE, Protection::READ_WRITE, sharing, source)
        .unwrap();
    space
}

#[test]
fn pages_of_a_file_become_a_huge_one_that_all_map() {
    let memory = memory_with::<BITS>(FRAMES);
    for kind in [FileKind::Stored, FileKind::Memory] {
        let (space, file) = file(&memory, kind, Sharing::Shared);
        let other = map_file(&memory, &file, Sharing::Private);
        all_there(&memory, &space);
        all_there(&memory, &other);
        assert_eq!(collapse(&memory, &space), Ok(()));
        memory.check().unwrap();
        for space in [&space, &other] {
            all_there(&memory, space);
            assert_eq!(memory.mapping_shift(space, AT), HUGE_SHIFT);
        }
        assert_eq!(frame(&memory, &space, 3), frame(&memory, &other, 3));
        let mut bytes = [0; 2];
        let read = memory.read_file(&file, 6 * PAGE_SIZE as u64 - 1, &mut bytes);
        assert_eq!((read, bytes), (Ok(2), [5, 6]));
        // A private store copies one page, and splits.
        assert_eq!(store(&memory, &other, 3, 99), Outcome::Resolved);
        assert_eq!(load(&memory, &other, 3), Ok(99));
        all_there(&memory, &space);
        assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
        memory.check().unwrap();
        memory.destroy(space);
        memory.destroy(other);
        memory.close(file);
    }
    assert_eq!(memory.free_frames(), FRAMES as usize);
}

#[test]
fn stores_and_writes_split_what_is_clean_and_not_what_is_in_memory_only() {
    for kind in [FileKind::Stored, FileKind::Memory] {
        let memory = memory_with::<BITS>(FRAMES);
        let (space, file) = file(&memory, kind, Sharing::Shared);
        let huge = |kind| match kind {
            FileKind::Stored => PAGE_SHIFT,
            FileKind::Memory | FileKind::Hugetlb => HUGE_SHIFT,
        };
        for round in 0..3 {
            assert_eq!(collapse(&memory, &space), Ok(()));
            all_there(&memory, &space);
            match round {
                0 => assert_eq!(store(&memory, &space, 4, 4), Outcome::Resolved),
                1 => {
                    let at = 4 * PAGE_SIZE as u64;
                    assert_eq!(memory.write_file(&file, at, &[4; 9]), Ok(9));
                }
                _ => {
                    let pin = memory.pin_user_page(&space, page(4), Access::Store);
                    memory.unpin_user_page(pin.unwrap());
                }
            }
            memory.check().unwrap();
            all_there(&memory, &space);
            assert_eq!(
                memory.mapping_shift(&space, AT),
                huge(kind),
                "{kind:?} {round}"
            );
            if kind == FileKind::Stored {
                assert_eq!(
                    collapse(&memory, &space),
                    Err(Errno::EAGAIN),
                    "a page is dirty"
                );
            }
            memory.sync(&file).unwrap();
            if kind == FileKind::Stored {
                let stored = memory.machine().stored(file.id(), 4);
                assert_eq!(stored, [4; PAGE_SIZE]);
            }
        }
        all_there(&memory, &space);
    }
}

#[test]
fn an_error_in_a_huge_page_of_a_file_takes_one_page_or_none() {
    let memory = memory_with::<BITS>(FRAMES);
    for (kind, lost_pages) in [(FileKind::Stored, 0), (FileKind::Memory, 1)] {
        let (space, file) = file(&memory, kind, Sharing::Shared);
        collapse(&memory, &space).unwrap();
        all_there(&memory, &space);
        memory.machine().poison(frame(&memory, &space, 9), 0);
        let failed = (0..PIECES).filter(|number| load(&memory, &space, *number).is_err());
        assert_eq!(failed.count(), lost_pages);
        memory.check().unwrap();
        memory.destroy(space);
        memory.close(file);
    }
    // Nor does it need memory to be split: it comes back by faults.
    for (kind, lost_pages) in [(FileKind::Stored, 0), (FileKind::Memory, 1)] {
        let (space, file) = file(&memory, kind, Sharing::Shared);
        collapse(&memory, &space).unwrap();
        all_there(&memory, &space);
        let pfn = frame(&memory, &space, 9);
        memory.machine().refuse_allocation(0);
        let report = memory.memory_failure(pfn, Context::default()).unwrap();
        assert_ne!(report.page, PageType::UnsplitThp);
        assert_eq!(report.action, Action::Recovered);
        memory.check().unwrap();
        let failed = (0..PIECES).filter(|number| load(&memory, &space, *number).is_err());
        assert_eq!(failed.count(), lost_pages);
        memory.destroy(space);
        memory.close(file);
    }
    assert_eq!(memory.corrupted_bytes(), 4 * PAGE_SIZE as u64);
    assert_eq!(memory.free_frames(), FRAMES as usize - 4);
}

#[test]
fn what_cannot_be_read_stops_the_collapse_of_a_file() {
    let memory = memory_with::<BITS>(FRAMES);
    let (space, file) = file(&memory, FileKind::Memory, Sharing::Shared);
    all_there(&memory, &space);
    memory.machine().poison(frame(&memory, &space, 9), 3);
    assert_eq!(collapse(&memory, &space), Err(Errno::EINVAL));
    memory.check().unwrap();
    for number in (0..PIECES).filter(|number| *number != 9) {
        assert_eq!(load(&memory, &space, number), Ok(number as u8));
    }
    assert_eq!(load(&memory, &space, 9), Err(lost(9, PAGE_SHIFT)));
    assert_eq!(collapse(&memory, &space), Err(Errno::EIO), "a page is lost");
    // Nor does one that is pinned move, nor a file that is too short.
    let pin = memory.pin_user_page(&space, page(3), Access::Load).unwrap();
    let bytes = [9; PAGE_SIZE];
    let at = 9 * PAGE_SIZE as u64;
    assert_eq!(memory.write_file(&file, at, &bytes), Ok(PAGE_SIZE));
    assert_eq!(collapse(&memory, &space), Err(Errno::EAGAIN));
    assert_eq!(frame(&memory, &space, 3), pin.frame().pfn());
    memory.unpin_user_page(pin);
    for allocation in 0..2 {
        memory.machine().refuse_allocation(allocation);
        assert_eq!(collapse(&memory, &space), Err(Errno::ENOMEM));
    }
    assert_eq!(collapse(&memory, &space), Ok(()));
    all_there(&memory, &space);
    memory.truncate(&file, HUGE - 1).unwrap();
    memory.truncate(&file, HUGE / 2 + 1).unwrap();
    memory.check().unwrap();
    assert_eq!(load(&memory, &space, 7), Ok(7));
    assert_eq!(memory.mapping_shift(&space, page(7)), PAGE_SHIFT);
    assert!(matches!(load(&memory, &space, 9), Err(Outcome::Sigbus(_))));
    assert_eq!(collapse(&memory, &space), Err(Errno::EINVAL));
    memory.check().unwrap();
}

#[test]
fn a_mapping_that_does_not_fit_splits_a_huge_page_of_a_file() {
    let memory = memory_with::<BITS>(FRAMES);
    let (space, file) = file(&memory, FileKind::Stored, Sharing::Shared);
    collapse(&memory, &space).unwrap();
    all_there(&memory, &space);
    assert_eq!(memory.mapping_shift(&space, AT), HUGE_SHIFT);
    let odd = memory.create().unwrap();
    let (place, sharing) = (Placement::Fixed(page(1)), Sharing::Shared);
    let source = Source::File(&file, 0);
    memory
        .mmap(&odd, place, HUGE, Protection::READ, sharing, source)
        .unwrap();
    assert_eq!(load(&memory, &odd, 8), Ok(7));
    assert_eq!(memory.mapping_shift(&space, AT), PAGE_SHIFT);
    let part = memory.madvise(&odd, page(1), HUGE, Advice::Collapse);
    assert_eq!(part, Ok(()), "there is no whole block in it");
    memory.check().unwrap();
    // Reclaim splits one that nobody touches, and takes it piece by piece.
    collapse(&memory, &space).unwrap();
    all_there(&memory, &space);
    while memory.reclaim(100) > 0 {}
    memory.check().unwrap();
    assert_eq!(memory.entry(&space, AT), Entry::Empty);
    all_there(&memory, &space);
}

/// One process of the test below: its pages hold its own mark, or zeros, or are lost.
fn process(memory: &Small, space: &AddressSpace, cpu: usize, running: &AtomicBool) {
    let mark = cpu as u8 + 1;
    let mut random = Random(u64::from(mark));
    while running.load(Ordering::Relaxed) {
        let at = page(u64::from(random.below(PIECES as u32)));
        let write = random.below(2) == 0;
        let access = if write { Access::Store } else { Access::Load };
        let mut byte = [mark];
        let act = |machine: &SimMachine<BITS>, pfn| {
            if write {
                machine.cpu_store(pfn, 0, &[mark; PAGE_SIZE]);
                return true;
            }
            machine.cpu_load(pfn, 64, &mut byte).is_ok()
        };
        match try_access(memory, space, cpu, at.page(), access, act).unwrap() {
            None => assert!(byte[0] == mark || byte[0] == 0, "another process's byte"),
            Some(Outcome::Resolved | Outcome::Retry | Outcome::Sigbus(_)) => {}
            Some(other) => panic!("{other:?}"),
        }
        let one = PAGE_SIZE as u64;
        let advised = match random.below(60) {
            0 => memory.madvise(space, AT, HUGE, Advice::DontNeed),
            1 => memory.madvise(space, at, one, Advice::DontNeed),
            2 => memory.fork(space).map(|child| {
                let first = page(0).page();
                let act = |_: &SimMachine<BITS>, _| true;
                let _ = try_access(memory, &child, cpu, first, Access::Store, act).unwrap();
                memory.destroy(child);
            }),
            _ => Ok(()),
        };
        assert!(
            matches!(advised, Ok(()) | Err(Errno::ENOMEM)),
            "{advised:?}"
        );
    }
}

#[test]
fn cpus_split_fork_and_unmap_at_once() {
    /// Ends the run when its thread ends.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }
    let frames = 3000;
    let memory = memory_with::<BITS>(frames);
    memory.set_huge_policy(HugePolicy::Always);
    let spaces: Vec<_> = (0..CPUS).map(|_| memory.create().unwrap()).collect();
    for space in &spaces {
        map(&memory, space, AT.0, HUGE);
    }
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        for (cpu, space) in spaces.iter().enumerate() {
            let (memory, running) = (&memory, &running);
            scope.spawn(move || {
                let _stop = Stop(running);
                process(memory, space, cpu, running);
            });
        }
        scope.spawn(|| {
            let _stop = Stop(&running);
            let mut random = Random(99);
            let mut done = 0;
            while running.load(Ordering::Relaxed) && done < 300 {
                let space = &spaces[random.below(CPUS as u32) as usize];
                let at = page(u64::from(random.below(PIECES as u32)));
                if let Entry::Page(pfn, _) = memory.entry(space, at) {
                    done += 1;
                    match random.below(8) {
                        0 => memory.machine().poison(pfn, 1),
                        1 => drop(memory.memory_failure(pfn, Context::default()).err()),
                        2 => drop(memory.soft_offline(pfn)),
                        _ => drop(memory.split(pfn)),
                    }
                }
                thread::yield_now();
            }
        });
    });
    memory.check().unwrap();
    spaces.into_iter().for_each(|space| memory.destroy(space));
    memory.check().unwrap();
    let isolated = (0..u64::from(frames))
        .filter(|frame| memory.frame_state(Pfn(FIRST_FRAME + frame)) == Some(FrameState::Isolated))
        .count();
    assert!(isolated > 10, "only {isolated} frames failed");
    assert_eq!(memory.free_frames() + isolated, frames as usize);
}
