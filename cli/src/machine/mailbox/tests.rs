use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use control::layout::RAM_BASE;

use super::*;

const MEMORY: u64 = RESERVED_LENGTH + (2 << 20);

/// A file like a machine's RAM, with a thread that answers as the monitor does.
struct FakeMonitor {
    ram: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl FakeMonitor {
    /// Makes the file, with nothing in it.
    fn absent() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let ram = env::temp_dir().join(format!("seaworthy-mailbox-{}-{number}", process::id()));
        File::create(&ram).unwrap().set_len(MEMORY).unwrap();
        Self {
            ram,
            stop: Arc::new(AtomicBool::new(false)),
            thread: None,
        }
    }

    fn running() -> Self {
        let mut fake = Self::absent();
        fake.write(0, &SIGNATURE.to_le_bytes());
        fake.write(8, &VERSION.to_le_bytes());
        fake.set_state(RUNNING);
        fake.write(20, &1_u32.to_le_bytes());
        let (file, stop) = (fake.file(), Arc::clone(&fake.stop));
        fake.thread = Some(thread::spawn(move || answer(&file, &stop)));
        fake
    }

    fn set_state(&self, state: u32) {
        self.write(offset::STATE, &state.to_le_bytes());
    }

    fn file(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(&self.ram)
            .unwrap()
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        self.file()
            .write_all_at(bytes, MEMORY - RESERVED_LENGTH + offset)
            .unwrap();
    }

    fn mailbox(&self) -> Mailbox {
        Mailbox::open(&self.ram, MEMORY).unwrap()
    }

    /// Ends the thread and returns the number of requests it answered.
    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .map_or(0, |thread| thread.join().unwrap())
    }
}

impl Drop for FakeMonitor {
    fn drop(&mut self) {
        self.stop();
        fs::remove_file(&self.ram).unwrap();
    }
}

fn read<const N: usize>(file: &File, offset: u64) -> [u8; N] {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, MEMORY - RESERVED_LENGTH + offset)
        .unwrap();
    bytes
}

fn answer(file: &File, stop: &AtomicBool) -> u64 {
    let write = |offset, bytes: &[u8]| {
        file.write_all_at(bytes, MEMORY - RESERVED_LENGTH + offset)
            .unwrap();
    };
    let (mut lines, mut answered, mut heartbeat) = (BTreeMap::new(), 0_u64, 0_u64);
    while !stop.load(Ordering::Relaxed) {
        heartbeat += 1;
        write(offset::HEARTBEAT, &heartbeat.to_le_bytes());
        let requests: [u8; 4] = read(file, offset::REQUESTS);
        if requests == read(file, offset::RESPONSES) {
            continue;
        }
        let request: [u8; 24] = read(file, offset::REQUEST);
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().unwrap());
        let long = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let response = Response::from(carry_out(&mut lines, word(0), word(4), long(8), long(16)));
        write(offset::RESPONSE, &response.status.raw().to_le_bytes());
        write(offset::RESPONSE + 8, &response.value.to_le_bytes());
        answered += 1;
        // On a row of its own for each answer, as if by many CPUs.
        let cpu = answered % MAX_CPUS as u64;
        let slot = COUNTERS + cpu * SLOTS as u64 * 8;
        let count = u64::from_le_bytes(read(file, slot)) + 1;
        write(slot, &count.to_le_bytes());
        write(offset::RESPONSES, &requests);
    }
    answered
}

