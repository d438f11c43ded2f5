//! Merging of pages with equal contents: what is saved, who sees it, and what an error does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mm::sim::{CPUS, FIRST_FRAME, Random, SimMachine, memory, try_access};
use mm::{
    Access, Action, AddressSpace, Advice, BusCode, Context, Entry, Errno, FileKind, FrameState,
    KsmStatistics, Memory, Outcome, PAGE_SIZE, PageType, Pfn, Placement, Protection, Sharing,
    Source, VirtualAddress,
};

const FRAMES: u32 = 96;

/// Page number `page` of what a process has mapped.
fn at(page: u64) -> VirtualAddress {
    VirtualAddress(0x7000_0000 + page * PAGE_SIZE as u64)
}

fn bytes(pages: u64) -> u64 {
    pages * PAGE_SIZE as u64
}

/// A process with so many private pages that take part in merging.
fn process(memory: &Memory<SimMachine>, pages: u64) -> AddressSpace {
    let space = memory.create().unwrap();
    let fixed = Placement::Fixed(at(0));
    let rw = Protection::READ_WRITE;
    let (sharing, source) = (Sharing::Private, Source::Anonymous);
    memory
        .mmap(&space, fixed, bytes(pages), rw, sharing, source)
        .unwrap();
    memory
        .madvise(&space, at(0), bytes(pages), Advice::Mergeable)
        .unwrap();
    space
}

fn touch(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    page: u64,
    access: Access,
    mut act: impl FnMut(&SimMachine, Pfn) -> bool,
) -> Outcome {
    for _ in 0..8 {
        match try_access(memory, space, 0, at(page).page(), access, &mut act).unwrap() {
            None => return Outcome::Resolved,
            Some(Outcome::Resolved) => {}
            Some(other) => return other,
        }
    }
    panic!("it does not end");
}

fn store(memory: &Memory<SimMachine>, space: &AddressSpace, page: u64, value: u8) -> Outcome {
    touch(memory, space, page, Access::Store, |machine, pfn| {
        machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
        true
    })
}

fn load(memory: &Memory<SimMachine>, space: &AddressSpace, page: u64) -> Result<u8, Outcome> {
    let mut byte = [0];
    let outcome = touch(memory, space, page, Access::Load, |machine, pfn| {
        machine.cpu_load(pfn, 0, &mut byte).is_ok()
    });
    if outcome == Outcome::Resolved {
        Ok(byte[0])
    } else {
        Err(outcome)
    }
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace, page: u64) -> Pfn {
    match memory.entry(space, at(page)) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("{other:?}"),
    }
}

fn is_lost(outcome: Outcome, page: u64) -> bool {
    matches!(outcome, Outcome::Sigbus(bus)
        if bus.code == BusCode::ActionRequired && bus.address == at(page) && bus.lsb == 12)
}

/// Two passes: one to see the pages, one to see that they did not change.
fn scan(memory: &Memory<SimMachine>) -> KsmStatistics {
    for _ in 0..2 {
        while memory.ksm_scan(7) == 7 {}
    }
    memory.check().unwrap();
    memory.ksm_statistics()
}

/// A process whose pages all hold `value`, merged.
fn merged(memory: &Memory<SimMachine>, pages: u64, value: u8) -> AddressSpace {
    let space = process(memory, pages);
    for page in 0..pages {
        assert_eq!(store(memory, &space, page, value), Outcome::Resolved);
    }
    scan(memory);
    assert_eq!(memory.ksm_merging_pages(&space), pages);
    space
}

