use std::sync::Arc;

use super::{CREATE, READ, context, read, write};
use crate::error::Errno;
use crate::fs::tty::{Line, Processes, Tty};
use crate::fs::{Follow, NewInode, OpenFlags, devfs};
use crate::memory::{Sink, UserAddress, UserRange};

#[derive(Debug)]
struct Nowhere;

impl Line for Nowhere {
    fn send(&self, _: &[u8]) {}
}

/// One test, because devices are registered once.
#[test]
fn devices_are_where_their_names_are() {
    let tty = Tty::new(Arc::new(Nowhere), Arc::new(Processes));
    devfs::register(&tty).unwrap();
    assert_eq!(devfs::register(&tty), Err(Errno::EEXIST));
    let context = context();
    context
        .make(None, b"/dev", NewInode::Directory, 0o755)
        .unwrap();
    let on = context.resolve(None, b"/dev", Follow::Yes).unwrap();
    let mount = |file_system| {
        context
            .namespace()
            .mount(file_system, on.clone(), b"devtmpfs", false)
    };
    mount(devfs::new().unwrap()).unwrap();
    let open = |path| context.open(None, path, OpenFlags::READ_WRITE, 0).unwrap();

    let null = open(b"/dev/null");
    assert_eq!(read(&null, 9).unwrap(), b"");
    assert_eq!(write(&null, &[1; 1000]), Ok(1000));
    assert_eq!(null.truncate(0), Err(Errno::EINVAL));
    assert!(
        context
            .open(None, b"/dev/null", CREATE | OpenFlags::TRUNCATE, 0)
            .is_ok()
    );

    let zero = open(b"/dev/zero");
    assert_eq!(read(&zero, 1000).unwrap(), [0; 1000]);
    let mut nowhere = [UserRange {
        start: UserAddress(8),
        length: 10,
    }];
    assert_eq!(zero.read(&mut Sink::User(&mut nowhere)), Err(Errno::EFAULT));

    let full = open(b"/dev/full");
    assert_eq!(write(&full, b"x"), Err(Errno::ENOSPC));
    assert_eq!(read(&full, 3).unwrap(), [0; 3]);

    let random = open(b"/dev/urandom");
    let (first, second) = (read(&random, 600).unwrap(), read(&random, 600).unwrap());
    assert_ne!(first, second);
    assert_eq!(write(&random, b"seed"), Ok(4));

    let console = context.open(None, b"/dev/console", READ, 0).unwrap();
    assert_eq!(console.metadata().mode(), 0o020_600);
    assert_eq!(console.metadata().represents.encode(), 0x501);
    assert_eq!(console.seek(0, crate::fs::Whence::Set), Err(Errno::ESPIPE));

    let unknown = NewInode::CharacterDevice(crate::fs::DeviceNumber::new(200, 0));
    context.make(None, b"/dev/unknown", unknown, 0o666).unwrap();
    let opened = context.open(None, b"/dev/unknown", READ, 0);
    assert_eq!(opened.err(), Some(Errno::ENXIO));
}
