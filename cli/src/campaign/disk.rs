//! The disk of a campaign: small, fresh, with an empty ext4 on it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// An empty volume of 4 MiB, the one that the kernel's tests use: each sector that is not all zeros,
/// after its number (4 bytes).
const EMPTY: &[u8] = include_bytes!("../../../kernel/src/fs/ext4/empty.sectors");
const LENGTH: usize = 4 << 20;
const SECTOR: usize = 512;

/// The image of a disk, which goes when this does.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// One of this name in this folder.
    pub(crate) fn new(name: &str, folder: &Path) -> Self {
        Self(folder.join(format!("{name}.disk")))
    }

    /// Makes it empty.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn renew(&self) -> Result<()> {
        fs::write(&self.0, empty()).with_context(|| format!("cannot write {}", self.0.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

fn empty() -> Vec<u8> {
    let mut bytes = vec![0; LENGTH];
    for entry in EMPTY.chunks_exact(4 + SECTOR) {
        let (number, sector) = entry.split_at(4);
        let number = number
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        bytes[number * SECTOR..][..SECTOR].copy_from_slice(sector);
    }
    bytes
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If it was never made, or cannot be removed, the next build cleans up.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_disk_has_a_superblock() {
        let bytes = empty();
        assert_eq!(bytes[1024 + 0x38..][..2], [0x53, 0xef]);
        // `s_blocks_count`, in blocks of 1 KiB.
        assert_eq!(bytes[1024 + 4..][..4], [0, 16, 0, 0]);
    }
}
