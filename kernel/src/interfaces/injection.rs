//! Error injection by firmware, as Linux's `einj` module offers it.

use super::Roots;
use crate::fs::pseudo::{read_only, read_write, write_only};
use crate::ras::{self, einj};

pub(super) fn add(roots: &Roots) {
    // Without a table of firmware's Linux has no such directory.
    if ras::read_einj("available_error_type").is_err() {
        return;
    }
    let folder = roots.debug.directory("apei/einj");
    for name in einj::FILES {
        let read = move || ras::read_einj(name);
        let write = move |bytes: &[u8]| ras::write_einj(name, bytes);
        match name {
            "available_error_type" => folder.file(name, 0o400, read_only(read)),
            "error_inject" => folder.file(name, 0o200, write_only(write)),
            _ => folder.file(name, 0o600, read_write(read, write)),
        }
    }
}
