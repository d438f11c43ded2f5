//! The contents of a frame cannot be borrowed.

fn peek(frame: &mm::UserFrame) -> &[u8] {
    frame.as_slice()
}

fn point(frame: &mm::UserFrame) -> *const u8 {
    frame.as_ptr()
}

fn index(frame: &mm::UserFrame) -> u8 {
    frame[0]
}

fn main() {}
