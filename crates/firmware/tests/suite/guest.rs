//! A guest: the window as it is before a guest runs, EINJ's registers, and nothing else.

use std::cell::RefCell;
use std::sync::atomic::AtomicU32;

use apei::{Hest, Platform, Register, TableHeader, Width};
use control::layout::{EINJ, FIRMWARE, FIRMWARE_LENGTH, REGISTERS_LENGTH};
use control::{Request, Response, Status};
use firmware::{Einj, Window, tables};

/// What a guest reaches.
pub(crate) struct Guest {
    pub(crate) window: Box<[AtomicU32]>,
    pub(crate) einj: Einj,
    /// What the monitor was asked for, in order.
    pub(crate) requests: RefCell<Vec<Request>>,
    /// What the monitor answers.
    pub(crate) answer: Status,
    /// Microseconds that the guest has waited.
    pub(crate) stalled: u64,
}

/// An access to something that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u64);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "nothing at {:#x}", self.0)
    }
}

/// The window as bytes, before a guest runs. It held something else before.
pub(crate) fn fresh_window() -> Vec<u8> {
    let mut window = vec![0xa5; FIRMWARE_LENGTH as usize];
    tables::write(&mut window);
    window
}

impl Guest {
    pub(crate) fn new() -> Self {
        let words = fresh_window();
        let words = words.chunks_exact(4).map(|word| word.try_into().unwrap());
        Self {
            window: words
                .map(|word| AtomicU32::new(u32::from_ne_bytes(word)))
                .collect(),
            einj: Einj::new(),
            requests: RefCell::new(Vec::new()),
            answer: Status::Ok,
            stalled: 0,
        }
    }

    pub(crate) fn bytes(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.read_memory(address, &mut bytes).unwrap();
        bytes
    }

    /// The table of this signature, found from the root pointer at the start of the window.
    pub(crate) fn table(&mut self, signature: [u8; 4]) -> Vec<u8> {
        let root = self.bytes(FIRMWARE, 36);
        assert_eq!(&root[..8], b"RSD PTR ");
        let xsdt = u64::from_le_bytes(root[24..32].try_into().unwrap());
        let xsdt = self.table_at(xsdt, *b"XSDT");
        for address in xsdt[36..].chunks_exact(8) {
            let address = u64::from_le_bytes(address.try_into().unwrap());
            if self.bytes(address, 4) == signature {
                return self.table_at(address, signature);
            }
        }
        panic!("there is no table {}", signature.escape_ascii());
    }

    fn table_at(&mut self, address: u64, signature: [u8; 4]) -> Vec<u8> {
        let length = self.bytes(address + 4, 4);
        let length = u32::from_le_bytes(length.try_into().unwrap());
        let table = self.bytes(address, length as usize);
        TableHeader::parse(&table, signature).unwrap();
        table
    }

    /// Takes and acknowledges what source number `source` of the HEST has to report.
    pub(crate) fn claim(&mut self, source: usize) -> Option<Vec<u8>> {
        let hest = self.table(*b"HEST");
        let hest = Hest::parse(&hest).unwrap();
        let Some(Ok(apei::Source::GenericV2(source))) = hest.sources().nth(source) else {
            panic!("no such source: {source}");
        };
        let mut buffer = vec![0; 4096];
        let length = {
            let block = source.claim(self, &mut buffer).unwrap()?;
            block.header().block_length().unwrap()
        };
        buffer.truncate(length);
        Some(buffer)
    }
}

impl Platform for Guest {
    type Error = Refused;

    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        if let Some(offset) = einj_offset(register.address) {
            return Ok(self.einj.load(offset, register.width));
        }
        let mut bytes = [0; 8];
        self.read_memory(register.address, &mut bytes[..register.width.bytes()])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        let Some(offset) = einj_offset(register.address) else {
            let bytes = value.to_le_bytes();
            return self.write_memory(register.address, &bytes[..register.width.bytes()]);
        };
        self.store(offset, register.width, value);
        Ok(())
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = offset(address + index as u64)?;
            *byte = self.window.load(at & !3).to_le_bytes()[at & 3];
        }
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        for (index, byte) in bytes.iter().enumerate() {
            let at = offset(address + index as u64)?;
            let mut word = self.window.load(at & !3).to_le_bytes();
            word[at & 3] = *byte;
            self.window.store(at & !3, u32::from_le_bytes(word));
        }
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) {
        self.stalled += microseconds;
    }
}

impl Guest {
    /// A store to EINJ's registers.
    pub(crate) fn store(&self, offset: u64, width: Width, value: u64) {
        let answer = self.answer;
        self.einj
            .store(&*self.window, offset, width, value, |request| {
                self.requests.borrow_mut().push(request);
                Response::from(answer)
            });
    }
}

fn einj_offset(address: u64) -> Option<u64> {
    address
        .checked_sub(EINJ)
        .filter(|offset| *offset < REGISTERS_LENGTH)
}

fn offset(address: u64) -> Result<usize, Refused> {
    let offset = address
        .checked_sub(FIRMWARE)
        .filter(|offset| *offset < FIRMWARE_LENGTH);
    offset.map(|offset| offset as usize).ok_or(Refused(address))
}
