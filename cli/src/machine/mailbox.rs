//! The host's side of the mailbox: asks the monitor through the shared RAM. See [`control::mailbox`].
//!
//! The RAM is a file in memory that QEMU has mapped, and the kernel keeps one copy of each of its
//! pages. So what is written to the file here is what a load of the guest sees, and the other way
//! round; mapping it here too would gain speed that nobody needs, for unsafe code. What order and
//! atomicity the protocol needs comes from this:
//!
//! * Each call to the kernel is complete before the next begins, and takes and gives back locks or
//!   references of the page, which order memory.
//! * A call promises nothing for more than one byte at a time. So the number of a request is
//!   changed by writing one byte, and counts that move while they are read are read until two
//!   readings agree. The number of a response is only ever compared with the one that is waited
//!   for, which differs in its lowest byte from the one before, so half of a new one is not taken
//!   for it.

mod error;

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use control::counter::SLOTS;
use control::layout::RESERVED_LENGTH;
use control::mailbox::{
    COUNTERS, FAILED, Header, LOG, LOG_LENGTH, RUNNING, SIGNATURE, VERSION, offset,
};
use control::{Command, Counter, LINE, MAX_CPUS, Notice, Policy, Request, Response, Status};
use zerocopy::FromBytes;

pub(crate) use self::error::Error;

/// The monitor looks many times a second, but QEMU may not be given a processor for a while.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to look for a response all the time.
const EAGER: Duration = Duration::from_millis(1);

/// How often to look for what is waited for, after that.
const POLL: Duration = Duration::from_micros(200);

/// The host's side of a machine's mailbox. Several processes may have one of the same machine.
#[derive(Debug)]
pub(crate) struct Mailbox {
    ram: File,
    /// Where in the file it is.
    start: u64,
    /// The lock on the file keeps processes apart, this one the threads that share `ram`.
    threads: Mutex<()>,
    patience: Duration,
}

/// Poisoned lines next to each other, with the same policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    /// Guest-physical address of the first.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// What happens when one is met.
    pub(crate) policy: Policy,
}

/// A piece of the monitor's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    /// The text.
    pub(crate) text: String,
    /// Bytes before it that were overwritten before they were read.
    pub(crate) lost: u64,
    /// Where the next piece begins.
    pub(crate) next: u64,
}

