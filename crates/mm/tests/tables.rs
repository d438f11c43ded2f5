//! A translation table whose memory fails: its process ends, and nobody else notices.

use mm::sim::{SimMachine, memory, try_access};
use mm::{
    Access, AddressSpace, BusCode, Context, Entry, FrameState, Memory, Outcome, PAGE_SIZE,
    PageType, Pfn, Placement, Protection, Sharing, Source, VirtualAddress,
};

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const LENGTH: u64 = PAGE_SIZE as u64;
const PAGES: u64 = 24;

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * LENGTH)
}

fn world() -> (Memory<SimMachine>, AddressSpace) {
    let memory = memory(128);
    let space = memory.create().unwrap();
    memory
        .mmap(
            &space,
            Placement::Fixed(AT),
            PAGES * LENGTH,
            Protection::READ_WRITE,
            Sharing::Private,
            Source::Anonymous,
        )
        .unwrap();
    for number in 0..PAGES {
        assert_eq!(store(&memory, &space, number), Outcome::Resolved);
    }
    (memory, space)
}

fn store(memory: &Memory<SimMachine>, space: &AddressSpace, number: u64) -> Outcome {
    let at = page(number).page();
    let act = |machine: &SimMachine, pfn| {
        machine.cpu_store(pfn, 0, &[number as u8]);
        true
    };
    loop {
        match try_access(memory, space, 0, at, Access::Store, act).unwrap() {
            None => return Outcome::Resolved,
            Some(Outcome::Resolved) => {}
            Some(outcome) => return outcome,
        }
    }
}

/// The table that leads to the pages fails, so many levels above the last. The manager is told.
fn fail_table(memory: &Memory<SimMachine>, space: &AddressSpace, levels: u32) -> Pfn {
    let root = memory.root(space);
    let found = memory.machine().table_of(root, AT.page(), levels);
    let (table, offset) = found.unwrap();
    memory.lose_descriptors(table, offset..=offset);
    let report = memory.memory_failure(table, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.signal),
        (PageType::ReservedKernel, None)
    );
    table
}

fn in_state(memory: &Memory<SimMachine>, state: FrameState) -> usize {
    let pfns = (0..128).map(|number| Pfn(mm::sim::FIRST_FRAME + number));
    pfns.filter(|pfn| memory.frame_state(*pfn) == Some(state))
        .count()
}

#[test]
fn what_it_led_to_is_lost_and_the_rest_is_there() {
    let (memory, space) = world();
    let (other, table) = (memory.fork(&space).unwrap(), fail_table(&memory, &space, 0));
    assert_eq!(memory.entry(&space, page(3)), Entry::HwPoison(table));
    let Outcome::Sigbus(bus) = memory.fault(&space, page(3), Access::Load) else {
        panic!("nobody is told");
    };
    assert_eq!((bus.code, bus.address), (BusCode::ActionRequired, page(3)));
    // The line has eight entries.
    assert_eq!(store(&memory, &space, 8), Outcome::Resolved);
    for number in 0..PAGES {
        assert_eq!(store(&memory, &other, number), Outcome::Resolved);
    }
    memory.destroy(space);
    memory.destroy(other);
}

#[test]
fn a_process_ends_whatever_table_is_lost() {
    for levels in 0..=3 {
        let (memory, space) = world();
        let before = memory.free_frames();
        let table = fail_table(&memory, &space, levels);
        memory.destroy(space);
        assert_eq!(memory.frame_state(table), Some(FrameState::Isolated));
        assert_eq!(memory.free_frames() + 1 + lost(levels), 128, "{levels}");
        assert!(memory.free_frames() >= before);
        // What was behind the table is never used again.
        let behind = if levels == 0 { 8 } else { PAGES as usize };
        assert_eq!(in_state(&memory, FrameState::Anonymous), behind);
    }
}

/// The frames that are lost with a table besides its own: pages, and the tables below.
fn lost(levels: u32) -> usize {
    match levels {
        0 => 8,
        levels => PAGES as usize + levels as usize,
    }
}

#[test]
fn only_tables_are_marked() {
    let (memory, space) = world();
    let Entry::Page(pfn, _) = memory.entry(&space, page(0)) else {
        panic!("not mapped");
    };
    memory.lose_descriptors(pfn, 0..=PAGE_SIZE - 1);
    memory.lose_descriptors(Pfn(1), 0..=0);
    assert_eq!(store(&memory, &space, 0), Outcome::Resolved);
    memory.destroy(space);
    memory.check().unwrap();
}
