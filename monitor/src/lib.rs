//! The monitor's logic that needs no EL2: what is poisoned, how an access to it is told from its
//! neighbours, what an instruction does, where a table walk goes.
//!
//! The program around it is in `main.rs` and its modules.
#![no_std]
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "placeholders until the modules arrive")]

pub mod device_tree;
pub mod poison;
pub mod watch;

pub mod instruction {
    use core::ops::Range;
    #[derive(Clone, Copy, Debug)]
    pub enum Class {
        Other,
        CacheMaintenance,
        LoadExclusive { pair: bool },
        Copy(u32),
        Set(u32),
    }
    pub struct Src {
        pub next: u64,
    }
    impl Src {
        pub fn contains(&self, _: u64) -> bool {
            false
        }
    }
    impl Class {
        pub fn reach(&self) -> crate::watch::Reach {
            crate::watch::Reach::Anywhere
        }
    }
    #[derive(Clone, Copy, Debug)]
    pub struct MopsRegisters;
    impl MopsRegisters {
        pub fn read(_: &Class, _: impl Fn(u8) -> u64) -> Self {
            Self
        }
        pub fn source(&self, _: &Class) -> Option<Src> {
            None
        }
    }
    pub fn mops_written(_: &Class, _: &MopsRegisters, _: &MopsRegisters) -> Range<u64> {
        0..0
    }
    pub fn classify(_: u32) -> Class {
        Class::Other
    }
    pub fn store_range(_: u32, _: &impl Fn(u8) -> u64) -> Option<Range<u64>> {
        None
    }
}
pub mod exclusive {
    #[derive(Debug)]
    pub struct RunThrough;
    impl RunThrough {
        pub fn stops(&self) -> &[u64] {
            &[]
        }
    }
    pub fn scan(_: &[u32], _: u64, _: usize) -> Option<RunThrough> {
        None
    }
}
pub mod walk {
    pub trait PhysicalMemory {
        fn read_u64(&self, a: u64) -> Option<u64>;
    }
    pub struct Regime {
        pub tcr: u64,
        pub tcr2: u64,
        pub ttbr0: u64,
        pub ttbr1: u64,
        pub sctlr: u64,
    }
    pub struct Step {
        pub level: i8,
        pub address: u64,
    }
    impl Regime {
        pub fn translate(&self, _: &impl PhysicalMemory, a: u64) -> Option<u64> {
            Some(a)
        }
        pub fn walk<'a>(&'a self, _: &'a impl PhysicalMemory, _: u64) -> core::iter::Empty<Step> {
            core::iter::empty()
        }
    }
}
pub mod clip {
    pub fn overlaps(_: u64, _: u64, _: u64) -> bool {
        false
    }
}
