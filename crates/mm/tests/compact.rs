//! Compaction: blocks of free frames where there were only single ones.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mm::sim::{CPUS, Held, Random, SimMachine, memory, memory_with, try_access};
use mm::{
    Access, AddressSpace, Advice, Entry, Errno, FileKind, FrameState, MAX_ORDER, Memory, Outcome,
    PAGE_SIZE, Pfn, Placement, Protection, Sharing, Source, VirtualAddress,
};

fn at(page: u64) -> VirtualAddress {
    VirtualAddress(0x700_0000 + page * PAGE_SIZE as u64)
}

fn process<const BITS: u32>(memory: &Memory<SimMachine<BITS>>, pages: u64) -> AddressSpace {
    let space = memory.create().unwrap();
    map(memory, &space, pages);
    space
}

fn map<const BITS: u32>(memory: &Memory<SimMachine<BITS>>, space: &AddressSpace, pages: u64) {
    map_at(memory, space, 0, pages);
}

fn map_at<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    first: u64,
    pages: u64,
) {
    let (rw, private) = (Protection::READ_WRITE, Sharing::Private);
    let length = pages * PAGE_SIZE as u64;
    let place = Placement::Fixed(at(first));
    memory
        .mmap(space, place, length, rw, private, Source::Anonymous)
        .unwrap();
}

fn unmap<const BITS: u32>(memory: &Memory<SimMachine<BITS>>, space: &AddressSpace, page: u64) {
    memory.munmap(space, at(page), PAGE_SIZE as u64).unwrap();
}

fn touch<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    (cpu, page): (usize, u64),
    access: Access,
    mut act: impl FnMut(&SimMachine<BITS>, Pfn) -> bool,
) -> Outcome {
    for _ in 0..1000 {
        match try_access(memory, space, cpu, at(page).page(), access, &mut act).unwrap() {
            None => return Outcome::Resolved,
            Some(Outcome::Resolved | Outcome::Retry) => {}
            Some(other) => return other,
        }
    }
    panic!("it does not end");
}

fn store<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    place: (usize, u64),
    value: u8,
) {
    let outcome = touch(memory, space, place, Access::Store, |machine, pfn| {
        machine.cpu_store(pfn, 0, &[value; PAGE_SIZE]);
        true
    });
    assert_eq!(outcome, Outcome::Resolved);
}

fn load<const BITS: u32>(
    memory: &Memory<SimMachine<BITS>>,
    space: &AddressSpace,
    place: (usize, u64),
) -> u8 {
    let mut byte = [0];
    let outcome = touch(memory, space, place, Access::Load, |machine, pfn| {
        machine.cpu_load(pfn, 99, &mut byte).is_ok()
    });
    assert_eq!(outcome, Outcome::Resolved);
    byte[0]
}

/// A process with a page in every other frame, and no two free frames side by side.
fn fragmented<const BITS: u32>(memory: &Memory<SimMachine<BITS>>) -> AddressSpace {
    let space = process(memory, 200);
    // Tables first, so that they lie together.
    let one_of_each_table = (0..200).step_by(16);
    let others = (0..200).filter(|page| page % 16 != 0);
    for page in one_of_each_table.chain(others) {
        if memory.free_frames() > 0 {
            store(memory, &space, (0, page), page as u8);
        }
    }
    for page in 0..200 {
        if let Entry::Page(Pfn(pfn), _) = memory.entry(&space, at(page))
            && pfn.is_multiple_of(2)
        {
            unmap(memory, &space, page);
        }
    }
    let blocks = memory.free_blocks();
    assert_eq!(blocks[0], memory.free_frames(), "{blocks:?}");
    space
}

fn check<const BITS: u32>(memory: &Memory<SimMachine<BITS>>, space: &AddressSpace) {
    memory.check().unwrap();
    for page in 0..200 {
        if memory.entry(space, at(page)) != Entry::Empty {
            assert_eq!(load(memory, space, (0, page)), page as u8);
        }
    }
}

