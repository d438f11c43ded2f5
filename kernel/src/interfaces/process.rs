//! `/proc/PID`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::Ordering;

use super::memory_map::{auxiliary, command_line, environment, maps};
use super::pages::pagemap;
use crate::error::{Errno, Result};
use crate::fs::pseudo::{Directory, Node, PseudoFile, Target, Tree, read_only};
use crate::fs::{FileType, Link, OpenFile};
use crate::memory::manager;
use crate::task::{Pid, Process, current, find, tree};

/// `/proc`: the processes, and what is always there.
#[derive(Debug)]
pub(super) struct Root(pub(super) Arc<Tree>);

impl Directory for Root {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let number = str::from_utf8(name).ok().filter(|name| is_number(name));
        let process = number.and_then(|number| find(Pid(number.parse().ok()?)));
        match process {
            Some(process) => Some(Node::Directory(Arc::new(Folder(process)))),
            None => self.0.lookup(name),
        }
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        let mut names: Vec<_> = tree()
            .lock()
            .all()
            .map(|(pid, _)| (pid.0.to_string().into_bytes(), FileType::Directory))
            .collect();
        names.extend(self.0.list());
        names
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// A number as `/proc` writes it: without a sign or zeros before it.
fn is_number(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// `/proc/self`.
#[derive(Debug)]
pub(super) struct Own;

impl Target for Own {
    fn target(&self) -> Result<Link> {
        let own = current().process.id.0;
        Ok(Link::Text(own.to_string().into_bytes()))
    }
}

/// The directory of one process.
#[derive(Debug)]
struct Folder(Arc<Process>);

/// The names in it.
const FILES: &[(&str, FileType)] = &[
    ("auxv", FileType::Regular),
    ("cmdline", FileType::Regular),
    ("comm", FileType::Regular),
    ("environ", FileType::Regular),
    ("exe", FileType::SymbolicLink),
    ("fd", FileType::Directory),
    ("maps", FileType::Regular),
    ("mounts", FileType::Regular),
    ("pagemap", FileType::Regular),
    ("stat", FileType::Regular),
    ("status", FileType::Regular),
];

impl Directory for Folder {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let process = Arc::clone(&self.0);
        Some(match name {
            b"exe" => Node::Link(Arc::new(Executable(process))),
            b"fd" => Node::Directory(Arc::new(Files(process))),
            b"stat" => Node::File(read_only(move || Ok(stat(&process))), 0o444),
            b"status" => Node::File(read_only(move || Ok(status(&process))), 0o444),
            b"comm" => Node::File(read_only(move || Ok(comm(&process))), 0o644),
            b"auxv" => Node::File(of_bytes(process, auxiliary), 0o400),
            b"cmdline" => Node::File(of_bytes(process, command_line), 0o444),
            b"environ" => Node::File(of_bytes(process, environment), 0o400),
            b"maps" => Node::File(read_only(move || maps(&process)), 0o444),
            b"mounts" => Node::File(read_only(move || mounts(&process)), 0o444),
            b"pagemap" => Node::Special(Arc::new(pagemap(process)), 0o400),
            _ => return None,
        })
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        FILES
            .iter()
            .map(|(name, kind)| (name.as_bytes().to_vec(), *kind))
            .collect()
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// A file of bytes that need not be text.
struct OfBytes(Arc<Process>, fn(&Process) -> Result<Vec<u8>>);

impl fmt::Debug for OfBytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OfBytes")
    }
}

impl PseudoFile for OfBytes {
    fn read(&self) -> Result<Vec<u8>> {
        // A process that has ended has none.
        match (self.1)(&self.0) {
            Err(Errno::ESRCH) => Ok(Vec::new()),
            bytes => bytes,
        }
    }
}

fn of_bytes(process: Arc<Process>, read: fn(&Process) -> Result<Vec<u8>>) -> Arc<dyn PseudoFile> {
    Arc::new(OfBytes(process, read))
}

/// `exe`: the program that it runs.
#[derive(Debug)]
struct Executable(Arc<Process>);

impl Target for Executable {
    fn target(&self) -> Result<Link> {
        let program = self.0.executable.lock().clone();
        program.map(Link::Place).ok_or(Errno::ENOENT)
    }
}

/// `fd`: its open files, by their numbers.
#[derive(Debug)]
struct Files(Arc<Process>);

impl Directory for Files {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let number = str::from_utf8(name).ok()?;
        let is_one = number == "0" || is_number(number);
        let number = number.parse().ok().filter(|_| is_one)?;
        self.0.files().ok()?.get(number).ok()?;
        Some(Node::Link(Arc::new(OpenFileLink {
            process: Arc::clone(&self.0),
            number,
        })))
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        let numbers = self.0.files().map(|files| files.numbers());
        let name = |number: i32| number.to_string().into_bytes();
        let numbers = numbers.unwrap_or_default().into_iter();
        numbers
            .map(|number| (name(number), FileType::SymbolicLink))
            .collect()
    }

