use std::sync::Mutex;
use std::thread::spawn;
use std::time::Duration;

use super::*;
use crate::arch::user::lend;
use crate::fs::device::Device;

/// A line and processes that remember what happened to them.
#[derive(Debug)]
struct World {
    sent: Mutex<Vec<u8>>,
    signals: Mutex<Vec<(Pid, Signal)>>,
    caller: Mutex<Caller>,
    ignores: Mutex<Vec<Signal>>,
}

impl Line for World {
    fn send(&self, bytes: &[u8]) {
        self.sent.lock().unwrap().extend_from_slice(bytes);
    }
}

impl Jobs for World {
    fn caller(&self) -> Caller {
        *self.caller.lock().unwrap()
    }

    fn ignores(&self, signal: Signal) -> bool {
        self.ignores.lock().unwrap().contains(&signal)
    }

    fn has_group(&self, _: Pid, group: Pid) -> bool {
        group.0 < 1000
    }

    fn signal(&self, group: Pid, signal: Signal) {
        self.signals.lock().unwrap().push((group, signal));
    }
}

impl World {
    /// Each test has a session of its own: terminals are found by theirs.
    fn new(session: u32) -> (Arc<Self>, Arc<Tty>) {
        let world = Arc::new(Self {
            sent: Mutex::default(),
            signals: Mutex::default(),
            caller: Mutex::new(Caller {
                session: Pid(session),
                group: Pid(session),
                is_leader: true,
                is_orphaned: false,
            }),
            ignores: Mutex::default(),
        });
        let tty = Tty::new(
            Arc::clone(&world) as Arc<dyn Line>,
            Arc::clone(&world) as Arc<dyn Jobs>,
        );
        (world, tty)
    }

    fn signals(&self) -> Vec<(Pid, Signal)> {
        std::mem::take(&mut self.signals.lock().unwrap())
    }

    fn sent(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.sent.lock().unwrap())).unwrap()
    }
}

const BLOCKING: OpenFlags = OpenFlags::READ_WRITE;

fn read(tty: &Tty, most: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; most];
    let done = tty.read(0, &mut Sink::Kernel(&mut buffer), BLOCKING)?;
    buffer.truncate(done);
    Ok(buffer)
}

fn type_in(tty: &Tty, bytes: &[u8]) {
    tty.arrive(bytes);
    tty.serve();
}

/// Calls `ioctl` with a structure in user memory.
fn control<const N: usize>(tty: &Tty, request: u32, mut bytes: [u8; N]) -> Result<[u8; N]> {
    let loan = lend(&mut bytes);
    tty.control(request, loan.address())?;
    drop(loan);
    Ok(bytes)
}

#[test]
fn a_line_wakes_its_reader() {
    let (world, tty) = World::new(2001);
    let reader = {
        let tty = Arc::clone(&tty);
        spawn(move || read(&tty, 99))
    };
    std::thread::sleep(Duration::from_millis(10));
    type_in(&tty, b"hello");
    assert_eq!(tty.readiness(), Readiness::WRITABLE);
    type_in(&tty, b"\r");
    assert_eq!(reader.join().unwrap().unwrap(), b"hello\n");
    assert_eq!(world.sent(), "hello\r\n");
    tty.write(0, &mut Source::Kernel(b"a\nb"), BLOCKING)
        .unwrap();
    assert_eq!(world.sent(), "a\r\nb");
    let mut buffer = [0; 4];
    let mut sink = Sink::Kernel(&mut buffer);
    let flags = BLOCKING | OpenFlags::NON_BLOCKING;
    assert_eq!(tty.read(0, &mut sink, flags), Err(Errno::EAGAIN));
}

#[test]
fn raw_reads_count_and_time() {
    let (_world, tty) = World::new(2002);
    let mut termios = Termios::default().to_bytes();
    let set = |bytes: [u8; Termios::SIZE]| control(&tty, 0x5402, bytes).unwrap();
    // No flags; a read waits for three bytes.
    termios[12..16].fill(0);
    termios[17 + Key::Minimum as usize] = 3;
    set(termios);
    let reader = {
        let tty = Arc::clone(&tty);
        spawn(move || read(&tty, 99))
    };
    type_in(&tty, b"a");
    type_in(&tty, b"b");
    std::thread::sleep(Duration::from_millis(10));
    assert!(!reader.is_finished());
    type_in(&tty, b"c");
    assert_eq!(reader.join().unwrap().unwrap(), b"abc");
    // The time between bytes ends it earlier.
    termios[17 + Key::Time as usize] = 1;
    set(termios);
    type_in(&tty, b"d");
    assert_eq!(read(&tty, 99).unwrap(), b"d");
    // Time alone.
    termios[17 + Key::Minimum as usize] = 0;
    set(termios);
    let before = time::now();
    assert_eq!(read(&tty, 99).unwrap(), b"");
    assert!(time::now() - before >= TENTH);
    // Neither.
    termios[17 + Key::Time as usize] = 0;
    set(termios);
    assert_eq!(read(&tty, 99).unwrap(), b"");
    assert_eq!(control(&tty, 0x5401, [0; Termios::SIZE]).unwrap(), termios);
}

