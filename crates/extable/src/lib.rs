//! extable
#![no_std]
