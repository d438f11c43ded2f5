//! From an ELF file to the flat `Image` that boot loaders take.

use anyhow::{Context, Result, bail};
use object::LittleEndian;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// More than any kernel of ours.
const LIMIT: u64 = 64 << 20;

/// What of the file is loaded, each byte as far behind the first as it is in memory.
///
/// # Errors
///
/// If it is no ELF file, or its segments are no image.
pub(super) fn flatten(elf: &[u8]) -> Result<Vec<u8>> {
    let little = LittleEndian;
    let header = FileHeader64::<LittleEndian>::parse(elf).context("the kernel is no ELF file")?;
    let segments = header.program_headers(little, elf)?;
    let loaded = || {
        let all = segments.iter();
        all.filter(|segment| segment.p_type(little) == PT_LOAD && segment.p_filesz(little) > 0)
    };
    let start = loaded().map(|segment| segment.p_vaddr(little)).min();
    let start = start.context("the kernel's ELF file loads nothing")?;
    let mut image = Vec::new();
    for segment in loaded() {
        let offset = segment.p_vaddr(little) - start;
        let Ok(bytes) = segment.data(little, elf) else {
            bail!("the kernel's ELF file is cut off");
        };
        let end = offset + bytes.len() as u64;
        if end > LIMIT {
            bail!("the kernel's ELF file spreads over {end:#x} bytes");
        }
        image.resize(image.len().max(end as usize), 0);
        image[offset as usize..end as usize].copy_from_slice(bytes);
    }
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::flatten;

    #[test]
    fn what_is_no_kernel_is_refused() {
        assert!(flatten(b"").is_err());
        assert!(flatten(&[0x7f, b'E', b'L', b'F', 2, 1, 1]).is_err());
    }
}
