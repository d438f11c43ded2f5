//! Who is whose parent, and in which group and session: pure bookkeeping.
//!
//! A process stays here after its end until its parent has taken its status.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::{Errno, Result};
use crate::task::Pid;
use crate::task::exit::Status;

/// Which children a wait is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Any.
    Any,
    /// This one.
    Process(Pid),
    /// Those in this group.
    Group(Pid),
}

/// What a parent is told about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It ended.
    Exited(Status),
    /// This signal stopped it.
    Stopped(u8),
    /// `SIGCONT` continued it.
    Continued,
}

/// Which events a wait is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Children that ended (`WEXITED`).
    pub exited: bool,
    /// Children that stopped (`WSTOPPED`).
    pub stopped: bool,
    /// Children that continued (`WCONTINUED`).
    pub continued: bool,
}

impl Events {
    fn has(self, event: Event) -> bool {
        match event {
            Event::Exited(_) => self.exited,
            Event::Stopped(_) => self.stopped,
            Event::Continued => self.continued,
        }
    }
}

#[derive(Debug)]
struct Node<T> {
    process: T,
    parent: Pid,
    children: Vec<Pid>,
    group: Pid,
    session: Pid,
    /// It called `execve`: its parent may not move it any more.
    executed: bool,
    status: Option<Status>,
    /// The last change that its parent has not taken.
    change: Option<Event>,
}

/// All processes.
#[derive(Debug)]
pub struct Tree<T> {
    nodes: BTreeMap<Pid, Node<T>>,
    /// How often each number is in use: as a process, a group or a session.
    uses: BTreeMap<Pid, u32>,
}

impl<T: Clone> Default for Tree<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the end of a process means for others.
#[derive(Debug, PartialEq, Eq)]
pub struct Farewell<T> {
    /// Its parent, if that lives.
    pub parent: Option<T>,
    /// Whoever has its children now, if some of them have already ended.
    pub new_parent: Option<T>,
    /// Groups of which no member has a parent elsewhere in the session any more, but some member
    /// is stopped: they get `SIGHUP` and `SIGCONT`.
    pub orphaned: Vec<Pid>,
}

impl<T: Clone> Tree<T> {
    /// No process.
    pub const fn new() -> Self {
        Self {
            nodes: BTreeMap::new(),
            uses: BTreeMap::new(),
        }
    }

    fn node(&self, pid: Pid) -> Result<&Node<T>> {
        self.nodes.get(&pid).ok_or(Errno::ESRCH)
    }

    fn live(&self, pid: Pid) -> Result<&Node<T>> {
        self.node(pid).and_then(|node| {
            if node.status.is_none() {
                Ok(node)
            } else {
                Err(Errno::ESRCH)
            }
        })
    }

    fn node_mut(&mut self, pid: Pid) -> Result<&mut Node<T>> {
        self.nodes.get_mut(&pid).ok_or(Errno::ESRCH)
    }

    fn hold(&mut self, pid: Pid) {
        *self.uses.entry(pid).or_insert(0) += 1;
    }

    /// Ends one use of a number. Returns it if it was the last.
    fn release(&mut self, pid: Pid) -> Option<Pid> {
        let uses = self.uses.get_mut(&pid)?;
        *uses -= 1;
        if *uses > 0 {
            return None;
        }
        self.uses.remove(&pid);
        Some(pid)
    }

    /// Adds a child of `parent`, in its group and session. Without a parent it is in none, until it
    /// makes its own: the first process does not get the terminals that it opens.
    pub fn insert(&mut self, pid: Pid, parent: Option<Pid>, process: T) -> Result<()> {
        let (parent, group, session) = match parent {
            None => (Pid::NONE, Pid::NONE, Pid::NONE),
            Some(parent) => {
                let node = self.node_mut(parent)?;
                node.children.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                node.children.push(pid);
                (parent, node.group, node.session)
            }
        };
        self.nodes.insert(
            pid,
            Node {
                process,
                parent,
                children: Vec::new(),
                group,
                session,
                executed: false,
                status: None,
                change: None,
            },
        );
        for number in [pid, group, session] {
            self.hold(number);
        }
        Ok(())
    }

