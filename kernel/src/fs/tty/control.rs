//! `ioctl` of terminals.

use super::{Termios, Tty, WindowSize};
use crate::error::{Errno, Result};
use crate::memory::UserAddress;
use crate::task::Pid;
use crate::task::signal::Signal;

// Numbers: `asm-generic/ioctls.h`.
const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const FIONREAD: u32 = 0x541b;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGSID: u32 = 0x5429;

/// `tcflush` of output alone.
const TCOFLUSH: u64 = 1;

/// Does what a program asks of a terminal.
///
/// # Errors
///
/// `ENOTTY`: no such request, or it is not the caller's terminal; `EFAULT`, `EINVAL`, `EPERM`.
pub(super) fn control(tty: &Tty, request: u32, argument: UserAddress) -> Result<u64> {
    match request {
        TCGETS => {
            let termios = tty.state.lock().discipline.termios();
            argument.write(&termios.to_bytes())?;
        }
        TCSETS | TCSETSW | TCSETSF => {
            tty.check_foreground(Signal::SIGTTOU)?;
            let termios = Termios::from_bytes(&argument.read()?);
            let mut state = tty.state.lock();
            if request == TCSETSF {
                state.discipline.flush();
            }
            state.discipline.set_termios(termios);
            drop(state);
            // There may be something to read now.
            tty.queue.wake_all();
        }
        // Output has been sent when a write returns.
        TCSBRK => {}
        TCFLSH => {
            tty.check_foreground(Signal::SIGTTOU)?;
            match argument.0 {
                TCOFLUSH => {}
                0 | 2 => tty.state.lock().discipline.flush(),
                _ => return Err(Errno::EINVAL),
            }
        }
        TIOCSCTTY => tty.acquire()?,
        TIOCNOTTY => give_up(tty)?,
        TIOCGPGRP => {
            let owner = own(tty)?;
            argument.write(&owner.foreground.0.to_le_bytes())?;
        }
        TIOCGSID => {
            let owner = own(tty)?;
            argument.write(&owner.session.0.to_le_bytes())?;
        }
        TIOCSPGRP => set_foreground(tty, Pid(argument.read_u32()?))?,
        TIOCGWINSZ => {
            let window = tty.state.lock().window;
            argument.write(&window)?;
        }
        TIOCSWINSZ => set_window(tty, argument.read()?),
        FIONREAD => {
            let available = tty.state.lock().discipline.available() as u32;
            argument.write(&available.to_le_bytes())?;
        }
        TIOCOUTQ => argument.write(&0u32.to_le_bytes())?,
        _ => return Err(Errno::ENOTTY),
    }
    Ok(0)
}

/// Who owns the terminal, if that is the caller's session.
fn own(tty: &Tty) -> Result<super::Owner> {
    let session = tty.jobs.caller().session;
    let owner = tty.owner().filter(|owner| owner.session == session);
    owner.ok_or(Errno::ENOTTY)
}

fn set_foreground(tty: &Tty, group: Pid) -> Result<()> {
    let owner = own(tty)?;
    tty.check_foreground(Signal::SIGTTOU)?;
    if (group.0 as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    if !tty.jobs.has_group(owner.session, group) {
        return Err(Errno::EPERM);
    }
    let mut state = tty.state.lock();
    match &mut state.owner {
        Some(now) if now.session == owner.session => {
            now.foreground = group;
            Ok(())
        }
        _ => Err(Errno::ENOTTY),
    }
}

/// A leader gives the terminal up for its session. Others only leave it, which here they cannot.
fn give_up(tty: &Tty) -> Result<()> {
    own(tty)?;
    if tty.jobs.caller().is_leader {
        tty.release();
    }
    Ok(())
}

fn set_window(tty: &Tty, window: WindowSize) {
    let mut state = tty.state.lock();
    let changed = state.window != window;
    state.window = window;
    let owner = state.owner;
    drop(state);
    if let (true, Some(owner)) = (changed, owner) {
        tty.jobs.signal(owner.foreground, Signal::SIGWINCH);
    }
}
