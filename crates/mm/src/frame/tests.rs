//! What the table begins with; and what a CPU meets that takes frames out of the allocator while an
//! error is found in one of them.

use crate::sim::{FIRST_FRAME, SimMachine, memory_with};
use crate::{Action, Context, Errno, FrameState, Memory, PageType, Pfn};

/// Huge pages have 16 pieces.
const BITS: u32 = 4;
const HUGE_ORDER: usize = BITS as usize;
const PIECES: u64 = 1 << BITS;
const SIMULATED: Context = Context {
    consumer: None,
    simulated: true,
};

type Small = Memory<SimMachine<BITS>>;

/// A memory of one block, of which a frame fails while all of it is on its way out of the
/// allocator. The block is back there, so that the next CPU that takes it is the one.
fn failed_on_its_way(order: usize, failed: u64) -> (Small, Pfn) {
    let memory = memory_with::<BITS>(1 << order);
    let first = memory.frames.buddy.lock().allocate(order).unwrap();
    let pfn = Pfn(FIRST_FRAME + failed);
    let report = memory.memory_failure(pfn, SIMULATED).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::FreeBuddy, Action::Delayed)
    );
    assert_eq!(memory.frame_state(pfn), Some(FrameState::Free));
    memory.frames.buddy.lock().release(first, order);
    (memory, pfn)
}

/// Nobody got the frame, and the rest of its block is free.
fn only_isolated(memory: &Small, failed: Pfn) {
    assert_eq!(memory.frame_state(failed), Some(FrameState::Isolated));
    assert_eq!(memory.free_frames(), memory.total_frames() - 1);
    memory.check().unwrap();
    assert_eq!(memory.unpoison(failed), Ok(()));
    assert_eq!(memory.free_frames(), memory.total_frames());
    memory.check().unwrap();
}

#[test]
fn a_single_frame_that_fails_on_its_way_out_is_not_used() {
    for state in [FrameState::Anonymous, FrameState::Table] {
        let (memory, failed) = failed_on_its_way(0, 0);
        let (frames, machine) = (&memory.frames, &memory.machine);
        let error = match state {
            FrameState::Table => frames.allocate_table(machine).map(drop),
            state => frames.allocate_user(machine, state).map(drop),
        };
        assert_eq!(error, Err(Errno::ENOMEM));
        only_isolated(&memory, failed);
    }
}

#[test]
fn a_block_of_which_a_frame_fails_on_its_way_out_is_not_used() {
    for failed in [0, 5, PIECES - 1] {
        let (memory, failed) = failed_on_its_way(HUGE_ORDER, failed);
        let block = memory.allocate_kernel(HUGE_ORDER);
        assert_eq!(block.map(drop), Err(Errno::ENOMEM));
        only_isolated(&memory, failed);
    }
}

#[test]
fn a_huge_page_of_which_a_piece_fails_on_its_way_out_is_not_used() {
    for failed in [0, 5, PIECES - 1] {
        let (memory, failed) = failed_on_its_way(HUGE_ORDER, failed);
        let state = FrameState::Anonymous;
        let huge = memory.frames.allocate_huge(&memory.machine, state);
        assert_eq!(huge.map(drop), Err(Errno::ENOMEM));
        only_isolated(&memory, failed);
    }
}

#[test]
fn a_huge_page_of_which_a_piece_fails_on_its_way_out_of_the_pool_is_not_used() {
    for (failed, reserved) in [(0, false), (5, true), (PIECES - 1, false)] {
        let memory = memory_with::<BITS>(PIECES as u32);
        assert_eq!(memory.set_hugetlb_pages(1), 1);
        assert!(memory.frames.pool().reserve(1));
        let block = memory.frames.pool().take(true).unwrap();
        let failed = Pfn(FIRST_FRAME + failed);
        let _ = memory.memory_failure(failed, SIMULATED).unwrap();
        assert_ne!(memory.frame_state(failed), Some(FrameState::Isolated));
        memory.frames.pool().give_back(block, reserved);
        let state = FrameState::Anonymous;
        let huge = memory.frames.allocate_pooled(state, reserved);
        assert!(huge.is_none());
        let pool = memory.hugetlb_statistics();
        let reserved = u64::from(reserved);
        assert_eq!((pool.total, pool.free, pool.reserved), (0, 0, reserved));
        memory.frames.unreserve(reserved);
        only_isolated(&memory, failed);
    }
}

