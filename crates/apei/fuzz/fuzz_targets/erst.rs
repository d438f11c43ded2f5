//! Any bytes are an ERST or an error; its actions and operations end.
#![no_main]

use apei::{Erst, ErstOperation};
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::{LIMITS, Machine, run_all, table};

fuzz_target!(|bytes: &[u8]| {
    let _ = Erst::parse(bytes);
    let table = table(b"ERST", bytes);
    let Ok(erst) = Erst::parse(&table) else {
        return;
    };
    let mut machine = Machine::new(bytes);
    for operation in [
        ErstOperation::Write { offset: 0 },
        ErstOperation::Read {
            record_id: 1,
            offset: 64,
        },
        ErstOperation::Clear { record_id: 1 },
    ] {
        if let Err(error) = erst.operate(operation, LIMITS, &mut machine) {
            assert!(!error.to_string().is_empty());
        }
    }
    run_all(&erst.program, &mut machine);
});
