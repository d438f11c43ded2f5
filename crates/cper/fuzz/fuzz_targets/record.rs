//! Any bytes are a record or an error; what is read can be printed and written again.
#![no_main]

use cper::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else {
        return;
    };
    let _ = (record.to_string(), format!("{record:?}"));
    let sections: Result<Vec<_>, _> = record
        .sections()
        .map(|(descriptor, section)| section.map(|section| (descriptor, section)))
        .collect();
    let Ok(sections) = sections else {
        return;
    };
    // Sections may overlap in what firmware wrote, and need room of their own afterwards.
    let lengths = sections.iter().map(|(_, section)| section.encoded_length());
    let room = 128 + 72 * sections.len() + lengths.sum::<usize>();
    if room > 1 << 20 {
        return;
    }
    let mut buffer = vec![0; room];
    assert_eq!(
        Record::encode(&record.info, &sections, &mut buffer),
        Ok(room)
    );
    let again = Record::parse(&buffer).unwrap();
    assert_eq!(again.info, record.info);
    let found: Vec<_> = again.sections().map(|(d, s)| (d, s.unwrap())).collect();
    assert_eq!(found, sections);
});
