//! What must be true of a volume before the crate `ext4plus` gets to see it.
//!
//! The crate believes the sizes in the superblock, and the counts of what is free: where those are
//! wrong it panics, or searches for ever. So they are compared with the bitmaps first. Offsets:
//! Linux's documentation of ext4, "The Super Block" and "Block Group Descriptors".

use alloc::vec;
use core::fmt;

use super::device::Bytes;
use crate::error::Errno;

/// Where the superblock is, and how long.
const SUPERBLOCK: u64 = 1024;
const SUPERBLOCK_LENGTH: usize = 1024;
const MAGIC: u16 = 0xef53;

/// `s_feature_incompat`: descriptors have 64 bytes.
const INCOMPATIBLE_64BIT: u32 = 0x80;
/// `bg_flags`: the inode bitmap, or the block bitmap, was never written.
const GROUP_UNINITIALIZED: u16 = 0x3;

/// The most groups that are checked: 8 TiB in groups of 128 MiB.
const MOST_GROUPS: u64 = 1 << 16;

/// Why a volume is not mounted.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    reason: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.reason)
    }
}

/// A refusal of something that is no volume, or not one that this kernel knows.
fn invalid(reason: &'static str) -> Refusal {
    Refusal {
        errno: Errno::EINVAL,
        reason,
    }
}

/// A refusal of a volume that is damaged.
fn damaged(reason: &'static str) -> Refusal {
    Refusal {
        errno: Errno::EUCLEAN,
        reason,
    }
}

fn unreadable(errno: Errno) -> Refusal {
    Refusal {
        errno,
        reason: "it cannot be read",
    }
}

/// A volume that can be used.
#[derive(Debug)]
pub(super) struct Sound {
    /// In bytes.
    pub(super) block_size: u64,
    /// Why nothing may be written, if so.
    pub(super) read_only: Option<&'static str>,
}

/// Little-endian fields of a structure.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn half(&self, offset: usize) -> u16 {
        let bytes = self.0.get(offset..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }

    fn word(&self, offset: usize) -> u32 {
        u32::from(self.half(offset)) | u32::from(self.half(offset + 2)) << 16
    }

    /// A number of which the high word is elsewhere, where descriptors are long.
    fn long(&self, low: usize, high: usize) -> u64 {
        u64::from(self.word(low)) | u64::from(self.word(high)) << 32
    }
}

/// The sizes of a volume.
struct Shape {
    block_size: u64,
    blocks: u64,
    first_block: u64,
    blocks_per_group: u64,
    inodes_per_group: u64,
    inode_size: u64,
    groups: u64,
    descriptor: u64,
    free_blocks: u64,
    free_inodes: u64,
}

impl Shape {
    fn of(superblock: &Fields<'_>) -> Result<Self, Refusal> {
        if superblock.half(0x38) != MAGIC {
            return Err(invalid("there is no ext4 file system"));
        }
        let log_block_size = superblock.word(0x18);
        if log_block_size > 6 {
            return Err(damaged("its block size makes no sense"));
        }
        let block_size = 1024 << log_block_size;
        let is_64bit = superblock.word(0x60) & INCOMPATIBLE_64BIT != 0;
        let high = |offset| if is_64bit { superblock.word(offset) } else { 0 };
        let whole = |low, offset| u64::from(superblock.word(low)) | u64::from(high(offset)) << 32;
        let mut shape = Self {
            block_size,
            blocks: whole(0x4, 0x150),
            first_block: superblock.word(0x14).into(),
            blocks_per_group: superblock.word(0x20).into(),
            inodes_per_group: superblock.word(0x28).into(),
            inode_size: superblock.half(0x58).into(),
            groups: 0,
            descriptor: if is_64bit { 64 } else { 32 },
            free_blocks: whole(0xc, 0x158),
            free_inodes: superblock.word(0x10).into(),
        };
        let bits = block_size * 8;
        if is_64bit && superblock.half(0xfe) != 64 {
            return Err(invalid("its group descriptors have an unknown size"));
        }
        // The superblock is in block 1 of 1 KiB, or in block 0.
        if shape.first_block != u64::from(block_size == 1024)
            || !(1..=bits).contains(&shape.blocks_per_group)
            || !(1..=bits).contains(&shape.inodes_per_group)
            || !shape.inode_size.is_power_of_two()
            || !(128..=block_size).contains(&shape.inode_size)
            || shape.blocks <= shape.first_block
        {
            return Err(damaged("the sizes in its superblock make no sense"));
        }
        shape.groups = (shape.blocks - shape.first_block).div_ceil(shape.blocks_per_group);
        if shape.groups > MOST_GROUPS {
            return Err(invalid("it is too large"));
        }
        if shape.groups * shape.inodes_per_group != u64::from(superblock.word(0x0)) {
            return Err(damaged("its number of inodes is not that of its groups"));
        }
        Ok(shape)
    }