    /// The process with this number, even if it has ended.
    pub fn get(&self, pid: Pid) -> Option<&T> {
        self.nodes.get(&pid).map(|node| &node.process)
    }

    /// All processes that have not been waited for.
    pub fn all(&self) -> impl Iterator<Item = (Pid, &T)> {
        self.nodes.iter().map(|(pid, node)| (*pid, &node.process))
    }

    /// The parent, or [`Pid::NONE`].
    pub fn parent(&self, pid: Pid) -> Pid {
        self.nodes.get(&pid).map_or(Pid::NONE, |node| node.parent)
    }

    /// The process group.
    pub fn group(&self, pid: Pid) -> Result<Pid> {
        self.node(pid).map(|node| node.group)
    }

    /// The session.
    pub fn session(&self, pid: Pid) -> Result<Pid> {
        self.node(pid).map(|node| node.session)
    }

    /// How it ended, if it has.
    pub fn status(&self, pid: Pid) -> Option<Status> {
        self.nodes.get(&pid)?.status
    }

    /// The living members of a group.
    pub fn members(&self, group: Pid) -> Vec<T> {
        self.nodes
            .values()
            .filter(|node| node.group == group && node.status.is_none())
            .map(|node| node.process.clone())
            .collect()
    }

    /// Whether a session has this group.
    pub fn has_group(&self, session: Pid, group: Pid) -> bool {
        self.nodes
            .values()
            .any(|node| node.session == session && node.group == group)
    }

    /// Notes that `pid` has called `execve`.
    pub fn set_executed(&mut self, pid: Pid) {
        if let Ok(node) = self.node_mut(pid) {
            node.executed = true;
        }
    }

    /// Moves `pid`, which is `caller` or a child of it, to a group. Returns a number that nobody
    /// uses any more.
    ///
    /// # Errors
    ///
    /// As `setpgid`: `ESRCH`, `EACCES`, `EPERM`.
    pub fn set_group(&mut self, caller: Pid, pid: Pid, group: Pid) -> Result<Option<Pid>> {
        let session = self.live(caller)?.session;
        let node = self.live(pid)?;
        if pid != caller {
            if node.parent != caller {
                return Err(Errno::ESRCH);
            }
            if node.session != session {
                return Err(Errno::EPERM);
            }
            if node.executed {
                return Err(Errno::EACCES);
            }
        }
        if node.session == pid || (group != pid && !self.has_group(session, group)) {
            return Err(Errno::EPERM);
        }
        let old = core::mem::replace(&mut self.node_mut(pid)?.group, group);
        self.hold(group);
        Ok(self.release(old))
    }

    /// Makes `pid` the leader of a new session and group. Returns a number that nobody uses any
    /// more for each of the two it left.
    ///
    /// # Errors
    ///
    /// `EPERM`: it leads a group already.
    pub fn set_session(&mut self, pid: Pid) -> Result<[Option<Pid>; 2]> {
        if self.nodes.values().any(|node| node.group == pid) {
            return Err(Errno::EPERM);
        }
        let node = self.node_mut(pid)?;
        let old = [
            core::mem::replace(&mut node.group, pid),
            core::mem::replace(&mut node.session, pid),
        ];
        self.hold(pid);
        self.hold(pid);
        Ok(old.map(|number| self.release(number)))
    }

    /// Whether a member of `group` has a parent in the same session but another group: someone
    /// who could continue it.
    fn is_orphaned(&self, group: Pid) -> bool {
        !self.nodes.values().any(|node| {
            node.group == group
                && node.status.is_none()
                && self
                    .live(node.parent)
                    .is_ok_and(|parent| parent.session == node.session && parent.group != group)
        })
    }

    /// Whether the group that `pid` is in is orphaned: stops of the terminal's do not apply to it.
    pub fn in_orphaned_group(&self, pid: Pid) -> bool {
        self.group(pid).is_ok_and(|group| self.is_orphaned(group))
    }

