//! Which queues a topic reaches: a tree of filter levels.
//!
//! A plain single-threaded structure; [`crate::Router`] puts it behind a lock. Matching walks the tree one topic level at a
//! time with the set of nodes that are still possible, so that `#` costs the same in the middle of a filter (AMQP) as at its
//! end, and no filter, however hostile, makes the walk longer than the nodes it could reach.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;
use tidegate_message::{FilterLevel, Topic, TopicFilter};

const ROOT: usize = 0;
/// What a subscription costs in the tree and in its queue, beside its nodes: two entries of maps and the filter's own head.
pub(crate) const SUBSCRIPTION_BYTES: usize = 256;

/// What a node costs: itself, its place among its parent's children, and its name twice.
fn node_bytes<S>(name_bytes: usize) -> usize {
    size_of::<Node<S>>() + 48 + 2 * name_bytes
}

fn level_bytes(level: FilterLevel<'_>) -> usize {
    match level {
        FilterLevel::Name(name) => name.len(),
        FilterLevel::One | FilterLevel::Many => 0,
    }
}

/// A set of filters, each with the subscriptions `S` of any number of keys.
#[derive(Debug)]
pub(crate) struct SubscriptionTree<S> {
    nodes: Slab<Node<S>>,
    count: usize,
    /// What the nodes weigh. Filters of many levels that nobody else uses can cost more in nodes than in subscriptions.
    node_bytes: usize,
}

#[derive(Debug)]
struct Node<S> {
    parent: usize,
    edge: Edge,
    names: HashMap<Box<str>, usize, RandomState>,
    one: Option<usize>,
    many: Option<usize>,
    subscriptions: HashMap<u64, S, RandomState>,
}

/// How a node hangs on its parent.
#[derive(Debug, Clone, PartialEq)]
enum Edge {
    Root,
    Name(Box<str>),
    One,
    Many,
}

impl<S> Node<S> {
    fn new(parent: usize, edge: Edge) -> Node<S> {
        let (names, subscriptions) = (HashMap::default(), HashMap::default());
        Node { parent, edge, names, one: None, many: None, subscriptions }
    }

    fn child(&self, level: FilterLevel<'_>) -> Option<usize> {
        match level {
            FilterLevel::Name(name) => self.names.get(name).copied(),
            FilterLevel::One => self.one,
            FilterLevel::Many => self.many,
        }
    }

    fn is_unused(&self) -> bool {
        self.subscriptions.is_empty() && self.names.is_empty() && self.one.is_none() && self.many.is_none()
    }
}

type Active = SmallVec<[usize; 32]>;

impl<S> SubscriptionTree<S> {
    pub(crate) fn new() -> SubscriptionTree<S> {
        let mut nodes = Slab::new();
        nodes.insert(Node::new(ROOT, Edge::Root));
        SubscriptionTree { nodes, count: 0, node_bytes: 0 }
    }

    /// How many subscriptions stand in the tree.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// What the tree weighs in bytes, with its subscriptions.
    pub(crate) fn weight_bytes(&self) -> usize {
        self.node_bytes + self.count * SUBSCRIPTION_BYTES
    }

    /// What it would weigh more with one more subscription to this filter.
    pub(crate) fn weight_of(&self, filter: &TopicFilter) -> usize {
        let (mut at, mut bytes) = (Some(ROOT), SUBSCRIPTION_BYTES);
        for level in filter.levels() {
            at = at.and_then(|at| self.nodes.get(at)?.child(level));
            bytes += if at.is_none() { node_bytes::<S>(level_bytes(level)) } else { 0 };
        }
        bytes
    }

    /// The subscription that stands under this filter and key.
    pub(crate) fn get(&self, filter: &TopicFilter, key: u64) -> Option<&S> {
        let at = filter.levels().try_fold(ROOT, |at, level| self.nodes.get(at)?.child(level))?;
        self.nodes.get(at)?.subscriptions.get(&key)
    }

