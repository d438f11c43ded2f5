//! What the kernel calls itself.

/// The release: programs ask for it before they use what a Linux has.
pub const RELEASE: &str = "6.12.0-seaworthy";

/// The version.
pub const VERSION: &str = concat!("seaworthy ", env!("CARGO_PKG_VERSION"));
