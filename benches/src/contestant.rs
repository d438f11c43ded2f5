//! One implementation of an operation, and the loop that calls it.
//!
//! The loop is assembly and the same for all. Compiled loops differ by an instruction here and an
//! address there; at 16 bytes that decides the race.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::memory::{FILL, Operation, Place};

/// One implementation of an operation.
pub(crate) struct Contestant {
    pub(crate) name: String,
    operation: Operation,
    function: *const (),
    succeeds: fn(usize, Place) -> bool,
}

impl Contestant {
    /// `succeeds` judges what `function` returns.
    ///
    /// # Safety
    ///
    /// `function` must be one of C's calling convention that does `operation` with the
    /// arguments that [`arguments`] makes, and returns an integer or a pointer.
    pub(crate) unsafe fn new(
        name: impl Into<String>,
        operation: Operation,
        function: *const (),
        succeeds: fn(usize, Place) -> bool,
    ) -> Self {
        Self {
            name: name.into(),
            operation,
            function,
            succeeds,
        }
    }

    /// Where its code starts.
    pub(crate) fn address(&self) -> usize {
        self.function.addr()
    }

    /// Calls it once. Whether it says that it succeeded.
    pub(crate) fn call(&self, place: Place) -> bool {
        self.repeat(place, 1)
    }

    /// Nanoseconds per call.
    pub(crate) fn time(&self, place: Place, calls: usize) -> Result<f64> {
        // One call first: the caches are then as this contestant leaves them.
        let warm = self.call(place);
        let start = Instant::now();
        let works = self.repeat(place, calls);
        let elapsed = start.elapsed();
        ensure!(warm && works, "{} failed during the race", self.name);
        Ok(elapsed.as_secs_f64() * 1e9 / calls as f64)
    }

    /// Whether the last of `calls` calls succeeded.
    fn repeat(&self, place: Place, calls: usize) -> bool {
        let [first, second, third] = arguments(self.operation, place);
        // SAFETY: `new` was promised that the function takes these arguments; a place is mapped,
        // its ranges do not overlap, and no reference to them exists now.
        let result = unsafe { repeat(self.function, first, second, third, calls.max(1)) };
        (self.succeeds)(result, place)
    }
}

/// Where the code of the loop starts that calls contestants.
pub(crate) fn repeat_address() -> usize {
    (repeat as *const ()).addr()
}

/// The arguments of every function that does `operation`. Fewer may be looked at.
fn arguments(operation: Operation, place: Place) -> [usize; 3] {
    let destination = place.destination.expose_provenance();
    let source = place.source.expose_provenance();
    match operation {
        Operation::Copy | Operation::Compare => [destination, source, place.length],
        Operation::Fill => [destination, FILL.into(), place.length],
        Operation::ZeroTest => [destination, place.length, 0],
    }
}

/// Calls `function` with three arguments, `calls` times (at least once); returns its last result.
///
/// # Safety
///
/// As for calling `function`.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn repeat(
    function: *const (),
    first: usize,
    second: usize,
    third: usize,
    calls: usize,
) -> usize {
    core::arch::naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "mov rbp, rdi",
        "mov r12, rsi",
        "mov r13, rdx",
        "mov r14, rcx",
        "mov rbx, r8",
        ".balign 64",
        "2:",
        "mov rdi, r12",
        "mov rsi, r13",
        "mov rdx, r14",
        "call rbp",
        "dec rbx",
        "jnz 2b",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

/// Calls `function` with three arguments, `calls` times (at least once); returns its last result.
///
/// # Safety
///
/// As for calling `function`.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
unsafe extern "C" fn repeat(
    function: *const (),
    first: usize,
    second: usize,
    third: usize,
    calls: usize,
) -> usize {
    core::arch::naked_asm!(
        "stp x29, x30, [sp, #-64]!",
        "mov x29, sp",
        "stp x19, x20, [sp, #16]",
        "stp x21, x22, [sp, #32]",
        "str x23, [sp, #48]",
        "mov x19, x0",
        "mov x20, x1",
        "mov x21, x2",
        "mov x22, x3",
        "mov x23, x4",
        ".balign 64",
        "2:",
        "mov x0, x20",
        "mov x1, x21",
        "mov x2, x22",
        "blr x19",
        "subs x23, x23, #1",
        "b.ne 2b",
        "ldr x23, [sp, #48]",
        "ldp x21, x22, [sp, #32]",
        "ldp x19, x20, [sp, #16]",
        "ldp x29, x30, [sp], #64",
        "ret",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_called_as_often_as_asked() {
        extern "C" fn count(counter: *mut u64, _second: usize, amount: u64) -> u64 {
            // SAFETY: the counter below, to which no reference exists meanwhile.
            let value = unsafe { counter.read() } + amount;
            // SAFETY: as above.
            unsafe { counter.write(value) };
            value
        }
        let mut counter = 0_u64;
        let function = count as extern "C" fn(_, _, _) -> _ as *const ();
        let address = (&raw mut counter).expose_provenance();
        // SAFETY: `count` takes these arguments.
        let last = unsafe { repeat(function, address, 0, 3, 5) };
        assert_eq!((last, counter), (15, 15));
    }
}
