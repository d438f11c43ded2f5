use super::{CREATE, READ, context, create, read, write};
use crate::arch::user::lend;
use crate::error::Errno;
use crate::fs::{OpenFlags, Whence};
use crate::memory::{Sink, Source, UserAddress, UserRange, manager};

#[test]
fn positions_move_with_the_bytes() {
    let context = context();
    let file = create(&context, b"/file");
    assert_eq!(write(&file, b"hello world"), Ok(11));
    assert_eq!(read(&file, 5).unwrap(), b"");
    assert_eq!(file.seek(-5, Whence::End), Ok(6));
    assert_eq!(read(&file, 3).unwrap(), b"wor");
    assert_eq!(file.seek(0, Whence::Current), Ok(9));
    let mut buffer = [0; 5];
    assert_eq!(file.read_at(0, &mut Sink::Kernel(&mut buffer)), Ok(5));
    assert_eq!(&buffer, b"hello");
    assert_eq!(file.write_at(9000, &mut Source::Kernel(b"far")), Ok(3));
    assert_eq!(file.seek(0, Whence::Current), Ok(9));
    assert_eq!(file.metadata().size, 9003);
    assert_eq!(file.seek(-1, Whence::Set), Err(Errno::EINVAL));
    assert_eq!(file.seek(i64::MAX, Whence::End), Err(Errno::EINVAL));
    assert_eq!(file.seek(100, Whence::Hole), Ok(9003));
    assert_eq!(file.seek(9003, Whence::Data), Err(Errno::ENXIO));
    let at = file.read_at(-1, &mut Sink::Kernel(&mut buffer));
    assert_eq!(at, Err(Errno::EINVAL));
}

#[test]
fn files_are_used_as_they_were_opened() {
    let context = context();
    write(&create(&context, b"/file"), b"first").unwrap();
    let append = OpenFlags::WRITE_ONLY | OpenFlags::APPEND;
    let end = context.open(None, b"/file", append, 0).unwrap();
    let start = context.open(None, b"/file", READ, 0).unwrap();
    assert_eq!(write(&end, b" second"), Ok(7));
    assert_eq!(end.seek(0, Whence::Current), Ok(12));
    assert_eq!(end.write_at(0, &mut Source::Kernel(b" third")), Ok(6));
    assert_eq!(read(&start, 99).unwrap(), b"first second third");
    assert_eq!(read(&end, 1), Err(Errno::EBADF));
    assert_eq!(write(&start, b"x"), Err(Errno::EBADF));
    assert_eq!(start.truncate(0), Err(Errno::EINVAL));
    let place = context.open(None, b"/file", OpenFlags::PATH, 0).unwrap();
    assert_eq!(read(&place, 1), Err(Errno::EBADF));
    assert_eq!(place.seek(0, Whence::Set), Err(Errno::EBADF));
    let truncate = CREATE | OpenFlags::TRUNCATE;
    let file = context.open(None, b"/file", truncate, 0).unwrap();
    assert_eq!(file.metadata().size, 0);
    assert_eq!(read(&start, 99).unwrap(), b"");
    end.truncate(5000).unwrap();
    assert_eq!(read(&file, 9999).unwrap(), [0; 5000]);
    assert_eq!(end.truncate(u64::MAX), Err(Errno::EFBIG));
}

#[test]
fn umask_and_modes_are_kept() {
    let context = context();
    assert_eq!(context.set_umask(0o077), 0o022);
    assert_eq!(create(&context, b"/file").metadata().mode(), 0o100_600);
}

#[test]
fn user_ranges_fault_exactly() {
    let context = context();
    let file = create(&context, b"/file");
    let mut memory = vec![7; 6000];
    let loan = lend(&mut memory);
    let range = |length| {
        [UserRange {
            start: loan.address(),
            length,
        }]
    };
    assert_eq!(file.write(&mut Source::User(&mut range(9000))), Ok(6000));
    assert_eq!(file.metadata().size, 6000);
    let mut nowhere = [UserRange {
        start: UserAddress(8),
        length: 1,
    }];
    assert_eq!(
        file.write(&mut Source::User(&mut nowhere)),
        Err(Errno::EFAULT)
    );
    assert_eq!(file.metadata().size, 6000);
    file.seek(5990, Whence::Set).unwrap();
    let mut nowhere = [UserRange {
        start: UserAddress(8),
        length: 1,
    }];
    assert_eq!(file.read(&mut Sink::User(&mut nowhere)), Err(Errno::EFAULT));
    assert_eq!(file.seek(0, Whence::Current), Ok(5990));
    assert_eq!(read(&file, 99).unwrap(), [7; 10]);
}

#[test]
fn a_lost_page_costs_its_bytes_only() {
    let context = context();
    let file = create(&context, b"/file");
    write(&file, &[7; 3 * 4096]).unwrap();
    let mapping = file.mapping().unwrap();
    let mut pfn = None;
    let found = manager().read_pages(&mapping, 4096, 1, |frame, _, _| {
        pfn = Some(frame.pfn());
        Ok(())
    });
    assert_eq!(found, Ok(1));
    manager().machine().poison(pfn.unwrap(), 10);
    file.seek(0, Whence::Set).unwrap();
    let before = read(&file, 3 * 4096).unwrap();
    assert_eq!(before, vec![7; 4096 + 640]);
    assert_eq!(read(&file, 1), Err(Errno::EIO));
    file.seek(2 * 4096, Whence::Set).unwrap();
    assert_eq!(read(&file, 9999).unwrap(), vec![7; 4096]);
    file.seek(4096, Whence::Set).unwrap();
    assert_eq!(write(&file, &[8; 4096]), Ok(4096));
    file.seek(4096, Whence::Set).unwrap();
    assert_eq!(read(&file, 4096).unwrap(), vec![8; 4096]);
}
