use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;
use crate::error::Errno;
use crate::fs::block::SECTOR;
use crate::fs::{Context, FileType, Follow, Namespace, NewInode, OpenFile, OpenFlags, RenameFlags};
use crate::memory::{Sink, Source, manager};

/// An empty volume of 4 MiB: `mkfs.ext4 -b 1024 -O ^has_journal,^resize_inode -N 256 -m 0`
/// (e2fsprogs 1.47.0). Each sector that is not all zeros, after its number (4 bytes).
const EMPTY: &[u8] = include_bytes!("empty.sectors");
const SIZE: usize = 4 << 20;

#[derive(Debug)]
struct RamDisk {
    bytes: Mutex<Vec<u8>>,
    fails: AtomicBool,
}

impl RamDisk {
    fn new() -> Arc<Self> {
        let mut bytes = vec![0; SIZE];
        for sector in EMPTY.chunks_exact(4 + SECTOR) {
            let number = u32::from_le_bytes(sector[..4].try_into().unwrap()) as usize;
            bytes[number * SECTOR..][..SECTOR].copy_from_slice(&sector[4..]);
        }
        Self::of(bytes)
    }

    fn of(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Mutex::new(bytes),
            fails: AtomicBool::new(false),
        })
    }

    fn part(&self, sector: u64, length: usize) -> Result<core::ops::Range<usize>> {
        let start = sector as usize * SECTOR;
        let end = start + length;
        if self.fails.load(Ordering::Relaxed) || end > self.bytes.lock().unwrap().len() {
            return Err(Errno::EIO);
        }
        Ok(start..end)
    }
}

impl BlockDevice for RamDisk {
    fn sectors(&self) -> u64 {
        (self.bytes.lock().unwrap().len() / SECTOR) as u64
    }

    fn read(&self, sector: u64, into: &mut [u8]) -> Result<()> {
        let part = self.part(sector, into.len())?;
        into.copy_from_slice(&self.bytes.lock().unwrap()[part]);
        Ok(())
    }

    fn write(&self, sector: u64, bytes: &[u8]) -> Result<()> {
        let part = self.part(sector, bytes.len())?;
        self.bytes.lock().unwrap()[part].copy_from_slice(bytes);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        self.part(0, 0).map(drop)
    }
}

/// A process whose root directory is the volume's.
fn mount(disk: &Arc<RamDisk>) -> Context {
    let device = Arc::clone(disk) as Arc<dyn BlockDevice>;
    Context::new(Namespace::new(
        Ext4::open(device, DeviceNumber::new(254, 0)).unwrap(),
    ))
}

const CREATE: OpenFlags = OpenFlags::READ_WRITE.union(OpenFlags::CREATE);

fn open(context: &Context, path: &[u8]) -> Arc<OpenFile> {
    context.open(None, path, CREATE, 0o644).unwrap()
}

fn write(file: &OpenFile, bytes: &[u8]) {
    let done = file.write(&mut Source::Kernel(bytes));
    assert_eq!(done, Ok(bytes.len()));
}

fn read(context: &Context, path: &[u8]) -> Vec<u8> {
    let file = context.open(None, path, OpenFlags::empty(), 0).unwrap();
    let mut buffer = vec![0; 100_000];
    let done = file.read(&mut Sink::Kernel(&mut buffer)).unwrap();
    buffer.truncate(done);
    buffer
}

fn exists(context: &Context, path: &[u8]) -> bool {
    context.resolve(None, path, Follow::No).is_ok()
}

fn used(context: &Context) -> (u64, u64) {
    let root = context.root();
    let statistics = root.mount().file_system().statistics();
    (
        statistics.blocks - statistics.free,
        statistics.inodes - statistics.free_inodes,
    )
}

