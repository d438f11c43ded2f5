//! What a kernel answers to bad arguments, row by row.
//!
//! A row is a system call, its arguments and Linux's answer. Where our kernel answers something
//! else on purpose, the row has that answer as well, and the reason. Each row runs in a child of its
//! own, on the same [`ground`].
//!
//! | module | calls about |
//! |---|---|
//! | [`ground`] | what every row finds: descriptors, memory and names with fixed places |
//! | [`row`] | what a row is, and how it is run |
//! | [`transfer`] | reading and writing |
//! | [`names`] | files by name |
//! | [`descriptors`] | descriptors, pipes, polling |
//! | [`memory`] | address spaces |
//! | [`processes`] | processes, threads, identity, scheduling |
//! | [`signals`] | signals, futexes, clocks |
//! | [`system`] | the system as a whole |

pub mod descriptors;
pub mod ground;
pub mod memory;
pub mod names;
pub mod processes;
pub mod row;
pub mod signals;
pub mod system;
pub mod transfer;

use self::row::Row;

/// The whole table.
pub fn table() -> Vec<Row> {
    [
        transfer::rows(),
        names::rows(),
        descriptors::rows(),
        memory::rows(),
        processes::rows(),
        signals::rows(),
        system::rows(),
    ]
    .concat()
}
