//! Memory may hold anything: a claim gives a block that fits, nothing, or an error.
#![no_main]

use apei::{GenericAddress, GenericSource, GenericSourceV2, Notification, NotificationKind};
use apei::{ReadAck, Width};
use libfuzzer_sys::fuzz_target;
use seaworthy_apei_fuzz::Machine;

fuzz_target!(|bytes: &[u8]| {
    let register = |offset| GenericAddress::memory(Machine::BASE + offset, Width::Bits64);
    let source = GenericSourceV2::new(
        GenericSource::new(
            0,
            Notification::new(NotificationKind::SEA),
            register(0),
            1024,
        ),
        ReadAck {
            register: register(8),
            preserve: (!1).into(),
            write: 1.into(),
        },
    );
    // The block is where the first eight bytes say, and right behind the registers.
    for placed in [false, true] {
        let mut machine = Machine::new(bytes);
        if placed {
            machine.0[..8].copy_from_slice(&(Machine::BASE + 16).to_le_bytes());
        }
        let mut buffer = [0; 512];
        match source.claim(&mut machine, &mut buffer) {
            Ok(Some(block)) => {
                assert!(block.header().block_length().unwrap() <= 512);
                let _ = block.to_string();
            }
            Ok(None) => {}
            Err(apei::ClaimError::Platform(address)) => {
                assert!(!format!("{address:#x}").is_empty())
            }
            Err(error) => assert!(!format!("{error:?}").is_empty()),
        }
    }
});