/// Makes, changes and removes all kinds of things.
fn exercise(context: &Context) {
    let make = |path, what| context.make(None, path, what, 0o755).unwrap();
    make(b"/dir", NewInode::Directory);
    make(b"/dir/inner", NewInode::Directory);
    make(b"/short", NewInode::SymbolicLink(b"dir/file0"));
    make(b"/long", NewInode::SymbolicLink(&[b'x'; 200]));
    for index in 0..40u8 {
        let file = open(context, format!("/dir/file{index}").as_bytes());
        write(&file, &vec![index; usize::from(index) * 613]);
    }
    for index in (1..40).step_by(3) {
        let path = format!("/dir/file{index}");
        context.unlink(None, path.as_bytes()).unwrap();
    }
    let rename = |old: &[u8], new: &[u8]| {
        let flags = RenameFlags::empty();
        context.rename(None, old, None, new, flags)
    };
    rename(b"/dir/file2", b"/moved").unwrap();
    rename(b"/dir/file3", b"/dir/file5").unwrap();
    rename(b"/dir/inner", b"/dir/renamed").unwrap();
    assert_eq!(rename(b"/dir/renamed", b"/renamed"), Err(Errno::EXDEV));
    make(b"/gone", NewInode::Directory);
    context.remove_directory(None, b"/gone").unwrap();
    assert_eq!(
        context.remove_directory(None, b"/dir"),
        Err(Errno::ENOTEMPTY)
    );
    let first = context.resolve(None, b"/short", Follow::Yes).unwrap();
    context.link(&first, None, b"/second").unwrap();
    let hole = open(context, b"/hole");
    hole.write_at(50_000, &mut Source::Kernel(b"end")).unwrap();
    let cut = open(context, b"/dir/file30");
    cut.truncate(1000).unwrap();
    cut.truncate(5000).unwrap();
}

/// What [`exercise`] must have left.
fn verify(context: &Context) {
    for index in 0..40u8 {
        let path = format!("/dir/file{index}");
        let present = index % 3 != 1 && !matches!(index, 2 | 3);
        assert_eq!(exists(context, path.as_bytes()), present, "{path}");
        let (value, length) = match index {
            5 => (3, 3 * 613),
            30 => continue,
            _ => (index, usize::from(index) * 613),
        };
        if present {
            assert_eq!(
                read(context, path.as_bytes()),
                vec![value; length],
                "{path}"
            );
        }
    }
    assert_eq!(read(context, b"/moved"), [2; 2 * 613]);
    let cut = read(context, b"/dir/file30");
    assert_eq!(cut.len(), 5000);
    assert!(cut[..1000] == [30; 1000] && cut[1000..] == [0; 4000]);
    let hole = read(context, b"/hole");
    assert_eq!((hole.len(), &hole[50_000..]), (50_003, &b"end"[..]));
    assert!(hole[..50_000].iter().all(|byte| *byte == 0));
    assert_eq!(read(context, b"/short"), b"");
    let stat = |path| context.resolve(None, path, Follow::No).unwrap().metadata();
    assert_eq!(stat(b"/second").links, 2);
    assert_eq!(stat(b"/dir").links, 3);
    assert_eq!(stat(b"/long").size, 200);
    assert_eq!(stat(b"/long").mode(), 0o120_777);
    assert_eq!(stat(b"/dir/renamed").mode(), 0o040_755);
    assert_eq!(stat(b"/moved").mode(), 0o100_644);
    let long = context.resolve(None, b"/long", Follow::No).unwrap();
    assert_eq!(context.read_link(&long).unwrap(), [b'x'; 200]);
}

#[test]
fn a_volume_keeps_what_was_done() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let statistics = context.root().mount().file_system().statistics();
    assert_eq!((statistics.magic, statistics.block_size), (0xef53, 1024));
    exercise(&context);
    verify(&context);
    context.namespace().sync().unwrap();
    // As after a loss of power: another mount of the same bytes.
    verify(&mount(&disk));
    drop(context);
    verify(&mount(&disk));
}

/// Runs a program of e2fsprogs over the bytes of a disk, and returns what it printed and whether it
/// was content. `None`: it is not installed.
fn run_over(disk: &RamDisk, program: &str, options: &[&str]) -> Option<(bool, String)> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("volume-{}-{number}.img", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, &*disk.bytes.lock().unwrap()).unwrap();
    let paths = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = std::process::Command::new(program)
        .env("PATH", paths)
        .args(options)
        .arg(&path)
        .output();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    *disk.bytes.lock().unwrap() = bytes;
    let output = output.ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    Some((output.status.success(), text))
}

/// `None`: e2fsck is not installed.
fn is_sound(disk: &RamDisk) -> Option<()> {
    let (sound, text) = run_over(disk, "e2fsck", &["-fn"])?;
    assert!(sound, "{text}");
    Some(())
}

#[test]
fn another_program_finds_the_volume_sound() {
    let disk = RamDisk::new();
    exercise(&mount(&disk));
    if is_sound(&disk).is_none() {
        testing::skip!("e2fsck is not installed");
    }
}

