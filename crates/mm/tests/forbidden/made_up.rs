//! A reference to a frame cannot be made up or duplicated.

use mm::{KernelFrame, Pfn, UserFrame};

fn invent() -> UserFrame {
    UserFrame(Pfn(7))
}

fn invent_table() -> KernelFrame {
    KernelFrame(Pfn(7))
}

fn duplicate(frame: &UserFrame) -> UserFrame {
    frame.clone()
}

fn main() {}
