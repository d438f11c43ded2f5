//! Any bytes are a HEST or an error, and its sources make up the table again.
#![no_main]

use apei::{Hest, HestBuilder, Oem};
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::table;

const OEM: Oem = Oem {
    id: [0; 6],
    table_id: [0; 8],
    revision: apei::U32::ZERO,
    creator_id: [0; 4],
    creator_revision: apei::U32::ZERO,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = Hest::parse(bytes).map(|hest| hest.sources().count());
    let table = table(b"HEST", bytes);
    let Ok(hest) = Hest::parse(&table) else {
        return;
    };
    let sources: Result<Vec<_>, _> = hest.sources().collect();
    let Ok(sources) = sources else {
        return;
    };
    let mut buffer = vec![0; table.len()];
    let mut builder = HestBuilder::new(&mut buffer, &OEM).unwrap();
    for source in &sources {
        builder.add(source).unwrap();
    }
    let length = builder.finish().unwrap();
    assert_eq!(buffer[36..length], table[36..length]);
    let again: Result<Vec<_>, _> = Hest::parse(&buffer).unwrap().sources().collect();
    assert_eq!(again.unwrap(), sources);
});