#[test]
fn scattered_free_frames_become_a_block_and_nobody_notices() {
    let memory = memory(128);
    let space = fragmented(&memory);
    let child = memory.fork(&space).unwrap();
    let free = memory.free_frames();
    for order in 1..=4 {
        memory.compact(order).unwrap();
        let blocks = memory.free_blocks();
        assert!(blocks[order..].iter().any(|count| *count > 0), "{blocks:?}");
        assert_eq!(memory.free_frames(), free);
        check(&memory, &space);
        check(&memory, &child);
    }
    assert_eq!(memory.compact(6), Err(Errno::ENOMEM), "half is not free");
    assert_eq!(memory.compact(MAX_ORDER + 1), Err(Errno::EINVAL));
    memory.destroy(space);
    memory.destroy(child);
    assert_eq!(memory.free_frames(), 128);
    assert_eq!(memory.compact(7), Ok(()), "there is one already");
}

#[test]
fn pages_of_files_move_too_and_tables_stay() {
    let memory = memory(64);
    let file = memory.create_file(FileKind::Memory, 64 * 4096).unwrap();
    let hog = process(&memory, 64);
    let mut pages = 0;
    // A page of the file, a page of the process.
    while memory.free_frames() > 1 {
        let position = pages * PAGE_SIZE as u64;
        memory
            .write_file(&file, position, &[pages as u8; PAGE_SIZE])
            .unwrap();
        store(&memory, &hog, (0, pages), 1);
        pages += 1;
    }
    let tables = memory.root(&hog);
    memory.munmap(&hog, at(0), 64 * PAGE_SIZE as u64).unwrap();
    assert!(memory.free_blocks()[3..].iter().all(|count| *count == 0));
    memory.compact(3).unwrap();
    memory.compact(4).unwrap();
    assert!(memory.free_blocks()[4..].iter().any(|count| *count > 0));
    memory.check().unwrap();
    assert_eq!(memory.frame_state(tables), Some(FrameState::Table));
    for page in 0..pages {
        let mut byte = [0];
        let position = page * PAGE_SIZE as u64;
        assert_eq!(memory.read_file(&file, position, &mut byte), Ok(1));
        assert_eq!(byte[0], page as u8);
    }
    // The block with the tables cannot be emptied, however much is free.
    memory.close(file);
    assert_eq!(memory.compact(6), Err(Errno::ENOMEM));
}

/// The highest frame in which the process has a page, and the page.
fn highest(memory: &Memory<SimMachine>, space: &AddressSpace) -> (Pfn, u64) {
    let mapped = (0..200).filter_map(|page| match memory.entry(space, at(page)) {
        Entry::Page(pfn, _) => Some((pfn, page)),
        _ => None,
    });
    mapped.max().unwrap()
}

#[test]
fn a_page_that_fails_while_its_last_user_leaves_is_not_free() {
    let memory = memory(128);
    let space = fragmented(&memory);
    let (failed, page) = highest(&memory, &space);
    memory.machine().poison(failed, 4);
    let held = memory.machine().hold(Held::Copy);
    let compacted = thread::scope(|scope| {
        let compaction = scope.spawn(|| memory.compact(1));
        held.wait();
        unmap(&memory, &space, page);
        held.wait();
        compaction.join().unwrap()
    });
    assert_eq!(compacted, Ok(()));
    assert_eq!(memory.machine().take_consumed(), [failed]);
    assert_eq!(memory.frame_state(failed), Some(FrameState::Isolated));
    check(&memory, &space);
}

#[test]
fn a_page_that_cannot_be_read_is_dealt_with_and_another_block_serves() {
    let memory = memory(128);
    let space = fragmented(&memory);
    let (failed, page) = highest(&memory, &space);
    memory.machine().poison(failed, 4);
    let free = memory.free_frames();
    memory.compact(3).unwrap();
    assert_eq!(
        memory.free_frames(),
        free,
        "all that was claimed is free again"
    );
    assert_eq!(memory.frame_state(failed), Some(FrameState::Isolated));
    assert_eq!(memory.entry(&space, at(page)), Entry::HwPoison(failed));
    unmap(&memory, &space, page);
    check(&memory, &space);
}

