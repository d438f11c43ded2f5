//! A directory to which its owners add names.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Directory, Node, PseudoFile, Target};
use crate::fs::FileType;
use crate::sync::SpinLock;

/// A directory that only grows.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: SpinLock<BTreeMap<Vec<u8>, Named>>,
}

/// What has a name; and the same if it is a directory of this kind.
type Named = (Node, Option<Arc<Tree>>);

impl Tree {
    /// An empty one.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// The directory with this name or path, which is made if there is none.
    ///
    /// # Panics
    ///
    /// If the name is taken by something else: two owners have disagreed.
    pub fn directory(&self, path: &str) -> Arc<Self> {
        let (name, rest) = match path.split_once('/') {
            Some((name, rest)) => (name, Some(rest)),
            None => (path, None),
        };
        let below = {
            let mut nodes = self.nodes.lock();
            let (_, tree) = nodes.entry(name.as_bytes().to_vec()).or_insert_with(|| {
                let tree = Self::new();
                let directory = Arc::clone(&tree) as Arc<dyn Directory>;
                (Node::Directory(directory), Some(tree))
            });
            tree.clone()
                .expect("the name is a directory's of this kind")
        };
        match rest {
            Some(rest) => below.directory(rest),
            None => below,
        }
    }

    /// Adds a node. What had the name before no longer has.
    pub fn add(&self, name: &str, node: Node) {
        let mut nodes = self.nodes.lock();
        let before = nodes.insert(name.as_bytes().to_vec(), (node, None));
        drop(nodes);
        drop(before);
    }

    /// Adds a file.
    pub fn file(&self, name: &str, permissions: u16, file: Arc<dyn PseudoFile>) {
        self.add(name, Node::File(file, permissions));
    }

    /// Adds a symbolic link.
    pub fn link(&self, name: &str, target: impl Target + 'static) {
        self.add(name, Node::Link(Arc::new(target)));
    }
}

impl Directory for Tree {
    fn lookup(&self, name: &[u8]) -> Option<Node> {
        let nodes = self.nodes.lock();
        nodes.get(name).map(|(node, _)| node.clone())
    }

    fn list(&self) -> Vec<(Vec<u8>, FileType)> {
        let nodes = self.nodes.lock();
        nodes
            .iter()
            .map(|(name, (node, _))| (name.clone(), node.kind()))
            .collect()
    }

    fn is_volatile(&self) -> bool {
        false
    }
}
