//! There is no hardware walker.

use mm::{Pfn, SpaceId};

/// Makes the walker of this CPU use the tables of an address space, or none.
pub fn activate(_space: Option<(SpaceId, Pfn)>) {}