#[test]
fn equal_pages_share_a_frame_until_someone_stores() {
    let memory = memory(FRAMES);
    let (one, other) = (process(&memory, 2), process(&memory, 2));
    for space in [&one, &other] {
        assert_eq!(store(&memory, space, 0, 7), Outcome::Resolved);
    }
    assert_eq!(store(&memory, &one, 1, 8), Outcome::Resolved);
    let free = memory.free_frames();
    assert_eq!(memory.ksm_scan(100), 3, "as many as there are");
    assert_eq!(memory.ksm_merging_pages(&one), 0, "they may be changing");
    let statistics = scan(&memory);
    assert_eq!(memory.free_frames(), free + 1);
    assert_eq!(frame(&memory, &one, 0), frame(&memory, &other, 0));
    assert_eq!(
        memory.frame_state(frame(&memory, &one, 0)),
        Some(FrameState::Ksm)
    );
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (1, 1));
    assert_eq!(statistics.full_scans, 3);
    assert!(statistics.general_profit > 3000, "{statistics:?}");

    assert_eq!(store(&memory, &one, 0, 9), Outcome::Resolved);
    assert_eq!(load(&memory, &one, 0), Ok(9));
    assert_eq!(load(&memory, &other, 0), Ok(7));
    assert_eq!(memory.free_frames(), free);
    memory.check().unwrap();

    // The last sharer's store copies too, and the frame that nobody uses is free.
    assert_eq!(store(&memory, &other, 0, 9), Outcome::Resolved);
    assert_eq!(memory.ksm_statistics().pages_shared, 0);
    assert_eq!(memory.free_frames(), free);
    let statistics = scan(&memory);
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (1, 1));
}

#[test]
fn pages_that_change_between_passes_or_did_not_ask_are_left_alone() {
    let memory = memory(FRAMES);
    let space = process(&memory, 3);
    for round in 1..6 {
        assert_eq!(store(&memory, &space, 0, round), Outcome::Resolved);
        assert_eq!(store(&memory, &space, 1, round), Outcome::Resolved);
        memory.ksm_scan(100);
    }
    let statistics = memory.ksm_statistics();
    assert_eq!((statistics.pages_shared, statistics.pages_volatile), (0, 2));

    let shy = memory.create().unwrap();
    let (rw, private) = (Protection::READ_WRITE, Sharing::Private);
    memory
        .mmap(
            &shy,
            Placement::Fixed(at(0)),
            bytes(2),
            rw,
            private,
            Source::Anonymous,
        )
        .unwrap();
    for page in 0..2 {
        assert_eq!(store(&memory, &shy, page, 5), Outcome::Resolved);
    }
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&shy), 0);
    // Shared memory ignores the advice.
    let file = memory.create_file(FileKind::Memory, bytes(2)).unwrap();
    let source = Source::File(&file, 0);
    memory
        .mmap(
            &shy,
            Placement::Fixed(at(0)),
            bytes(2),
            rw,
            Sharing::Shared,
            source,
        )
        .unwrap();
    memory
        .madvise(&shy, at(0), bytes(2), Advice::Mergeable)
        .unwrap();
    for page in 0..2 {
        assert_eq!(store(&memory, &shy, page, 5), Outcome::Resolved);
    }
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&shy), 0);
}

#[test]
fn a_checksum_is_not_taken_for_the_contents() {
    // The simulated machine's checksums have sixteen values, and here are more pages than that.
    let memory = memory(FRAMES);
    let space = process(&memory, 40);
    for page in 0..40 {
        assert_eq!(
            store(&memory, &space, page, page as u8 + 1),
            Outcome::Resolved
        );
    }
    let statistics = scan(&memory);
    assert_eq!(
        (statistics.pages_shared, statistics.pages_unshared),
        (0, 40)
    );
    for page in 0..40 {
        assert_eq!(load(&memory, &space, page), Ok(page as u8 + 1));
    }
}

