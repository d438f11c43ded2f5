//! Any bytes are a section of any type or an error; what is read can be printed and written again.
#![no_main]

use cper::{Guid, Section};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for guid in [Guid::MEMORY, Guid::ARM_PROCESSOR, Guid::PCIE] {
        match Section::parse(guid, bytes) {
            Err(error) => assert!(!error.to_string().is_empty()),
            Ok(section) => {
                let _ = (section.to_string(), format!("{section:?}"));
                let mut buffer = vec![0; section.encoded_length()];
                assert_eq!(section.encode(&mut buffer), Ok(buffer.len()));
                assert_eq!(Section::parse(guid, &buffer), Ok(section));
            }
        }
    }
});
