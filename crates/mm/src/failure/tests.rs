//! An error that is found in the middle of what another CPU does.

use crate::sim::{FIRST_FRAME, memory_with};
use crate::{Action, Context, Errno, FileKind, FrameState, PAGE_SIZE, PageType, Pfn};

#[test]
fn a_page_that_fails_while_it_is_written_back_is_lost() {
    let memory = memory_with::<4>(16);
    let length = PAGE_SIZE as u64;
    let file = memory.create_file(FileKind::Stored, length).unwrap();
    assert_eq!(memory.read_file(&file, 0, &mut [0]), Ok(1));
    let state = FrameState::File {
        file: file.id(),
        index: 0,
    };
    let page = (FIRST_FRAME..FIRST_FRAME + 16)
        .map(Pfn)
        .find(|pfn| memory.frame_state(*pfn) == Some(state))
        .unwrap();
    // Another CPU has just begun: the page is clean, and not in its store yet.
    memory.frames.lock_known(page).writeback = true;
    let report = memory.memory_failure(page, Context::default()).unwrap();
    assert_eq!(
        (report.page, report.action),
        (PageType::DirtyLru, Action::Recovered)
    );
    assert_eq!(memory.read_file(&file, 0, &mut [0]), Err(Errno::EIO));
}