#[test]
fn contents_that_many_share_have_several_frames_which_heal_each_other() {
    let memory = memory(FRAMES);
    memory.set_ksm_max_page_sharing(2).unwrap();
    let space = merged(&memory, 4, 7);
    let statistics = memory.ksm_statistics();
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (2, 2));
    assert_eq!(
        (statistics.stable_node_chains, statistics.stable_node_dups),
        (1, 2)
    );

    let failed = frame(&memory, &space, 0);
    memory.machine().poison(failed, 9);
    let report = memory.memory_failure(failed, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::CleanLru, Action::Recovered)
    );
    assert_eq!(report.signal, None);
    assert!(memory.machine().take_victims().is_empty());
    for page in 0..4 {
        assert_ne!(frame(&memory, &space, page), failed);
        assert_eq!(load(&memory, &space, page), Ok(7));
    }
    memory.check().unwrap();

    // There are two frames again: so the second error heals as well, met by a load this time.
    memory.machine().poison(frame(&memory, &space, 3), 0);
    assert_eq!(load(&memory, &space, 3), Ok(7));
    // And by a store, which copies.
    memory.machine().poison(frame(&memory, &space, 3), 0);
    assert_eq!(store(&memory, &space, 3, 8), Outcome::Resolved);
    let statistics = memory.ksm_statistics();
    assert_eq!(statistics.pages_healed, 3);
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (2, 1));
}

#[test]
fn a_merged_page_without_a_twin_is_lost_to_all_who_share_it() {
    let memory = memory(FRAMES);
    let space = merged(&memory, 3, 7);
    let child = memory.fork(&space).unwrap();
    let failed = frame(&memory, &space, 0);
    memory.machine().poison(failed, 0);
    assert!(is_lost(load(&memory, &child, 1).unwrap_err(), 1));
    assert!(is_lost(store(&memory, &space, 2, 1), 2));
    assert_eq!(memory.entry(&space, at(0)), Entry::HwPoison(failed));
    assert_eq!(memory.frame_state(failed), Some(FrameState::Isolated));
    let statistics = memory.ksm_statistics();
    assert_eq!((statistics.pages_shared, statistics.pages_healed), (0, 0));
    memory.check().unwrap();
}

#[test]
fn twins_that_cannot_be_read_are_isolated_and_the_next_one_serves() {
    let memory = memory(FRAMES);
    memory.set_ksm_max_page_sharing(2).unwrap();
    let space = merged(&memory, 6, 7);
    let mut frames: Vec<Pfn> = (0..6).map(|page| frame(&memory, &space, page)).collect();
    frames.sort_unstable();
    frames.dedup();
    assert_eq!(frames.len(), 3);
    // The newest two fail; whichever is met first finds the other one unreadable.
    let newest = frame(&memory, &space, 5);
    let others: Vec<Pfn> = frames
        .iter()
        .copied()
        .filter(|pfn| *pfn != newest)
        .collect();
    memory.machine().poison(newest, 0);
    memory.machine().poison(others[0], 0);
    for page in 0..6 {
        assert_eq!(load(&memory, &space, page), Ok(7));
    }
    for pfn in [newest, others[0]] {
        assert_eq!(memory.frame_state(pfn), Some(FrameState::Isolated));
    }
    assert_eq!(memory.ksm_statistics().pages_healed, 2);

    // All of them at once: nobody gets anything else.
    let mut frames: Vec<Pfn> = (0..6).map(|page| frame(&memory, &space, page)).collect();
    frames.dedup();
    frames
        .iter()
        .for_each(|pfn| memory.machine().poison(*pfn, 1));
    let report = memory
        .memory_failure(frames[0], Context::default())
        .unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::DirtyLru, Action::Recovered)
    );
    for page in 0..6 {
        assert!(is_lost(load(&memory, &space, page).unwrap_err(), page));
    }
    memory.check().unwrap();
}

