//! The doorbell: commands, banks, and every malformed access.

use std::cell::RefCell;

use control::doorbell::{
    ADDRESS, CLEAR, COMMAND, IDENTITY, LENGTH, POISON, POLICY, SIGNATURE, STATUS, VALUE,
};
use control::{Command, MAX_CPUS, Policy, Request, Response, Status};
use firmware::{Doorbell, Width};
use proptest::prelude::*;

const WIDTHS: [Width; 4] = [Width::Bits8, Width::Bits16, Width::Bits32, Width::Bits64];

/// A doorbell whose commands are noted and answered with their own address.
struct Machine {
    doorbell: Doorbell,
    requests: RefCell<Vec<Request>>,
    answer: Status,
}

impl Machine {
    fn new() -> Self {
        Self {
            doorbell: Doorbell::new(),
            requests: RefCell::new(Vec::new()),
            answer: Status::Ok,
        }
    }

    fn store(&self, cpu: usize, offset: u64, width: Width, value: u64) {
        self.doorbell.store(cpu, offset, width, value, |request| {
            self.requests.borrow_mut().push(request);
            match self.answer {
                Status::Ok => Response::value(request.address),
                status => status.into(),
            }
        });
    }

    fn load(&self, cpu: usize, offset: u64) -> u64 {
        self.doorbell.load(cpu, offset, Width::Bits64)
    }

    fn state(&self, cpu: usize) -> [u64; 4] {
        [ADDRESS, LENGTH, POLICY, VALUE].map(|offset| self.load(cpu, offset))
    }
}

fn status(status: Status) -> u64 {
    status.raw().into()
}

#[test]
fn a_command_has_the_arguments_that_its_cpu_stored() {
    let machine = Machine::new();
    for cpu in 0..MAX_CPUS {
        machine.store(cpu, ADDRESS, Width::Bits64, 0x4000_0000 + cpu as u64 * 64);
        machine.store(cpu, LENGTH, Width::Bits64, 128);
        machine.store(cpu, POLICY, Width::Bits32, cpu as u64);
    }
    for cpu in 0..MAX_CPUS {
        machine.store(cpu, COMMAND, Width::Bits32, 2);
        let address = 0x4000_0000 + cpu as u64 * 64;
        let expected = Request {
            command: 2,
            policy: cpu as u32,
            address,
            length: 128,
        };
        assert_eq!(machine.requests.borrow_mut().pop(), Some(expected));
        assert_eq!(machine.load(cpu, STATUS), status(Status::Ok));
        assert_eq!(machine.load(cpu, VALUE), address);
        assert_eq!(machine.load(cpu, COMMAND), 0);
    }
}

#[test]
fn a_line_is_poisoned_and_cleared_with_one_store() {
    let machine = Machine::new();
    machine.store(3, ADDRESS, Width::Bits64, 0xdead);
    machine.store(3, LENGTH, Width::Bits64, 0xbeef);
    machine.store(3, POLICY, Width::Bits64, Policy::ONE_SHOT.bits().into());
    for (offset, command) in [(POISON, Command::Poison), (CLEAR, Command::Clear)] {
        machine.store(3, offset, Width::Bits64, 0x4000_1240);
        let expected = Request {
            command: command.raw(),
            policy: Policy::ONE_SHOT.bits(),
            address: 0x4000_1240,
            length: 64,
        };
        assert_eq!(machine.requests.borrow_mut().pop(), Some(expected));
    }
    assert_eq!(machine.state(3), [0xdead, 0xbeef, 1, 0x4000_1240]);
}

#[test]
fn a_refusal_is_the_status_of_the_command() {
    let mut machine = Machine::new();
    machine.store(0, CLEAR, Width::Bits64, 64);
    assert_eq!(machine.load(0, VALUE), 64);
    for refusal in Status::ALL
        .iter()
        .copied()
        .filter(|status| *status != Status::Ok)
    {
        machine.answer = refusal;
        machine.store(0, COMMAND, Width::Bits64, 1);
        assert_eq!(machine.load(0, STATUS), status(refusal));
        assert_eq!(machine.load(0, VALUE), 0);
    }
    assert_eq!(machine.load(1, STATUS), 0, "other CPUs do not see it");
}

#[test]
fn what_does_not_fit_a_command_is_refused_without_running_it() {
    let machine = Machine::new();
    machine.store(0, COMMAND, Width::Bits64, 1 << 32 | 2);
    assert_eq!(machine.load(0, STATUS), status(Status::UnknownCommand));
    machine.store(0, POLICY, Width::Bits64, 1 << 32);
    for (offset, value) in [(COMMAND, 2), (POISON, 0x4000_0000), (CLEAR, 0x4000_0000)] {
        machine.store(1, STATUS, Width::Bits64, 0);
        machine.store(0, offset, Width::Bits64, value);
        assert_eq!(machine.load(0, STATUS), status(Status::BadPolicy));
    }
    assert_eq!(*machine.requests.borrow(), []);
    // A store of 32 bits is a store of all 64.
    machine.store(0, POLICY, Width::Bits32, 1 << 32 | 5);
    assert_eq!(machine.load(0, POLICY), 5);
}

#[test]
fn registers_take_the_widths_that_the_contract_says() {
    for (offset, narrow) in [
        (IDENTITY, false),
        (ADDRESS, false),
        (LENGTH, false),
        (POLICY, true),
        (COMMAND, true),
        (STATUS, true),
        (VALUE, false),
        (POISON, false),
        (CLEAR, false),
    ] {
        for width in WIDTHS {
            let right = width == Width::Bits64 || narrow && width == Width::Bits32;
            let machine = Machine::new();
            machine.doorbell.load(0, offset, width);
            let expected = if right {
                Status::Ok
            } else {
                Status::BadRegister
            };
            assert_eq!(
                machine.load(0, STATUS),
                status(expected),
                "{offset:#x} {width:?}"
            );
        }
    }
    let machine = Machine::new();
    assert_eq!(machine.load(0, IDENTITY), SIGNATURE);
    assert_eq!(machine.load(0, IDENTITY).to_le_bytes(), *b"SEAWTHY1");
}

#[derive(Clone, Copy, Debug)]
struct Access {
    store: bool,
    offset: u64,
    width: Width,
    value: u64,
}

fn any_access() -> impl Strategy<Value = Access> {
    let offset = prop_oneof![
        4 => (0u64..10).prop_map(|index| index * 8),
        1 => 0u64..0x80,
        1 => any::<u64>(),
    ];
    let value = prop_oneof![0u64..16, any::<u64>()];
    (any::<bool>(), offset, 0usize..4, value).prop_map(|(store, offset, width, value)| Access {
        store,
        offset,
        width: WIDTHS[width],
        value,
    })
}

proptest! {
    #[test]
    fn a_malformed_access_changes_nothing_but_the_status(
        accesses in proptest::collection::vec(any_access(), 1..40),
    ) {
        let machine = Machine::new();
        for access in accesses {
            let before = machine.state(0);
            let requests = machine.requests.borrow().len();
            if access.store {
                machine.store(0, access.offset, access.width, access.value);
            } else {
                machine.doorbell.load(0, access.offset, access.width);
            }
            let malformed = machine.load(0, STATUS) == status(Status::BadRegister);
            if malformed || !access.store {
                prop_assert_eq!(machine.state(0), before);
                prop_assert_eq!(machine.requests.borrow().len(), requests);
            }
            prop_assert_eq!(machine.state(1), [0; 4]);
            // The next access starts from a status that says nothing.
            machine.store(0, COMMAND, Width::Bits64, 1);
        }
    }
}
