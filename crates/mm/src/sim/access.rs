//! One access by a CPU, with the fault or the memory error it ends in.

use std::format;
use std::string::String;

use super::SimMachine;
use crate::{
    Access, AddressSpace, Consumer, Context, Errno, FrameState, Memory, Outcome, Pfn, VirtualPage,
};

/// Tries an access on a CPU, and resolves the fault or memory error that it ends in. `None`: it
/// succeeded.
///
/// # Errors
///
/// The CPU reached a frame that it must not reach.
pub fn try_access<const INDEX_BITS: u32>(
    memory: &Memory<SimMachine<INDEX_BITS>>,
    space: &AddressSpace,
    cpu: usize,
    page: VirtualPage,
    access: Access,
    mut act: impl FnMut(&SimMachine<INDEX_BITS>, Pfn) -> bool,
) -> Result<Option<Outcome>, String> {
    let machine = memory.machine();
    let root = memory.root(space);
    let done = machine.translated(cpu, space.id(), root, page, access, |pfn| {
        let state = memory.frame_use(pfn);
        if matches!(
            state,
            Some(FrameState::Anonymous | FrameState::Ksm | FrameState::File { .. })
        ) {
            return Ok((pfn, act(machine, pfn)));
        }
        Err(format!("a CPU reached {pfn:?}, which is {state:?}"))
    });
    match done {
        None => Ok(Some(memory.fault(space, page.address(), access))),
        Some(Err(what)) => Err(what),
        Some(Ok((_, true))) => Ok(None),
        Some(Ok((pfn, false))) => {
            let consumer = Consumer {
                space: space.id(),
                address: page.address(),
            };
            let context = Context {
                consumer: Some(consumer),
                simulated: false,
            };
            match memory.memory_failure(pfn, context) {
                Ok(report) => Ok(Some(
                    report.signal.map_or(Outcome::Resolved, Outcome::Sigbus),
                )),
                Err(Errno::EHWPOISON) => Ok(Some(Outcome::Resolved)),
                Err(error) => Err(format!("memory_failure: {error:?}")),
            }
        }
    }
}
