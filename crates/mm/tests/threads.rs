//! Several CPUs at once: faults, forks, errors and moves must neither deadlock nor mix up data.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mm::sim::{CPUS, FIRST_FRAME, Random, SimMachine, memory, try_access};
use mm::{
    Access, AddressSpace, Context, Entry, Errno, FileKind, FrameState, Memory, Outcome, PAGE_SIZE,
    Pfn, Placement, Protection, Sharing, Source, VirtualAddress, VirtualPage,
};

const AT: VirtualAddress = VirtualAddress(0x1_0000_0000);
const PAGES: u64 = 8;
const FRAMES: u32 = 4000;

/// Ends the run when its thread ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Runs one process: its pages hold its own mark, or are lost.
fn process(
    memory: &Memory<SimMachine>,
    space: &AddressSpace,
    cpu: usize,
    mark: u8,
    running: &AtomicBool,
) {
    let mut random = Random(u64::from(mark));
    while running.load(Ordering::Relaxed) {
        let page = VirtualPage(AT.page().0 + u64::from(random.below(PAGES as u32)));
        let write = random.below(2) == 0;
        let access = if write { Access::Store } else { Access::Load };
        let mut byte = [mark];
        let act = |machine: &SimMachine, pfn| {
            if write {
                machine.cpu_store(pfn, 0, &[mark; PAGE_SIZE]);
                return true;
            }
            machine.cpu_load(pfn, 64, &mut byte).is_ok()
        };
        match try_access(memory, space, cpu, page, access, act).unwrap() {
            None => assert!(byte[0] == mark || byte[0] == 0, "another process's byte"),
            Some(Outcome::Sigbus(_)) => {
                let length = PAGE_SIZE as u64;
                memory
                    .madvise(space, page.address(), length, mm::Advice::DontNeed)
                    .unwrap();
            }
            Some(Outcome::Resolved | Outcome::Retry) => {}
            Some(other) => panic!("{other:?}"),
        }
        if random.below(40) == 0 {
            match memory.fork(space) {
                Ok(child) => memory.destroy(child),
                Err(error) => assert_eq!(error, Errno::ENOMEM),
            }
        }
    }
}

#[test]
fn cpus_do_not_get_in_each_others_way() {
    let memory = memory(FRAMES);
    let file = memory
        .create_file(FileKind::Stored, PAGES * PAGE_SIZE as u64)
        .unwrap();
    let spaces: Vec<_> = (0..CPUS).map(|_| memory.create().unwrap()).collect();
    for (number, space) in spaces.iter().enumerate() {
        let source = if number == 0 {
            Source::File(&file, 0)
        } else {
            Source::Anonymous
        };
        let length = PAGES * PAGE_SIZE as u64;
        let placement = Placement::Fixed(AT);
        memory
            .mmap(
                space,
                placement,
                length,
                Protection::READ_WRITE,
                Sharing::Private,
                source,
            )
            .unwrap();
    }
    let running = AtomicBool::new(true);
    thread::scope(|scope| {
        for (cpu, space) in spaces.iter().enumerate() {
            let (memory, running) = (&memory, &running);
            scope.spawn(move || {
                // A process that panics must not keep the others running for ever.
                let _stop = StopOnDrop(running);
                process(memory, space, cpu, cpu as u8 + 1, running);
            });
        }
        scope.spawn(|| {
            let mut random = Random(99);
            let mut errors = 0;
            let _stop = StopOnDrop(&running);
            while running.load(Ordering::Relaxed) && errors < 400 {
                let space = &spaces[random.below(CPUS as u32) as usize];
                let page = AT.0 + u64::from(random.below(PAGES as u32)) * PAGE_SIZE as u64;
                if let Entry::Page(pfn, _) = memory.entry(space, VirtualAddress(page)) {
                    errors += 1;
                    match random.below(3) {
                        0 => memory.machine().poison(pfn, 1),
                        1 => drop(memory.memory_failure(pfn, Context::default()).err()),
                        _ => drop(memory.soft_offline(pfn)),
                    }
                }
                let _ = memory.sync(&file);
                thread::yield_now();
            }
        });
    });
    memory.check().unwrap();
    spaces.into_iter().for_each(|space| memory.destroy(space));
    memory.close(file);
    memory.check().unwrap();
    let isolated = (0..u64::from(FRAMES))
        .filter(|frame| memory.frame_state(Pfn(FIRST_FRAME + frame)) == Some(FrameState::Isolated))
        .count();
    assert!(isolated > 20, "only {isolated} frames failed");
    assert_eq!(memory.free_frames() + isolated, FRAMES as usize);
}
