//! Error injection through ACPI EINJ, as Linux offers it in debugfs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What can be injected into memory (ACPI 6.5, table 18.31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A corrected error: only reported.
    Corrected = 0x8,
    /// An error that cannot be corrected, but survived.
    Uncorrected = 0x10,
}

/// Whether firmware makes the error known at once, or leaves it to be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The trigger actions run.
    Now,
    /// They do not.
    Never,
}

/// The mask of an error in one 64-byte line.
pub const LINE_MASK: u64 = !63;

/// The directory of the kernel's EINJ module.
pub struct Einj {
    directory: PathBuf,
}

impl Einj {
    /// Finds the module's directory.
    ///
    /// # Errors
    ///
    /// If it is not there; the message says what may be lacking.
    pub fn open() -> Result<Self> {
        let directory = Path::new("/sys/kernel/debug/apei/einj");
        if !directory.join("error_inject").exists() {
            bail!(
                "there is no {}: it needs root, a mounted debugfs, the kernel's module einj, and \
                 firmware with an EINJ table",
                directory.display()
            );
        }
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    /// Injects an error into the memory at `address`. Which bytes are lost is in `mask`.
    ///
    /// # Errors
    ///
    /// If firmware does not support this kind, or kernel or firmware refuse.
    pub fn inject(&self, kind: Kind, address: u64, mask: u64, trigger: Trigger) -> Result<()> {
        const MEMORY_ADDRESS_VALID: u64 = 2;
        let kind = kind as u32;
        self.check_supported(kind)?;
        self.write("error_type", kind.into())?;
        self.write("flags", MEMORY_ADDRESS_VALID)?;
        self.write("param1", address)?;
        self.write("param2", mask)?;
        self.write("notrigger", u64::from(trigger == Trigger::Never))?;
        self.write("error_inject", 1)
    }

    fn check_supported(&self, kind: u32) -> Result<()> {
        let path = self.directory.join("available_error_type");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut kinds = text.lines().filter_map(|line| {
            let number = line.split_whitespace().next()?.strip_prefix("0x")?;
            u32::from_str_radix(number, 16).ok()
        });
        if kinds.any(|available| available == kind) {
            Ok(())
        } else {
            bail!("this firmware cannot inject errors of type {kind:#x}; it can:\n{text}")
        }
    }

    fn write(&self, file: &str, value: u64) -> Result<()> {
        let path = self.directory.join(file);
        fs::write(&path, format!("{value:#x}\n"))
            .with_context(|| format!("cannot write {value:#x} to {}", path.display()))
    }
}
