//! The size of a file: what is beyond it is gone, for everyone, and comes back as zeros.

use mm::sim::{Held, SimMachine, memory};
use mm::{
    Access, AddressSpace, BusCode, Context, Entry, Errno, File, FileKind, FrameState, Memory,
    Outcome, PAGE_SIZE, Placement, Protection, Sharing, Sigbus, Source, VirtualAddress,
};
use std::sync::Arc;
use std::thread;

const AT: VirtualAddress = VirtualAddress(0x7000_0000);
const PAGES: u64 = 3;

fn setup(kind: FileKind) -> (Memory<SimMachine>, Arc<File>) {
    let memory = memory(64);
    let file = memory.create_file(kind, PAGES * PAGE_SIZE as u64).unwrap();
    for index in 0..PAGES as u32 {
        memory
            .machine()
            .preset(file.id(), index, [5 + index as u8; PAGE_SIZE]);
    }
    (memory, file)
}

fn map(memory: &Memory<SimMachine>, space: &AddressSpace, sharing: Sharing, file: &Arc<File>) {
    let (protection, source) = (Protection::READ_WRITE, Source::File(file, 0));
    let length = PAGES * PAGE_SIZE as u64;
    memory
        .mmap(
            space,
            Placement::Fixed(AT),
            length,
            protection,
            sharing,
            source,
        )
        .unwrap();
}

fn page(number: u64) -> VirtualAddress {
    VirtualAddress(AT.0 + number * PAGE_SIZE as u64)
}

const fn beyond(address: VirtualAddress) -> Outcome {
    Outcome::Sigbus(Sigbus {
        code: BusCode::NoPage,
        address,
        lsb: 0,
    })
}

#[test]
fn pages_beyond_the_end_leave_every_process_even_as_private_copies() {
    let (memory, file) = setup(FileKind::Stored);
    let free = memory.free_frames();
    let shared = memory.create().unwrap();
    let private = memory.create().unwrap();
    map(&memory, &shared, Sharing::Shared, &file);
    map(&memory, &private, Sharing::Private, &file);
    for number in 0..PAGES {
        for space in [&shared, &private] {
            assert_eq!(
                memory.fault(space, page(number), Access::Store),
                Outcome::Resolved
            );
        }
    }
    let child = memory.fork(&private).unwrap();
    memory.truncate(&file, PAGE_SIZE as u64 + 1).unwrap();
    for space in [&shared, &private, &child] {
        assert!(matches!(memory.entry(space, page(1)), Entry::Page(..)));
        assert_eq!(memory.entry(space, page(2)), Entry::Empty);
        for access in [Access::Load, Access::Store] {
            assert_eq!(
                memory.fault(space, page(2), access),
                beyond(page(2)),
                "{access:?}"
            );
        }
    }
    memory.check().unwrap();
    [shared, private, child]
        .into_iter()
        .for_each(|space| memory.destroy(space));
    memory.truncate(&file, 0).unwrap();
    assert_eq!(memory.free_frames(), free);
}

#[test]
fn what_was_cut_off_comes_back_as_zeros() {
    for kind in [FileKind::Stored, FileKind::Memory] {
        let (memory, file) = setup(kind);
        assert_eq!(
            memory.write_file(&file, 0, &[7; 2 * PAGE_SIZE]),
            Ok(2 * PAGE_SIZE)
        );
        memory.sync(&file).unwrap();
        memory.truncate(&file, 10).unwrap();
        memory.truncate(&file, PAGES * PAGE_SIZE as u64).unwrap();
        let mut bytes = vec![9; PAGES as usize * PAGE_SIZE];
        assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(bytes.len()));
        assert_eq!(bytes[..10], [7; 10]);
        assert!(bytes[10..].iter().all(|byte| *byte == 0), "{kind:?}");
    }
}

