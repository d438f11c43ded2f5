//! Mistakes, made on purpose, that the kernel must die of: a fault in its own memory is excused
//! nowhere, and least of all in routines that excuse memory errors.

use copy::{PAGE_SIZE, checksum_mc};

use super::features::routines;
use crate::task::current;

/// An address at which nothing is ever mapped, and one in the first page, where nobody's data are.
const WILD: usize = 0xffff_8fff_dead_0000;
const NULL: usize = 8;

/// The mistakes, by the names that Linux's `lkdtm` has for those that it knows. `WILD_...` gives a
/// routine a wild pointer.
pub const MISTAKES: &[(&str, fn())] = &[
    ("PANIC", || panic!("dumptest")),
    ("ACCESS_NULL", access_null),
    ("EXHAUST_STACK", || {
        log::error!("the stack has no end: {}", exhaust_stack(1));
    }),
    ("WILD_MEMCPY_MC", || wild(Routine::Memcpy)),
    ("WILD_COPY_MC_PAGE", || wild(Routine::CopyPage)),
    ("WILD_COPY_FROM_USER", || wild(Routine::FromUser)),
    ("WILD_COPY_TO_USER", || wild(Routine::ToUser)),
    ("WILD_FILL_MC", || wild(Routine::Fill)),
    ("WILD_COMPARE_MC", || wild(Routine::Compare)),
    ("WILD_IS_ZERO_MC", || wild(Routine::IsZero)),
    ("WILD_CHECKSUM_MC", || wild(Routine::Checksum)),
];

/// Which routine is given a wild pointer, on the kernel's side of it.
#[derive(Clone, Copy)]
enum Routine {
    Memcpy,
    CopyPage,
    FromUser,
    ToUser,
    Fill,
    Compare,
    IsZero,
    Checksum,
}

fn access_null() {
    let null = core::ptr::without_provenance::<u64>(NULL);
    // SAFETY: none; this is the mistake.
    let value = unsafe { null.read_volatile() };
    log::error!("page 0 holds {value:#x}");
}

/// Calls itself until there is no room.
fn exhaust_stack(depth: u64) -> u64 {
    let kept = core::hint::black_box([depth; 64]);
    if kept[0] == u64::MAX {
        return 0;
    }
    exhaust_stack(depth + 1) + kept[depth as usize % kept.len()]
}

#[repr(align(4096))]
struct Page([u8; PAGE_SIZE]);

fn wild(routine: Routine) {
    // Good memory for the other side, not on the stack, which has no room.
    static GOOD: Page = Page([0; PAGE_SIZE]);
    let wild = core::ptr::without_provenance_mut::<u8>(WILD);
    let good = GOOD.0.as_ptr();
    // The running program's stack, which is there: the user's side must not fail first.
    let stack = current()
        .space()
        .map_or(0, |space| space.layout.lock().stack);
    let user = core::ptr::with_exposed_provenance_mut::<u8>(stack as usize);
    let routines = routines();
    let result = match routine {
        // SAFETY: none; this is the mistake. It does not come back.
        Routine::Memcpy => unsafe { routines.memcpy_mc(wild, good, PAGE_SIZE) },
        // SAFETY: as above.
        Routine::CopyPage => unsafe { routines.copy_mc_page(wild, good) },
        // SAFETY: as above.
        Routine::FromUser => unsafe { routines.copy_from_user(wild, user, 8) },
        // SAFETY: as above.
        Routine::ToUser => unsafe { routines.copy_to_user(user, wild, 8) },
        // SAFETY: as above.
        Routine::Fill => unsafe { routines.fill_mc(wild, 0, PAGE_SIZE) },
        // SAFETY: as above.
        Routine::Compare => unsafe { routines.compare_mc(wild, good, PAGE_SIZE) }.map(drop),
        // SAFETY: as above.
        Routine::IsZero => unsafe { routines.is_zero_mc(wild, PAGE_SIZE) }.map(drop),
        // SAFETY: as above.
        Routine::Checksum => unsafe { checksum_mc(routines, wild, PAGE_SIZE) }.map(drop),
    };
    log::error!("a wild pointer was excused: {result:?}");
}
