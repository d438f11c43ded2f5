//! What programs see of the kernel in files: `/proc`, `/sys` and debugfs, with Linux's names and
//! formats.
//!
//! | module | what it shows |
//! |---|---|
//! | `memory_failure` | errors of memory: counts, pages given up on request, policies |
//! | `injection` | error injection by firmware, `/sys/kernel/debug/apei/einj` |
//! | `process`, `memory_map` | `/proc/PID` |
//! | `core_dump` | how core dumps are called |
//! | `pages`, `words` | what is known of each page |
//! | `provoke` | mistakes on purpose, `/sys/kernel/debug/provoke-crash` |
//! | `system` | the machine and the kernel as wholes |

mod core_dump;
mod injection;
mod memory_failure;
mod memory_map;
mod pages;
mod process;
mod provoke;
mod system;
mod words;

use alloc::sync::Arc;

use spin::Once;

use crate::fs::pseudo::{Directory, PseudoFs, Tree};

/// `f_type` of the three. Linux, `linux/magic.h`.
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// The directories at the top.
struct Roots {
    proc: Arc<Tree>,
    sys: Arc<Tree>,
    debug: Arc<Tree>,
}

fn roots() -> &'static Roots {
    static ROOTS: Once<Roots> = Once::new();
    ROOTS.call_once(|| {
        let roots = Roots {
            proc: Tree::new(),
            sys: Tree::new(),
            debug: Tree::new(),
        };
        system::add(&roots);
        pages::add(&roots);
        memory_failure::add(&roots);
        injection::add(&roots);
        core_dump::add(&roots);
        provoke::add(&roots);
        // Where debugfs is mounted.
        roots.sys.directory("kernel/debug");
        roots
    })
}

/// A new mount's file system `proc`.
pub fn proc() -> Arc<PseudoFs> {
    let root = process::Root(Arc::clone(&roots().proc));
    PseudoFs::new("proc", PROC_MAGIC, Arc::new(root))
}

/// A new mount's file system `sysfs`.
pub fn sysfs() -> Arc<PseudoFs> {
    let root = Arc::clone(&roots().sys);
    PseudoFs::new("sysfs", SYSFS_MAGIC, root as Arc<dyn Directory>)
}

/// A new mount's file system `debugfs`.
pub fn debugfs() -> Arc<PseudoFs> {
    let root = Arc::clone(&roots().debug);
    PseudoFs::new("debugfs", DEBUGFS_MAGIC, root as Arc<dyn Directory>)
}
