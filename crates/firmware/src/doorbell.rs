//! The doorbell: the registers of [`control::doorbell`], one bank for each CPU.

use core::sync::atomic::{AtomicU64, Ordering};

use apei::Width;
use control::doorbell::{
    ADDRESS, CLEAR, COMMAND, IDENTITY, LENGTH, POISON, POLICY, SIGNATURE, STATUS, VALUE,
};
use control::{Command, LINE, MAX_CPUS, Request, Response, Status};

/// The registers of all CPUs. Each CPU uses only its own bank, so nothing is locked.
#[derive(Debug)]
pub struct Doorbell {
    banks: [Bank; MAX_CPUS],
}

/// What a CPU has stored, and the result of its last command.
#[derive(Debug)]
struct Bank {
    address: AtomicU64,
    length: AtomicU64,
    policy: AtomicU64,
    status: AtomicU64,
    value: AtomicU64,
}

impl Doorbell {
    /// The registers after a reset: all 0.
    pub const fn new() -> Self {
        Self {
            banks: [const { Bank::new() }; MAX_CPUS],
        }
    }

    /// What a load by `cpu` at `offset` of the doorbell gives. A wrong one sets the status and gives
    /// 0.
    ///
    /// # Panics
    ///
    /// If `cpu` is not below [`MAX_CPUS`].
    pub fn load(&self, cpu: usize, offset: u64, width: Width) -> u64 {
        let bank = &self.banks[cpu];
        let value = match offset {
            _ if !takes(offset, width) => {
                bank.set_status(Status::BadRegister);
                0
            }
            IDENTITY => SIGNATURE,
            ADDRESS => bank.address.load(Ordering::Relaxed),
            LENGTH => bank.length.load(Ordering::Relaxed),
            POLICY => bank.policy.load(Ordering::Relaxed),
            STATUS => bank.status.load(Ordering::Relaxed),
            VALUE => bank.value.load(Ordering::Relaxed),
            _ => 0,
        };
        value & width.mask()
    }

    /// Performs a store by `cpu` at `offset` of the doorbell. One that is a command calls `run` and
    /// keeps its response; a wrong one sets the status and does nothing else.
    ///
    /// # Panics
    ///
    /// If `cpu` is not below [`MAX_CPUS`].
    pub fn store(
        &self,
        cpu: usize,
        offset: u64,
        width: Width,
        value: u64,
        run: impl FnOnce(Request) -> Response,
    ) {
        let bank = &self.banks[cpu];
        let value = value & width.mask();
        if !takes(offset, width) {
            return bank.set_status(Status::BadRegister);
        }
        let request = match offset {
            ADDRESS => return bank.address.store(value, Ordering::Relaxed),
            LENGTH => return bank.length.store(value, Ordering::Relaxed),
            POLICY => return bank.policy.store(value, Ordering::Relaxed),
            COMMAND => bank.request(value),
            POISON => bank.line(Command::Poison, value),
            CLEAR => bank.line(Command::Clear, value),
            _ => return bank.set_status(Status::BadRegister),
        };
        match request {
            Ok(request) => {
                let response = run(request);
                bank.value.store(response.value, Ordering::Relaxed);
                bank.set_status(response.status);
            }
            Err(status) => bank.set_status(status),
        }
    }
}

impl Bank {
    const fn new() -> Self {
        Self {
            address: AtomicU64::new(0),
            length: AtomicU64::new(0),
            policy: AtomicU64::new(0),
            status: AtomicU64::new(0),
            value: AtomicU64::new(0),
        }
    }

    fn set_status(&self, status: Status) {
        self.status.store(status.raw().into(), Ordering::Relaxed);
    }

    /// The command of this number, with the arguments that were stored before.
    fn request(&self, command: u64) -> Result<Request, Status> {
        Ok(Request {
            command: command.try_into().map_err(|_| Status::UnknownCommand)?,
            policy: self.policy()?,
            address: self.address.load(Ordering::Relaxed),
            length: self.length.load(Ordering::Relaxed),
        })
    }

    fn line(&self, command: Command, address: u64) -> Result<Request, Status> {
        Ok(Request {
            command: command.raw(),
            policy: self.policy()?,
            address,
            length: LINE,
        })
    }

    /// The register is wider than a policy, whose unknown bits must not get lost.
    fn policy(&self) -> Result<u32, Status> {
        let policy = self.policy.load(Ordering::Relaxed);
        policy.try_into().map_err(|_| Status::BadPolicy)
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is a register at `offset` that takes accesses of this width.
fn takes(offset: u64, width: Width) -> bool {
    match offset {
        POLICY | COMMAND | STATUS => matches!(width, Width::Bits32 | Width::Bits64),
        IDENTITY | ADDRESS | LENGTH | VALUE | POISON | CLEAR => width == Width::Bits64,
        _ => false,
    }
}
