//! Mistakes on request, as Linux's `lkdtm` module offers them: `/sys/kernel/debug/provoke-crash`.

use alloc::string::String;

use super::Roots;
use crate::arch::provoke::MISTAKES;
use crate::arch::{irq, user};
use crate::error::{Errno, Result};
use crate::fs::pseudo::{read_write, trimmed};
use crate::memory::UserAddress;

/// No mistake: a copy of the page at the address that follows, with interrupts masked, from which
/// memory errors must not keep the kernel either.
const COPY_MASKED: &str = "COPY_MASKED";

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
    text += COPY_MASKED;
    text += " 0xADDRESS\n";
    text
}

fn provoke(bytes: &[u8]) -> Result<()> {
    let name = trimmed(bytes)?;
    if let Some(address) = name.strip_prefix(COPY_MASKED) {
        return copy_masked(address.trim());
    }
    let mistake = MISTAKES.iter().find(|(kind, _)| *kind == name);
    let (name, mistake) = mistake.ok_or(Errno::EINVAL)?;
    log::info!("lkdtm: Performing direct entry {name}");
    mistake();
    Ok(())
}

fn copy_masked(address: &str) -> Result<()> {
    let digits = address.strip_prefix("0x").ok_or(Errno::EINVAL)?;
    let address = u64::from_str_radix(digits, 16).map_err(|_| Errno::EINVAL)?;
    let mut page = alloc::vec![0; mm::PAGE_SIZE];
    let flags = irq::disable();
    let copied = user::copy_from_user(&mut page, UserAddress(address));
    irq::restore(flags);
    copied.map_err(|stopped| stopped.errno())
}

#[cfg(test)]
mod tests {
    use super::{kinds, provoke};
    use crate::error::Errno;

    #[test]
    fn mistakes_are_named_and_made() {
        assert!(kinds().starts_with("Available crash types:\nPANIC\n"));
        assert_eq!(provoke(b"NOTHING\n"), Err(Errno::EINVAL));
        for bad in ["COPY_MASKED", "COPY_MASKED 12", "COPY_MASKED 0xg"] {
            assert_eq!(provoke(bad.as_bytes()), Err(Errno::EINVAL));
        }
        assert!(std::panic::catch_unwind(|| provoke(b"PANIC\n")).is_err());
    }
}
