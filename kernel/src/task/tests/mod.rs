//! Processes on threads of the host: each test plays the threads itself.

mod calls;
mod coredump;
mod family;
mod futexes;
mod signals;

use std::sync::{Arc, Once};

use crate::arch::thread::{State, set_current_pointer};
use crate::arch::{Registers, user};
use crate::fs::tmpfs::Tmpfs;
use crate::fs::{Context, Descriptors, Namespace};
use crate::memory::UserAddress;
use crate::syscall;
use crate::task::process::Process;
use crate::task::{Pid, Thread, UserSpace, find, id, set_current, tree};

/// The process that adopts orphans. Nobody plays it.
fn init() -> Arc<Process> {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        let number = id::allocate().unwrap();
        assert_eq!(number, Pid::INIT, "all tests of processes start with this");
        let process = Arc::new(Process::new(number, context(), 17));
        tree().lock().insert(number, None, process).unwrap();
    });
    find(Pid::INIT).unwrap()
}

fn context() -> Arc<Context> {
    let namespace = Namespace::new(Tmpfs::new("rootfs", 1 << 20));
    Arc::new(Context::new(namespace))
}

/// A thread that a thread of the host plays.
struct Actor {
    thread: Arc<Thread>,
}

impl Actor {
    /// The first thread of a new process, a child of the first.
    fn new() -> Self {
        init();
        let number = id::allocate().unwrap();
        let process = Arc::new(Process::new(number, context(), 17));
        *process.space.lock() = Some(Arc::new(UserSpace::new().unwrap()));
        *process.files.lock() = Some(Arc::new(Descriptors::new()));
        let thread = Arc::new(Thread::new(number, Arc::clone(&process), State::default()));
        process.threads.lock().push(Arc::clone(&thread));
        tree()
            .lock()
            .insert(number, Some(Pid::INIT), process)
            .unwrap();
        Self::play(thread)
    }

    /// Makes the calling thread of the host play `thread`.
    fn play(thread: Arc<Thread>) -> Self {
        thread.state.attach();
        set_current(&thread);
        Self { thread }
    }

    /// Makes the system call `number`.
    fn call(&self, number: u64, arguments: &[u64]) -> i64 {
        let mut registers = registers();
        registers.x[..arguments.len()].copy_from_slice(arguments);
        registers.x[8] = number;
        syscall::handle(&mut registers);
        registers.x[0] as i64
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        set_current_pointer(std::ptr::null());
    }
}

fn registers() -> Registers {
    Registers {
        pc: 0x40_0004,
        ..Registers::default()
    }
}

/// User memory that lives as long as the test process, so that threads can share it.
fn memory(length: usize) -> UserAddress {
    let buffer: &'static mut [u64] = Box::leak(vec![0; length / 8].into_boxed_slice());
    let start = buffer.as_mut_ptr().expose_provenance() as u64;
    let (_, bytes, _) = {
        #[expect(unsafe_code, reason = "any bytes are words and bytes")]
        // SAFETY: plain numbers.
        unsafe {
            buffer.align_to_mut::<u8>()
        }
    };
    std::mem::forget(user::lend(bytes));
    UserAddress(start)
}
