//! A guest that writes anything anywhere: nothing panics, nothing malformed is asked for, and
//! reporting goes on as soon as the guest acknowledges.

use std::sync::atomic::AtomicU32;

use control::{Command, LINE, Notice, Policy};
use firmware::window::{self, LENGTH};
use firmware::{Busy, Record, Reporter, Source, Width, Window};
use proptest::prelude::*;

use crate::guest::Guest;
use crate::record::any_record;

#[derive(Clone, Debug)]
enum Step {
    Report(Source, usize, Record),
    /// The guest takes what there is, and acknowledges it.
    Claim(Source),
    Scribble(usize, u32),
    Einj(u64, Width, u64),
}

fn any_source() -> impl Strategy<Value = Source> {
    proptest::sample::select(Source::ALL)
}

fn any_step() -> impl Strategy<Value = Step> {
    let width =
        proptest::sample::select(&[Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64][..]);
    // Mostly where it hurts: cells, acknowledge registers, parameters, blocks.
    let offset = prop_oneof![
        3 => 0x1000usize..0x1080,
        3 => window::PARAMETERS..window::PARAMETERS + 0x40,
        1 => Just(window::PARAMETERS),
        1 => any_source().prop_map(window::block),
        1 => 0..LENGTH,
    ];
    let value = prop_oneof![
        Just(0),
        Just(1),
        (0u32..32).prop_map(|bit| 1 << bit),
        any::<u32>()
    ];
    let register = prop_oneof![(0u64..9).prop_map(|index| index * 8), 0u64..0x50];
    prop_oneof![
        3 => (any_source(), 0usize..3, any_record())
            .prop_map(|(source, cpu, record)| Step::Report(source, cpu, record)),
        2 => any_source().prop_map(Step::Claim),
        4 => (offset, value).prop_map(|(offset, value)| Step::Scribble(offset & !3, value)),
        2 => (register, width, any::<u64>())
            .prop_map(|(offset, width, value)| Step::Einj(offset, width, value)),
    ]
}

/// What the owner of a source's record is, as a simple-minded observer has it.
#[derive(Clone, Copy, Default)]
struct Model([Option<usize>; Source::COUNT]);

proptest! {
    #[test]
    fn a_scribbling_guest_harms_only_itself(
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let guest = Guest::new();
        let window = &*guest.window;
        let reporter = Reporter::new();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Report(source, cpu, record) => {
                    let acknowledged = window.load(window::read_ack(source)) & 1 != 0;
                    let owner = &mut model.0[source as usize];
                    let expected = match *owner {
                        Some(owner) if !acknowledged && owner == cpu => Err(Busy::SameCpu),
                        Some(_) if !acknowledged => Err(Busy::OtherCpu),
                        _ => Ok(()),
                    };
                    prop_assert_eq!(reporter.report(window, source, cpu, &record), expected);
                    if expected.is_ok() {
                        *owner = Some(cpu);
                        prop_assert_eq!(window.load(window::read_ack(source)) & 1, 0);
                        // Whatever the guest had left there, the block is the record now.
                        let number = u64::from(window.load(window::block(source) + raw(&record)));
                        let expected = record.encode(number);
                        prop_assert_eq!(stored(window, source, &expected), expected.as_bytes());
                    }
                }
                Step::Claim(source) => {
                    window.store(window::block(source), 0);
                    window.store(window::read_ack(source), 1);
                }
                Step::Scribble(offset, value) => window.store(offset, value),
                Step::Einj(offset, width, value) => {
                    guest.einj.load(offset, width);
                    guest.store(offset, width, value);
                }
            }
        }
        for request in guest.requests.borrow().iter() {
            prop_assert_eq!(request.address % LINE, 0);
            match Command::from_raw(request.command) {
                Some(Command::Poison) => {
                    prop_assert_eq!(request.length, LINE);
                    let policy = Policy::from_request(request.policy);
                    prop_assert!(policy == Some(Policy::empty()) || policy == Some(Policy::FATAL));
                }
                Some(Command::Notify) => {
                    prop_assert_eq!(Notice::from_raw(request.length), Some(Notice::Corrected));
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        // One acknowledgement later every source reports again.
        for source in Source::ALL.iter().copied() {
            window.store(window::read_ack(source), 1);
            let record = Record::notice(Notice::PatrolScrub, 0);
            prop_assert_eq!(reporter.report(window, source, 9, &record), Ok(()));
        }
    }
}

/// Where a block's raw data is.
fn raw(record: &Record) -> usize {
    record.encode(0).as_bytes().len() - 8
}

fn stored(window: &[AtomicU32], source: Source, block: &firmware::Block) -> Vec<u8> {
    let at = window::block(source);
    let words = (0..block.as_bytes().len()).step_by(4);
    words
        .flat_map(|offset| window.load(at + offset).to_le_bytes())
        .collect()
}
