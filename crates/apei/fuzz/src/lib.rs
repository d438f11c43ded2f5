//! What the targets share: a machine, and tables whose head is right.

use apei::{AddressSpace, Limits, Platform, Program, Register};

/// Tight enough that a run takes no time.
pub const LIMITS: Limits = Limits {
    steps: 2000,
    microseconds: 100_000,
    copied: 4096,
};

/// Memory from [`Machine::BASE`] on, and nothing else.
pub struct Machine(pub Vec<u8>);

impl Machine {
    pub const BASE: u64 = 0x1000;

    /// A machine whose memory starts with these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut memory = bytes.to_vec();
        memory.resize(2048, 0);
        Self(memory)
    }

    fn slice(&mut self, address: u64, length: usize) -> Result<&mut [u8], u64> {
        let end = address.checked_add(length as u64).expect("no range wraps");
        let offset = |address: u64| address.checked_sub(Self::BASE)?.try_into().ok();
        let (start, end): (Option<usize>, Option<usize>) = (offset(address), offset(end));
        start
            .zip(end)
            .and_then(|(start, end)| self.0.get_mut(start..end))
            .ok_or(address)
    }
}

impl Platform for Machine {
    type Error = u64;

    fn read(&mut self, register: Register) -> Result<u64, u64> {
        assert!(
            register
                .address
                .is_multiple_of(register.width.bytes() as u64)
        );
        if register.space != AddressSpace::MEMORY {
            return Err(register.address);
        }
        let mut bytes = [0; 8];
        self.read_memory(register.address, &mut bytes[..register.width.bytes()])?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(&mut self, register: Register, value: u64) -> Result<(), u64> {
        assert_eq!(value & !register.width.mask(), 0);
        if register.space != AddressSpace::MEMORY {
            return Err(register.address);
        }
        self.write_memory(
            register.address,
            &value.to_le_bytes()[..register.width.bytes()],
        )
    }

    fn read_memory(&mut self, address: u64, bytes: &mut [u8]) -> Result<(), u64> {
        bytes.copy_from_slice(self.slice(address, bytes.len())?);
        Ok(())
    }

    fn write_memory(&mut self, address: u64, bytes: &[u8]) -> Result<(), u64> {
        self.slice(address, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn stall(&mut self, microseconds: u64) {
        assert!(microseconds <= LIMITS.microseconds);
    }
}

/// The bytes as a table: signature, length and checksum are right, the rest is as it is.
pub fn table(signature: &[u8; 4], bytes: &[u8]) -> Vec<u8> {
    let mut table = bytes.to_vec();
    table.resize(table.len().max(36), 0);
    table[..4].copy_from_slice(signature);
    let length = table.len() as u32;
    table[4..8].copy_from_slice(&length.to_le_bytes());
    table[9] = 0;
    table[9] = table.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
    table
}

/// Runs every action of a program.
pub fn run_all(program: &Program<'_>, machine: &mut Machine) {
    for action in 0..=255 {
        if program.has(action)
            && let Err(error) = program.run(action, 1, LIMITS, machine)
        {
            assert!(!error.to_string().is_empty());
        }
    }
}
