//! Bit fields, numbered as the Arm ARM writes them: `<high:low>`, both ends included.

const fn mask(high: u32, low: u32) -> u64 {
    (u64::MAX >> (63 - (high - low))) << low
}

/// Reads `value<high:low>`.
pub(crate) const fn field(value: u64, high: u32, low: u32) -> u64 {
    (value & mask(high, low)) >> low
}

/// Reads `value<at>`.
pub(crate) const fn bit(value: u64, at: u32) -> bool {
    field(value, at, at) == 1
}

/// Returns `value` with `<high:low>` replaced; bits of `new` that do not fit are dropped.
pub(crate) const fn with_field(value: u64, high: u32, low: u32, new: u64) -> u64 {
    let mask = mask(high, low);
    (value & !mask) | ((new << low) & mask)
}
