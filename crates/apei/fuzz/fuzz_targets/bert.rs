//! Any bytes are a BERT or an error.
#![no_main]

use apei::Bert;
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::table;

fuzz_target!(|bytes: &[u8]| {
    let _ = Bert::parse(bytes);
    let table = table(b"BERT", bytes);
    assert_eq!(
        Bert::parse(&table).is_ok(),
        table.len() >= Bert::TABLE_LENGTH
    );
});
