use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::error::Errno;
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{Context, Follow, Namespace, NewInode, OpenFile, OpenFlags};
use crate::memory::{Sink, Source};

fn mounted(tree: &Arc<Tree>) -> Context {
    let namespace = Namespace::new(Tmpfs::new("tmpfs", 10));
    let root = Arc::clone(tree) as Arc<dyn Directory>;
    let file_system = PseudoFs::new("sysfs", 0x6265_6572, root);
    namespace
        .mount(file_system, namespace.root(), b"sysfs", false)
        .unwrap();
    let context = Context::new(namespace);
    let root = context.resolve(None, b"/..", Follow::Yes).unwrap();
    context.set_root(root).unwrap();
    context
}

fn open(context: &Context, path: &[u8]) -> Arc<OpenFile> {
    let flags = OpenFlags::READ_WRITE | OpenFlags::TRUNCATE;
    context.open(None, path, flags, 0).unwrap()
}

fn read(file: &OpenFile, length: usize) -> Result<String> {
    let mut buffer = vec![0; length];
    let done = file.read(&mut Sink::Kernel(&mut buffer))?;
    buffer.truncate(done);
    Ok(String::from_utf8(buffer).unwrap())
}

#[test]
fn functions_are_read_and_written() {
    let value = Arc::new(AtomicU64::new(7));
    let tree = Tree::new();
    let (shown, stored) = (Arc::clone(&value), Arc::clone(&value));
    let file = read_write(
        move || Ok(line(shown.load(Ordering::Relaxed))),
        move |bytes| {
            stored.store(number(bytes)?, Ordering::Relaxed);
            Ok(())
        },
    );
    tree.directory("kernel/mm/ksm").file("run", 0o644, file);
    tree.directory("kernel")
        .file("only", 0o200, write_only(|_| Ok(())));
    let context = mounted(&tree);
    let file = open(&context, b"/kernel/mm/ksm/run");
    assert_eq!(file.metadata().mode(), 0o100_644);
    assert_eq!(read(&file, 1).unwrap(), "7");
    value.store(1234, Ordering::Relaxed);
    // A read goes on in what it began, and begins anew at the start.
    assert_eq!(read(&file, 9).unwrap(), "\n");
    assert_eq!(read(&file, 9).unwrap(), "");
    let write = |bytes: &[u8]| file.write_at(0, &mut Source::Kernel(bytes));
    assert_eq!(write(b"0x20\n"), Ok(5));
    assert_eq!(value.load(Ordering::Relaxed), 32);
    assert_eq!(write(b"many"), Err(Errno::EINVAL));
    assert_eq!(write(&[b'1'; 5000]), Err(Errno::EINVAL));
    let only = open(&context, b"/kernel/only");
    assert_eq!(read(&only, 9), Err(Errno::EIO));
}

#[test]
fn trees_grow_and_can_be_mounted_on() {
    let tree = Tree::new();
    tree.directory("kernel/debug");
    tree.link("link", To("kernel"));
    let context = mounted(&tree);
    let debug = context.resolve(None, b"/link/debug", Follow::Yes).unwrap();
    let inner = Tmpfs::new("debugfs", 10);
    let namespace = context.namespace();
    namespace.mount(inner, debug, b"debugfs", false).unwrap();
    let what = NewInode::Directory;
    context
        .make(None, b"/kernel/debug/inside", what, 0)
        .unwrap();
    assert!(
        context
            .resolve(None, b"/kernel/debug/inside", Follow::Yes)
            .is_ok()
    );
    assert_eq!(context.make(None, b"/kernel/x", what, 0), Err(Errno::EPERM));
    assert_eq!(context.unlink(None, b"/link"), Err(Errno::EPERM));
    // Names that come later are seen.
    let late = |path| context.resolve(None, path, Follow::Yes).map(drop);
    assert_eq!(late(b"/late"), Err(Errno::ENOENT));
    tree.file("late", 0o444, read_only(|| Ok("late".into())));
    assert_eq!(late(b"/late"), Ok(()));
    let numbers = [b"/late", b"/link"].map(|path| {
        let path = context.resolve(None, path, Follow::No).unwrap();
        path.metadata().inode
    });
    assert_ne!(numbers[0], numbers[1]);
}

/// Names that were there at the last lookup only.
#[derive(Debug)]
struct Fleeting(AtomicU64);

impl Directory for Fleeting {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let current = self.0.load(Ordering::Relaxed).to_string();
        let target = Arc::new(To("/"));
        (name == current.as_bytes()).then_some(Node::Link(target))
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        let name = self.0.load(Ordering::Relaxed).to_string();
        vec![(name.into_bytes(), FileType::SymbolicLink)]
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

#[test]
fn fleeting_names_are_not_remembered() {
    let fleeting = Arc::new(Fleeting(AtomicU64::new(1)));
    let tree = Tree::new();
    let directory = Arc::clone(&fleeting) as Arc<dyn Directory>;
    tree.add("pids", Node::Directory(directory));
    let context = mounted(&tree);
    let found = |path| context.resolve(None, path, Follow::No).is_ok();
    assert!(found(b"/pids/1") && !found(b"/pids/2"));
    fleeting.0.store(2, Ordering::Relaxed);
    assert!(!found(b"/pids/1") && found(b"/pids/2"));
    let directory = context
        .open(None, b"/pids", OpenFlags::DIRECTORY, 0)
        .unwrap();
    let mut buffer = [0; 200];
    let done = directory
        .read_directory(&mut Sink::Kernel(&mut buffer))
        .unwrap();
    assert_eq!(done, 3 * 24);
    assert_eq!(&buffer[48 + 19..48 + 21], b"2\0");
}
