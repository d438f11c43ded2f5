use std::sync::Arc;

use super::{CREATE, READ, context, create, read, write};
use crate::error::Errno;
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{
    Context, FileType, Follow, LINKS_MAX, NewInode, OpenFile, OpenFlags, Path, RenameFlags,
};
use crate::memory::Sink;

fn mkdir(context: &Context, path: &[u8]) {
    context
        .make(None, path, NewInode::Directory, 0o777)
        .unwrap();
}

fn symlink(context: &Context, text: &[u8], path: &[u8]) {
    let what = NewInode::SymbolicLink(text);
    context.make(None, path, what, 0).unwrap();
}

fn resolve(context: &Context, path: &[u8]) -> Result<Path, Errno> {
    context.resolve(None, path, Follow::Yes)
}

fn error(context: &Context, path: &[u8]) -> Option<Errno> {
    resolve(context, path).err()
}

fn rename(context: &Context, old: &[u8], new: &[u8]) -> Result<(), Errno> {
    context.rename(None, old, None, new, RenameFlags::empty())
}

/// The names in a directory, read `room` bytes at a time.
fn list(file: &OpenFile, room: usize) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    loop {
        let mut buffer = vec![0; room];
        let mut rest = match file.read_directory(&mut Sink::Kernel(&mut buffer)).unwrap() {
            0 => return names,
            done => &buffer[..done],
        };
        while !rest.is_empty() {
            let length = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let (entry, after) = rest.split_at(length);
            let name = entry[19..].split(|byte| *byte == 0).next().unwrap();
            names.push(name.to_vec());
            rest = after;
        }
    }
}

#[test]
fn paths_lead_where_they_say() {
    let context = context();
    mkdir(&context, b"/a");
    mkdir(&context, b"/a/b/");
    create(&context, b"/a/b/file");
    let file = resolve(&context, b"/a/b/file").unwrap();
    for path in [
        &b"a/b/file"[..],
        b"//a///b//file",
        b"/../a/./b/../b/file",
        b"/a/b/../../a/b/file",
    ] {
        assert_eq!(resolve(&context, path).unwrap(), file);
    }
    assert_eq!(context.name_of(&file).unwrap(), b"/a/b/file");
    context
        .set_directory(resolve(&context, b"a/b").unwrap())
        .unwrap();
    assert_eq!(resolve(&context, b"file").unwrap(), file);
    assert_eq!(resolve(&context, b"../../a/b/file").unwrap(), file);
    assert_eq!(context.name_of(&context.directory()).unwrap(), b"/a/b");
    let base = context.open(None, b"/a", OpenFlags::PATH, 0).unwrap();
    let below = context.resolve(Some(&base), b"b/file", Follow::Yes);
    assert_eq!(below.unwrap(), file);
}

#[test]
fn wrong_paths_are_refused_as_linux_does() {
    let context = context();
    mkdir(&context, b"/dir");
    create(&context, b"/file");
    assert_eq!(error(&context, b""), Some(Errno::ENOENT));
    assert_eq!(error(&context, b"/none"), Some(Errno::ENOENT));
    assert_eq!(error(&context, b"/none/x"), Some(Errno::ENOENT));
    assert_eq!(error(&context, b"/file/"), Some(Errno::ENOTDIR));
    assert_eq!(error(&context, b"/file/x"), Some(Errno::ENOTDIR));
    assert_eq!(error(&context, b"/file/.."), Some(Errno::ENOTDIR));
    assert_eq!(error(&context, &[b'x'; 256]), Some(Errno::ENAMETOOLONG));
    assert_eq!(error(&context, &[b'x'; 255]), Some(Errno::ENOENT));
    let make = |path, what| context.make(None, path, what, 0o777).err();
    assert_eq!(make(b"/", NewInode::Directory), Some(Errno::EEXIST));
    assert_eq!(make(b"/dir", NewInode::Directory), Some(Errno::EEXIST));
    assert_eq!(make(b"/dir/.", NewInode::Directory), Some(Errno::EEXIST));
    assert_eq!(make(b"/fifo/", NewInode::Fifo), Some(Errno::ENOENT));
    let open = |path, flags| context.open(None, path, flags, 0o666).err();
    let exclusive = CREATE | OpenFlags::EXCLUSIVE;
    assert_eq!(open(b"/file", exclusive), Some(Errno::EEXIST));
    assert_eq!(open(b"/new/", CREATE), Some(Errno::EISDIR));
    assert_eq!(open(b"/dir", CREATE), Some(Errno::EISDIR));
    assert_eq!(open(b"/dir", OpenFlags::READ_WRITE), Some(Errno::EISDIR));
    assert_eq!(open(b"/file", OpenFlags::DIRECTORY), Some(Errno::ENOTDIR));
    assert_eq!(context.unlink(None, b"/dir"), Err(Errno::EISDIR));
    assert_eq!(
        context.remove_directory(None, b"/file"),
        Err(Errno::ENOTDIR)
    );
    assert_eq!(
        context.remove_directory(None, b"/dir/."),
        Err(Errno::EINVAL)
    );
}

