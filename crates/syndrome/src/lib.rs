//! syndrome
#![no_std]
