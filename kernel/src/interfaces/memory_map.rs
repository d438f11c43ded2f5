//! What a process has in its address space: `/proc/PID/maps`, and the strings that it was started
//! with. Linux, `Documentation/filesystems/proc.rst`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use mm::{Area, Dumped, PAGE_SIZE, Sharing, VirtualAddress};

use crate::error::{Errno, Result};
use crate::memory::manager;
use crate::task::{Process, UserSpace, scheduler};

const PAGE: u64 = PAGE_SIZE as u64;

/// Where names start in a line.
const NAME_COLUMN: usize = 73;

fn space(process: &Process) -> Result<Arc<UserSpace>> {
    process.space().ok_or(Errno::ESRCH)
}

/// `/proc/PID/maps`.
pub(super) fn maps(process: &Process) -> Result<String> {
    let Some(space) = process.space() else {
        // One that has ended has no memory.
        return Ok(String::new());
    };
    let mut text = String::new();
    let mut from = VirtualAddress(0);
    while let Some(area) = area_from(&space, from) {
        text += &line(process, &space, &area);
        from = area.end;
    }
    Ok(text)
}

fn area_from(space: &UserSpace, from: VirtualAddress) -> Option<Area> {
    manager().area_from(space.handle(), from)
}

fn line(process: &Process, space: &UserSpace, area: &Area) -> String {
    let path = area.file.and_then(|file| space.path_of(file.id));
    let (device, inode) = path.as_ref().map_or((None, 0), |path| {
        let metadata = path.metadata();
        (Some(metadata.device), metadata.inode)
    });
    let (major, minor) = device.map_or((0, 0), |device| (device.major, device.minor));
    let name = path.and_then(|path| process.context.name_of(&path));
    let name = match name {
        Some(name) => String::from_utf8_lossy(&name).replace('\n', "\\012"),
        None => purpose(space, area).to_string(),
    };
    let right = |has, letter| if has { letter } else { '-' };
    let rights = area.protection;
    let shown = format!(
        "{:08x}-{:08x} {}{}{}{} {:08x} {major:02x}:{minor:02x} {inode}",
        area.start.0,
        area.end.0,
        right(rights.read, 'r'),
        right(rights.write, 'w'),
        right(rights.execute, 'x'),
        match area.sharing {
            Sharing::Private => 'p',
            Sharing::Shared => 's',
        },
        area.file.map_or(0, |file| file.offset),
    );
    if name.is_empty() {
        shown + "\n"
    } else {
        format!("{shown:<NAME_COLUMN$}{name}\n")
    }
}

/// What an area without a file's name is for.
fn purpose(space: &UserSpace, area: &Area) -> &'static str {
    let has = |address: u64| (area.start.0..area.end.0).contains(&address);
    let heap = *space.heap.lock();
    let layout = *space.layout.lock();
    if has(layout.trampoline) {
        "[vdso]"
    } else if area.file.is_some() {
        ""
    } else if has(layout.stack) {
        "[stack]"
    } else if heap.start < heap.end && has(heap.start) {
        "[heap]"
    } else {
        ""
    }
}

/// `/proc/PID/cmdline`: the arguments, as they are now.
pub(super) fn command_line(process: &Process) -> Result<Vec<u8>> {
    let space = space(process)?;
    let range = space.layout.lock().arguments;
    read(&space, range)
}

/// `/proc/PID/environ`: the environment, as it is now.
pub(super) fn environment(process: &Process) -> Result<Vec<u8>> {
    let space = space(process)?;
    let range = space.layout.lock().environment;
    read(&space, range)
}

/// `/proc/PID/auxv`.
pub(super) fn auxiliary(process: &Process) -> Result<Vec<u8>> {
    let space = space(process)?;
    let vector = space.auxiliary.lock().clone();
    Ok(vector)
}