#[test]
fn symbolic_links_are_followed_to_a_limit() {
    let context = context();
    mkdir(&context, b"/dir");
    create(&context, b"/dir/file");
    let file = resolve(&context, b"/dir/file").unwrap();
    symlink(&context, b"dir", b"/relative");
    symlink(&context, b"/dir/", b"/absolute");
    symlink(&context, b"../relative/file", b"/dir/up");
    symlink(&context, b"loop", b"/loop");
    symlink(&context, b"dir/made", b"/dangling");
    assert_eq!(resolve(&context, b"/relative/file").unwrap(), file);
    assert_eq!(resolve(&context, b"/absolute/up").unwrap(), file);
    assert_eq!(error(&context, b"/loop"), Some(Errno::ELOOP));
    assert_eq!(error(&context, b"/dangling"), Some(Errno::ENOENT));
    let link = context.resolve(None, b"/dangling", Follow::No).unwrap();
    assert_eq!(link.inode().kind(), FileType::SymbolicLink);
    assert_eq!(context.read_link(&link).unwrap(), b"dir/made");
    assert_eq!(context.read_link(&file), Err(Errno::EINVAL));
    let no_follow = context.open(None, b"/relative", OpenFlags::NO_FOLLOW, 0);
    assert_eq!(no_follow.err(), Some(Errno::ELOOP));
    let exclusive = context.open(None, b"/dangling", CREATE | OpenFlags::EXCLUSIVE, 0);
    assert_eq!(exclusive.err(), Some(Errno::EEXIST));
    // Creation goes through the link.
    create(&context, b"/dangling");
    assert!(resolve(&context, b"/dir/made").is_ok());
    // A chain as long as allowed, and one more.
    symlink(&context, b"dir", b"/chain0");
    for index in 1..=LINKS_MAX {
        let text = format!("chain{}", index - 1);
        symlink(
            &context,
            text.as_bytes(),
            format!("/chain{index}").as_bytes(),
        );
    }
    let last = LINKS_MAX - 1;
    assert!(resolve(&context, format!("/chain{last}").as_bytes()).is_ok());
    let beyond = error(&context, format!("/chain{LINKS_MAX}").as_bytes());
    assert_eq!(beyond, Some(Errno::ELOOP));
}

#[test]
fn names_can_be_removed_while_files_are_open() {
    let context = context();
    let file = create(&context, b"/file");
    write(&file, b"kept").unwrap();
    let old = resolve(&context, b"/file").unwrap();
    context.link(&old, None, b"/second").unwrap();
    assert_eq!(file.metadata().links, 2);
    context.unlink(None, b"/file").unwrap();
    assert_eq!(error(&context, b"/file"), Some(Errno::ENOENT));
    context.unlink(None, b"/second").unwrap();
    assert_eq!(file.metadata().links, 0);
    file.seek(0, crate::fs::Whence::Set).unwrap();
    assert_eq!(read(&file, 10).unwrap(), b"kept");
    assert_eq!(context.link(&old, None, b"/third"), Err(Errno::ENOENT));
    assert_eq!(context.name_of(&old), None);
}

#[test]
fn removed_directories_get_no_new_names() {
    let context = context();
    mkdir(&context, b"/dir");
    mkdir(&context, b"/dir/below");
    assert_eq!(
        context.remove_directory(None, b"/dir"),
        Err(Errno::ENOTEMPTY)
    );
    context
        .set_directory(resolve(&context, b"/dir/below").unwrap())
        .unwrap();
    context.remove_directory(None, b"/dir/below").unwrap();
    let made = context.open(None, b"file", CREATE, 0o666);
    assert_eq!(made.err(), Some(Errno::ENOENT));
    assert_eq!(error(&context, b".."), None);
    assert_eq!(context.name_of(&context.directory()), None);
    assert_eq!(resolve(&context, b"/dir").unwrap().metadata().links, 2);
    context.remove_directory(None, b"/dir").unwrap();
}

