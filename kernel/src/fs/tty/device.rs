//! Opening a terminal.

use alloc::sync::Arc;

use super::{Jobs, Tty, of_session};
use crate::error::{Errno, Result};
use crate::fs::device::Device;
use crate::fs::{FileOperations, OpenFlags};

/// A terminal by its own name.
#[derive(Debug)]
pub struct TerminalDevice {
    /// The terminal.
    pub tty: Arc<Tty>,
    /// A session leader without a terminal gets it by opening it. Not so for `/dev/console`.
    pub controls: bool,
}

impl Device for TerminalDevice {
    fn open(&self, flags: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        if self.controls && !flags.contains(OpenFlags::NO_CONTROLLING_TERMINAL) {
            // Whoever cannot have it can use it all the same.
            let _ = self.tty.acquire();
        }
        Ok(Arc::clone(&self.tty) as Arc<dyn FileOperations>)
    }
}

/// `/dev/tty`: the controlling terminal of whoever opens it.
#[derive(Debug)]
pub struct CurrentTerminal {
    /// Who that is.
    pub jobs: Arc<dyn Jobs>,
}

impl Device for CurrentTerminal {
    fn open(&self, _: OpenFlags) -> Result<Arc<dyn FileOperations>> {
        let session = self.jobs.caller().session;
        let tty = of_session(session).ok_or(Errno::ENXIO)?;
        Ok(tty as Arc<dyn FileOperations>)
    }
}
