//! copy
#![no_std]
