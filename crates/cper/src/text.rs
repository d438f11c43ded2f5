//! What the printed forms share.

use core::fmt;

/// Prints the names of the bits that are set, and those without a name as a number.
pub(crate) fn flags(f: &mut fmt::Formatter<'_>, bits: u32, names: &[&str]) -> fmt::Result {
    let mut unnamed = bits;
    let mut separator = "";
    for (at, name) in names.iter().enumerate() {
        let bit = 1 << at;
        if bits & bit != 0 && !name.is_empty() {
            write!(f, "{separator}{name}")?;
            separator = ", ";
            unnamed &= !bit;
        }
    }
    if unnamed != 0 {
        write!(f, "{separator}{unnamed:#x}")?;
    }
    Ok(())
}

/// Prints one line of a section, indented, if its field is valid.
pub(crate) fn line(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    value: Option<impl fmt::Display>,
) -> fmt::Result {
    match value {
        Some(value) => write!(f, "\n  {name}: {value}"),
        None => Ok(()),
    }
}

/// A number that prints in hexadecimal, with `0x` and all of its digits.
pub(crate) struct Hex(pub(crate) u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// Bytes that print in hexadecimal, no more than 64 of them.
pub(crate) struct HexBytes<'a>(pub(crate) &'a [u8]);

impl fmt::Display for HexBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        write!(f, "{} bytes", self.0.len())?;
        for (index, byte) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if index == 0 { ": " } else { " " };
            write!(f, "{separator}{byte:02x}")?;
        }
        f.write_str(if self.0.len() > SHOWN { " ..." } else { "" })
    }
}