    /// Puts a subscription in; gives back the one that stood under the same filter and key.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, key: u64, subscription: S) -> Option<S> {
        let mut at = ROOT;
        for level in filter.levels() {
            at = match self.nodes.get(at).and_then(|node| node.child(level)) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        let replaced = self.nodes.get_mut(at).and_then(|node| node.subscriptions.insert(key, subscription));
        self.count += usize::from(replaced.is_none());
        replaced
    }

    fn add_child(&mut self, parent: usize, level: FilterLevel<'_>) -> usize {
        let edge = match level {
            FilterLevel::Name(name) => Edge::Name(name.into()),
            FilterLevel::One => Edge::One,
            FilterLevel::Many => Edge::Many,
        };
        self.node_bytes += node_bytes::<S>(level_bytes(level));
        let child = self.nodes.insert(Node::new(parent, edge));
        if let Some(node) = self.nodes.get_mut(parent) {
            match level {
                FilterLevel::Name(name) => drop(node.names.insert(name.into(), child)),
                FilterLevel::One => node.one = Some(child),
                FilterLevel::Many => node.many = Some(child),
            }
        }
        child
    }

    /// Takes a subscription out, and with it the nodes that nothing else needs.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, key: u64) -> Option<S> {
        let mut at = ROOT;
        for level in filter.levels() {
            at = self.nodes.get(at)?.child(level)?;
        }
        let removed = self.nodes.get_mut(at)?.subscriptions.remove(&key)?;
        self.count -= 1;
        self.prune(at);
        Some(removed)
    }

    fn prune(&mut self, mut at: usize) {
        while at != ROOT && self.nodes.get(at).is_some_and(Node::is_unused) {
            let node = self.nodes.remove(at);
            let name_bytes = if let Edge::Name(name) = &node.edge { name.len() } else { 0 };
            self.node_bytes -= node_bytes::<S>(name_bytes);
            if let Some(parent) = self.nodes.get_mut(node.parent) {
                match &node.edge {
                    Edge::Root => {}
                    Edge::Name(name) => drop(parent.names.remove(name)),
                    Edge::One => parent.one = None,
                    Edge::Many => parent.many = None,
                }
            }
            at = node.parent;
        }
    }

    /// Calls `visit` with each subscription whose filter matches the topic, once per filter and key.
    pub(crate) fn for_each_match(&self, topic: &Topic, mut visit: impl FnMut(u64, &S)) {
        let mut active = Active::from_slice(&[ROOT]);
        if !topic.is_reserved() {
            self.add_many(ROOT, &mut active);
        }
        let mut next = Active::new();
        for (depth, level) in topic.levels().enumerate() {
            let wildcards_allowed = depth > 0 || !topic.is_reserved();
            for &at in &active {
                self.step(at, level, wildcards_allowed, &mut next);
            }
            std::mem::swap(&mut active, &mut next);
            next.clear();
        }
        for at in active {
            if let Some(node) = self.nodes.get(at) {
                node.subscriptions.iter().for_each(|(&key, subscription)| visit(key, subscription));
            }
        }
    }

    /// Adds the nodes that `level` leads to from one node.
    fn step(&self, at: usize, level: &str, wildcards_allowed: bool, next: &mut Active) {
        let Some(node) = self.nodes.get(at) else { return };
        if node.edge == Edge::Many {
            push_new(next, at);
        }
        let by_name = if node.names.is_empty() { None } else { node.names.get(level).copied() };
        let by_wildcard = if wildcards_allowed { node.one } else { None };
        for child in [by_name, by_wildcard].into_iter().flatten() {
            push_new(next, child);
            self.add_many(child, next);
        }
    }

    /// `#` also stands for no level at all, so it is reached together with its parent.
    fn add_many(&self, at: usize, active: &mut Active) {
        let mut child = self.nodes.get(at).and_then(|node| node.many);
        while let Some(many) = child {
            push_new(active, many);
            child = self.nodes.get(many).and_then(|node| node.many);
        }
    }
}