impl Mailbox {
    /// The mailbox in the RAM of a machine with this much memory.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or is not of that size.
    pub(crate) fn open(ram: &Path, memory: u64) -> Result<Self, Error> {
        let ram = File::options().read(true).write(true).open(ram)?;
        let start = memory.checked_sub(RESERVED_LENGTH);
        match start {
            Some(start) if ram.metadata()?.len() == memory => Ok(Self {
                ram,
                start,
                threads: Mutex::new(()),
                patience: PATIENCE,
            }),
            _ => Err(Error::Io(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the guest's RAM is not {memory} bytes long"),
            ))),
        }
    }

    /// Waits until the monitor has entered the guest.
    ///
    /// # Errors
    ///
    /// If it does not within `limit`, or says that it never will.
    pub(crate) fn wait_until_running(&self, limit: Duration) -> Result<Header, Error> {
        let deadline = Instant::now() + limit;
        loop {
            match self.running() {
                Err(Error::NotThere) if Instant::now() < deadline => thread::sleep(POLL),
                result => return result,
            }
        }
    }

    /// The header, if the guest has been entered.
    fn running(&self) -> Result<Header, Error> {
        let header = self.header()?;
        if header.signature != SIGNATURE {
            return Err(Error::NotThere);
        }
        match (header.version, header.state) {
            (VERSION, RUNNING) => Ok(header),
            (VERSION, FAILED) => Err(Error::Failed(self.log(0)?.text)),
            (VERSION, _) => Err(Error::NotThere),
            (version, _) => Err(Error::Version(version)),
        }
    }

    /// Poisons every line of a range of guest-physical memory.
    ///
    /// # Errors
    ///
    /// If the monitor refuses or does not answer. Then nothing has been poisoned.
    pub(crate) fn poison(&self, address: u64, length: u64, policy: Policy) -> Result<(), Error> {
        self.run(Request {
            command: Command::Poison.raw(),
            policy: policy.bits(),
            address,
            length,
        })
        .map(drop)
    }

    /// Makes every line of a range good.
    ///
    /// # Errors
    ///
    /// If the monitor refuses or does not answer.
    pub(crate) fn clear(&self, address: u64, length: u64) -> Result<(), Error> {
        self.run(request(Command::Clear, address, length)).map(drop)
    }

    /// Makes every line good.
    ///
    /// # Errors
    ///
    /// If the monitor does not answer.
    pub(crate) fn clear_all(&self) -> Result<(), Error> {
        self.run(request(Command::ClearAll, 0, 0)).map(drop)
    }

    /// The policy of a line, if it is poisoned.
    ///
    /// # Errors
    ///
    /// If the monitor refuses or does not answer.
    pub(crate) fn query(&self, address: u64) -> Result<Option<Policy>, Error> {
        let bits = self.run(request(Command::Query, address, 0))?;
        // A policy has 32 bits.
        let policy = Policy::from_bits_retain(bits as u32);
        Ok(policy
            .contains(Policy::POISONED)
            .then(|| policy.difference(Policy::POISONED)))
    }

    /// All poisoned lines. One that comes or goes meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// If the monitor does not answer.
    pub(crate) fn list(&self) -> Result<Vec<Range>, Error> {
        let mut ranges: Vec<Range> = Vec::new();
        let mut from = Some(0);
        while let Some(start) = from {
            let address = self.run(request(Command::Next, start, 0))?;
            if address == u64::MAX {
                break;
            }
            // It may have been cleared since.
            if let Some(policy) = self.query(address)? {
                match ranges.last_mut() {
                    Some(last)
                        if last.policy == policy && last.address + last.length == address =>
                    {
                        last.length += LINE;
                    }
                    _ => ranges.push(Range {
                        address,
                        length: LINE,
                        policy,
                    }),
                }
            }
            from = address.checked_add(LINE);
        }
        Ok(ranges)
    }

    /// Reports an error to the guest that nobody has met.
    ///
    /// # Errors
    ///
    /// If the monitor refuses or does not answer.
    pub(crate) fn notify(&self, notice: Notice, address: u64) -> Result<(), Error> {
        self.run(request(Command::Notify, address, notice.raw()))
            .map(drop)
    }

    /// Runs a command and returns its answer.
    ///
    /// # Errors
    ///
    /// If the monitor refuses or does not answer.
    pub(crate) fn run(&self, request: Request) -> Result<u64, Error> {
        match self.ask(request)? {
            Response {
                status: Status::Ok,
                value,
            } => Ok(value),
            Response { status, .. } => Err(Error::Refused { request, status }),
        }
    }

    /// Sends a request, whatever is in it, and returns what comes back.
    ///
    /// # Errors
    ///
    /// If nothing comes back.
    pub(crate) fn ask(&self, request: Request) -> Result<Response, Error> {
        let _turn = self.turn()?;
        let header = self.running()?;
        if header.answers == 0 {
            return Err(Error::Mute);
        }
        // A process that ended while it waited has left a request of its own.
        self.wait_for(header.requests)?;
        let mut bytes = Vec::with_capacity(24);
        bytes.extend(request.command.to_le_bytes());
        bytes.extend(request.policy.to_le_bytes());
        bytes.extend(request.address.to_le_bytes());
        bytes.extend(request.length.to_le_bytes());
        self.write(offset::REQUEST, &bytes)?;
        let number = (header.requests & !0xff) | u32::from((header.requests as u8).wrapping_add(1));
        self.write(offset::REQUESTS, &number.to_le_bytes()[..1])?;
        self.wait_for(number)?;
        let [status, value] = [offset::RESPONSE, offset::RESPONSE + 8];
        let status = u32::from_le_bytes(self.read(status)?);
        Ok(Response {
            status: Status::from_raw(status).ok_or(Error::UnknownStatus(status))?,
            value: u64::from_le_bytes(self.read(value)?),
        })
    }

    /// Waits for the response of this number.
    fn wait_for(&self, number: u32) -> Result<(), Error> {
        let (start, heartbeat) = (Instant::now(), self.heartbeat()?);
        while u32::from_le_bytes(self.read(offset::RESPONSES)?) != number {
            if start.elapsed() >= self.patience {
                return Err(Error::Silent {
                    waited: start.elapsed(),
                    looks: self.heartbeat()? != heartbeat,
                });
            }
            // After the first, the monitor answers at once.
            if start.elapsed() < EAGER {
                thread::yield_now();
            } else {
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Takes the lock by which the processes that ask this monitor take turns. It is free again
    /// when what is returned is dropped.
    fn turn(&self) -> Result<Turn<'_>, Error> {
        let deadline = Instant::now() + 2 * self.patience;
        let thread = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match self.ram.try_lock() {
                Ok(()) => {
                    return Ok(Turn {
                        ram: &self.ram,
                        _thread: thread,
                    });
                }
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(POLL),
                Err(TryLockError::WouldBlock) => return Err(Error::Busy),
                Err(TryLockError::Error(error)) => return Err(error.into()),
            }
        }
    }

    /// Sums over all CPUs. Needs no answer of the monitor: they can be read when the guest has ended.
    ///
    /// # Errors
    ///
    /// If there is no monitor.
    pub(crate) fn counters(&self) -> Result<Vec<(Counter, u64)>, Error> {
        self.running()?;
        let rows: [u8; MAX_CPUS * SLOTS * 8] = self.read_settled(COUNTERS)?;
        let sum = |counter: Counter| {
            rows.chunks_exact(SLOTS * 8)
                .map(|row| &row[counter as usize * 8..][..8])
                .map(|slot| {
                    slot.iter()
                        .rev()
                        .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
                })
                .fold(0, u64::wrapping_add)
        };
        Ok(Counter::ALL
            .iter()
            .map(|&counter| (counter, sum(counter)))
            .collect())
    }

    /// One of the [`Mailbox::counters`].
    ///
    /// # Errors
    ///
    /// If there is no monitor.
    pub(crate) fn counter(&self, counter: Counter) -> Result<u64, Error> {
        Ok(self.counters()?[counter as usize].1)
    }

    /// The monitor's log from byte `from` of all that it has ever written.
    ///
    /// # Errors
    ///
    /// If there is no monitor.
    pub(crate) fn log(&self, from: u64) -> Result<Log, Error> {
        if self.header()?.signature != SIGNATURE {
            return Err(Error::NotThere);
        }
        let written = u64::from_le_bytes(self.read_settled(offset::LOG_WRITTEN)?);
        let ring: [u8; LOG_LENGTH as usize] = self.read(LOG)?;
        // Written while the ring was read: those bytes are the next ones, not the oldest.
        let overwritten = u64::from_le_bytes(self.read_settled(offset::LOG_WRITTEN)?);
        let oldest = overwritten.saturating_sub(LOG_LENGTH);
        // After a reset the log begins again.
        let from = if from > written { 0 } else { from };
        let start = from.max(oldest).min(written);
        let bytes: Vec<u8> = (start..written)
            .map(|position| ring[(position % LOG_LENGTH) as usize])
            .collect();
        Ok(Log {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            lost: start - from,
            next: written,
        })
    }

    /// Times that the monitor has looked for a request; it grows as long as the monitor lives.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub(crate) fn heartbeat(&self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.read(offset::HEARTBEAT)?))
    }

    /// From the monitor's start to its entering the guest.
    ///
    /// # Errors
    ///
    /// If there is no monitor.
    pub(crate) fn boot_time(&self) -> Result<Duration, Error> {
        let header = self.running()?;
        let ticks = header.entered.saturating_sub(header.started);
        let frequency = header.frequency.max(1);
        Ok(Duration::from_nanos(
            u64::try_from(u128::from(ticks) * 1_000_000_000 / u128::from(frequency))
                .unwrap_or(u64::MAX),
        ))
    }

    fn header(&self) -> Result<Header, Error> {
        let bytes: [u8; size_of::<Header>()] = self.read(0)?;
        Header::read_from_bytes(&bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidData).into())
    }

    fn read<const LENGTH: usize>(&self, offset: u64) -> Result<[u8; LENGTH], Error> {
        let mut bytes = [0; LENGTH];
        self.ram.read_exact_at(&mut bytes, self.start + offset)?;
        Ok(bytes)
    }

    /// Reads until two readings agree, or, for what never rests, a few times.
    fn read_settled<const LENGTH: usize>(&self, offset: u64) -> Result<[u8; LENGTH], Error> {
        let mut last = self.read(offset)?;
        for _ in 0..8 {
            let now = self.read(offset)?;
            if now == last {
                break;
            }
            last = now;
        }
        Ok(last)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        Ok(self.ram.write_all_at(bytes, self.start + offset)?)
    }
}

struct Turn<'a> {
    ram: &'a File,
    _thread: MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A lock that is held can be given back.
        let _ = self.ram.unlock();
    }
}

fn request(command: Command, address: u64, length: u64) -> Request {
    Request {
        command: command.raw(),
        policy: 0,
        address,
        length,
    }
}

#[cfg(test)]
mod tests;
