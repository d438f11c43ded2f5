//! A machine with some memory and nothing else.

use apei::{AddressSpace, Oem, Platform, Register};

/// Memory from [`Machine::BASE`] on. Registers are memory too. Everything else is refused.
pub(crate) struct Machine {
    pub(crate) memory: Vec<u8>,
    pub(crate) stalled: u64,
    pub(crate) accesses: u64,
}

/// An access outside the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused(pub(crate) u64);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "access to {:#x} refused", self.0)
    }
}

pub(crate) const OEM: Oem = Oem {
    id: *b"SEAWOR",
    table_id: *b"TESTTEST",
    revision: apei::U32::new(0x0102_0304),
    creator_id: *b"RVAT",
    creator_revision: apei::U32::new(0x0100_0000),
};

impl Machine {
    pub(crate) const BASE: u64 = 0x1000;

    pub(crate) fn new(length: usize) -> Self {
        Self {
            memory: vec![0; length],
            stalled: 0,
            accesses: 0,
        }
    }

    pub(crate) fn slice(&mut self, address: u64, length: usize) -> Result<&mut [u8], Refused> {
        let start = address.checked_sub(Self::BASE).ok_or(Refused(address))?;
        let start = usize::try_from(start).map_err(|_| Refused(address))?;
        let end = start.checked_add(length).ok_or(Refused(address))?;
        self.memory.get_mut(start..end).ok_or(Refused(address))
    }

    pub(crate) fn put(&mut self, address: u64, bytes: &[u8]) {
        self.slice(address, bytes.len())
            .unwrap()
            .copy_from_slice(bytes);
    }

    pub(crate) fn get64(&mut self, address: u64) -> u64 {
        u64::from_le_bytes(self.slice(address, 8).unwrap().try_into().unwrap())
    }

    pub(crate) fn put64(&mut self, address: u64, value: u64) {
        self.put(address, &value.to_le_bytes());
    }
}

impl Platform for Machine {
    type Error = Refused;

    fn read(&mut self, register: Register) -> Result<u64, Refused> {
        assert!(
            register
                .address
                .is_multiple_of(register.width.bytes() as u64)
        );
        if register.space != AddressSpace::MEMORY {
            return Err(Refused(register.address));
        }
        let mut bytes = [0; 8];
        self.read_memory(register.address, &mut bytes[..register.width.bytes()])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), Refused> {
        assert_eq!(value & !register.width.mask(), 0);
        if register.space != AddressSpace::MEMORY {
            return Err(Refused(register.address));
        }
        let bytes = value.to_le_bytes();
        self.write_memory(register.address, &bytes[..register.width.bytes()])
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), Refused> {
        assert!(address.checked_add(bytes.len() as u64).is_some());
        self.accesses += 1;
        bytes.copy_from_slice(self.slice(address, bytes.len())?);
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refused> {
        assert!(address.checked_add(bytes.len() as u64).is_some());
        self.accesses += 1;
        self.slice(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) {
        self.stalled += microseconds;
    }
}
