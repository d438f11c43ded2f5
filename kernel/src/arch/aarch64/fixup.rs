//! The exception table: which instructions may fail, and where they then go on.

use copy::entries;
use extable::{Abort, Fixup, Table};
use spin::Once;

use super::layout;
use crate::arch::Registers;

static TABLE: Once<Table<'static>> = Once::new();

/// Sorts and checks the table. Called once, while constants can still be written.
///
/// # Panics
///
/// If the image has no table that makes sense: it was not built as it should be.
pub(super) fn init() {
    let linked = entries().expect("the table has whole entries");
    let start = linked.as_ptr().cast_mut();
    // SAFETY: the early map lets constants be written, and nobody else looks at the table yet.
    let entries = unsafe { core::slice::from_raw_parts_mut(start, linked.len()) };
    extable::sort(entries).expect("the table reaches all of the image");
    let table = Table::new(entries).expect("the table is in order");
    let text = layout::IMAGE as usize..layout::text_end() as usize;
    table
        .within(text)
        .expect("the table is about the image's code");
    TABLE.call_once(|| table);
}

/// The entry for the instruction at `pc`, if it excuses this.
pub(super) fn find(pc: u64, abort: &Abort) -> Option<Fixup> {
    TABLE.get()?.find(pc as usize, abort)
}

/// The interrupted registers, as a fixup sees them.
pub(super) struct View<'a>(pub(super) &'a mut Registers);

impl extable::Registers for View<'_> {
    const LIMIT: u8 = extable::registers::aarch64::LIMIT;
    const REPORT: u8 = extable::registers::aarch64::REPORT;

    fn general(&self, number: u8) -> usize {
        self.0
            .x
            .get(usize::from(number))
            .map_or(0, |value| *value as usize)
    }

    fn set_general(&mut self, number: u8, value: usize) {
        if let Some(register) = self.0.x.get_mut(usize::from(number)) {
            *register = value as u64;
        }
    }

    fn set_program_counter(&mut self, value: usize) {
        self.0.pc = value as u64;
    }
}
