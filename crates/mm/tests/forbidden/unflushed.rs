//! What CPUs may still reach is nobody's but the manager's.

use mm::table::{Stale, Unmapped};

fn main() {}
