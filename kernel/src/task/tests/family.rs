//! Birth, death and waiting.

use std::sync::Arc;

use super::{Actor, memory, registers};
use crate::error::Errno;
use crate::task::clone::{Request, clone};
use crate::task::exit::{self, Status, end_process};
use crate::task::signal::{Detail, Info, Signal, SignalSet, send};
use crate::task::wait::{Options, wait};
use crate::task::{Event, Events, Pid, Select, Thread, find, find_thread};

const EXITED: Options = Options {
    events: Events {
        exited: true,
        stopped: true,
        continued: true,
    },
    keep: false,
    at_once: false,
};

const THREAD: u32 = 0x3d_0f00;

fn fork() -> Arc<Thread> {
    let request = Request {
        exit_signal: 17,
        ..Request::default()
    };
    let pid = clone(&registers(), request).unwrap();
    find_thread(pid).unwrap()
}

/// Plays a thread that ends at once, on a thread of the host.
fn end(thread: Arc<Thread>, status: Status) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let actor = Actor::play(thread);
        exit::leave(&actor.thread, status);
    })
}

#[test]
fn a_parent_waits_for_its_child() {
    let parent = Actor::new();
    let child = fork();
    let pid = child.id();
    assert_eq!(
        wait(
            Select::Any,
            Options {
                at_once: true,
                ..EXITED
            }
        ),
        Ok(None)
    );
    let ending = end(child, Status::exit(7));
    let found = wait(Select::Process(pid), EXITED).unwrap().unwrap();
    assert_eq!(
        (found.pid, found.event),
        (pid, Event::Exited(Status::exit(7)))
    );
    ending.join().unwrap();
    assert!(find(pid).is_none());
    assert_eq!(wait(Select::Any, EXITED), Err(Errno::ECHILD));
    let info = parent
        .thread
        .process
        .signals
        .lock()
        .pending
        .take(SignalSet(u64::MAX));
    assert_eq!(info, None, "SIGCHLD is ignored by default");
}

#[test]
fn a_fork_has_its_own_memory_and_files() {
    let parent = Actor::new();
    let child = fork();
    let (parents, own) = (
        parent.thread.process.space().unwrap(),
        child.process.space().unwrap(),
    );
    assert_ne!(parents.id(), own.id());
    assert_eq!(child.process.id, child.id());
    drop(own);
    end(child, Status::exit(0)).join().unwrap();
}

#[test]
fn threads_share_a_process_that_ends_with_the_last() {
    let parent = Actor::new();
    let leader = fork();
    let pid = leader.id();
    let process = Arc::clone(&leader.process);
    let place = memory(64);
    let other = {
        let _leader = Actor::play(Arc::clone(&leader));
        let request = Request {
            flags: THREAD,
            parent_number: place,
            child_number: place,
            ..Request::default()
        };
        find_thread(clone(&registers(), request).unwrap()).unwrap()
    };
    Actor::play(Arc::clone(&parent.thread));
    let actor = Actor::play(Arc::clone(&parent.thread));
    assert!(Arc::ptr_eq(&other.process, &process));
    assert_eq!(place.read_u32(), Ok(other.id().0));
    assert_eq!(process.threads.lock().len(), 2);
    end(leader, Status::exit(1)).join().unwrap();
    let looked = wait(
        Select::Process(pid),
        Options {
            at_once: true,
            ..EXITED
        },
    );
    assert_eq!(looked, Ok(None));
    end(other, Status::exit(2)).join().unwrap();
    assert_eq!(place.read_u32(), Ok(0), "CLONE_CHILD_CLEARTID");
    let found = wait(Select::Process(pid), EXITED).unwrap().unwrap();
    assert_eq!(found.event, Event::Exited(Status::exit(2)));
    drop(actor);
}

