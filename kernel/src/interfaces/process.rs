//! `/proc/PID`.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::pages::pagemap;
use crate::error::Result;
use crate::fs::pseudo::{Directory, Node, Target, Tree, read_only};
use crate::fs::{FileType, Link};
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
const FILES: &[&str] = &["comm", "mounts", "pagemap"];

impl Directory for Folder {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let process = Arc::clone(&self.0);
        Some(match name {
            b"comm" => Node::File(read_only(move || Ok(comm(&process))), 0o644),
            b"mounts" => Node::File(read_only(move || mounts(&process)), 0o444),
            b"pagemap" => Node::Special(Arc::new(pagemap(process)), 0o400),
            _ => return None,
        })
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        FILES
            .iter()
            .map(|name| (name.as_bytes().to_vec(), FileType::Regular))
            .collect()
    }

    fn is_volatile(&self) -> bool {
        true
    }
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
