//! Processes and threads: who there is, who runs, and what they tell each other.
//!
//! | module | what it is |
//! |---|---|
//! | `thread`, `process`, `space` | what a thread has for itself, what threads share, what they run in |
//! | `tree`, `id` | parents and children, groups and sessions; numbers |
//! | `scheduler`, `run_queue`, `preemption` | who runs on which CPU |
//! | `clone`, `exec`, `exit`, `wait` | how threads and processes begin, become another program, and end |
//! | `coredump` | what is left of a process that a signal ends |
//! | `elf`, `script`, `stack`, `image` | what `execve` reads, and the address space that it makes of it |
//! | `signal` | signals |
//! | `clock`, `futex`, `timer` | the time of day; waiting for a word of memory, and for a point in time |
//! | `limits`, `host` | what a process may use, what the machine is called |
//!
//! # Locks
//!
//! From the outside in: the tree; a process's signals; its list of threads; a thread's signals;
//! a wait queue; a run queue.

pub mod clock;
pub mod clone;
pub mod coredump;
pub mod elf;
pub mod exec;
pub mod exit;
pub mod futex;
pub mod host;
pub mod id;
pub mod image;
pub mod limits;
pub mod preemption;
pub mod process;
pub mod run_queue;
pub mod scheduler;
pub mod script;
pub mod signal;
mod space;
pub mod stack;
#[cfg(test)]
mod tests;
mod thread;
pub mod timer;
mod tree;
pub mod wait;
mod work;

pub use self::id::Pid;
pub use self::limits::{Limit, Limits};
pub use self::process::{Process, ProcessSignals, find, find_thread, tree};
pub use self::space::{Break, Layout, UserSpace};
pub use self::thread::{
    AlternateStack, Current, Name, Thread, ThreadSignals, current, set_current, try_current,
};
pub use self::tree::{Event, Events, Farewell, Select, Tree};
pub use self::work::Work;