fn carry_out(
    lines: &mut BTreeMap<u64, Policy>,
    command: u32,
    policy: u32,
    address: u64,
    length: u64,
) -> Result<u64, Status> {
    let end = address.checked_add(length).ok_or(Status::BadLength)?;
    let range = (address..end).step_by(LINE as usize);
    match Command::from_raw(command).ok_or(Status::UnknownCommand)? {
        Command::Poison => {
            let policy = Policy::from_request(policy).ok_or(Status::BadPolicy)?;
            if length == 0 {
                return Err(Status::BadLength);
            }
            if !address.is_multiple_of(LINE) || !length.is_multiple_of(LINE) {
                return Err(Status::Unaligned);
            }
            if address < RAM_BASE {
                return Err(Status::OutsideRam);
            }
            lines.extend(range.map(|line| (line, policy)));
        }
        Command::Clear => lines.retain(|line, _| !(address..end).contains(line)),
        Command::ClearAll => lines.clear(),
        Command::Query => {
            let found = lines.get(&address);
            return Ok(found.map_or(0, |&policy| (policy | Policy::POISONED).bits().into()));
        }
        Command::Next => {
            return Ok(lines
                .range(address..)
                .next()
                .map_or(u64::MAX, |(&line, _)| line));
        }
        Command::Notify => {
            Notice::from_raw(length).ok_or(Status::BadArgument)?;
        }
        Command::Ping | Command::Count => {}
    }
    Ok(0)
}

#[test]
fn lines_are_poisoned_listed_and_cleared() {
    let fake = FakeMonitor::running();
    let mailbox = fake.mailbox();
    mailbox
        .poison(RAM_BASE, 3 * LINE, Policy::ONE_SHOT)
        .unwrap();
    mailbox
        .poison(RAM_BASE + 3 * LINE, LINE, Policy::NO_FAR)
        .unwrap();
    mailbox.clear(RAM_BASE + LINE, LINE).unwrap();
    let range = |address, length, policy| Range {
        address,
        length,
        policy,
    };
    assert_eq!(
        mailbox.list().unwrap(),
        [
            range(RAM_BASE, LINE, Policy::ONE_SHOT),
            range(RAM_BASE + 2 * LINE, LINE, Policy::ONE_SHOT),
            range(RAM_BASE + 3 * LINE, LINE, Policy::NO_FAR),
        ]
    );
    assert_eq!(mailbox.query(RAM_BASE).unwrap(), Some(Policy::ONE_SHOT));
    assert_eq!(mailbox.query(RAM_BASE + LINE).unwrap(), None);
    mailbox
        .poison(RAM_BASE + LINE, LINE, Policy::ONE_SHOT)
        .unwrap();
    assert_eq!(mailbox.list().unwrap().len(), 2);
    mailbox.clear_all().unwrap();
    assert_eq!(mailbox.list().unwrap(), []);
}

#[test]
fn a_refusal_says_what_was_refused_and_why() {
    let fake = FakeMonitor::running();
    let error = fake
        .mailbox()
        .poison(RAM_BASE + 1, LINE, Policy::empty())
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("0x40000001") && text.contains("64-byte"),
        "{text}"
    );
}

#[test]
fn numbers_go_round_and_no_request_runs_twice() {
    let mut fake = FakeMonitor::running();
    let mailbox = fake.mailbox();
    for _ in 0..600 {
        mailbox.run(request(Command::Ping, 0, 0)).unwrap();
    }
    let counter = mailbox.counter(Counter::ALL[0]).unwrap();
    assert_eq!((counter, fake.stop()), (600, 600));
}

