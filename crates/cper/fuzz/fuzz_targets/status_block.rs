//! Any bytes are a status block or an error; what is read can be printed and written again.
#![no_main]

use cper::{StatusBlock, StatusBlockBuilder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(block) = StatusBlock::parse(bytes) else {
        return;
    };
    let _ = (block.to_string(), format!("{block:?}"));
    let sections: Option<Vec<_>> = block
        .entries()
        .map(|entry| Some((entry.info, entry.section().ok()?)))
        .collect();
    // A block with a section that does not decode, or more entries than can be counted, stays.
    let Some(sections) = sections.filter(|sections| sections.len() < 1024) else {
        return;
    };
    let mut buffer = vec![0; bytes.len() + 128 * sections.len() + 64];
    let mut builder = StatusBlockBuilder::new(&mut buffer).unwrap();
    for (info, section) in &sections {
        builder.add(info, section).unwrap();
    }
    let length = builder.finish_with_raw_data(block.raw_data()).unwrap();
    let again = StatusBlock::parse(&buffer[..length]).unwrap();
    assert_eq!(again.raw_data(), block.raw_data());
    assert_eq!(again.entries().count(), sections.len());
    for (entry, (info, section)) in again.entries().zip(&sections) {
        assert_eq!((&entry.info, &entry.section().unwrap()), (info, section));
    }
});
