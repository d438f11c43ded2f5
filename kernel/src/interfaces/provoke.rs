//! Mistakes on request, as Linux's `lkdtm` module offers them: `/sys/kernel/debug/provoke-crash`.

use alloc::string::String;

use super::Roots;
use crate::arch::provoke::MISTAKES;
use crate::error::{Errno, Result};
use crate::fs::pseudo::{read_write, trimmed};

pub(super) fn add(roots: &Roots) {
    let folder = roots.debug.directory("provoke-crash");
    folder.file("DIRECT", 0o644, read_write(|| Ok(kinds()), provoke));
}

fn kinds() -> String {
    let mut text = String::from("Available crash types:\n");
    for (name, _) in MISTAKES {
        text += name;
        text.push('\n');
    }
    text
}

fn provoke(bytes: &[u8]) -> Result<()> {
    let name = trimmed(bytes)?;
    let mistake = MISTAKES.iter().find(|(kind, _)| *kind == name);
    let (name, mistake) = mistake.ok_or(Errno::EINVAL)?;
    log::info!("lkdtm: Performing direct entry {name}");
    mistake();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{kinds, provoke};
    use crate::error::Errno;

    #[test]
    fn mistakes_are_named_and_made() {
        assert!(kinds().starts_with("Available crash types:\nPANIC\n"));
        assert_eq!(provoke(b"NOTHING\n"), Err(Errno::EINVAL));
        assert!(std::panic::catch_unwind(|| provoke(b"PANIC\n")).is_err());
    }
}