/// Reads from the memory of another process, up to the first page that cannot be read.
fn read(space: &UserSpace, (start, end): (u64, u64)) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length = end.saturating_sub(start) as usize;
    bytes.try_reserve(length).map_err(|_| Errno::ENOMEM)?;
    let mut page = Box::new([0; PAGE_SIZE]);
    let mut at = start;
    while at < end {
        let page_start = VirtualAddress(at & !(PAGE - 1));
        let dumped = manager().dump_page(space.handle(), page_start, &mut page);
        match dumped {
            Ok(Dumped::Page) => {}
            Err(mm::Errno::EAGAIN) => {
                scheduler::yield_now();
                continue;
            }
            Ok(Dumped::Hole) | Err(_) => break,
        }
        let first = (at % PAGE) as usize;
        let count = (PAGE_SIZE - first).min((end - at) as usize);
        bytes.extend_from_slice(&page[first..first + count]);
        at += count as u64;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mm::{Access, Entry, Outcome, PAGE_SIZE, Placement, Protection, Sharing, Source};
    use mm::{FileKind, VirtualAddress};

    use super::{PAGE, auxiliary, command_line, environment, maps};
    use crate::error::Errno;
    use crate::fs::tmpfs::Tmpfs;
    use crate::fs::{Context, Namespace, OpenFlags};
    use crate::memory::manager;
    use crate::task::{Pid, Process, UserSpace};

    const AT: u64 = 0x7000_0000;

    fn process() -> Process {
        let namespace = Namespace::new(Tmpfs::new("rootfs", 1 << 20));
        let process = Process::new(Pid(77), Arc::new(Context::new(namespace)), 17);
        *process.space.lock() = Some(Arc::new(UserSpace::new().unwrap()));
        process
    }

    fn map(space: &UserSpace, page: u64, protection: Protection, source: Source<'_>) {
        let at = Placement::Fixed(VirtualAddress(AT + page * PAGE));
        let sharing = match source {
            Source::File(..) => Sharing::Shared,
            _ => Sharing::Private,
        };
        manager()
            .mmap(space.handle(), at, PAGE, protection, sharing, source)
            .unwrap();
    }

    #[test]
    fn areas_are_lines() {
        let process = process();
        let space = process.space().unwrap();
        let file = manager().create_file(FileKind::Memory, 2 * PAGE).unwrap();
        let flags = OpenFlags::READ_WRITE | OpenFlags::CREATE;
        let named = process.context.open(None, b"/a b", flags, 0o600).unwrap();
        space.name_file(file.id(), named.path().unwrap());
        map(
            &space,
            0,
            Protection::READ_EXECUTE,
            Source::File(&file, PAGE),
        );
        map(&space, 2, Protection::READ_WRITE, Source::Anonymous);
        map(&space, 4, Protection::NONE, Source::Anonymous);
        space.layout.lock().stack = AT + 2 * PAGE + 16;
        let text = maps(&process).unwrap();
        let lines: Vec<_> = text.lines().collect();
        let [first, second, third] = lines[..] else {
            panic!("{text}");
        };
        assert!(
            first.starts_with("70000000-70001000 r-xs 00001000 "),
            "{first}"
        );
        assert_eq!(first.find("/a b"), Some(73));
        assert!(second.starts_with("70002000-70003000 rw-p 00000000 00:00 0 "));
        assert!(second.ends_with(" [stack]"));
        assert_eq!(third, "70004000-70005000 ---p 00000000 00:00 0");
        manager().close(file);
    }

    #[test]
    fn strings_are_read_from_the_programs_memory() {
        let process = process();
        let space = process.space().unwrap();
        map(&space, 0, Protection::READ_WRITE, Source::Anonymous);
        let address = VirtualAddress(AT);
        let outcome = manager().fault(space.handle(), address, Access::Store);
        assert_eq!(outcome, Outcome::Resolved);
        let Entry::Page(pfn, _) = manager().entry(space.handle(), address) else {
            panic!("not mapped");
        };
        let bytes = [b'x'; PAGE_SIZE];
        manager().machine().cpu_store(pfn, 0, &bytes);
        {
            let mut layout = space.layout.lock();
            layout.arguments = (AT + 100, AT + 103);
            // What is beyond the page is not there.
            layout.environment = (AT + PAGE - 2, AT + PAGE + 10);
        }
        assert_eq!(command_line(&process).unwrap(), b"xxx");
        assert_eq!(environment(&process).unwrap(), b"xx");
        space.auxiliary.lock().extend_from_slice(b"vector");
        assert_eq!(auxiliary(&process).unwrap(), b"vector");
        manager().machine().poison(pfn, 0);
        assert_eq!(
            command_line(&process).unwrap(),
            b"",
            "lost, and nobody dies"
        );
        drop(space);
        *process.space.lock() = None;
        assert_eq!(command_line(&process), Err(Errno::ESRCH));
        assert_eq!(maps(&process).unwrap(), "");
    }
}