#[test]
fn healing_that_finds_no_memory_changes_nothing_but_that_the_page_is_lost() {
    for refused in 0..4 {
        let memory = memory(FRAMES);
        memory.set_ksm_max_page_sharing(2).unwrap();
        let space = merged(&memory, 4, 7);
        let failed = frame(&memory, &space, 0);
        let free = memory.free_frames();
        memory.machine().refuse_allocation(refused);
        let report = memory.memory_failure(failed, Context::default()).unwrap();
        assert!(memory.machine().take_refused());
        assert_eq!(report.page, PageType::DirtyLru, "allocation {refused}");
        assert_eq!(memory.free_frames(), free);
        assert!(is_lost(load(&memory, &space, 0).unwrap_err(), 0));
        memory.check().unwrap();
    }
}

#[test]
fn pages_of_zeros_share_frames_that_need_no_twin() {
    let memory = memory(FRAMES);
    memory.set_ksm_use_zero_pages(true);
    let space = process(&memory, 3);
    for page in 0..3 {
        assert_eq!(store(&memory, &space, page, 0), Outcome::Resolved);
    }
    let free = memory.free_frames();
    memory.ksm_scan(100);
    let statistics = memory.ksm_statistics();
    assert_eq!(statistics.zero_pages, 3, "zeros need no second look");
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (0, 0));
    assert_eq!(memory.free_frames(), free + 2);
    memory.machine().poison(frame(&memory, &space, 0), 0);
    for page in 0..3 {
        assert_eq!(load(&memory, &space, page), Ok(0));
    }
    assert_eq!(memory.ksm_statistics().pages_healed, 1);
    // With two mappings for each frame the third page gets a frame of its own.
    memory.ksm_unmerge_all().unwrap();
    memory.set_ksm_max_page_sharing(2).unwrap();
    memory.ksm_scan(100);
    assert_eq!(memory.ksm_statistics().zero_pages, 3);
    assert_eq!(memory.free_frames(), free);
    memory.check().unwrap();
}

#[test]
fn a_scan_that_meets_poison_isolates_it_and_leaves_the_rest() {
    // In the page that it visits.
    let memory = memory(FRAMES);
    let space = process(&memory, 3);
    for page in 0..3 {
        assert_eq!(store(&memory, &space, page, 7), Outcome::Resolved);
    }
    let failed = frame(&memory, &space, 1);
    memory.machine().poison(failed, 5);
    let statistics = scan(&memory);
    assert_eq!(memory.frame_state(failed), Some(FrameState::Isolated));
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (1, 1));
    assert!(is_lost(load(&memory, &space, 1).unwrap_err(), 1));

    // In the frame that it would share: those who share it lose it, and it does not.
    let stable = frame(&memory, &space, 0);
    memory.machine().poison(stable, 63);
    memory
        .madvise(&space, at(1), bytes(1), Advice::DontNeed)
        .unwrap();
    assert_eq!(store(&memory, &space, 1, 7), Outcome::Resolved);
    memory.ksm_scan(100);
    assert_eq!(memory.frame_state(stable), Some(FrameState::Isolated));
    assert_eq!(load(&memory, &space, 1), Ok(7));
    assert!(is_lost(load(&memory, &space, 0).unwrap_err(), 0));

    // In a page that waits in the unstable tree.
    for page in [0, 2] {
        memory
            .madvise(&space, at(page), bytes(1), Advice::DontNeed)
            .unwrap();
        assert_eq!(store(&memory, &space, page, 7), Outcome::Resolved);
    }
    while memory.ksm_scan(1) == 1 {}
    assert_eq!(memory.ksm_scan(1), 1);
    let waits = frame(&memory, &space, 0);
    assert_eq!(memory.ksm_statistics().pages_unshared, 1);
    memory.machine().poison(waits, 63);
    scan(&memory);
    assert_eq!(memory.frame_state(waits), Some(FrameState::Isolated));
    assert!(is_lost(load(&memory, &space, 0).unwrap_err(), 0));
    assert_eq!(
        (load(&memory, &space, 1), load(&memory, &space, 2)),
        (Ok(7), Ok(7))
    );
    assert_eq!(memory.ksm_statistics().pages_sharing, 1);
}

