//! What the monitor's firmware shows to a guest, without the monitor.

use std::convert::Infallible;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;

use apei::{Platform, Register, Width};
use control::layout::{EINJ, FIRMWARE, REGISTERS_LENGTH};
use control::{Request, Response};
use firmware::{Einj, Record, Reporter, Source, Window, tables, window};

/// A machine's firmware: its window, its registers, and who reports.
#[derive(Clone, Copy, Debug)]
pub struct Firmware(&'static Inner);

#[derive(Debug)]
struct Inner {
    window: Box<[AtomicU32]>,
    einj: Einj,
    reporter: Reporter,
    requests: Mutex<Vec<Request>>,
}

impl Firmware {
    /// Where the root pointer (RSDP) is.
    pub const RSDP: u64 = FIRMWARE;

    /// A machine's firmware. It stays for ever, as firmware does.
    pub fn new() -> Self {
        let mut bytes = vec![0; window::LENGTH];
        tables::write(&mut bytes);
        let words = bytes
            .chunks_exact(4)
            .map(|word| AtomicU32::new(u32::from_ne_bytes(word.try_into().expect("4 bytes"))));
        Self(Box::leak(Box::new(Inner {
            window: words.collect(),
            einj: Einj::new(),
            reporter: Reporter::new(),
            requests: Mutex::default(),
        })))
    }

    /// Reports an error. Whether it could: the last one may wait to be taken.
    pub fn report(&self, source: Source, cpu: usize, record: &Record) -> bool {
        let reported = self.0.reporter.report(&*self.0.window, source, cpu, record);
        reported.is_ok()
    }

    /// What was asked to be injected.
    pub fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.requests.lock().expect("nobody panicked"))
    }

    /// Writes a word of the window, as a guest or broken firmware may.
    pub fn write_word(&self, offset: usize, value: u32) {
        self.0.window.store(offset, value);
    }

    fn word(&self, address: u64) -> u32 {
        let offset = address
            .checked_sub(FIRMWARE)
            .filter(|offset| *offset < window::LENGTH as u64);
        offset.map_or(0, |offset| self.0.window.load(offset as usize & !3))
    }
}

impl Default for Firmware {
    fn default() -> Self {
        Self::new()
    }
}

fn in_registers(address: u64) -> Option<u64> {
    address
        .checked_sub(EINJ)
        .filter(|offset| *offset < REGISTERS_LENGTH)
}

impl Platform for Firmware {
    type Error = Infallible;

    fn read(&mut self, register: Register) -> Result<u64, Infallible> {
        if let Some(offset) = in_registers(register.address) {
            return Ok(self.0.einj.load(offset, register.width));
        }
        let low = u64::from(self.word(register.address));
        let high = match register.width {
            Width::Bits64 => u64::from(self.word(register.address + 4)),
            _ => 0,
        };
        Ok((low | high << 32) & register.width.mask())
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Infallible> {
        if let Some(offset) = in_registers(register.address) {
            let run = |request| {
                self.0
                    .requests
                    .lock()
                    .expect("nobody panicked")
                    .push(request);
                Response::value(0)
            };
            self.0
                .einj
                .store(&*self.0.window, offset, register.width, value, run);
            return Ok(());
        }
        let bytes = value.to_le_bytes();
        self.write_memory(register.address, &bytes[..register.width.bytes()])
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Infallible> {
        for (at, byte) in (address..).zip(bytes) {
            *byte = self.word(at).to_le_bytes()[at as usize % 4];
        }
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Infallible> {
        for (at, byte) in (address..).zip(bytes) {
            let mut word = self.word(at).to_le_bytes();
            word[at as usize % 4] = *byte;
            let offset = at.wrapping_sub(FIRMWARE) as usize & !3;
            if offset < window::LENGTH {
                self.0.window.store(offset, u32::from_le_bytes(word));
            }
        }
        Ok(())
    }

    fn stall(&mut self, _microseconds: u64) {}
}