/// A node can be reached twice only below a `#` in the middle of a filter, and then it must count once.
fn push_new(active: &mut Active, node: usize) {
    if !active.contains(&node) {
        active.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text.as_bytes()).unwrap()
    }

    fn matches(tree: &SubscriptionTree<String>, topic: &str) -> Vec<String> {
        let mut found = Vec::new();
        tree.for_each_match(&Topic::parse(topic.as_bytes()).unwrap(), |_, text| found.push(text.clone()));
        found.sort();
        found
    }

    fn tree_of(filters: &[&str]) -> SubscriptionTree<String> {
        let mut tree = SubscriptionTree::new();
        for (key, text) in filters.iter().enumerate() {
            tree.insert(&filter(text), key as u64, (*text).to_string());
        }
        tree
    }

    /// MQTT 5.0 section 4.7.1
    #[test]
    fn finds_every_filter_that_matches() {
        let tree = tree_of(&["a/b", "a/+", "a/#", "#", "+/b", "a/b/c", "a/b/#", "b"]);
        assert_eq!(matches(&tree, "a/b"), ["#", "+/b", "a/#", "a/+", "a/b", "a/b/#"]);
        assert_eq!(matches(&tree, "a"), ["#", "a/#"]);
    }

    /// [MQTT-4.7.2-1] [MQTT-3.1.1/4.7.2-1]
    #[test]
    fn leading_wildcards_do_not_see_reserved_topics() {
        let tree = tree_of(&["#", "+/x", "$SYS/#", "$SYS/+", "+"]);
        assert_eq!(matches(&tree, "$SYS/x"), ["$SYS/#", "$SYS/+"]);
        assert_eq!(matches(&tree, "$SYS"), ["$SYS/#"]);
    }

    #[test]
    fn replaces_and_removes_without_leaving_nodes_behind() {
        let mut tree = tree_of(&["a/b/c", "a/+/c", "a/#"]);
        assert_eq!(tree.insert(&filter("a/#"), 2, "again".to_string()), Some("a/#".to_string()));
        assert_eq!(tree.len(), 3);
        for (key, text) in ["a/b/c", "a/+/c", "a/#"].iter().enumerate() {
            assert!(tree.remove(&filter(text), key as u64).is_some());
            assert!(tree.remove(&filter(text), key as u64).is_none());
        }
        assert_eq!((tree.len(), tree.nodes.len(), tree.weight_bytes()), (0, 1, 0));
    }

    #[test]
    fn weighs_what_was_announced() {
        let mut tree = SubscriptionTree::new();
        for (key, text) in ["a/b/c", "a/b/c", "a/+/long-name/#", "x"].iter().enumerate() {
            let expected = tree.weight_bytes() + tree.weight_of(&filter(text));
            tree.insert(&filter(text), key as u64, (*text).to_string());
            assert_eq!(tree.weight_bytes(), expected, "{text}");
        }
        let deep = filter(&["l"; 100].join("/"));
        assert!(tree.weight_of(&deep) > 100 * size_of::<Node<String>>());
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]", Just("+".to_string()), Just("#".to_string()), Just(String::new())]
    }

    proptest! {
        /// The tree and the one-by-one matcher are two implementations of the same rule, `#` in the middle included.
        #[test]
        fn agrees_with_matching_one_by_one(
            filters in prop::collection::vec(prop::collection::vec(level(), 1..6), 1..24),
            topic in prop::collection::vec("[ab]?", 1..6),
        ) {
            let texts: Vec<String> = filters.iter().map(|levels| levels.join("/")).filter(|text| !text.is_empty()).collect();
            let topic = topic.join("/");
            prop_assume!(!topic.is_empty());
            let tree = tree_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let name = Topic::parse(topic.as_bytes()).unwrap();
            let mut expected: Vec<String> = texts.iter().filter(|text| filter(text).matches(&name)).cloned().collect();
            expected.sort();
            prop_assert_eq!(matches(&tree, &topic), expected);
        }
    }
}