#[test]
fn every_allocation_of_a_scan_may_be_refused() {
    for refused in 0.. {
        let memory = memory(FRAMES);
        memory.set_ksm_max_page_sharing(2).unwrap();
        memory.set_ksm_use_zero_pages(true);
        let space = process(&memory, 8);
        for page in 0..8 {
            assert_eq!(
                store(&memory, &space, page, (page as u8 % 3) * 5),
                Outcome::Resolved
            );
        }
        memory.machine().refuse_allocation(refused);
        scan(&memory);
        if !memory.machine().take_refused() {
            assert!(refused > 10);
            return;
        }
        for page in 0..8 {
            assert_eq!(load(&memory, &space, page), Ok((page as u8 % 3) * 5));
        }
        let statistics = scan(&memory);
        assert!(
            statistics.pages_sharing + statistics.zero_pages >= 4,
            "{statistics:?}"
        );
    }
}

#[test]
fn unmerging_gives_every_page_its_own_frame() {
    let memory = memory(FRAMES);
    let space = merged(&memory, 4, 7);
    let free = memory.free_frames();
    memory
        .madvise(&space, at(1), bytes(2), Advice::Unmergeable)
        .unwrap();
    assert_eq!(memory.areas(&space), 3);
    assert_eq!(memory.free_frames(), free - 2);
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&space), 2);
    for page in 0..4 {
        assert_eq!(load(&memory, &space, page), Ok(7));
    }
    memory.ksm_unmerge_all().unwrap();
    assert_eq!(memory.ksm_merging_pages(&space), 0);
    let statistics = scan(&memory);
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (1, 1));
}

#[test]
fn unmerging_goes_on_after_a_lost_page_and_stops_without_memory() {
    let memory = memory(FRAMES);
    let space = merged(&memory, 3, 7);
    let other = merged(&memory, 2, 9);
    memory.machine().poison(frame(&memory, &space, 0), 0);
    memory
        .madvise(&space, at(0), bytes(3), Advice::Unmergeable)
        .unwrap();
    for page in 0..3 {
        assert!(is_lost(load(&memory, &space, page).unwrap_err(), page));
    }
    memory.machine().refuse_allocation(0);
    let refused = memory.madvise(&other, at(0), bytes(2), Advice::Unmergeable);
    assert_eq!(refused, Err(Errno::ENOMEM));
    assert_eq!(memory.ksm_merging_pages(&other), 2);
    memory.machine().refuse_allocation(2);
    assert_eq!(memory.ksm_unmerge_all(), Err(Errno::ENOMEM));
    assert_eq!(memory.ksm_merging_pages(&other), 1);
    // The areas take part still.
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&other), 2);
    memory
        .madvise(&other, at(0), bytes(2), Advice::Unmergeable)
        .unwrap();
    assert_eq!(memory.ksm_merging_pages(&other), 0);
    assert_eq!(
        (load(&memory, &other, 0), load(&memory, &other, 1)),
        (Ok(9), Ok(9))
    );
    memory.check().unwrap();
}

#[test]
fn a_process_may_have_all_it_maps_merged_and_its_children_too() {
    let memory = memory(FRAMES);
    let space = memory.create().unwrap();
    assert!(!memory.memory_merge(&space));
    memory.set_memory_merge(&space, true).unwrap();
    assert!(memory.memory_merge(&space));
    let child = memory.fork(&space).unwrap();
    assert!(memory.memory_merge(&child));
    let (rw, private) = (Protection::READ_WRITE, Sharing::Private);
    for space in [&space, &child] {
        memory
            .mmap(
                space,
                Placement::Fixed(at(0)),
                bytes(1),
                rw,
                private,
                Source::Anonymous,
            )
            .unwrap();
        assert_eq!(store(&memory, space, 0, 3), Outcome::Resolved);
    }
    scan(&memory);
    assert_eq!(frame(&memory, &space, 0), frame(&memory, &child, 0));
    memory.set_memory_merge(&space, false).unwrap();
    assert!(!memory.memory_merge(&space));
    assert_eq!(memory.ksm_merging_pages(&space), 0);
    assert_eq!(memory.ksm_merging_pages(&child), 1);
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&space), 0);
    memory.check().unwrap();
}

