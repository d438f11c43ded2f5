//! Any bytes are an EINJ or an error; its actions and an injection end.
#![no_main]

use apei::{Einj, SetErrorTypeWithAddress, Trigger};
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::{LIMITS, Machine, run_all, table};

fuzz_target!(|bytes: &[u8]| {
    let _ = Einj::parse(bytes);
    let table = table(b"EINJ", bytes);
    let Ok(einj) = Einj::parse(&table) else {
        return;
    };
    let mut machine = Machine::new(bytes);
    let types = einj.available(LIMITS, &mut machine).unwrap_or_default();
    let error = SetErrorTypeWithAddress::new(types);
    if let Err(error) = einj.inject(&error, Trigger::Fire, LIMITS, &mut machine) {
        assert!(!error.to_string().is_empty());
    }
    run_all(&einj.program, &mut machine);
});