    fn has_stopped_member(&self, group: Pid, stopped: &impl Fn(&T) -> bool) -> bool {
        self.nodes
            .values()
            .any(|node| node.group == group && node.status.is_none() && stopped(&node.process))
    }

    /// Ends `pid`: its children go to [`Pid::INIT`], and its parent can take its status.
    pub fn exit(&mut self, pid: Pid, status: Status, stopped: impl Fn(&T) -> bool) -> Farewell<T> {
        let mut farewell = Farewell {
            parent: None,
            new_parent: None,
            orphaned: Vec::new(),
        };
        let mut affected = Vec::new();
        let Ok(node) = self.node_mut(pid) else {
            return farewell;
        };
        node.status = Some(status);
        node.change = Some(Event::Exited(status));
        let (parent, group) = (node.parent, node.group);
        let children = core::mem::take(&mut node.children);
        affected.push(group);
        for child in &children {
            if let Ok(node) = self.node_mut(*child) {
                node.parent = Pid::INIT;
                affected.push(node.group);
                if node.status.is_some() {
                    farewell.new_parent = self.get(Pid::INIT).cloned();
                }
            }
        }
        if let Ok(init) = self.node_mut(Pid::INIT) {
            init.children.extend(children);
        }
        affected.sort_unstable();
        affected.dedup();
        affected
            .retain(|group| self.is_orphaned(*group) && self.has_stopped_member(*group, &stopped));
        farewell.parent = self.live(parent).ok().map(|node| node.process.clone());
        farewell.orphaned = affected;
        farewell
    }

    /// Notes that `pid` stopped or continued. Returns its parent.
    pub fn change(&mut self, pid: Pid, event: Event) -> Option<T> {
        let node = self.node_mut(pid).ok()?;
        node.change = Some(event);
        let parent = node.parent;
        self.live(parent).ok().map(|node| node.process.clone())
    }

    /// Takes an event of a child of `parent`, or leaves it for another wait if `keep`. The
    /// numbers that nobody uses any more are added to `freed`.
    ///
    /// # Errors
    ///
    /// `ECHILD`: there is no such child.
    pub fn wait(
        &mut self,
        parent: Pid,
        select: Select,
        events: Events,
        keep: bool,
        freed: &mut Vec<Pid>,
    ) -> Result<Option<(Pid, T, Event)>> {
        let children = &self.node(parent)?.children;
        let matches = |pid: &Pid| match select {
            Select::Any => true,
            Select::Process(wanted) => *pid == wanted,
            Select::Group(group) => self.group(*pid) == Ok(group),
        };
        let mut any = false;
        let found = children.iter().copied().filter(matches).find_map(|pid| {
            any = true;
            let node = self.nodes.get(&pid)?;
            let event = node.change.filter(|event| events.has(*event))?;
            Some((pid, node.process.clone(), event))
        });
        if !any {
            return Err(Errno::ECHILD);
        }
        if let Some((pid, _, event)) = &found
            && !keep
        {
            match event {
                Event::Exited(_) => freed.extend(self.remove(*pid)),
                _ => self.node_mut(*pid)?.change = None,
            }
        }
        Ok(found)
    }

    /// Forgets a process that has ended. Returns the numbers that nobody uses any more.
    pub fn remove(&mut self, pid: Pid) -> Vec<Pid> {
        let Some(node) = self.nodes.remove(&pid) else {
            return Vec::new();
        };
        if let Ok(parent) = self.node_mut(node.parent) {
            parent.children.retain(|child| *child != pid);
        }
        [pid, node.group, node.session]
            .into_iter()
            .filter_map(|number| self.release(number))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, Events, Select, Tree};
    use crate::error::Errno;
    use crate::task::Pid;
    use crate::task::exit::Status;

    const EXITED: Events = Events {
        exited: true,
        stopped: false,
        continued: false,
    };

    /// Init (1), a shell (2) with its own session, and two children of it.
    fn family() -> Tree<u32> {
        let mut tree = Tree::new();
        tree.insert(Pid(1), None, 1).unwrap();
        tree.insert(Pid(2), Some(Pid(1)), 2).unwrap();
        tree.set_session(Pid(2)).unwrap();
        for child in [3, 4] {
            tree.insert(Pid(child), Some(Pid(2)), child).unwrap();
        }
        tree
    }

