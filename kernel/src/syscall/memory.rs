//! Address spaces. What a call does is the memory manager's business; here are its flags.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general as linux;
use mm::{
    Advice, Destination, HugeAdvice, Locking, OnFork, PAGE_SIZE, Placement, Protection, Sharing,
    Source, VirtualAddress,
};

use super::Arguments;
use super::io::usable;
use crate::error::{Errno, Result};
use crate::memory::{Manager, manager};
use crate::task::signal::{Info, force};
use crate::task::{Break, UserSpace, current};

const PAGE: u64 = PAGE_SIZE as u64;

/// Does something with the running thread's address space.
fn with<T>(call: impl FnOnce(&Manager, &UserSpace) -> Result<T, mm::Errno>) -> Result<T> {
    let space = current().space()?;
    Ok(call(&manager(), &space)?)
}

fn protection(bits: u32) -> Result<Protection> {
    // Bits of features that are not there, and growing areas, are no protections.
    let known = linux::PROT_READ | linux::PROT_WRITE | linux::PROT_EXEC;
    if bits & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let write = bits & linux::PROT_WRITE != 0;
    let execute = bits & linux::PROT_EXEC != 0;
    Ok(Protection {
        read: bits & linux::PROT_READ != 0 || write || execute,
        write,
        execute,
    })
}

/// Moves the end of the heap. Returns where it is, wherever that is.
pub(super) fn brk(a: Arguments) -> Result<u64> {
    let space = current().space()?;
    // The heap's lock is not held over calls of the memory manager: threads that move its end at
    // the same time have themselves to blame, and harm nobody else.
    let Break { start, end } = *space.heap.lock();
    let wanted = a.word(0);
    if wanted < start || i64::try_from(wanted).is_err() {
        return Ok(end);
    }
    let (mapped, needed) = (end.next_multiple_of(PAGE), wanted.next_multiple_of(PAGE));
    let moved = if needed > mapped {
        with(|manager, space| {
            let placement = Placement::FixedNoReplace(VirtualAddress(mapped));
            let length = needed - mapped;
            let (protection, sharing) = (Protection::READ_WRITE, Sharing::Private);
            let source = Source::Anonymous;
            manager.mmap(
                space.handle(),
                placement,
                length,
                protection,
                sharing,
                source,
            )
        })
        .map(drop)
    } else if needed < mapped {
        let start = VirtualAddress(needed);
        with(|manager, space| manager.munmap(space.handle(), start, mapped - needed))
    } else {
        Ok(())
    };
    if moved.is_err() {
        return Ok(end);
    }
    space.heap.lock().end = wanted;
    Ok(wanted)
}

