//! Files read and written page by page, by a caller who moves the bytes.

use std::sync::Arc;

use mm::sim::{SimMachine, memory};
use mm::{Errno, File, FileKind, Halt, Halted, Machine, Memory, PAGE_SIZE, Pfn};

const KIND: FileKind = FileKind::Stored;

/// Reads as a system call does, and returns the bytes with what it reports.
fn read(
    memory: &Memory<SimMachine>,
    file: &Arc<File>,
    position: u64,
    length: usize,
) -> (Vec<u8>, Result<usize, Errno>) {
    let mut bytes = Vec::new();
    let result = memory.read_pages(file, position, length, |frame, offset, length| {
        let mut part = vec![0; length];
        let read = memory.machine().read(frame, offset, &mut part);
        let done = read.map_or_else(|poisoned| poisoned.done, |()| length);
        bytes.extend_from_slice(&part[..done]);
        read.map_err(|poisoned| Halted {
            done,
            cause: Halt::Poisoned(poisoned.pfn),
        })
    });
    (bytes, result)
}

/// Writes `length` bytes of `value`, of which only `available` can be had.
fn write(
    memory: &Memory<SimMachine>,
    file: &Arc<File>,
    position: u64,
    value: u8,
    length: usize,
    mut available: usize,
) -> Result<usize, Errno> {
    memory.write_pages(file, position, length, |frame, offset, length| {
        let done = length.min(available);
        available -= done;
        memory.machine().write(frame, offset, &vec![value; done]);
        if done == length {
            return Ok(());
        }
        let cause = Halt::Other(Errno::EFAULT);
        Err(Halted { done, cause })
    })
}

fn poison(memory: &Memory<SimMachine>, file: &Arc<File>, position: u64, line: usize) -> Pfn {
    let mut found = None;
    let read = memory.read_pages(file, position, 1, |frame, _, _| {
        found = Some(frame.pfn());
        Ok(())
    });
    assert_eq!(read, Ok(1));
    let pfn = found.unwrap();
    memory.machine().poison(pfn, line);
    pfn
}

#[test]
fn bytes_come_back_from_where_they_went() {
    let memory = memory(16);
    let file = memory.create_file(KIND, 0).unwrap();
    let length = PAGE_SIZE + 200;
    assert_eq!(write(&memory, &file, 100, 7, length, length), Ok(length));
    assert_eq!(file.size(), 100 + length as u64);
    let (bytes, result) = read(&memory, &file, 0, usize::MAX);
    assert_eq!(result, Ok(100 + length));
    assert!(bytes[..100].iter().all(|byte| *byte == 0));
    assert!(bytes[100..].iter().all(|byte| *byte == 7));
    assert_eq!(read(&memory, &file, 1 << 20, 1), (vec![], Ok(0)));
    memory.close(file);
}

#[test]
fn a_source_that_fails_keeps_the_bytes_before() {
    let memory = memory(16);
    let file = memory.create_file(KIND, 0).unwrap();
    let stored = write(&memory, &file, 0, 7, 3 * PAGE_SIZE, PAGE_SIZE + 5);
    assert_eq!(stored, Ok(PAGE_SIZE + 5));
    assert_eq!(file.size(), PAGE_SIZE as u64 + 5);
    assert_eq!(write(&memory, &file, 0, 8, 10, 0), Err(Errno::EFAULT));
    assert_eq!(write(&memory, &file, 9000, 8, 10, 0), Err(Errno::EFAULT));
    assert_eq!(file.size(), PAGE_SIZE as u64 + 5);
    let (bytes, result) = read(&memory, &file, 0, usize::MAX);
    assert_eq!(result, Ok(PAGE_SIZE + 5));
    assert!(bytes.iter().all(|byte| *byte == 7));
    memory.close(file);
}

#[test]
fn a_clean_page_that_fails_is_read_again() {
    let memory = memory(16);
    let file = memory.create_file(KIND, 0).unwrap();
    let length = 2 * PAGE_SIZE;
    assert_eq!(write(&memory, &file, 0, 7, length, length), Ok(length));
    memory.sync(&file).unwrap();
    let pfn = poison(&memory, &file, 0, 3);
    let (bytes, result) = read(&memory, &file, 10, usize::MAX);
    assert_eq!(result, Ok(length - 10));
    assert!(bytes.iter().all(|byte| *byte == 7));
    assert_eq!(memory.frame_state(pfn), Some(mm::FrameState::Isolated));
    memory.close(file);
}

#[test]
fn a_write_back_that_fails_is_told_once_and_can_be_tried_again() {
    let memory = memory(64);
    let file = memory.create_file(KIND, PAGE_SIZE as u64).unwrap();
    assert_eq!(memory.write_file(&file, 0, &[7; PAGE_SIZE]), Ok(PAGE_SIZE));
    memory.machine().refuse_io(0);
    assert_eq!(memory.sync(&file), Err(Errno::EIO));
    assert_eq!(memory.machine().stored(file.id(), 0), [0; PAGE_SIZE]);
    assert_eq!(memory.sync(&file), Ok(()));
    assert_eq!(memory.machine().stored(file.id(), 0), [7; PAGE_SIZE]);
    memory.check().unwrap();
}

#[test]
fn a_lost_page_ends_a_read_until_all_of_it_is_rewritten() {
    let memory = memory(16);
    let file = memory.create_file(KIND, 0).unwrap();
    let length = 2 * PAGE_SIZE;
    assert_eq!(write(&memory, &file, 0, 7, length, length), Ok(length));
    poison(&memory, &file, PAGE_SIZE as u64, 2);
    let (bytes, result) = read(&memory, &file, 0, usize::MAX);
    assert_eq!(result, Ok(PAGE_SIZE + 128));
    assert!(bytes.iter().all(|byte| *byte == 7));
    let at = PAGE_SIZE as u64 + 128;
    assert_eq!(read(&memory, &file, at, 1), (vec![], Err(Errno::EIO)));
    let second = PAGE_SIZE as u64;
    assert_eq!(write(&memory, &file, second, 8, 10, 10), Err(Errno::EIO));
    // The source of the new contents fails: the page stays lost.
    let short = write(&memory, &file, second, 8, PAGE_SIZE, 100);
    assert_eq!(short, Err(Errno::EFAULT));
    assert_eq!(read(&memory, &file, at, 1), (vec![], Err(Errno::EIO)));
    let whole = write(&memory, &file, second, 8, PAGE_SIZE, PAGE_SIZE);
    assert_eq!(whole, Ok(PAGE_SIZE));
    assert_eq!(read(&memory, &file, at, 1), (vec![8], Ok(1)));
    memory.close(file);
    assert_eq!(memory.check(), Ok(()));
}
