//! Processes and threads: who there is, who runs, and what they tell each other.
//!
//! | module | what it is |
//! |---|---|
//! | `thread`, `process`, `space` | what a thread has for itself, what threads share, what they run in |
//! | `tree`, `id` | parents and children, groups and sessions; numbers |
//! | `scheduler`, `run_queue`, `preemption` | who runs on which CPU |
//! | `signal` | signals |
//! | `exit` | how processes end |
//!
//! # Locks
//!
//! From the outside in: the tree; a process's signals; its list of threads; a thread's signals;
//! a wait queue; a run queue.

pub mod exit;
pub mod id;
pub mod preemption;
pub mod process;
pub mod run_queue;
pub mod scheduler;
pub mod signal;
mod space;
mod thread;
mod tree;
mod work;

pub use self::id::Pid;
pub use self::process::{Process, ProcessSignals};
pub use self::space::{Break, Layout, UserSpace};
pub use self::thread::{
    AlternateStack, Current, Name, Thread, ThreadSignals, current, set_current, try_current,
};
pub use self::tree::{Event, Events, Farewell, Select, Tree};
pub use self::work::Work;