#[test]
fn a_merged_page_can_be_forked_moved_and_protected() {
    let memory = memory(FRAMES);
    memory.set_ksm_max_page_sharing(2).unwrap();
    let space = merged(&memory, 4, 7);
    let child = memory.fork(&space).unwrap();
    assert_eq!(memory.ksm_merging_pages(&child), 4, "a fork reads nothing");
    let old = frame(&memory, &space, 0);
    memory.machine().refuse_allocation(2);
    assert_eq!(memory.soft_offline(old), Err(Errno::ENOMEM));
    assert_eq!(frame(&memory, &space, 0), old);
    assert_eq!(memory.soft_offline(old), Ok(()));
    let moved = frame(&memory, &space, 0);
    assert_ne!(moved, old);
    assert_eq!(memory.frame_state(moved), Some(FrameState::Ksm));
    memory.check().unwrap();
    // It is still a twin of the others.
    memory.machine().poison(moved, 3);
    assert_eq!(load(&memory, &child, 0), Ok(7));
    memory
        .mprotect(&space, at(0), bytes(4), Protection::READ)
        .unwrap();
    assert_eq!(load(&memory, &space, 0), Ok(7));
    memory
        .mprotect(&space, at(0), bytes(4), Protection::READ_WRITE)
        .unwrap();
    assert_eq!(store(&memory, &space, 0, 1), Outcome::Resolved);
    assert_eq!(
        (load(&memory, &child, 0), load(&memory, &space, 1)),
        (Ok(7), Ok(7))
    );
    // A soft offline that meets poison heals it too.
    let failing = frame(&memory, &child, 0);
    memory.machine().poison(failing, 3);
    assert_eq!(memory.soft_offline(failing), Err(Errno::EHWPOISON));
    assert_eq!(load(&memory, &child, 0), Ok(7));
    memory.check().unwrap();
}

#[test]
fn private_pages_of_files_take_part_and_pages_of_the_cache_do_not() {
    let memory = memory(FRAMES);
    let file = memory.create_file(FileKind::Stored, bytes(4)).unwrap();
    for page in 0..4 {
        memory.machine().preset(file.id(), page, [4; PAGE_SIZE]);
    }
    let space = process(&memory, 4);
    let (rw, source) = (Protection::READ_WRITE, Source::File(&file, 0));
    memory
        .mmap(
            &space,
            Placement::Fixed(at(0)),
            bytes(4),
            rw,
            Sharing::Private,
            source,
        )
        .unwrap();
    memory
        .madvise(&space, at(0), bytes(4), Advice::Mergeable)
        .unwrap();
    for page in 0..2 {
        assert_eq!(store(&memory, &space, page, 6), Outcome::Resolved);
        assert_eq!(load(&memory, &space, page + 2), Ok(4));
    }
    scan(&memory);
    assert_eq!(memory.ksm_merging_pages(&space), 2);
    assert_eq!(frame(&memory, &space, 0), frame(&memory, &space, 1));
    assert_ne!(frame(&memory, &space, 2), frame(&memory, &space, 3));
    memory
        .madvise(&space, at(0), bytes(1), Advice::DontNeed)
        .unwrap();
    assert_eq!(load(&memory, &space, 0), Ok(4), "the file again");
}

