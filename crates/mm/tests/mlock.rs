//! Locked memory.

use mm::sim::{SimMachine, memory};
use mm::{
    Access, AddressSpace, Advice, Context, Destination, Entry, Errno, File, FileKind, Locking,
    Memory, PAGE_SIZE, Placement, Protection, Sharing, Source, VirtualAddress,
};
use std::sync::Arc;

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const PAGE: u64 = PAGE_SIZE as u64;
const RW: Protection = Protection::READ_WRITE;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE)
}

fn map(memory: &Memory<SimMachine>, space: &AddressSpace, at: u64, source: Source<'_>) {
    let placement = Placement::Fixed(page(at));
    let sharing = match source {
        Source::Anonymous | Source::Hugetlb => Sharing::Private,
        Source::File(..) => Sharing::Shared,
    };
    memory
        .mmap(space, placement, 4 * PAGE, RW, sharing, source)
        .unwrap();
}

fn setup() -> (Memory<SimMachine>, AddressSpace, Arc<File>) {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Stored, 4 * PAGE).unwrap();
    let space = memory.create().unwrap();
    map(&memory, &space, 0, Source::File(&file, 0));
    map(&memory, &space, 4, Source::Anonymous);
    (memory, space, file)
}

fn present(memory: &Memory<SimMachine>, space: &AddressSpace) -> Vec<u64> {
    (0..12)
        .filter(|number| matches!(memory.entry(space, page(*number)), Entry::Page(..)))
        .collect()
}

#[test]
fn what_is_locked_is_there_and_stays() {
    let (memory, space, _file) = setup();
    // From the middle of page 1 to the middle of page 5.
    let start = VirtualAddress(page(1).0 + 8);
    memory
        .mlock(&space, start, 4 * PAGE, Locking::Locked)
        .unwrap();
    assert_eq!(present(&memory, &space), [1, 2, 3, 4, 5]);
    assert_eq!((memory.locked_pages(&space), memory.areas(&space)), (5, 4));
    assert_eq!(memory.reclaim(64), 0);
    for advice in [Advice::DontNeed, Advice::Free] {
        assert_eq!(
            memory.madvise(&space, page(4), PAGE, advice),
            Err(Errno::EINVAL)
        );
    }
    let child = memory.fork(&space).unwrap();
    assert_eq!(memory.locked_pages(&child), 0, "a child has no locks");
    memory.destroy(child);
    memory
        .mlock(&space, AT, 8 * PAGE, Locking::Unlocked)
        .unwrap();
    assert_eq!(memory.areas(&space), 2);
    assert_eq!(memory.reclaim(64), 3);
    memory.check().unwrap();
}

#[test]
fn on_fault_locks_what_was_touched() {
    let (memory, space, _file) = setup();
    memory
        .mlock(&space, AT, 8 * PAGE, Locking::OnFault)
        .unwrap();
    assert!(present(&memory, &space).is_empty());
    let _ = memory.fault(&space, page(2), Access::Load);
    assert_eq!(memory.reclaim(64), 0);
    assert_eq!(present(&memory, &space), [2]);
}

#[test]
fn all_of_a_process_may_be_locked_now_and_later() {
    let (memory, space, file) = setup();
    memory.mlockall(&space, Some(Locking::Locked), Locking::Locked);
    assert_eq!(memory.locked_pages(&space), 8);
    map(&memory, &space, 8, Source::Anonymous);
    assert_eq!(present(&memory, &space).len(), 12);
    // What grows is populated too; what is left behind is not locked.
    let grown = memory.mremap(
        &space,
        page(4),
        8 * PAGE,
        9 * PAGE,
        Destination::Stay,
        false,
    );
    assert_eq!(grown, Ok(page(4)));
    assert!(matches!(memory.entry(&space, page(12)), Entry::Page(..)));
    let kept = memory.mremap(&space, page(4), PAGE, PAGE, Destination::Anywhere, true);
    assert!(kept.is_ok());
    assert_eq!(
        memory.locked_pages(&space),
        4 + 9,
        "one moved, and one is left"
    );
    memory.mlockall(&space, Some(Locking::Unlocked), Locking::Unlocked);
    map(&memory, &space, 20, Source::File(&file, 0));
    assert_eq!(memory.locked_pages(&space), 0);
    memory.check().unwrap();
}

#[test]
fn errors_are_those_of_linux() {
    let (memory, space, file) = setup();
    let lock = |start, length| memory.mlock(&space, start, length, Locking::Locked);
    assert_eq!(lock(AT, 0), Ok(()));
    assert_eq!(lock(AT, u64::MAX), Err(Errno::EINVAL), "it wraps around");
    assert_eq!(lock(VirtualAddress(1 << 60), 1), Err(Errno::ENOMEM));
    assert_eq!(lock(AT, 9 * PAGE), Err(Errno::ENOMEM), "a hole");
    assert_eq!(memory.locked_pages(&space), 0);
    memory
        .mprotect(&space, page(4), PAGE, Protection::NONE)
        .unwrap();
    assert_eq!(lock(page(4), PAGE), Err(Errno::ENOMEM), "no access");
    assert_eq!(memory.locked_pages(&space), 1, "but locked");
    memory.truncate(&file, PAGE).unwrap();
    assert_eq!(
        lock(page(1), PAGE),
        Err(Errno::ENOMEM),
        "beyond the end of the file"
    );
    memory.machine().refuse_allocation(0);
    assert_eq!(
        lock(page(1), 4 * PAGE),
        Err(Errno::ENOMEM),
        "no room for a split"
    );
    // Nothing to split, but a page to find memory for.
    memory.mlockall(&space, Some(Locking::OnFault), Locking::Unlocked);
    memory.machine().refuse_allocation(0);
    assert_eq!(lock(page(5), 3 * PAGE), Err(Errno::EAGAIN));
    memory.check().unwrap();
}

#[test]
fn an_error_in_locked_memory_is_named_so() {
    let (memory, space, _file) = setup();
    memory.mlock(&space, AT, 8 * PAGE, Locking::Locked).unwrap();
    for (number, words) in [(1, "clean mlocked LRU page"), (5, "dirty mlocked LRU page")] {
        let Entry::Page(pfn, _) = memory.entry(&space, page(number)) else {
            panic!("it is locked");
        };
        let report = memory.memory_failure(pfn, Context::default()).unwrap();
        assert_eq!(report.page.to_string(), words);
    }
    memory.check().unwrap();
}