#[test]
fn many_who_ask_at_once_take_turns() {
    let mut fake = FakeMonitor::running();
    let (shared, own) = (Arc::new(fake.mailbox()), || Arc::new(fake.mailbox()));
    let threads: Vec<_> = [own(), own(), Arc::clone(&shared), shared]
        .into_iter()
        .zip(1..)
        .map(|(mailbox, index)| {
            thread::spawn(move || {
                let line = RAM_BASE + index * LINE;
                for _ in 0..50 {
                    mailbox.poison(line, LINE, Policy::empty()).unwrap();
                    assert_eq!(mailbox.query(line).unwrap(), Some(Policy::empty()));
                    mailbox.clear(line, LINE).unwrap();
                    assert_eq!(mailbox.query(line).unwrap(), None);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(fake.stop(), 4 * 50 * 4);
}

#[test]
fn a_request_whose_process_ended_is_waited_for() {
    let fake = FakeMonitor::running();
    let mailbox = fake.mailbox();
    fake.write(offset::REQUEST, &Command::Ping.raw().to_le_bytes());
    fake.write(offset::REQUESTS, &[1]);
    mailbox.poison(RAM_BASE, LINE, Policy::empty()).unwrap();
    assert_eq!(mailbox.list().unwrap().len(), 1);
}

#[test]
fn silence_is_an_error_in_time() {
    let mut fake = FakeMonitor::running();
    fake.stop();
    let mut mailbox = fake.mailbox();
    mailbox.patience = Duration::from_millis(50);
    let error = mailbox.run(request(Command::Ping, 0, 0)).unwrap_err();
    assert!(
        matches!(error, Error::Silent { looks: false, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("reset"), "{error}");
}

#[test]
fn what_is_not_ready_says_why() {
    let fake = FakeMonitor::absent();
    let mailbox = fake.mailbox();
    let wait = || {
        mailbox
            .wait_until_running(Duration::from_millis(10))
            .unwrap_err()
    };
    assert!(matches!(wait(), Error::NotThere));
    assert!(matches!(mailbox.counters(), Err(Error::NotThere)));
    fake.write(8, &VERSION.to_le_bytes());
    fake.write(0, &SIGNATURE.to_le_bytes());
    assert!(matches!(wait(), Error::NotThere));
    fake.write(LOG, b"no RAM in the device tree\n");
    fake.write(offset::LOG_WRITTEN, &26_u64.to_le_bytes());
    fake.set_state(FAILED);
    assert_eq!(
        wait().to_string(),
        "the monitor gave up: no RAM in the device tree"
    );
    fake.set_state(RUNNING);
    let error = mailbox.run(request(Command::Ping, 0, 0)).unwrap_err();
    assert!(matches!(error, Error::Mute), "{error}");
    fake.write(8, &7_u32.to_le_bytes());
    assert!(matches!(wait(), Error::Version(7)));
}

#[test]
fn the_log_is_read_piece_by_piece_and_says_what_it_lost() {
    let fake = FakeMonitor::absent();
    fake.write(0, &SIGNATURE.to_le_bytes());
    let mailbox = fake.mailbox();
    let grow = |position: u64, text: &str| {
        for (index, byte) in text.bytes().enumerate() {
            fake.write(LOG + (position + index as u64) % LOG_LENGTH, &[byte]);
        }
        let written = position + text.len() as u64;
        fake.write(offset::LOG_WRITTEN, &written.to_le_bytes());
    };
    grow(0, "one\n");
    let log = mailbox.log(0).unwrap();
    assert_eq!((log.text.as_str(), log.lost, log.next), ("one\n", 0, 4));
    grow(4, "two\n");
    assert_eq!(mailbox.log(log.next).unwrap().text, "two\n");
    // Around the end of the ring.
    grow(LOG_LENGTH - 2, "three\n");
    let log = mailbox.log(LOG_LENGTH - 2).unwrap();
    assert_eq!((log.text.as_str(), log.lost), ("three\n", 0));
    let all = mailbox.log(0).unwrap();
    assert_eq!((all.lost, all.text.len() as u64), (4, LOG_LENGTH));
    assert!(all.text.ends_with("three\n"));
    // The guest was reset.
    grow(0, "new\n");
    assert_eq!(mailbox.log(all.next).unwrap().text, "new\n");
}

#[test]
fn a_file_of_another_size_is_refused() {
    let fake = FakeMonitor::absent();
    assert!(Mailbox::open(&fake.ram, MEMORY * 2).is_err());
    assert!(Mailbox::open(&fake.ram, 4096).is_err());
    assert!(Mailbox::open(Path::new("/no/such/ram"), MEMORY).is_err());
}