/// Volumes as people make them: with blocks of any size, a journal, several groups, checksums or not.
#[test]
fn volumes_that_another_program_made_are_used() {
    let kinds: [&[&str]; 5] = [
        &["-b", "4096"],
        &["-b", "1024", "-O", "^metadata_csum,^uninit_bg"],
        &["-b", "2048", "-O", "^has_journal,^metadata_csum_seed"],
        &["-b", "4096", "-O", "^64bit,^extent"],
        &["-t", "ext2"],
    ];
    for options in kinds {
        let disk = RamDisk::of(vec![0; 24 << 20]);
        let options = [&["-q", "-F"], options].concat();
        let Some((made, text)) = run_over(&disk, "mkfs.ext4", &options) else {
            testing::skip!("mkfs.ext4 is not installed");
        };
        assert!(made, "{options:?}: {text}");
        {
            let context = mount(&disk);
            assert!(!context.root().mount().is_read_only(), "{options:?}");
            exercise(&context);
            verify(&context);
        }
        verify(&mount(&disk));
        assert!(is_sound(&disk).is_some());
    }
}

#[test]
fn threads_use_one_volume() {
    let disk = RamDisk::new();
    let context = Arc::new(mount(&disk));
    let work = |number: usize| {
        let context = Arc::clone(&context);
        move || {
            for round in 0..12 {
                let path = format!("/file{}", (number + round) % 6);
                let file = open(&context, path.as_bytes());
                write(&file, &vec![round as u8; 3000 + number * 900]);
                if round % 3 == number % 3 {
                    file.sync(true).unwrap();
                }
                if round % 4 == 1 {
                    file.truncate(number as u64 * 700).unwrap();
                }
                let moved = format!("/moved{number}");
                let flags = RenameFlags::empty();
                let renamed = context.rename(None, path.as_bytes(), None, moved.as_bytes(), flags);
                assert!(
                    matches!(renamed, Ok(()) | Err(Errno::ENOENT)),
                    "{renamed:?}"
                );
                if round % 5 == 2 {
                    context.namespace().sync().unwrap();
                }
            }
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|number| std::thread::spawn(work(number)))
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    drop(context);
    if is_sound(&disk).is_none() {
        testing::skip!("e2fsck is not installed");
    }
}

/// What is free is in single blocks, so that no two neighbours can be had.
#[test]
fn a_volume_in_pieces_is_filled_to_the_last_block() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let mut count = 0;
    let left = || {
        let statistics = context.root().mount().file_system().statistics();
        statistics.free
    };
    while left() > 8 {
        let file = open(&context, format!("/file{count}").as_bytes());
        for block in 0..40 {
            file.write_at(block * 8192, &mut Source::Kernel(&[1; 1024]))
                .unwrap();
        }
        if file.sync(true).is_err() {
            break;
        }
        count += 1;
    }
    for index in (0..count).step_by(2) {
        let path = format!("/file{index}");
        context.unlink(None, path.as_bytes()).unwrap();
    }
    let file = open(&context, b"/last");
    write(&file, &[2; 100_000]);
    file.sync(true).unwrap();
    drop(file);
    assert_eq!(read(&context, b"/last"), [2; 100_000]);
}

#[test]
fn direct_transfers_are_aligned() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let file = context.open(None, b"/file", CREATE | OpenFlags::DIRECT, 0o644);
    let file = file.unwrap();
    let write = |position, bytes: &[u8]| file.write_at(position, &mut Source::Kernel(bytes));
    assert_eq!(write(1, &[1; 512]), Err(Errno::EINVAL));
    assert_eq!(write(512, &[1; 100]), Err(Errno::EINVAL));
    assert_eq!(write(512, &[1; 1024]), Ok(1024));
    // On the device, without a sync.
    let mut expected = vec![0; 512];
    expected.extend([1; 1024]);
    assert_eq!(read(&mount(&disk), b"/file"), expected);
    let read = |position, buffer: &mut [u8]| file.read_at(position, &mut Sink::Kernel(buffer));
    let mut buffer = [9; 4096];
    assert_eq!(read(10, &mut buffer), Err(Errno::EINVAL));
    assert_eq!(read(0, &mut buffer[..10]), Err(Errno::EINVAL));
    assert_eq!(read(0, &mut buffer), Ok(1536));
    assert_eq!(buffer[..1536], expected);
    // What is in the page cache only.
    let other = open(&context, b"/file");
    other.write_at(0, &mut Source::Kernel(&[3; 8])).unwrap();
    assert_eq!(read(0, &mut buffer[..512]), Ok(512));
    assert_eq!(buffer[..9], [3, 3, 3, 3, 3, 3, 3, 3, 0]);
}

