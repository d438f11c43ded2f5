//! `madvise`: giving pages up, and making them fail on purpose.

use mm::sim::{SimMachine, memory};
use mm::{
    Access, AddressSpace, Advice, BusCode, Context, Entry, Errno, FileKind, FrameState, Memory,
    Outcome, PAGE_SIZE, PageType, Pfn, Placement, Protection, Sharing, Sigbus, Source,
    VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const LENGTH: u64 = 4 * PAGE_SIZE as u64;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE_SIZE as u64)
}

fn map(memory: &Memory<SimMachine>, sharing: Sharing, source: Source<'_>) -> AddressSpace {
    let space = memory.create().unwrap();
    let protection = Protection::READ_WRITE;
    memory
        .mmap(
            &space,
            Placement::Fixed(AT),
            LENGTH,
            protection,
            sharing,
            source,
        )
        .unwrap();
    space
}

fn frame(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Pfn {
    match memory.entry(space, page(number)) {
        Entry::Page(pfn, _) => pfn,
        other => panic!("page {number}: {other:?}"),
    }
}

/// Stores to the first byte of a page.
fn store(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64, value: u8) {
    let outcome = memory.fault(space, page(number), Access::Store);
    assert_eq!(outcome, Outcome::Resolved);
    let pfn = frame(memory, space, number);
    memory.machine().cpu_store(pfn, 0, &[value]);
}

fn load(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> u8 {
    let outcome = memory.fault(space, page(number), Access::Load);
    assert_eq!(outcome, Outcome::Resolved);
    let mut byte = [0];
    let pfn = frame(memory, space, number);
    memory.machine().cpu_load(pfn, 0, &mut byte).unwrap();
    byte[0]
}

#[test]
fn a_page_that_was_given_up_stays_until_memory_is_short() {
    let memory = memory(64);
    let space = map(&memory, Sharing::Private, Source::Anonymous);
    (0..4).for_each(|number| store(&memory, &space, number, 7));
    memory.madvise(&space, AT, LENGTH, Advice::Free).unwrap();
    assert_eq!(load(&memory, &space, 0), 7);
    store(&memory, &space, 1, 8);
    assert_eq!(memory.reclaim(10), 3, "the page that was stored to is kept");
    assert_eq!(
        [0, 1, 2, 3].map(|number| load(&memory, &space, number)),
        [0, 8, 0, 0]
    );
    memory.check().unwrap();
}

#[test]
fn a_page_that_is_shared_is_not_given_up() {
    let memory = memory(64);
    let space = map(&memory, Sharing::Private, Source::Anonymous);
    store(&memory, &space, 0, 7);
    let child = memory.fork(&space).unwrap();
    memory.madvise(&child, AT, LENGTH, Advice::Free).unwrap();
    assert_eq!(memory.reclaim(10), 0);
    assert_eq!(load(&memory, &space, 0), 7);

    // One that was given up before the fork may go, in both.
    store(&memory, &space, 1, 7);
    memory.madvise(&space, AT, LENGTH, Advice::Free).unwrap();
    let sharer = memory.fork(&space).unwrap();
    store(&memory, &sharer, 1, 9);
    assert_eq!(memory.reclaim(10), 1);
    assert_eq!(
        (load(&memory, &space, 1), load(&memory, &sharer, 1)),
        (0, 9)
    );
    memory.check().unwrap();
}

#[test]
fn an_error_in_a_page_that_was_given_up_is_no_loss() {
    let memory = memory(64);
    let space = map(&memory, Sharing::Private, Source::Anonymous);
    store(&memory, &space, 0, 7);
    store(&memory, &space, 1, 7);
    let lost = frame(&memory, &space, 1);
    let _ = memory.memory_failure(lost, Context::default()).unwrap();
    assert_eq!(memory.entry(&space, page(1)), Entry::HwPoison(lost));
    memory.madvise(&space, AT, LENGTH, Advice::Free).unwrap();
    let report = memory
        .memory_failure(frame(&memory, &space, 0), Context::default())
        .unwrap();
    assert_eq!((report.page, report.signal), (PageType::CleanLru, None));
    assert_eq!((load(&memory, &space, 0), load(&memory, &space, 1)), (0, 0));
    memory.check().unwrap();
}

#[test]
fn only_private_memory_of_a_whole_range_can_be_given_up() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Stored, LENGTH).unwrap();
    let space = map(&memory, Sharing::Private, Source::File(&file, 0));
    let free = |start, length| memory.madvise(&space, start, length, Advice::Free);
    assert_eq!(free(AT, LENGTH), Err(Errno::EINVAL));
    assert_eq!(free(AT, LENGTH + 1), Err(Errno::ENOMEM));
    assert_eq!(free(VirtualAddress(AT.0 + 1), 1), Err(Errno::EINVAL));
    assert_eq!(free(AT, u64::MAX), Err(Errno::EINVAL), "it wraps around");
    assert_eq!(free(AT, 0), Ok(()));
}

#[test]
fn memory_fails_on_request_and_the_caller_is_told() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Stored, LENGTH).unwrap();
    let space = map(&memory, Sharing::Private, Source::Anonymous);
    store(&memory, &space, 1, 7);
    let child = memory.fork(&space).unwrap();
    let frames = [frame(&memory, &space, 1)];
    let mut told = Vec::new();
    let fail = |space: &AddressSpace, start, length, told: &mut Vec<Sigbus>| {
        memory.inject_failure(space, start, length, |signal| told.push(signal))
    };
    assert_eq!(
        fail(&space, page(1), 2 * PAGE_SIZE as u64, &mut told),
        Ok(())
    );
    let lost = |number| Sigbus {
        code: BusCode::ActionRequired,
        address: page(number),
        lsb: 12,
    };
    assert_eq!(told, [lost(1), lost(2)]);
    assert_eq!(memory.frame_state(frames[0]), Some(FrameState::Isolated));
    assert_eq!(memory.entry(&child, page(1)), Entry::HwPoison(frames[0]));
    assert_eq!(fail(&space, page(1), 1, &mut told), Err(Errno::EFAULT));
    assert_eq!(fail(&space, page(4), 1, &mut told), Err(Errno::EFAULT));
    assert_eq!(
        fail(&space, VirtualAddress(AT.0 + 8), 1, &mut told),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        fail(&space, VirtualAddress(1 << 50), 1, &mut told),
        Err(Errno::EFAULT)
    );
    memory.unpoison(frames[0]).unwrap();

    let clean = map(&memory, Sharing::Shared, Source::File(&file, 0));
    told.clear();
    assert_eq!(fail(&clean, AT, LENGTH, &mut told), Ok(()));
    assert_eq!(told, [], "a clean page is there to be read again");
    memory.check().unwrap();
}

#[test]
fn pages_move_on_request() {
    let memory = memory(64);
    let space = map(&memory, Sharing::Private, Source::Anonymous);
    store(&memory, &space, 0, 7);
    let old = frame(&memory, &space, 0);
    memory.soft_offline_range(&space, AT, LENGTH).unwrap();
    assert_eq!(memory.frame_state(old), Some(FrameState::Isolated));
    assert_eq!(memory.corrupted_bytes(), LENGTH);
    assert_eq!(load(&memory, &space, 0), 7);
    assert_eq!(
        memory.soft_offline_range(&space, page(3), LENGTH),
        Err(Errno::EFAULT)
    );
    memory.check().unwrap();
}
