use std::sync::Arc;
use std::thread::spawn;
use std::time::Duration;

use super::{READ, context, read, write};
use crate::arch::{thread, time};
use crate::error::Errno;
use crate::fs::pipe::{CAPACITY, pipe};
use crate::fs::{NewInode, OpenFlags, PollEntry, Readiness, poll};

const NOW: Option<u64> = Some(0);
const NON_BLOCKING: OpenFlags = OpenFlags::NON_BLOCKING;

#[test]
fn bytes_come_out_in_order() {
    let (reader, writer) = pipe(OpenFlags::empty()).unwrap();
    let bytes = |from: usize| (from..from + 3000).map(|index| (index % 251) as u8);
    let producer = spawn(move || {
        for round in 0..200 {
            let chunk: Vec<_> = bytes(round * 3000).collect();
            assert_eq!(write(&writer, &chunk), Ok(3000));
        }
    });
    let mut position = 0;
    loop {
        let chunk = read(&reader, 1 + position % 7000).unwrap();
        if chunk.is_empty() {
            break;
        }
        for byte in chunk {
            assert_eq!(byte, (position % 251) as u8);
            position += 1;
        }
    }
    producer.join().unwrap();
    assert_eq!(position, 600_000);
}

#[test]
fn ends_know_of_each_other() {
    let (reader, writer) = pipe(NON_BLOCKING).unwrap();
    assert_eq!(read(&reader, 1), Err(Errno::EAGAIN));
    assert_eq!(read(&reader, 0), Ok(vec![]));
    assert_eq!(write(&writer, b"last"), Ok(4));
    assert_eq!(read(&writer, 1), Err(Errno::EBADF));
    assert_eq!(reader.seek(0, crate::fs::Whence::Set), Err(Errno::ESPIPE));
    drop(writer);
    assert_eq!(read(&reader, 99).unwrap(), b"last");
    assert_eq!(read(&reader, 99).unwrap(), b"");
    let (reader, writer) = pipe(OpenFlags::empty()).unwrap();
    drop(reader);
    assert_eq!(write(&writer, b"x"), Err(Errno::EPIPE));
}

#[test]
fn small_writes_go_in_whole() {
    let (reader, writer) = pipe(NON_BLOCKING).unwrap();
    assert_eq!(write(&writer, &vec![1; CAPACITY - 100]), Ok(CAPACITY - 100));
    assert_eq!(write(&writer, &[2; 101]), Err(Errno::EAGAIN));
    assert_eq!(write(&writer, &[2; 100]), Ok(100));
    assert_eq!(write(&writer, &[2; 1]), Err(Errno::EAGAIN));
    assert_eq!(read(&reader, 50).unwrap(), [1; 50]);
    // A large one goes in as far as it can.
    assert_eq!(write(&writer, &[3; 9000]), Ok(50));
    assert_eq!(read(&reader, CAPACITY).unwrap().len(), CAPACITY);
}

#[test]
fn a_waiting_reader_is_woken_or_interrupted() {
    let (reader, writer) = pipe(OpenFlags::empty()).unwrap();
    let waiting = {
        let reader = Arc::clone(&reader);
        spawn(move || read(&reader, 9))
    };
    std::thread::sleep(Duration::from_millis(20));
    write(&writer, b"now").unwrap();
    assert_eq!(waiting.join().unwrap().unwrap(), b"now");
    let interrupted = spawn(move || {
        thread::set_signal(true);
        read(&reader, 9)
    });
    assert_eq!(interrupted.join().unwrap(), Err(Errno::EINTR));
}

#[test]
fn poll_sees_what_happens() {
    let (reader, writer) = pipe(OpenFlags::empty()).unwrap();
    let entry = |file: &Arc<_>, interest| PollEntry::new(Arc::clone(file), interest);
    let both = || {
        [
            entry(&reader, Readiness::READABLE),
            entry(&writer, Readiness::OUT),
        ]
    };
    let mut entries = both();
    assert_eq!(poll(&mut entries, NOW), Ok(1));
    assert_eq!(entries[0].found(), Readiness::empty());
    assert_eq!(entries[1].found(), Readiness::OUT);
    let mut alone = [entry(&reader, Readiness::IN), PollEntry::ignored()];
    let before = time::now();
    assert_eq!(poll(&mut alone, Some(before + 20_000_000)), Ok(0));
    assert!(time::now() >= before + 20_000_000);
    let late = {
        let writer = Arc::clone(&writer);
        spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            write(&writer, b"x").unwrap();
        })
    };
    assert_eq!(poll(&mut alone, None), Ok(1));
    late.join().unwrap();
    assert_eq!(alone[0].found(), Readiness::IN);
    assert_eq!(poll(&mut both(), NOW), Ok(2));
    drop((writer, entries));
    assert_eq!(read(&reader, 9).unwrap(), b"x");
    assert_eq!(poll(&mut alone, None), Ok(1));
    assert_eq!(alone[0].found(), Readiness::HANG_UP);
    let mut invalid = [PollEntry::invalid()];
    assert_eq!(poll(&mut invalid, None), Ok(1));
    assert_eq!(invalid[0].found(), Readiness::INVALID);
    spawn(|| {
        thread::set_signal(true);
        let (reader, _writer) = pipe(OpenFlags::empty()).unwrap();
        let mut entries = [PollEntry::new(reader, Readiness::IN)];
        assert_eq!(poll(&mut entries, None), Err(Errno::EINTR));
    })
    .join()
    .unwrap();
}

#[test]
fn named_pipes_wait_for_their_other_end() {
    let context = Arc::new(context());
    context.make(None, b"/fifo", NewInode::Fifo, 0o666).unwrap();
    let alone = context.open(None, b"/fifo", OpenFlags::WRITE_ONLY | NON_BLOCKING, 0);
    assert_eq!(alone.err(), Some(Errno::ENXIO));
    let other = Arc::clone(&context);
    let writer = spawn(move || {
        let writer = other
            .open(None, b"/fifo", OpenFlags::WRITE_ONLY, 0)
            .unwrap();
        write(&writer, b"through").unwrap();
    });
    let reader = context.open(None, b"/fifo", READ, 0).unwrap();
    assert_eq!(read(&reader, 99).unwrap(), b"through");
    writer.join().unwrap();
    assert_eq!(read(&reader, 99).unwrap(), b"");
    let waiting = context
        .open(None, b"/fifo", READ | NON_BLOCKING, 0)
        .unwrap();
    assert_eq!(waiting.readiness(), Readiness::HANG_UP);
}

#[test]
fn memory_that_fails_in_a_pipe_costs_a_page() {
    let (reader, writer) = pipe(NON_BLOCKING).unwrap();
    write(&writer, &[5; 3 * 4096]).unwrap();
    crate::fs::pipe::poison_page(&reader, 1, 0);
    assert_eq!(read(&reader, CAPACITY).unwrap(), [5; 4096]);
    assert_eq!(read(&reader, CAPACITY), Err(Errno::EIO));
    assert_eq!(read(&reader, CAPACITY).unwrap(), [5; 4096]);
    // Empty now, and as good as new.
    write(&writer, &[6; 3 * 4096]).unwrap();
    assert_eq!(read(&reader, CAPACITY).unwrap(), [6; 3 * 4096]);
}