#[test]
fn files_without_names_live_until_they_are_closed() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let before = used(&context);
    let file = open(&context, b"/file");
    write(&file, &[7; 9000]);
    file.sync(false).unwrap();
    assert!(used(&context) > before);
    context.unlink(None, b"/file").unwrap();
    assert_eq!(file.metadata().links, 0);
    let mut byte = [0];
    assert_eq!(file.read_at(8999, &mut Sink::Kernel(&mut byte)), Ok(1));
    assert_eq!(byte, [7]);
    // The same name is free, and something else.
    write(&open(&context, b"/file"), b"new");
    assert_eq!(file.metadata().size, 9000);
    context.unlink(None, b"/file").unwrap();
    drop(file);
    context.namespace().sync().unwrap();
    assert_eq!(used(&context), before);
}

#[test]
fn a_clean_page_that_fails_is_read_again_and_a_dirty_one_is_lost() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let file = open(&context, b"/file");
    write(&file, &[7; 8192]);
    let poison = |position| {
        let mapping = file.mapping().unwrap();
        let found = manager().read_pages(&mapping, position, 1, |frame, _, _| {
            manager().machine().poison(frame.pfn(), 3);
            Ok(())
        });
        assert_eq!(found, Ok(1));
    };
    file.sync(true).unwrap();
    poison(0);
    assert_eq!(read(&context, b"/file"), [7; 8192]);
    file.write_at(0, &mut Source::Kernel(b"dirty")).unwrap();
    poison(0);
    assert_eq!(read(&context, b"/file").len(), 3 * 64);
    // Each open file tells of it once; one that was opened later does not.
    let other = open(&context, b"/file");
    assert_eq!(file.sync(true), Err(Errno::EIO));
    assert_eq!(file.sync(true), Ok(()));
    let third = open(&context, b"/file");
    assert_eq!(other.sync(true), Err(Errno::EIO));
    assert_eq!((other.sync(true), third.sync(true)), (Ok(()), Ok(())));
    assert_eq!(read(&mount(&disk), b"/file"), [7; 8192]);
}

#[test]
fn errors_of_the_device_are_reported() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let file = open(&context, b"/file");
    write(&file, &[7; 3000]);
    disk.fails.store(true, Ordering::Relaxed);
    assert_eq!(file.sync(true), Err(Errno::EIO));
    let made = context.make(None, b"/dir", NewInode::Directory, 0o755);
    assert_eq!(made, Err(Errno::EIO));
    disk.fails.store(false, Ordering::Relaxed);
    file.sync(true).unwrap();
    assert_eq!(read(&mount(&disk), b"/file"), [7; 3000]);
}

#[test]
fn a_full_volume_says_so() {
    let disk = RamDisk::new();
    let context = mount(&disk);
    let mut result = Ok(());
    for index in 0..300 {
        let path = format!("/file{index}");
        result = context.open(None, path.as_bytes(), CREATE, 0o644).map(drop);
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(Errno::ENOSPC));
}

/// Mounts a disk on which these bytes were replaced.
fn mount_damaged(at: usize, bytes: &[u8]) -> Result<Arc<Ext4>> {
    let disk = RamDisk::of(without_checksums());
    disk.bytes.lock().unwrap()[at..][..bytes.len()].copy_from_slice(bytes);
    Ext4::open(disk as Arc<dyn BlockDevice>, DeviceNumber::new(254, 0))
}