#[test]
fn renames_move_and_replace() {
    let context = context();
    mkdir(&context, b"/a");
    mkdir(&context, b"/b");
    mkdir(&context, b"/a/dir");
    write(&create(&context, b"/a/dir/one"), b"1").unwrap();
    write(&create(&context, b"/two"), b"2").unwrap();
    context
        .set_directory(resolve(&context, b"/a/dir").unwrap())
        .unwrap();
    rename(&context, b"/a/dir", b"/b/moved").unwrap();
    assert_eq!(context.name_of(&context.directory()).unwrap(), b"/b/moved");
    assert_eq!(error(&context, b"/a/dir"), Some(Errno::ENOENT));
    assert_eq!(resolve(&context, b"/a").unwrap().metadata().links, 2);
    assert_eq!(resolve(&context, b"/b").unwrap().metadata().links, 3);
    rename(&context, b"/b/moved/one", b"/two").unwrap();
    let two = context.open(None, b"/two", READ, 0).unwrap();
    assert_eq!(read(&two, 9).unwrap(), b"1");
    // Onto an empty directory, and not onto one with names.
    mkdir(&context, b"/empty");
    create(&context, b"/b/moved/full");
    rename(&context, b"/b/moved", b"/empty").unwrap();
    assert!(resolve(&context, b"/empty/full").is_ok());
    mkdir(&context, b"/c");
    assert_eq!(rename(&context, b"/c", b"/empty"), Err(Errno::ENOTEMPTY));
    assert_eq!(
        rename(&context, b"/empty/full", b"/empty"),
        Err(Errno::EISDIR)
    );
    assert_eq!(rename(&context, b"/c", b"/two"), Err(Errno::ENOTDIR));
    mkdir(&context, b"/c/d");
    assert_eq!(rename(&context, b"/c", b"/c/d/e"), Err(Errno::EINVAL));
    assert_eq!(rename(&context, b"/c", b"/c/x"), Err(Errno::EINVAL));
    assert_eq!(rename(&context, b"/c/d", b"/c"), Err(Errno::ENOTEMPTY));
    assert_eq!(rename(&context, b"/none", b"/x"), Err(Errno::ENOENT));
    assert_eq!(rename(&context, b"/", b"/x"), Err(Errno::EBUSY));
    let flags = RenameFlags::NO_REPLACE;
    let kept = context.rename(None, b"/c", None, b"/two", flags);
    assert_eq!(kept, Err(Errno::EEXIST));
    rename(&context, b"/two", b"/two").unwrap();
}

#[test]
fn listings_survive_changes() {
    let context = context();
    for index in 0..40 {
        create(&context, format!("/file{index:02}").as_bytes());
    }
    let directory = context.open(None, b"/", OpenFlags::DIRECTORY, 0).unwrap();
    let names = list(&directory, 100);
    let wanted: Vec<_> = [b".".to_vec(), b"..".to_vec()]
        .into_iter()
        .chain((0..40).map(|index| format!("file{index:02}").into_bytes()))
        .collect();
    assert_eq!(names, wanted);
    // As `rm -r` does: reads some, removes them, goes on.
    directory.seek(0, crate::fs::Whence::Set).unwrap();
    let mut buffer = [0; 200];
    directory
        .read_directory(&mut Sink::Kernel(&mut buffer))
        .unwrap();
    for index in 0..5 {
        context
            .unlink(None, format!("/file{index:02}").as_bytes())
            .unwrap();
    }
    create(&context, b"/late");
    let rest = list(&directory, 4096);
    assert_eq!(rest.last().unwrap(), b"late");
    assert_eq!(rest[rest.len() - 2], b"file39");
    directory.seek(0, crate::fs::Whence::Set).unwrap();
    let tiny = directory.read_directory(&mut Sink::Kernel(&mut [0; 10]));
    assert_eq!(tiny, Err(Errno::EINVAL));
    assert_eq!(read(&directory, 10), Err(Errno::EISDIR));
}

