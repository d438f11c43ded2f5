//! The firmware as an operating system meets it: found through its tables, reached through the
//! addresses in them.

mod doorbell;
mod einj;
mod guest;
mod host;
mod hostile;
mod qemu;
mod record;
mod reporter;
mod tables;