#[test]
fn pages_that_share_a_frame_since_a_fork_are_not_merged_with_themselves() {
    let memory = memory(FRAMES);
    let space = process(&memory, 1);
    assert_eq!(store(&memory, &space, 0, 7), Outcome::Resolved);
    let child = memory.fork(&space).unwrap();
    let statistics = scan(&memory);
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (0, 0));
    assert_eq!(store(&memory, &child, 0, 7), Outcome::Resolved);
    let third = memory.fork(&space).unwrap();
    let statistics = scan(&memory);
    assert_eq!((statistics.pages_shared, statistics.pages_sharing), (1, 2));
    assert_eq!(load(&memory, &third, 0), Ok(7));
}

#[test]
fn settings_are_checked_and_pages_that_are_gone_are_forgotten() {
    let memory = memory(300);
    assert_eq!(memory.ksm_scan(10), 0);
    assert_eq!(memory.ksm_statistics(), KsmStatistics::default());
    assert_eq!(memory.set_ksm_max_page_sharing(1), Err(Errno::EINVAL));
    let space = merged(&memory, 2, 7);
    assert_eq!(memory.set_ksm_max_page_sharing(9), Err(Errno::EBUSY));
    assert_eq!(memory.set_ksm_max_page_sharing(256), Ok(()), "it is that");
    let wide = process(&memory, 200);
    for page in 0..200 {
        // Sixteen checksums for all of them: few are compared with few.
        assert_eq!(store(&memory, &wide, page, page as u8), Outcome::Resolved);
    }
    scan(&memory);
    let before = memory.ksm_statistics();
    assert!(before.pages_unshared > 100, "{before:?}");
    memory.destroy(wide);
    memory.destroy(space);
    // More than one step forgets at once.
    assert!(memory.ksm_scan(100) > 1);
    let after = memory.ksm_statistics();
    assert_eq!((after.pages_volatile, after.pages_unshared), (0, 0));
    assert_eq!(
        (after.pages_shared, after.general_profit),
        (0, 0),
        "{after:?}"
    );
    assert_eq!(memory.set_ksm_max_page_sharing(9), Ok(()));
    assert_eq!(memory.free_frames(), 300);
    assert_eq!(memory.frame_state(Pfn(FIRST_FRAME)), Some(FrameState::Free));
}

/// Runs one process whose pages often equal those of others: it sees its own bytes, or is told.
fn run_process(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    cpu: usize,
    running: &AtomicBool,
) {
    let mut random = Random(cpu as u64);
    let mut holds = [0; 8];
    while running.load(Ordering::Relaxed) {
        let page = random.below(8) as usize;
        let value = random.below(3) as u8;
        let write = random.below(4) == 0;
        let access = if write { Access::Store } else { Access::Load };
        let mut byte = [0];
        let act = |machine: &SimMachine, pfn| {
            if write {
                machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
                return true;
            }
            machine.cpu_load(pfn, 64, &mut byte).is_ok()
        };
        let address = at(page as u64);
        match try_access(memory, space, cpu, address.page(), access, act).unwrap() {
            None if write => holds[page] = value,
            None => assert_eq!(byte[0], holds[page], "another's byte"),
            Some(Outcome::Sigbus(_)) => {
                memory
                    .madvise(space, address, bytes(1), Advice::DontNeed)
                    .unwrap();
                holds[page] = 0;
            }
            Some(Outcome::Resolved | Outcome::Retry) => {}
            Some(other) => panic!("{other:?}"),
        }
        if random.below(60) == 0 {
            memory.destroy(memory.fork(space).unwrap());
        }
        if random.below(200) == 0 {
            memory
                .madvise(space, at(0), bytes(4), Advice::Unmergeable)
                .unwrap();
            memory
                .madvise(space, at(0), bytes(4), Advice::Mergeable)
                .unwrap();
        }
    }
}