#[test]
fn mounts_hide_what_is_under_them() {
    let context = context();
    let namespace = Arc::clone(context.namespace());
    mkdir(&context, b"/mnt");
    create(&context, b"/mnt/hidden");
    let on = resolve(&context, b"/mnt").unwrap();
    let inner = Tmpfs::new("tmpfs", 10);
    namespace.mount(inner, on.clone(), b"inner", false).unwrap();
    assert_eq!(error(&context, b"/mnt/hidden"), Some(Errno::ENOENT));
    mkdir(&context, b"/mnt/seen");
    let seen = resolve(&context, b"/mnt/seen").unwrap();
    assert_eq!(context.name_of(&seen).unwrap(), b"/mnt/seen");
    assert_eq!(
        resolve(&context, b"/mnt/seen/../..").unwrap(),
        context.root()
    );
    assert_eq!(rename(&context, b"/mnt/seen", b"/seen"), Err(Errno::EXDEV));
    assert_eq!(rename(&context, b"/mnt", b"/other"), Err(Errno::EBUSY));
    assert_eq!(context.remove_directory(None, b"/mnt"), Err(Errno::EBUSY));
    // Another on top of it.
    let top = resolve(&context, b"/mnt").unwrap();
    namespace
        .mount(Tmpfs::new("tmpfs", 10), top, b"top", true)
        .unwrap();
    assert_eq!(error(&context, b"/mnt/seen"), Some(Errno::ENOENT));
    let read_only = context.make(None, b"/mnt/x", NewInode::Directory, 0);
    assert_eq!(read_only, Err(Errno::EROFS));
    let unmount = |path| namespace.unmount(resolve(&context, path).unwrap(), false);
    unmount(b"/mnt").unwrap();
    assert_eq!(unmount(b"/mnt"), Err(Errno::EBUSY));
    drop(seen);
    unmount(b"/mnt").unwrap();
    assert_eq!(unmount(b"/mnt"), Err(Errno::EINVAL));
    assert!(resolve(&context, b"/mnt/hidden").is_ok());
    assert_eq!(namespace.mounts().len(), 1);
}

#[test]
fn a_process_does_not_leave_its_root() {
    let context = context();
    mkdir(&context, b"/jail");
    create(&context, b"/jail/file");
    create(&context, b"/outside");
    symlink(&context, b"/file", b"/jail/link");
    context
        .set_root(resolve(&context, b"/jail").unwrap())
        .unwrap();
    assert!(resolve(&context, b"/link").is_ok());
    assert_eq!(error(&context, b"/../outside"), Some(Errno::ENOENT));
    assert_eq!(error(&context, b"/../../jail"), Some(Errno::ENOENT));
}

#[test]
fn trees_of_any_depth_can_be_dropped() {
    let context = context();
    let root = context.root();
    for _ in 0..900 {
        context
            .make(None, b"deeper", NewInode::Directory, 0o777)
            .unwrap();
        let next = resolve(&context, b"deeper").unwrap();
        context.set_directory(next).unwrap();
    }
    let name = context.name_of(&context.directory()).unwrap();
    assert_eq!(name.len(), 900 * "/deeper".len());
    // The small stack of a kernel thread must do.
    let thread = std::thread::Builder::new().stack_size(32 * 1024);
    let drops = thread.spawn(move || drop((context, root))).unwrap();
    drops.join().unwrap();
}

#[test]
fn threads_race_for_names() {
    let context = Arc::new(context());
    mkdir(&context, b"/a");
    mkdir(&context, b"/b");
    let threads: Vec<_> = (0..4)
        .map(|number: usize| {
            let context = Arc::clone(&context);
            std::thread::spawn(move || {
                let mut won = 0;
                for round in 0..300 {
                    let name = format!("/a/{round}");
                    let exclusive = CREATE | OpenFlags::EXCLUSIVE;
                    match context.open(None, name.as_bytes(), exclusive, 0o666) {
                        Ok(_) => won += 1,
                        Err(error) => assert_eq!(error, Errno::EEXIST),
                    }
                    let (old, new) = if number.is_multiple_of(2) {
                        (&b"/a/wanderer"[..], &b"/b/wanderer"[..])
                    } else {
                        (&b"/b/wanderer"[..], &b"/a/wanderer"[..])
                    };
                    let _ = context.make(None, b"/a/wanderer", NewInode::Directory, 0o777);
                    if let Err(error) = rename(&context, old, new) {
                        assert!(
                            [Errno::ENOENT, Errno::ENOTEMPTY].contains(&error),
                            "{error:?}"
                        );
                    }
                    let _ = context.remove_directory(None, b"/b/wanderer");
                }
                won
            })
        })
        .collect();
    let won: usize = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .sum();
    assert_eq!(won, 300);
    let directory = context.open(None, b"/a", OpenFlags::DIRECTORY, 0).unwrap();
    let names = list(&directory, 4096);
    let wanderers = names.iter().filter(|name| *name == b"wanderer").count();
    assert_eq!(names.len(), 302 + wanderers);
    for name in names.iter().filter(|name| name[0] != b'.') {
        let path = [b"/a/", &name[..]].concat();
        assert!(resolve(&context, &path).is_ok());
    }
}