#[test]
fn a_kill_ends_a_process_that_blocks_everything() {
    let _parent = Actor::new();
    let child = fork();
    child.set_mask(SignalSet(u64::MAX), false);
    send(&child.process, Info::kernel(Signal::SIGKILL)).unwrap();
    let process = Arc::clone(&child.process);
    // The thread looks on its way to user mode, and ends with the status of the process.
    end(child, Status::exit(0)).join().unwrap();
    let killed = Status::killed(Signal::SIGKILL, false);
    assert_eq!(process.status(), Some(killed));
    let found = wait(Select::Any, EXITED).unwrap().unwrap();
    assert_eq!(found.event, Event::Exited(killed));
}

#[test]
fn a_signal_ends_a_wait() {
    let parent = Actor::new();
    let child = fork();
    let sender = {
        let process = Arc::clone(&parent.thread.process);
        std::thread::spawn(move || send(&process, Info::kernel(Signal::SIGTERM)).unwrap())
    };
    assert_eq!(wait(Select::Any, EXITED), Err(Errno::EINTR));
    sender.join().unwrap();
    end(child, Status::exit(0)).join().unwrap();
}

#[test]
fn children_that_nobody_wants_go_by_themselves() {
    let parent = Actor::new();
    let ignore = memory(32);
    ignore.write(&1u64.to_le_bytes()).unwrap();
    const SIGCHLD: u64 = 17;
    assert_eq!(parent.call(134, &[SIGCHLD, ignore.0, 0, 8]), 0);
    let child = fork();
    let pid = child.id();
    end(child, Status::exit(0)).join().unwrap();
    assert!(find(pid).is_none());
}

#[test]
fn orphans_go_to_the_first_process() {
    let parent = Actor::new();
    let child = fork();
    let grandchild = {
        let _child = Actor::play(Arc::clone(&child));
        fork()
    };
    let actor = Actor::play(Arc::clone(&parent.thread));
    end(child, Status::exit(0)).join().unwrap();
    let parent_of = crate::task::tree().lock().parent(grandchild.id());
    assert_eq!(parent_of, Pid::INIT);
    end(grandchild, Status::exit(0)).join().unwrap();
    drop(actor);
}

#[test]
fn a_parent_of_vfork_waits_for_the_memory() {
    let parent = Actor::new();
    let request = Request {
        flags: 0x4100,
        exit_signal: 17,
        ..Request::default()
    };
    let thread = Arc::clone(&parent.thread);
    let waiting = std::thread::spawn(move || {
        let _parent = Actor::play(thread);
        clone(&registers(), request).unwrap()
    });
    let child = loop {
        let own = parent.thread.id();
        let tree = crate::task::tree().lock();
        let child = tree.all().find(|(pid, _)| tree.parent(*pid) == own);
        if let Some((pid, _)) = child {
            drop(tree);
            break find_thread(pid).unwrap();
        }
        drop(tree);
        std::thread::yield_now();
    };
    let space = |thread: &Thread| thread.process.space().unwrap().id();
    assert_eq!(space(&child), space(&parent.thread));
    assert!(!waiting.is_finished());
    let pid = child.id();
    end(child, Status::exit(0)).join().unwrap();
    assert_eq!(waiting.join().unwrap(), pid);
}

#[test]
fn a_process_that_ends_takes_no_new_threads() {
    let actor = Actor::new();
    end_process(&actor.thread.process, Status::exit(0));
    let request = Request {
        flags: THREAD & !0x130_0000,
        ..Request::default()
    };
    assert_eq!(clone(&registers(), request), Err(Errno::EAGAIN));
}

#[test]
fn a_child_is_announced_with_how_it_ended() {
    let parent = Actor::new();
    parent
        .thread
        .set_mask(SignalSet::of(Signal::SIGCHLD), false);
    let child = fork();
    let pid = child.id();
    end(child, Status::exit(3)).join().unwrap();
    let info = parent
        .thread
        .process
        .signals
        .lock()
        .pending
        .take(SignalSet(u64::MAX));
    assert_eq!(info.unwrap().detail, Detail::Child(pid, 0, 3));
}