#[test]
fn what_is_no_volume_is_refused() {
    let refused = |at, bytes: &[u8]| mount_damaged(at, bytes).err();
    assert_eq!(refused(1024 + 0x38, &[0, 0]), Some(Errno::EINVAL), "magic");
    // Sizes: of blocks, of groups in blocks and in inodes, of inodes; where the first block is.
    for (field, value) in [(0x18, 9), (0x20, 0), (0x28, 0), (0x58, 3), (0x14, 7)] {
        let found = refused(1024 + field, &u32::to_le_bytes(value)[..2]);
        assert_eq!(found, Some(Errno::EUCLEAN), "field {field:#x}");
    }
    assert_eq!(
        refused(1024 + 0x4, &[0, 32, 0, 0]),
        Some(Errno::EUCLEAN),
        "blocks"
    );
    // The block bitmap beyond the end of the volume.
    assert_eq!(refused(2048, &[255; 4]), Some(Errno::EUCLEAN), "bitmap");
    // A feature that no kernel has.
    assert_eq!(refused(1024 + 0x63, &[0x80]), Some(Errno::EOPNOTSUPP));
    assert_eq!(mount_damaged(0, &[1]).err(), None);
    let empty = RamDisk::of(Vec::new());
    let opened = Ext4::open(empty as Arc<dyn BlockDevice>, DeviceNumber::new(254, 0));
    assert_eq!(opened.err(), Some(Errno::EINVAL));
    let broken = RamDisk::new();
    broken.fails.store(true, Ordering::Relaxed);
    let opened = Ext4::open(broken as Arc<dyn BlockDevice>, DeviceNumber::new(254, 0));
    assert_eq!(opened.err(), Some(Errno::EIO));
}

/// The crate would look for a free block for ever.
#[test]
fn counts_that_promise_too_much_are_not_believed() {
    let block_bitmap = u32::from_le_bytes(without_checksums()[2048..2052].try_into().unwrap());
    let volume = mount_damaged(block_bitmap as usize * 1024, &[255; 1024]).unwrap();
    assert!(volume.is_read_only());
    let context = Context::new(Namespace::new(volume));
    let made = context.open(None, b"/file", CREATE, 0o644);
    assert_eq!(made.err(), Some(Errno::EROFS));
    drop(context.resolve(None, b"/lost+found", Follow::No).unwrap());
}

/// A volume on which [`exercise`] was, of which nothing is guarded by checksums: what is wrong
/// with it, the file system must find out by itself.
fn without_checksums() -> Vec<u8> {
    let disk = RamDisk::new();
    {
        let mut bytes = disk.bytes.lock().unwrap();
        // `metadata_csum` in `s_feature_ro_compat`.
        bytes[1024 + 0x65] &= !4;
    }
    exercise(&mount(&disk));
    Arc::into_inner(disk).unwrap().bytes.into_inner().unwrap()
}

/// Damaged volumes give errors, and nothing worse.
#[test]
fn damaged_volumes_do_no_harm() {
    let guarded = RamDisk::new();
    exercise(&mount(&guarded));
    let guarded = guarded.bytes.lock().unwrap().clone();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for sound in [guarded, without_checksums()] {
        // Metadata is at the front of so small a volume.
        let used: Vec<_> = (0..96 << 10).filter(|at| sound[*at] != 0).collect();
        for _ in 0..300 {
            let mut bytes = sound.clone();
            for _ in 0..8 {
                let at = used[random.below(used.len())];
                bytes[at] = random.below(256) as u8;
            }
            refused += usize::from(!uses(RamDisk::of(bytes)));
        }
    }
    assert!(refused > 10);
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// Uses what there is of a volume. Returns whether it could be mounted.
fn uses(disk: Arc<RamDisk>) -> bool {
    let Ok(file_system) = Ext4::open(disk as Arc<dyn BlockDevice>, DeviceNumber::new(254, 0))
    else {
        return false;
    };
    let context = Context::new(Namespace::new(file_system));
    for path in [&b"/dir/file30"[..], b"/moved", b"/long", b"/hole", b"/dir"] {
        let Ok(path) = context.resolve(None, path, Follow::No) else {
            continue;
        };
        let _ = path.metadata();
        let _ = context.read_link(&path);
        let _ = path.inode().list(0, &mut |_| true);
        if path.inode().kind() == FileType::Regular
            && let Ok(file) = OpenFile::open(path, OpenFlags::READ_WRITE)
        {
            let mut buffer = [0; 9000];
            let _ = file.read(&mut Sink::Kernel(&mut buffer));
            let _ = file.write_at(20_000, &mut Source::Kernel(&buffer));
            let _ = file.sync(true);
            let _ = file.truncate(3000);
        }
    }
    let _ = context.unlink(None, b"/moved");
    let _ = context.remove_directory(None, b"/dir/renamed");
    let _ = context.make(None, b"/dir/new", NewInode::Directory, 0o755);
    let _ = context.open(None, b"/new", CREATE, 0o644);
    let _ = context.namespace().sync();
    true
}