#[test]
fn small_pages_become_a_huge_one_where_there_is_only_scattered_memory() {
    let memory = memory_with::<4>(128);
    let space = fragmented(&memory);
    let first = (0..200)
        .find(|page| at(*page).0.is_multiple_of(16 * 4096))
        .unwrap();
    let length = 16 * PAGE_SIZE as u64;
    map_at(&memory, &space, first, 16);
    store(&memory, &space, (0, first + 3), 3);
    assert!(memory.free_blocks()[4..].iter().all(|count| *count == 0));
    memory
        .madvise(&space, at(first), length, Advice::Collapse)
        .unwrap();
    assert_eq!(memory.mapping_shift(&space, at(first)), 16);
    assert_eq!(load(&memory, &space, (0, first + 3)), 3);
    memory.munmap(&space, at(first), length).unwrap();
    check(&memory, &space);
}

#[test]
fn pinned_pages_stay_and_their_blocks_with_them() {
    let memory = memory(128);
    let space = fragmented(&memory);
    let present = (0..200).filter(|page| memory.entry(&space, at(*page)) != Entry::Empty);
    let pin = |page| {
        memory
            .pin_user_page(&space, at(page), Access::Store)
            .unwrap()
    };
    let mut pins: Vec<_> = present.map(pin).collect();
    let free = memory.free_frames();
    assert_eq!(memory.compact(2), Err(Errno::ENOMEM));
    assert_eq!(memory.free_frames(), free);
    check(&memory, &space);
    // Those at the top let go.
    let half = pins.len() / 2;
    pins.drain(half..)
        .for_each(|pin| memory.unpin_user_page(pin));
    memory.compact(2).unwrap();
    check(&memory, &space);
    pins.into_iter().for_each(|pin| memory.unpin_user_page(pin));
}

#[test]
fn every_allocation_of_a_compaction_may_be_refused() {
    for refused in 0.. {
        let memory = memory(128);
        let space = fragmented(&memory);
        let child = memory.fork(&space).unwrap();
        let free = memory.free_frames();
        memory.machine().refuse_allocation(refused);
        let compacted = memory.compact(4);
        if !memory.machine().take_refused() {
            assert_eq!(compacted, Ok(()));
            assert!(refused >= 8);
            return;
        }
        assert_eq!(compacted, Err(Errno::ENOMEM), "allocation {refused}");
        assert_eq!(memory.free_frames(), free);
        check(&memory, &space);
        check(&memory, &child);
    }
}

#[test]
fn compaction_gets_along_with_faults_and_forks() {
    let memory = memory(400);
    let spaces: Vec<_> = (0..CPUS - 1).map(|_| process(&memory, 16)).collect();
    let hog = process(&memory, 200);
    let running = AtomicBool::new(true);
    let mut compacted = 0;
    thread::scope(|scope| {
        for (cpu, space) in spaces.iter().enumerate() {
            let (memory, running) = (&memory, &running);
            scope.spawn(move || {
                let mut random = Random(cpu as u64);
                let mut holds = [0; 16];
                while running.load(Ordering::Relaxed) {
                    let page = random.below(16) as usize;
                    assert_eq!(load(memory, space, (cpu, page as u64)), holds[page]);
                    if random.below(3) == 0 {
                        holds[page] = random.below(256) as u8;
                        store(memory, space, (cpu, page as u64), holds[page]);
                    }
                    if random.below(30) == 0 {
                        memory.destroy(memory.fork(space).unwrap());
                    }
                }
            });
        }
        scope.spawn(|| {
            struct StopOnDrop<'a>(&'a AtomicBool);
            impl Drop for StopOnDrop<'_> {
                fn drop(&mut self) {
                    self.0.store(false, Ordering::Relaxed);
                }
            }
            let _stop = StopOnDrop(&running);
            for round in 0..60 {
                for page in 0..200 {
                    store(&memory, &hog, (CPUS - 1, page), round);
                }
                (round as u64 % 2..200)
                    .step_by(2)
                    .for_each(|page| unmap(&memory, &hog, page));
                match memory.compact(7) {
                    Ok(()) => compacted += 1,
                    // The others hold tables in what would have to be emptied.
                    Err(error) => assert_eq!(error, Errno::ENOMEM),
                }
                map(&memory, &hog, 200);
            }
        });
    });
    memory.check().unwrap();
    spaces.into_iter().for_each(|space| memory.destroy(space));
    memory.destroy(hog);
    memory.check().unwrap();
    assert_eq!(memory.free_frames(), 400);
    assert!(compacted > 10, "only {compacted}");
}
