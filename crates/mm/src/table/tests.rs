//! What CPUs remember of tables that are freed.

use super::PageTable;
use crate::sim::memory_with;
use crate::{Access, SpaceId, VirtualPage};

#[test]
fn nobody_walks_freed_tables() {
    let memory = memory_with::<4>(16);
    let (machine, frames) = (&memory.machine, &memory.frames);
    let (space, page) = (SpaceId(7), VirtualPage(100));
    let mut table = PageTable::new(machine, frames, space).unwrap();
    table.prepare(machine, frames, page).unwrap();
    // A CPU finds no page there, but remembers the way.
    let root = table.root().pfn();
    let found = machine.translated(0, space, root, page, Access::Load, |pfn| pfn);
    assert_eq!(found, None);
    assert!(machine.remembers(space));
    table.free(machine, frames);
    assert!(!machine.remembers(space));
    assert_eq!(memory.free_frames(), memory.total_frames());
}
