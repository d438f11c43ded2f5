//! Any bytes are a trigger table or an error; its actions end.
#![no_main]

use apei::TriggerTable;
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::{Machine, run_all};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(table) = TriggerTable::parse(bytes) {
        run_all(&table.program, &mut Machine::new(bytes));
    }
});