/// Ends the run when its thread ends, be it by a panic.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn the_scanner_gets_along_with_faults_forks_errors_and_moves() {
    let memory = memory(4000);
    memory.set_ksm_max_page_sharing(3).unwrap();
    let spaces: Vec<_> = (0..CPUS).map(|_| process(&memory, 8)).collect();
    let running = AtomicBool::new(true);
    let mut merged = 0;
    thread::scope(|scope| {
        for (cpu, space) in spaces.iter().enumerate() {
            let (memory, running) = (&memory, &running);
            scope.spawn(move || {
                let _stop = StopOnDrop(running);
                run_process(memory, space, cpu, running);
            });
        }
        let _stop = StopOnDrop(&running);
        let mut random = Random(9);
        let mut errors = 0;
        while running.load(Ordering::Relaxed) && (errors < 100 || merged < 20) {
            memory.ksm_scan(5);
            merged += u64::from(memory.ksm_statistics().pages_sharing > 0);
            let space = &spaces[random.below(CPUS as u32) as usize];
            if random.below(4) == 0
                && errors < 100
                && let Entry::Page(pfn, _) = memory.entry(space, at(u64::from(random.below(8))))
            {
                errors += 1;
                match random.below(3) {
                    0 => memory.machine().poison(pfn, 1),
                    1 => drop(memory.memory_failure(pfn, Context::default()).err()),
                    _ => drop(memory.soft_offline(pfn)),
                }
            }
            thread::yield_now();
        }
    });
    memory.check().unwrap();
    spaces.into_iter().for_each(|space| memory.destroy(space));
    memory.check().unwrap();
    let isolated = (0..4000)
        .filter(|frame| memory.frame_state(Pfn(FIRST_FRAME + frame)) == Some(FrameState::Isolated))
        .count();
    assert!(merged >= 20 && isolated > 30, "{merged} {isolated}");
    assert_eq!(memory.free_frames() + isolated, 4000);
}

/// Pages of three processes, with all that merging does: zeros, equals, classes that are full.
const VALUES: [u8; 6] = [0, 7, 7, 0, 8, 7];

/// A frame fails before each read in turn, whatever it is that is read.
#[test]
fn whatever_a_scan_reads_may_fail() {
    for zero_pages in [true, false] {
        whatever_is_read_may_fail(zero_pages);
    }
}

fn whatever_is_read_may_fail(zero_pages: bool) {
    let mut failure = 0;
    loop {
        let memory = memory(FRAMES);
        memory.set_ksm_max_page_sharing(2).unwrap();
        memory.set_ksm_use_zero_pages(zero_pages);
        let spaces = [(); 3].map(|()| process(&memory, VALUES.len() as u64));
        for space in &spaces {
            for (page, value) in (0..).zip(VALUES) {
                assert_eq!(store(&memory, space, page, value), Outcome::Resolved);
            }
        }
        memory.machine().fail_while_read(failure);
        for _ in 0..4 * spaces.len() * VALUES.len() {
            memory.ksm_scan(1);
            for pfn in memory.machine().take_consumed() {
                assert!(memory.is_poisoned(pfn), "{failure}: consumed and forgotten");
            }
            // At most two may share a frame: so two do, or it is not stable.
            let statistics = memory.ksm_statistics();
            assert_eq!(
                statistics.pages_sharing, statistics.pages_shared,
                "{failure}: a stable frame that nobody shares"
            );
        }
        if memory.machine().cancel_failure() {
            break;
        }
        let mut lost = 0;
        for space in &spaces {
            for (page, value) in (0..).zip(VALUES) {
                match load(&memory, space, page) {
                    Ok(seen) => assert_eq!(seen, value, "{failure}: page {page}"),
                    Err(Outcome::Sigbus(bus)) if bus.code == BusCode::ActionRequired => lost += 1,
                    Err(other) => panic!("{failure}: {other:?}"),
                }
            }
        }
        // A shared frame that has no twin takes at most those with it that share it.
        assert!(lost <= 2, "{failure}: {lost} pages are lost");
        memory.check().unwrap();
        for space in spaces {
            memory.destroy(space);
        }
        failure += 1;
    }
    assert!(failure > 40, "so many reads: {failure}");
}
