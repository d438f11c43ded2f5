//! How core dumps are called: `/proc/sys/kernel/core_pattern`, `core_uses_pid`.

use alloc::string::String;

use super::Roots;
use crate::error::{Errno, Result};
use crate::fs::pseudo::read_write;
use crate::task::coredump::pattern;

pub(super) fn add(roots: &Roots) {
    let kernel = roots.proc.directory("sys/kernel");
    kernel.file(
        "core_pattern",
        0o644,
        read_write(read_pattern, write_pattern),
    );
    kernel.file("core_uses_pid", 0o644, read_write(read_uses, write_uses));
}

fn read_pattern() -> Result<String> {
    let mut text = String::from_utf8_lossy(&pattern::get()).into_owned();
    text.push('\n');
    Ok(text)
}

fn write_pattern(bytes: &[u8]) -> Result<()> {
    pattern::set(bytes.strip_suffix(b"\n").unwrap_or(bytes))
}

fn read_uses() -> Result<String> {
    Ok(if pattern::uses_pid() { "1\n" } else { "0\n" }.into())
}

fn write_uses(bytes: &[u8]) -> Result<()> {
    pattern::set_uses_pid(match bytes.trim_ascii() {
        b"0" => false,
        b"1" => true,
        _ => return Err(Errno::EINVAL),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{read_pattern, read_uses, write_pattern, write_uses};
    use crate::error::Errno;

    #[test]
    fn names_are_set_and_shown() {
        assert_eq!(read_pattern().unwrap(), "core\n");
        write_pattern(b"/tmp/core.%p\n").unwrap();
        assert_eq!(read_pattern().unwrap(), "/tmp/core.%p\n");
        write_pattern(b"\n").unwrap();
        assert_eq!(read_pattern().unwrap(), "\n", "no dumps");
        for bad in [&b"|/bin/cat"[..], &[b'x'; 128], b"a\0b"] {
            assert_eq!(write_pattern(bad), Err(Errno::EINVAL));
        }
        write_pattern(b"core").unwrap();
        write_uses(b"1\n").unwrap();
        assert_eq!(read_uses().unwrap(), "1\n");
        assert_eq!(write_uses(b"2"), Err(Errno::EINVAL));
        write_uses(b"0").unwrap();
    }
}