    /// How many blocks a group has: the last one may have fewer.
    fn blocks_of(&self, group: u64) -> u64 {
        let before = self.first_block + group * self.blocks_per_group;
        self.blocks_per_group.min(self.blocks - before)
    }

    /// Whether `length` blocks from `start` may hold something.
    fn holds(&self, start: u64, length: u64) -> bool {
        start > self.first_block
            && start
                .checked_add(length)
                .is_some_and(|end| end <= self.blocks)
    }
}

/// How many of the first `bits` bits of a bitmap are clear.
fn count_clear(bitmap: &[u8], bits: u64) -> u64 {
    let whole = (bits / 8) as usize;
    let clear: u32 = bitmap[..whole].iter().map(|byte| byte.count_zeros()).sum();
    let rest = bitmap
        .get(whole)
        .map_or(0, |byte| (!byte & ((1 << (bits % 8)) - 1)).count_ones());
    u64::from(clear + rest)
}

/// Looks a volume over.
///
/// # Errors
///
/// [`Refusal`].
pub(super) fn check(device: &Bytes, sectors: u64) -> Result<Sound, Refusal> {
    let mut superblock = [0; SUPERBLOCK_LENGTH];
    let read = |at: u64, into: &mut [u8]| device.read_bytes(at, into).map_err(unreadable);
    if sectors < 4 {
        return Err(invalid("the device is too small"));
    }
    read(SUPERBLOCK, &mut superblock)?;
    let shape = Shape::of(&Fields(&superblock))?;
    if shape.blocks > sectors * crate::fs::block::SECTOR as u64 / shape.block_size {
        return Err(damaged("it is larger than its device"));
    }
    let mut sound = Sound {
        block_size: shape.block_size,
        read_only: None,
    };
    let (mut free_blocks, mut free_inodes) = (0, 0);
    let mut bitmap = vec![0; shape.block_size as usize];
    for group in 0..shape.groups {
        let mut descriptor = [0; 64];
        let descriptor = &mut descriptor[..shape.descriptor as usize];
        let table = (shape.first_block + 1) * shape.block_size;
        read(table + group * shape.descriptor, descriptor)?;
        let fields = Fields(descriptor);
        let inode_blocks = (shape.inodes_per_group * shape.inode_size).div_ceil(shape.block_size);
        for (low, high, blocks) in [(0x0, 0x20, 1), (0x4, 0x24, 1), (0x8, 0x28, inode_blocks)] {
            if !shape.holds(fields.long(low, high), blocks) {
                return Err(damaged("a group descriptor leads beyond its end"));
            }
        }
        let count = |low, high| u64::from(fields.half(low)) | u64::from(fields.half(high)) << 16;
        let said = (count(0xc, 0x2c), count(0xe, 0x2e));
        free_blocks += said.0;
        free_inodes += said.1;
        if count(0x1c, 0x32) > shape.inodes_per_group {
            return Err(damaged("a group has more unused inodes than inodes"));
        }
        if fields.half(0x12) & GROUP_UNINITIALIZED != 0 {
            sound.read_only = Some("some of its groups have no bitmaps yet");
            continue;
        }
        read(fields.long(0x0, 0x20) * shape.block_size, &mut bitmap)?;
        let blocks = count_clear(&bitmap, shape.blocks_of(group));
        let beyond = count_clear(&bitmap, shape.block_size * 8) - blocks;
        read(fields.long(0x4, 0x24) * shape.block_size, &mut bitmap)?;
        let inodes = count_clear(&bitmap, shape.inodes_per_group);
        if (blocks, inodes) != said || beyond != 0 {
            sound.read_only = Some("its bitmaps disagree with its counts: it needs e2fsck");
        }
    }
    if (free_blocks, free_inodes) != (shape.free_blocks, shape.free_inodes) {
        sound.read_only = Some("its counts disagree: it needs e2fsck");
    }
    Ok(sound)
}