#[test]
fn stores_beyond_the_end_of_the_last_page_are_never_read() {
    let (memory, file) = setup(FileKind::Stored);
    memory.truncate(&file, 10).unwrap();
    let space = memory.create().unwrap();
    map(&memory, &space, Sharing::Shared, &file);
    let scribble = || {
        assert_eq!(
            memory.fault(&space, page(0), Access::Store),
            Outcome::Resolved
        );
        let Entry::Page(pfn, _) = memory.entry(&space, page(0)) else {
            panic!("it was just mapped");
        };
        memory.machine().cpu_store(pfn, 0, &[8; PAGE_SIZE]);
    };
    scribble();
    memory.sync(&file).unwrap();
    let stored = memory.machine().stored(file.id(), 0);
    assert_eq!((stored[9], stored[10]), (8, 0));
    scribble();
    assert_eq!(memory.write_file(&file, 20, &[1]), Ok(1));
    let mut bytes = [9; 21];
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(21));
    assert_eq!(bytes[..10], [8; 10]);
    assert_eq!(bytes[10..], *b"\0\0\0\0\0\0\0\0\0\0\x01");
}

#[test]
fn a_store_that_fails_leaves_the_size() {
    let (memory, file) = setup(FileKind::Stored);
    memory.machine().refuse_io(0);
    assert_eq!(memory.truncate(&file, 1), Err(Errno::EIO));
    assert_eq!(file.size(), PAGES * PAGE_SIZE as u64);
    assert_eq!(memory.truncate(&file, 1 << 45), Err(Errno::EFBIG));
    assert_eq!(memory.truncate(&file, 1), Ok(()));
}

/// Reads a page that is not in the cache, and cuts or fails it while it is on its way there.
fn read_while(act: impl Fn(&Memory<SimMachine>, &Arc<File>)) -> Result<usize, Errno> {
    let (memory, file) = setup(FileKind::Stored);
    let free = memory.free_frames();
    let held = memory.machine().hold(Held::StoreRead);
    let read = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                match memory.read_file(&file, 0, &mut [0]) {
                    Err(Errno::EBUSY) => thread::yield_now(),
                    read => return read,
                }
            }
        });
        held.wait();
        act(&memory, &file);
        held.wait();
        reader.join().unwrap()
    });
    memory.check().unwrap();
    let isolated = memory.failure_statistics().total as usize;
    memory.close(file);
    assert_eq!(memory.free_frames() + isolated, free);
    read
}

#[test]
fn a_page_that_is_cut_off_on_its_way_into_the_cache_is_not_in_it() {
    let read = read_while(|memory, file| memory.truncate(file, 0).unwrap());
    assert_eq!(read, Ok(0), "the file has no bytes");
}

#[test]
fn a_page_that_fails_on_its_way_into_the_cache_is_read_again() {
    let read = read_while(|memory, _| {
        let pfn = memory.machine().last_filled();
        let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    });
    assert_eq!(read, Ok(1));
}

#[test]
fn a_lost_page_is_forgotten_with_its_end() {
    let (memory, file) = setup(FileKind::Stored);
    assert_eq!(memory.write_file(&file, 0, b"x"), Ok(1));
    let pfn = (0..64)
        .map(|frame| mm::Pfn(mm::sim::FIRST_FRAME + frame))
        .find(|pfn| matches!(memory.frame_state(*pfn), Some(FrameState::File { .. })))
        .unwrap();
    memory.machine().poison(pfn, 3);
    let mut bytes = [0; PAGE_SIZE];
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(192));
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Err(Errno::EIO));
    // A part of it that is cut off does not bring the rest back.
    memory.truncate(&file, 100).unwrap();
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Err(Errno::EIO));
    memory.truncate(&file, 0).unwrap();
    memory.truncate(&file, 4).unwrap();
    assert_eq!(memory.read_file(&file, 0, &mut bytes), Ok(4));
    assert_eq!(bytes[..4], [0; 4]);
}

#[test]
fn a_page_written_anew_grows_the_file_to_its_end() {
    let (memory, file) = setup(FileKind::Memory);
    memory.truncate(&file, 100).unwrap();
    assert_eq!(memory.write_file(&file, 0, b"x"), Ok(1));
    let pfn = (0..64)
        .map(|frame| mm::Pfn(mm::sim::FIRST_FRAME + frame))
        .find(|pfn| matches!(memory.frame_state(*pfn), Some(FrameState::File { .. })))
        .unwrap();
    let _ = memory.memory_failure(pfn, Context::default()).unwrap();
    assert_eq!(memory.write_file(&file, 0, &[3; PAGE_SIZE]), Ok(PAGE_SIZE));
    assert_eq!(file.size(), PAGE_SIZE as u64);
}
