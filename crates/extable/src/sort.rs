//! Sorting a table of self-relative entries in place.

use crate::{Entry, OutOfReach};

/// Sorts `entries` by the address of the covered instruction, keeping every field right.
///
/// Works on a table where it was linked (at boot, before the section becomes read-only), on a
/// copy of it, and on the bytes of a section in a file (at build time, through
/// [`Entry::from_bytes`]): only distances inside the table matter.
///
/// # Errors
///
/// [`OutOfReach`] if an entry, moved to its place, could no longer reach its targets; the table is
/// then unchanged.
pub fn sort(entries: &mut [Entry]) -> Result<(), OutOfReach> {
    // For the time of the sort both fields are relative to the start of the table, so that
    // entries may change places freely.
    for done in 0..entries.len() {
        let origin = origin(done)?;
        if let Err(error) = shift(&mut entries[done], origin) {
            restore(&mut entries[..done]);
            return Err(error);
        }
    }
    let last = origin(entries.len())?;
    if entries
        .iter()
        .any(|e| e.instruction < i32::MIN + last || e.fixup < i32::MIN + last)
    {
        restore(entries);
        return Err(OutOfReach);
    }
    entries.sort_unstable_by_key(|entry| entry.instruction);
    restore(entries);
    Ok(())
}

/// Makes fields that are relative to the start of the table relative to themselves again.
fn restore(entries: &mut [Entry]) {
    for (index, entry) in entries.iter_mut().enumerate() {
        let offset = (index * Entry::SIZE).cast_signed() as i32;
        entry.instruction = entry.instruction.wrapping_sub(offset);
        entry.fixup = entry.fixup.wrapping_sub(offset);
    }
}

fn origin(index: usize) -> Result<i32, OutOfReach> {
    index
        .checked_mul(Entry::SIZE)
        .and_then(|bytes| i32::try_from(bytes).ok())
        .ok_or(OutOfReach)
}

fn shift(entry: &mut Entry, by: i32) -> Result<(), OutOfReach> {
    let instruction = entry.instruction.checked_add(by).ok_or(OutOfReach)?;
    let fixup = entry.fixup.checked_add(by).ok_or(OutOfReach)?;
    (entry.instruction, entry.fixup) = (instruction, fixup);
    Ok(())
}