fn sharing(flags: u32) -> Result<Sharing> {
    match flags & linux::MAP_TYPE {
        linux::MAP_PRIVATE => Ok(Sharing::Private),
        linux::MAP_SHARED | linux::MAP_SHARED_VALIDATE => Ok(Sharing::Shared),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn mmap(a: Arguments) -> Result<u64> {
    let (address, length, flags) = (VirtualAddress(a.word(0)), a.word(1), a.half(3));
    let (protection, sharing) = (protection(a.half(2))?, sharing(flags)?);
    if flags & linux::MAP_HUGETLB != 0 || !a.word(5).is_multiple_of(PAGE) {
        return Err(Errno::EINVAL);
    }
    let has = |flag| flags & flag != 0;
    let mut named = None;
    let file = if has(linux::MAP_ANONYMOUS) {
        None
    } else {
        let open = usable(a.int(4))?;
        if sharing == Sharing::Shared && protection.write && !open.flags().writes() {
            return Err(Errno::EACCES);
        }
        if open.operations().maps_as_anonymous() {
            None
        } else {
            named = open.path().cloned();
            Some(open.mapping()?)
        }
    };
    let placements = if has(linux::MAP_FIXED_NOREPLACE) {
        [Some(Placement::FixedNoReplace(address)), None]
    } else if has(linux::MAP_FIXED) {
        [Some(Placement::Fixed(address)), None]
    } else if address.0 != 0 && address.is_aligned() {
        // An address without a flag is a wish.
        let wish = Placement::FixedNoReplace(address);
        [Some(wish), Some(Placement::Anywhere)]
    } else {
        [Some(Placement::Anywhere), None]
    };
    let map = |placement| {
        with(|manager, space| {
            let source = match &file {
                None => Source::Anonymous,
                Some(file) => Source::File(file as &Arc<_>, a.word(5)),
            };
            manager.mmap(
                space.handle(),
                placement,
                length,
                protection,
                sharing,
                source,
            )
        })
    };
    let mut mapped = Err(Errno::ENOMEM);
    for placement in placements.into_iter().flatten() {
        mapped = map(placement);
        if mapped.is_ok() {
            break;
        }
    }
    let start = mapped?;
    if let (Some(file), Some(path)) = (&file, named) {
        current().space()?.name_file(file.id(), &path);
    }
    if has(linux::MAP_POPULATE) {
        let advice = if protection.write && sharing == Sharing::Private {
            Advice::PopulateWrite
        } else {
            Advice::PopulateRead
        };
        // Pages that are not there now are brought in when they are touched.
        with(|manager, space| manager.madvise(space.handle(), start, length, advice)).unwrap_or(());
    }
    Ok(start.0)
}

pub(super) fn munmap(a: Arguments) -> Result<u64> {
    let start = VirtualAddress(a.word(0));
    with(|manager, space| manager.munmap(space.handle(), start, a.word(1)))?;
    Ok(0)
}

pub(super) fn mprotect(a: Arguments) -> Result<u64> {
    let (start, protection) = (VirtualAddress(a.word(0)), protection(a.half(2))?);
    with(|manager, space| manager.mprotect(space.handle(), start, a.word(1), protection))?;
    Ok(0)
}

/// `mremap`.
pub(super) fn mremap(a: Arguments) -> Result<u64> {
    let flags = a.half(3);
    let has = |flag| flags & flag != 0;
    let known = linux::MREMAP_MAYMOVE | linux::MREMAP_FIXED | linux::MREMAP_DONTUNMAP;
    if flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let (fixed, keep) = (has(linux::MREMAP_FIXED), has(linux::MREMAP_DONTUNMAP));
    let destination = match has(linux::MREMAP_MAYMOVE) {
        false if fixed || keep => return Err(Errno::EINVAL),
        false => Destination::Stay,
        true if fixed => Destination::Fixed(VirtualAddress(a.word(4))),
        true => Destination::Anywhere,
    };
    let (old, old_length, length) = (VirtualAddress(a.word(0)), a.word(1), a.word(2));
    if length.checked_next_multiple_of(PAGE).is_none() {
        return Err(Errno::EINVAL);
    }
    let place = with(|manager, space| {
        manager.mremap(space.handle(), old, old_length, length, destination, keep)
    })?;
    Ok(place.0)
}

/// Whether so many more pages may be locked (`RLIMIT_MEMLOCK`).
fn may_lock(space: &UserSpace, more: u64) -> Result<()> {
    let limit = current().process.limits.lock().get(linux::RLIMIT_MEMLOCK)?;
    let pages = manager().locked_pages(space.handle()).saturating_add(more);
    match pages.saturating_mul(PAGE) > limit.current {
        true if limit.current == 0 => Err(Errno::EPERM),
        true => Err(Errno::ENOMEM),
        false => Ok(()),
    }
}

fn lock(a: Arguments, locking: Locking) -> Result<u64> {
    let start = VirtualAddress(a.word(0));
    // Linux rounds up first, and what wraps around to zero is nothing.
    let length = a.word(1).wrapping_add(start.0 % PAGE);
    let length = length.wrapping_add(PAGE - 1) / PAGE * PAGE;
    let start = VirtualAddress(start.0 / PAGE * PAGE);
    if start.0.checked_add(length).is_none() {
        return Err(Errno::EINVAL);
    }
    if locking != Locking::Unlocked {
        let pages = length / PAGE;
        may_lock(&*current().space()?, pages)?;
    }
    with(|manager, space| manager.mlock(space.handle(), start, length, locking))?;
    Ok(0)
}

pub(super) fn mlock(a: Arguments) -> Result<u64> {
    lock(a, Locking::Locked)
}

pub(super) fn mlock2(a: Arguments) -> Result<u64> {
    match a.half(2) {
        0 => lock(a, Locking::Locked),
        linux::MLOCK_ONFAULT => lock(a, Locking::OnFault),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn munlock(a: Arguments) -> Result<u64> {
    lock(a, Locking::Unlocked)
}

pub(super) fn mlockall(a: Arguments) -> Result<u64> {
    let flags = a.half(0);
    let has = |flag| flags & flag != 0;
    let known = linux::MCL_CURRENT | linux::MCL_FUTURE | linux::MCL_ONFAULT;
    if flags & !known != 0 || flags == 0 || flags == linux::MCL_ONFAULT {
        return Err(Errno::EINVAL);
    }
    let locking = if has(linux::MCL_ONFAULT) {
        Locking::OnFault
    } else {
        Locking::Locked
    };
    let later = if has(linux::MCL_FUTURE) {
        locking
    } else {
        Locking::Unlocked
    };
    let now = has(linux::MCL_CURRENT).then_some(locking);
    with(|manager, space| {
        manager.mlockall(space.handle(), now, later);
        Ok(0)
    })
}

pub(super) fn munlockall() -> Result<u64> {
    with(|manager, space| {
        manager.mlockall(space.handle(), Some(Locking::Unlocked), Locking::Unlocked);
        Ok(0)
    })
}

/// `mincore`: a byte for each page, 1 if it is in memory.
pub(super) fn mincore(a: Arguments) -> Result<u64> {
    let (start, length) = (VirtualAddress(a.word(0)), a.word(1));
    if !start.is_aligned() {
        return Err(Errno::EINVAL);
    }
    let end = start.0.checked_add(length).ok_or(Errno::ENOMEM)?;
    let mut bytes = [0; 256];
    let first = start.0 / PAGE;
    let last = end.div_ceil(PAGE);
    let mut page = first;
    while page < last {
        let count = usize::try_from(last - page).map_or(bytes.len(), |left| left.min(bytes.len()));
        let part = &mut bytes[..count];
        with(|manager, space| {
            for (byte, page) in part.iter_mut().zip(page..) {
                let address = VirtualAddress(page * PAGE);
                let resident = manager.is_resident(space.handle(), address)?;
                *byte = u8::from(resident);
            }
            Ok(())
        })?;
        a.address(2).offset((page - first) as usize).write(part)?;
        page += count as u64;
    }
    Ok(0)
}

/// Makes memory fail, as a test does. What the caller must be told of it, it is told at once.
fn inject_failure(start: VirtualAddress, length: u64) -> Result<u64> {
    let mut signals = Vec::new();
    let result = with(|manager, space| {
        manager.inject_failure(space.handle(), start, length, |signal| signals.push(signal))
    });
    for signal in signals {
        force(Info::memory(signal), None);
    }
    result.map(|()| 0)
}

/// Advice that has a meaning here, or none that anybody could notice.
fn advice(number: u32) -> Result<Option<Advice>> {
    Ok(Some(match number {
        linux::MADV_DONTNEED | linux::MADV_DONTNEED_LOCKED => Advice::DontNeed,
        linux::MADV_FREE => Advice::Free,
        linux::MADV_HUGEPAGE => Advice::Huge(HugeAdvice::For),
        linux::MADV_NOHUGEPAGE => Advice::Huge(HugeAdvice::Against),
        linux::MADV_COLLAPSE => Advice::Collapse,
        linux::MADV_COLD => Advice::Cold,
        linux::MADV_PAGEOUT => Advice::PageOut,
        linux::MADV_POPULATE_READ => Advice::PopulateRead,
        linux::MADV_POPULATE_WRITE => Advice::PopulateWrite,
        linux::MADV_DONTFORK => Advice::Fork(OnFork::Omit),
        linux::MADV_WIPEONFORK => Advice::Fork(OnFork::Wipe),
        linux::MADV_DOFORK | linux::MADV_KEEPONFORK => Advice::Fork(OnFork::Inherit),
        linux::MADV_MERGEABLE => Advice::Mergeable,
        linux::MADV_UNMERGEABLE => Advice::Unmergeable,
        linux::MADV_NORMAL
        | linux::MADV_RANDOM
        | linux::MADV_SEQUENTIAL
        | linux::MADV_WILLNEED
        | linux::MADV_DONTDUMP
        | linux::MADV_DODUMP => return Ok(None),
        _ => return Err(Errno::EINVAL),
    }))
}

pub(super) fn madvise(a: Arguments) -> Result<u64> {
    let start = VirtualAddress(a.word(0));
    match a.half(2) {
        linux::MADV_HWPOISON => return inject_failure(start, a.word(1)),
        linux::MADV_SOFT_OFFLINE => {
            return with(|manager, space| {
                manager.soft_offline_range(space.handle(), start, a.word(1))
            })
            .map(|()| 0);
        }
        _ => {}
    }
    let Some(advice) = advice(a.half(2))? else {
        with(|manager, space| manager.check_mapped(space.handle(), start, a.word(1)))?;
        return Ok(0);
    };
    with(|manager, space| manager.madvise(space.handle(), start, a.word(1), advice))?;
    Ok(0)
}

/// Files are written back by `fsync`; a mapping's pages are the file's.
pub(super) fn msync(a: Arguments) -> Result<u64> {
    let known = linux::MS_ASYNC | linux::MS_INVALIDATE | linux::MS_SYNC;
    let both = linux::MS_ASYNC | linux::MS_SYNC;
    let flags = a.half(2);
    let start = VirtualAddress(a.word(0));
    if flags & !known != 0 || flags & both == both || !start.is_aligned() {
        return Err(Errno::EINVAL);
    }
    let check = |manager: &Manager, space: &UserSpace| {
        manager.check_mapped(space.handle(), start, a.word(1))
    };
    // A range that wraps around is one that is not mapped.
    with(check).map_err(|_| Errno::ENOMEM)?;
    Ok(0)
}