    fn is_volatile(&self) -> bool {
        true
    }
}

/// A link in `fd`.
#[derive(Debug)]
struct OpenFileLink {
    process: Arc<Process>,
    number: i32,
}

impl Target for OpenFileLink {
    fn target(&self) -> Result<Link> {
        let file = self.process.file(self.number)?;
        Ok(match file.path() {
            Some(path) => Link::Place(path.clone()),
            // What has no name is shown by its number, as in Linux.
            None => {
                let inode = file.inode().metadata().inode;
                Link::Text(format!("{}:[{inode}]", kind_name(&file)).into_bytes())
            }
        })
    }
}

fn kind_name(file: &OpenFile) -> &'static str {
    match file.inode().kind() {
        FileType::Fifo => "pipe",
        _ => "anon_inode",
    }
}

/// What `/proc/PID/stat` and `status` have in common.
struct Facts {
    name: String,
    letter: char,
    parent: u32,
    group: u32,
    session: u32,
    threads: usize,
}

fn facts(process: &Process) -> Facts {
    let name = process.name();
    let (parent, group, session) = process.family();
    Facts {
        name: String::from_utf8_lossy(name.bytes()).into_owned(),
        letter: process.letter(),
        parent: parent.0,
        group: group.0,
        session: session.0,
        threads: process.threads.lock().len(),
    }
}

/// The fields of Linux's `Documentation/filesystems/proc.rst`, table 1-4. What is not counted here
/// is 0.
fn stat(process: &Process) -> String {
    /// Ticks are hundredths of a second.
    const TICK: u64 = 10_000_000;
    let facts = facts(process);
    let Facts {
        name,
        letter,
        parent,
        group,
        session,
        threads,
    } = facts;
    let (own, children) = (
        process.total_runtime() / TICK,
        process.children_runtime.load(Ordering::Relaxed) / TICK,
    );
    let started = process.started / TICK;
    let rest = " 0".repeat(30);
    format!(
        "{} ({name}) {letter} {parent} {group} {session} 0 -1 0 0 0 0 0 \
         {own} 0 {children} 0 20 0 {threads} 0 {started}{rest}\n",
        process.id.0
    )
}

fn status(process: &Process) -> String {
    let facts = facts(process);
    let state = match facts.letter {
        'R' => "running",
        'T' => "stopped",
        'Z' => "zombie",
        _ => "sleeping",
    };
    let (id, locked) = (process.id.0, locked_kib(process));
    format!(
        "Name:\t{}\nState:\t{} ({state})\nTgid:\t{id}\nPid:\t{id}\nPPid:\t{}\n\
         Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nVmLck:\t{locked:>8} kB\nThreads:\t{}\n",
        facts.name, facts.letter, facts.parent, facts.threads
    )
}

fn locked_kib(process: &Process) -> u64 {
    let Some(space) = process.space() else {
        return 0;
    };
    manager().locked_pages(space.handle()) * (mm::PAGE_SIZE as u64 >> 10)
}

fn comm(process: &Process) -> String {
    let name = process.name();
    format!("{}\n", String::from_utf8_lossy(name.bytes()))
}

/// One line for each mount that the process can see.
fn mounts(process: &Process) -> Result<String> {
    let context = &process.context;
    let mut text = String::new();
    for mount in context.namespace().mounts() {
        let Some(place) = context.name_of(&mount.root()) else {
            continue;
        };
        let kind = mount.file_system().name();
        let source = match mount.source() {
            [] => kind.as_bytes(),
            source => source,
        };
        let access = if mount.is_read_only() { "ro" } else { "rw" };
        text += &format!(
            "{} {} {kind} {access} 0 0\n",
            escaped(source),
            escaped(&place)
        );
    }
    Ok(text)
}

/// A name in which nothing ends a field: such bytes are written in octal.
fn escaped(name: &[u8]) -> String {
    let mut text = String::new();
    for byte in name {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => text += &format!("\\{byte:03o}"),
            byte if byte.is_ascii() => text.push(char::from(*byte)),
            byte => text += &format!("\\{byte:03o}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{escaped, is_number};

    #[test]
    fn names_of_processes_are_plain_numbers() {
        assert!(is_number("1") && is_number("4711"));
        for bad in ["", "0", "01", "+1", "-1", "1x", "self"] {
            assert!(!is_number(bad), "{bad}");
        }
    }

    #[test]
    fn fields_do_not_end_early() {
        assert_eq!(escaped(b"/a b\\c\n"), "/a\\040b\\134c\\012");
    }
}