#[test]
fn a_session_gets_its_terminal_by_opening_it() {
    let (world, tty) = World::new(2003);
    let device = TerminalDevice {
        tty: Arc::clone(&tty),
        controls: true,
    };
    let current = CurrentTerminal {
        jobs: Arc::clone(&world) as Arc<dyn Jobs>,
    };
    assert_eq!(current.open(BLOCKING).err(), Some(Errno::ENXIO));
    device
        .open(BLOCKING | OpenFlags::NO_CONTROLLING_TERMINAL)
        .unwrap();
    assert_eq!(control(&tty, 0x540f, [0; 4]), Err(Errno::ENOTTY));
    device.open(BLOCKING).unwrap();
    assert_eq!(control(&tty, 0x540f, [0; 4]), Ok(2003u32.to_le_bytes()));
    assert!(current.open(BLOCKING).is_ok());
    // Not for another session, which can use it all the same.
    world.caller.lock().unwrap().session = Pid(2900);
    device.open(BLOCKING).unwrap();
    assert_eq!(tty.control(0x540e, UserAddress(0)), Err(Errno::EPERM));
    assert_eq!(
        control(&tty, 0x5410, 5u32.to_le_bytes()),
        Err(Errno::ENOTTY)
    );
    session_ended(Pid(2003));
    let told = [(Pid(2003), Signal::SIGHUP), (Pid(2003), Signal::SIGCONT)];
    assert_eq!(world.signals(), told);
    assert_eq!(tty.control(0x540e, UserAddress(0)), Ok(0));
}

#[test]
fn the_background_is_stopped() {
    let (world, tty) = World::new(204);
    tty.control(0x540e, UserAddress(0)).unwrap();
    type_in(&tty, b"\x03");
    assert_eq!(world.signals(), [(Pid(204), Signal::SIGINT)]);
    control(&tty, 0x5410, 77u32.to_le_bytes()).unwrap();
    type_in(&tty, b"\x1a");
    assert_eq!(world.signals(), [(Pid(77), Signal::SIGTSTP)]);
    assert_eq!(read(&tty, 1), Err(Errno::EINTR));
    assert_eq!(world.signals(), [(Pid(204), Signal::SIGTTIN)]);
    // Output is free unless the settings say otherwise; settings themselves are not.
    assert_eq!(tty.write(0, &mut Source::Kernel(b"x"), BLOCKING), Ok(1));
    let termios = Termios::default().to_bytes();
    assert_eq!(control(&tty, 0x5402, termios), Err(Errno::EINTR));
    assert_eq!(world.signals(), [(Pid(204), Signal::SIGTTOU)]);
    world
        .ignores
        .lock()
        .unwrap()
        .extend([Signal::SIGTTIN, Signal::SIGTTOU]);
    assert_eq!(read(&tty, 1), Err(Errno::EIO));
    let mut termios = Termios::default();
    termios.local |= Local::STOP_OUTPUT;
    control(&tty, 0x5402, termios.to_bytes()).unwrap();
    assert_eq!(tty.write(0, &mut Source::Kernel(b"x"), BLOCKING), Ok(1));
    world.ignores.lock().unwrap().clear();
    world.caller.lock().unwrap().is_orphaned = true;
    assert_eq!(
        tty.write(0, &mut Source::Kernel(b"x"), BLOCKING),
        Err(Errno::EIO)
    );
    assert_eq!(world.signals(), []);
    // The shell takes the terminal back.
    world.ignores.lock().unwrap().push(Signal::SIGTTOU);
    assert_eq!(
        control(&tty, 0x5410, 4000u32.to_le_bytes()),
        Err(Errno::EPERM)
    );
    control(&tty, 0x5410, 204u32.to_le_bytes()).unwrap();
    assert_eq!(
        control(&tty, 0x5414, [24, 0, 80, 0, 0, 0, 0, 0]).err(),
        None
    );
    assert_eq!(world.signals(), [(Pid(204), Signal::SIGWINCH)]);
    assert_eq!(control(&tty, 0x5413, [0; 8]).unwrap()[..4], [24, 0, 80, 0]);
    assert_eq!(tty.control(0x5413, UserAddress(8)), Err(Errno::EFAULT));
    assert_eq!(tty.control(0xdead, UserAddress(8)), Err(Errno::ENOTTY));
}
