//! The name of this machine.

use alloc::vec::Vec;

use crate::sync::SpinLock;

/// The length of one field of `struct utsname`, with its zero.
pub const FIELD: usize = 65;

static NAME: SpinLock<[u8; FIELD]> = SpinLock::new({
    let mut name = [0; FIELD];
    let text = b"seaworthy";
    let mut at = 0;
    while at < text.len() {
        name[at] = text[at];
        at += 1;
    }
    name
});

/// The name, and zeros.
pub fn field() -> [u8; FIELD] {
    *NAME.lock()
}

/// The name.
pub fn name() -> Vec<u8> {
    let field = field();
    let length = field.iter().position(|byte| *byte == 0);
    field[..length.unwrap_or(FIELD)].to_vec()
}

/// Sets it. The last byte must be zero.
pub fn set(name: [u8; FIELD]) {
    debug_assert_eq!(name[FIELD - 1], 0);
    *NAME.lock() = name;
}