    fn wait(
        tree: &mut Tree<u32>,
        parent: u32,
        select: Select,
    ) -> crate::error::Result<Option<u32>> {
        let mut freed = Vec::new();
        let found = tree.wait(Pid(parent), select, EXITED, false, &mut freed)?;
        Ok(found.map(|(_, process, _)| process))
    }

    #[test]
    fn a_status_is_taken_once() {
        let mut tree = family();
        assert_eq!(wait(&mut tree, 2, Select::Any), Ok(None));
        tree.exit(Pid(3), Status::exit(7), |_| false);
        assert_eq!(wait(&mut tree, 2, Select::Process(Pid(4))), Ok(None));
        assert_eq!(wait(&mut tree, 2, Select::Any), Ok(Some(3)));
        assert_eq!(
            wait(&mut tree, 2, Select::Process(Pid(3))),
            Err(Errno::ECHILD)
        );
        assert_eq!(wait(&mut tree, 3, Select::Any), Err(Errno::ESRCH));
    }

    #[test]
    fn children_of_the_dead_go_to_init() {
        let mut tree = family();
        tree.exit(Pid(3), Status::exit(0), |_| false);
        let farewell = tree.exit(Pid(2), Status::exit(0), |_| false);
        assert_eq!((farewell.parent, farewell.new_parent), (Some(1), Some(1)));
        assert_eq!(tree.parent(Pid(4)), Pid::INIT);
        assert_eq!(wait(&mut tree, 1, Select::Process(Pid(3))), Ok(Some(3)));
    }

    #[test]
    fn numbers_of_groups_outlive_their_leaders() {
        let mut tree = family();
        tree.set_group(Pid(2), Pid(3), Pid(3)).unwrap();
        tree.set_group(Pid(2), Pid(4), Pid(3)).unwrap();
        tree.exit(Pid(3), Status::exit(0), |_| false);
        assert_eq!(tree.remove(Pid(3)), []);
        assert_eq!(tree.set_group(Pid(2), Pid(4), Pid(2)), Ok(Some(Pid(3))));
    }

    #[test]
    fn groups_follow_the_rules() {
        let mut tree = family();
        assert_eq!(tree.set_group(Pid(2), Pid(2), Pid(2)), Err(Errno::EPERM));
        assert_eq!(tree.set_group(Pid(2), Pid(3), Pid(1)), Err(Errno::EPERM));
        assert_eq!(tree.set_group(Pid(3), Pid(4), Pid(4)), Err(Errno::ESRCH));
        tree.set_executed(Pid(4));
        assert_eq!(tree.set_group(Pid(2), Pid(4), Pid(4)), Err(Errno::EACCES));
        assert_eq!(tree.set_session(Pid(2)), Err(Errno::EPERM));
        assert!(tree.set_session(Pid(4)).is_ok());
    }

    #[test]
    fn a_stopped_group_without_its_shell_is_orphaned() {
        let mut tree = family();
        tree.set_group(Pid(2), Pid(3), Pid(3)).unwrap();
        tree.change(Pid(3), Event::Stopped(19));
        assert!(!tree.in_orphaned_group(Pid(3)));
        let farewell = tree.exit(Pid(2), Status::exit(0), |process| *process == 3);
        assert_eq!(farewell.orphaned, [Pid(3)]);
    }

    #[test]
    fn stops_and_continuations_are_reported_once() {
        let mut tree = family();
        let stops = Events {
            stopped: true,
            ..Events::default()
        };
        let mut freed = Vec::new();
        tree.change(Pid(3), Event::Stopped(20));
        for keep in [true, false] {
            let found = tree.wait(Pid(2), Select::Any, stops, keep, &mut freed);
            assert_eq!(found, Ok(Some((Pid(3), 3, Event::Stopped(20)))));
        }
        assert_eq!(
            tree.wait(Pid(2), Select::Any, stops, false, &mut freed),
            Ok(None)
        );
        assert_eq!(freed, []);
    }
}
