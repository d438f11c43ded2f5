//! There is no hardware walker.

use mm::{Pfn, SpaceId};

/// Makes the walker of this CPU use the tables of an address space, or none.
pub fn activate(_space: Option<(SpaceId, Pfn)>) {}

/// The physical address of what is at an address of the kernel's, if that is RAM.
pub fn physical(_address: u64) -> Option<u64> {
    None
}
