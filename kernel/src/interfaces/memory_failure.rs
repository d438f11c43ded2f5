//! Errors of memory: what is told of them, and pages that are given up on request.

use super::Roots;
use crate::error::{Errno, Result};
use crate::fs::pseudo::{read_only, read_write, write_only};
use crate::memory::{Manager, manager};
use crate::ras::{self, controls};

pub(super) fn add(roots: &Roots) {
    let memory = roots.sys.directory("devices/system/memory");
    let order = |act: fn(&Manager, &[u8]) -> Result<()>| {
        write_only(move |bytes: &[u8]| act(&manager(), bytes))
    };
    memory.file(
        "hard_offline_page",
        0o200,
        order(controls::hard_offline_page),
    );
    memory.file(
        "soft_offline_page",
        0o200,
        order(controls::soft_offline_page),
    );

    let hwpoison = roots.debug.directory("hwpoison");
    hwpoison.file("corrupt-pfn", 0o200, order(controls::corrupt_pfn));
    hwpoison.file("unpoison-pfn", 0o200, order(controls::unpoison_pfn));

    let counts = roots
        .sys
        .directory("devices/system/node/node0/memory_failure");
    for name in controls::STATISTICS {
        let read = move || controls::statistic(&manager(), name).ok_or(Errno::ENOENT);
        counts.file(name, 0o444, read_only(read));
    }

    let vm = roots.proc.directory("sys/vm");
    vm.file(
        "memory_failure_early_kill",
        0o644,
        read_write(
            || Ok(controls::early_kill(&manager())),
            |bytes| controls::set_early_kill(&manager(), bytes),
        ),
    );
    vm.file(
        "memory_failure_recovery",
        0o644,
        read_write(
            || ras::goes_on().map(controls::recovery).ok_or(Errno::EIO),
            |bytes| controls::set_recovery(ras::goes_on().ok_or(Errno::EIO)?, bytes),
        ),
    );
}
