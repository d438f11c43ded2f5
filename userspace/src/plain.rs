//! Types whose values are just their bytes.

/// A type for which every pattern of bits is a value, and which has no padding.
///
/// Memory that other processes write can hold anything, and so can what such a type is read from.
///
/// # Safety
///
/// Every bit pattern of this size must be a valid value, and no byte of a value may be padding.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($type:ty),*) => {$(
        // SAFETY: numbers have no padding and no invalid patterns.
        unsafe impl Plain for $type {}
    )*};
}

plain!(
    u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64
);

// SAFETY: elements of an array lie next to each other.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}
