//! Names for the addresses in a panic's call trace.

use anyhow::{Context, Result};
use object::LittleEndian;
use object::elf::{FileHeader64, STT_FUNC};
use object::read::elf::{FileHeader, Sym};

/// What a panic prints before the addresses, one to a line.
const HEAD: &str = "Call trace:";

/// The functions of an image.
struct Functions<'a> {
    /// Start, length and name, by start.
    by_start: Vec<(u64, u64, &'a str)>,
}

impl<'a> Functions<'a> {
    fn of(elf: &'a [u8]) -> Result<Self> {
        let little = LittleEndian;
        let header =
            FileHeader64::<LittleEndian>::parse(elf).context("the kernel is no ELF file")?;
        let sections = header.sections(little, elf)?;
        let symbols = sections.symbols(little, elf, object::elf::SHT_SYMTAB)?;
        let mut by_start = Vec::new();
        for symbol in symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC) {
            let name = symbols.symbol_name(little, symbol).unwrap_or_default();
            let name = str::from_utf8(name).unwrap_or_default();
            by_start.push((symbol.st_value(little), symbol.st_size(little), name));
        }
        by_start.sort_unstable();
        Ok(Self { by_start })
    }

    fn name(&self, address: u64) -> Option<String> {
        let after = self
            .by_start
            .partition_point(|(start, ..)| *start <= address);
        let (start, length, name) = self.by_start[after.checked_sub(1)?];
        (address < start + length).then(|| {
            let name = rustc_demangle::demangle(name);
            format!("{name:#}+{:#x}/{length:#x}", address - start)
        })
    }
}

/// The call trace of the last panic in `text`, by name; nothing if there was none.
///
/// # Errors
///
/// If `elf` is not the kernel's ELF file.
pub(super) fn name_calls(text: &str, elf: &[u8]) -> Result<Vec<String>> {
    let Some((_, trace)) = text.rsplit_once(HEAD) else {
        return Ok(Vec::new());
    };
    let functions = Functions::of(elf)?;
    let addresses = trace.lines().skip(1).map_while(|line| {
        let digits = line.trim().strip_prefix("0x")?;
        u64::from_str_radix(digits, 16).ok()
    });
    let lines = addresses.map(|address| {
        let name = functions.name(address);
        format!(" {address:#018x} {}", name.as_deref().unwrap_or("?"))
    });
    Ok([HEAD.to_owned()].into_iter().chain(lines).collect())
}

#[cfg(test)]
mod tests {
    use super::{Functions, name_calls};

    #[test]
    fn an_address_belongs_to_the_function_it_is_in() {
        let functions = Functions {
            by_start: vec![(0x100, 0x20, "one"), (0x200, 8, "_ZN3two1fE")],
        };
        assert_eq!(functions.name(0x104).as_deref(), Some("one+0x4/0x20"));
        assert_eq!(functions.name(0x200).as_deref(), Some("two::f+0x0/0x8"));
        for outside in [0, 0xff, 0x120, 0x208] {
            assert_eq!(functions.name(outside), None);
        }
    }

    #[test]
    fn without_a_panic_there_is_nothing_to_name() {
        assert!(name_calls("hello\r\n", b"").unwrap().is_empty());
    }
}