#[test]
fn a_frame_that_fails_while_compaction_has_it_is_isolated_afterwards() {
    for all in [true, false] {
        let memory = memory_with::<BITS>(PIECES as u32);
        let block = || FIRST_FRAME..FIRST_FRAME + PIECES;
        assert!(block().all(|pfn| memory.frames.claim_free(Pfn(pfn))));
        assert!(!memory.frames.claim_free(Pfn(FIRST_FRAME)), "it has it");
        assert!(!memory.frames.claim_free(Pfn(0)), "it is not ours");
        let failed = Pfn(FIRST_FRAME + 5);
        let report = memory.memory_failure(failed, SIMULATED).unwrap();
        assert_eq!(
            (report.page, report.action),
            (PageType::FreeBuddy, Action::Delayed)
        );
        assert_eq!(memory.frame_state(failed), Some(FrameState::Claimed));
        let range = Pfn(block().start)..Pfn(block().end);
        memory.frames.release_claimed(range, all);
        only_isolated(&memory, failed);
    }
}

#[test]
fn a_frame_that_someone_holds_is_not_claimed() {
    let memory = memory_with::<BITS>(PIECES as u32);
    let state = FrameState::Anonymous;
    let page = memory.frames.allocate_user(&memory.machine, state).unwrap();
    let other = memory.frames.get(page.pfn());
    assert!(!memory.frames.claim_held(&page));
    assert_eq!(memory.frame_state(page.pfn()), Some(state));
    memory.frames.put(other);
    assert!(memory.frames.claim_held(&page));
    assert_eq!(memory.frame_state(page.pfn()), Some(FrameState::Claimed));
}

#[test]
fn who_reports_a_known_error_gives_its_reference_back() {
    let memory = memory_with::<BITS>(PIECES as u32);
    let state = FrameState::Anonymous;
    let page = memory.frames.allocate_user(&memory.machine, state).unwrap();
    let failed = page.pfn();
    let report = memory.memory_failure(failed, SIMULATED).unwrap();
    assert_eq!(report.action, Action::Failed, "it is held");
    assert_eq!(memory.unpoison(failed), Err(Errno::EBUSY));
    let again = memory.fail_frame(failed, Some(page), SIMULATED);
    assert_eq!(again, Err(Errno::EHWPOISON));
    only_isolated(&memory, failed);
}

#[test]
fn the_table_begins_with_each_frame_that_is_given_once() {
    let parts = [(70, 80), (10, 30), (30, 31), (20, 40), (25, 26), (90, 60)];
    let given = parts.map(|(start, end)| Pfn(start)..Pfn(end));
    let memory = Memory::new(SimMachine::<BITS>::new(128), &given).unwrap();
    assert_eq!((memory.total_frames(), memory.free_frames()), (40, 40));
    for pfn in 0..80 {
        let is_given = (10..40).contains(&pfn) || (70..80).contains(&pfn);
        let state = memory.frame_state(Pfn(pfn)).unwrap();
        assert_eq!(state == FrameState::Free, is_given, "{pfn}");
        assert_eq!(state == FrameState::Reserved, !is_given, "{pfn}");
    }
    assert_eq!(memory.frame_state(Pfn(80)), None);
}

#[test]
fn there_must_be_a_frame() {
    let backwards = Pfn(9)..Pfn(5);
    let error = Memory::new(SimMachine::<BITS>::new(16), &[backwards]).err();
    assert_eq!(error, Some(Errno::EINVAL));
}

#[test]
fn a_frame_that_another_holds_is_not_claimed() {
    let memory = memory_with::<4>(16);
    let (frames, machine) = (&memory.frames, &memory.machine);
    let one = frames
        .allocate_user(machine, FrameState::Anonymous)
        .unwrap();
    let other = frames.get(one.pfn());
    assert!(!frames.claim_held(&one));
    assert_eq!(memory.frame_state(one.pfn()), Some(FrameState::Anonymous));
    frames.put(other);
    assert!(frames.claim_held(&one));
    assert_eq!(memory.frame_state(one.pfn()), Some(FrameState::Claimed));
    frames.release_claimed(one.pfn()..Pfn(one.pfn().0 + 1), true);
    assert_eq!(memory.free_frames(), memory.total_frames());
    memory.check().unwrap();
}
