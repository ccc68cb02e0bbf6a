//! The guard against loops: by which nodes a message has been forwarded, and over which bridge it came in.
//!
//! Both stand in one user property, [`PATH_PROPERTY`]:
//!
//! ```text
//! edge-1,central;via=cloud
//! nodes, the origin first   the bridge of this node over which it came in; never sent on
//! ```
//!
//! A node that forwards a message puts its own name at the end. So the first name is the origin, the number of names is that of the hops,
//! and neither can say something else than the list. The part behind `;` is a note of this node to itself: it is written when a message
//! comes in, and what an upstream says in its place is dropped.
//!
//! The property is one like any other to everybody else: clients see it, because a message that a service takes out and puts back in keeps
//! its history only where the service copies it. A client that writes it itself deceives only about its own message; the worst that it
//! reaches is that this message is not forwarded.
//!
//! What happens to a message that may not go on is not decided here.

use crate::name::{self, NAME_BYTES_MAX, NameError};

/// The user property or header that carries the path.
pub const PATH_PROPERTY: &str = "tidegate-path";

/// How many nodes may forward a message where nothing else is configured.
pub const HOPS_MAX_DEFAULT: usize = 8;

/// The most nodes that are read from a path, and the highest limit of hops that makes sense.
const NODES_MAX: usize = 32;

/// The longest path in bytes that is looked at.
pub const PATH_BYTES_MAX: usize = (NODES_MAX + 1) * (NAME_BYTES_MAX + 1) + VIA.len();

const VIA: &str = ";via=";

/// Where a message has been; borrowed from its property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Path<'a> {
    /// Names joined with `,`; empty where nobody has forwarded the message yet.
    nodes: &'a str,
    via: Option<&'a str>,
}

/// Why a text is not a path. A message that has one is not forwarded: nobody knows where it has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Longer than any path.
    #[error("a path has at most {PATH_BYTES_MAX} bytes, not {bytes}")]
    TooLong {
        /// What was offered, in bytes.
        bytes: usize,
    },
    /// More names than are ever read.
    #[error("a path has at most {NODES_MAX} nodes")]
    TooManyNodes,
    /// A node's or bridge's name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Behind the nodes stands something else than `;via=` and a name.
    #[error("behind the nodes of a path stands `;via=` and the name of a bridge, or nothing")]
    Tail,
    /// There are two of them, and no way to tell which one is right.
    #[error("a message has one path, not two")]
    Twice,
}

/// Why a message must not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loop {
    /// It came in over this bridge.
    #[error("the message came in over the bridge `{bridge}` and does not go back there")]
    Back {
        /// The bridge.
        bridge: Box<str>,
    },
    /// This node has forwarded it before.
    #[error("the message has been here before: `{node}` is in its path")]
    Circle {
        /// This node.
        node: Box<str>,
    },
    /// As many nodes have forwarded it as are allowed to.
    #[error("the message has made {hops} hops; the limit is {limit}")]
    TooManyHops {
        /// The number of nodes in its path.
        hops: usize,
        /// How many are allowed.
        limit: usize,
    },
}

/// What one node knows in order to keep messages from going in circles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoopGuard {
    node: Box<str>,
    hops_max: usize,
}

impl<'a> Path<'a> {
    /// Reads a path; takes no memory.
    pub fn parse(text: &'a str) -> Result<Path<'a>, PathError> {
        if text.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong { bytes: text.len() });
        }
        let (nodes, via) = match text.split_once(';') {
            Some((nodes, via)) => (nodes, Some(via.strip_prefix("via=").ok_or(PathError::Tail)?)),
            None => (text, None),
        };
        let path = Path { nodes, via };
        if path.hops() > NODES_MAX {
            return Err(PathError::TooManyNodes);
        }
        for name in path.nodes().chain(via) {
            name::check(name)?;
        }
        Ok(path)
    }

    /// The path among a message's user properties; an empty one where there is none.
    pub fn of<'p>(user: impl IntoIterator<Item = (&'p str, &'a str)>) -> Result<Path<'a>, PathError> {
        let mut values = user.into_iter().filter(|(name, _)| *name == PATH_PROPERTY).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (None, _) => Ok(Path::default()),
            (Some(text), None) => Path::parse(text),
            (Some(_), Some(_)) => Err(PathError::Twice),
        }
    }

    /// The nodes that have forwarded the message, the origin first.
    pub fn nodes(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let nodes = (!self.nodes.is_empty()).then(|| self.nodes.split(','));
        nodes.into_iter().flatten()
    }

    /// The node at which the message entered the gateways; nothing where no gateway has forwarded it yet.
    pub fn origin(&self) -> Option<&'a str> {
        self.nodes().next()
    }

    /// How many nodes have forwarded it.
    pub fn hops(&self) -> usize {
        self.nodes().count()
    }

    /// The bridge of this node over which the message came in; nothing where a client of this node has published it.
    pub fn via(&self) -> Option<&'a str> {
        self.via
    }
}

impl LoopGuard {
    /// The guard of the node with this name. More than 32 hops are never allowed.
    pub fn new(node: &str, hops_max: usize) -> Result<LoopGuard, NameError> {
        Ok(LoopGuard { node: name::check(node)?.into(), hops_max: hops_max.min(NODES_MAX) })
    }

    /// Whether a message that was forwarded along this path may be sent over the bridge.
    pub fn may_forward(&self, path: Path<'_>, bridge: &str) -> Result<(), Loop> {
        if path.via == Some(bridge) {
            return Err(Loop::Back { bridge: bridge.into() });
        }
        self.has_not_been_here(path)?;
        match path.hops() {
            hops if hops >= self.hops_max => Err(Loop::TooManyHops { hops, limit: self.hops_max }),
            _ => Ok(()),
        }
    }

    /// Whether a message that comes in along this path may be published here. One that this node has forwarded itself may not: its
    /// clients have had it, and what it would set in motion has been set in motion.
    pub fn may_receive(&self, path: Path<'_>) -> Result<(), Loop> {
        self.has_not_been_here(path)
    }

    /// The property's value for a message that leaves this node.
    pub fn outgoing(&self, path: Path<'_>) -> String {
        match path.nodes {
            "" => self.node.to_string(),
            nodes => format!("{nodes},{}", self.node),
        }
    }

    /// The property's value for a message that comes in over this bridge.
    pub fn incoming(&self, path: Path<'_>, bridge: &str) -> Result<String, NameError> {
        Ok(format!("{}{VIA}{}", path.nodes, name::check(bridge)?))
    }

    fn has_not_been_here(&self, path: Path<'_>) -> Result<(), Loop> {
        match path.nodes().any(|node| *node == *self.node) {
            true => Err(Loop::Circle { node: self.node.clone() }),
            false => Ok(()),
        }
    }
}

impl Loop {
    /// The label in metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Loop::Back { .. } => "loop_back",
            Loop::Circle { .. } => "loop_circle",
            Loop::TooManyHops { .. } => "too_many_hops",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn guard(node: &str) -> LoopGuard {
        LoopGuard::new(node, HOPS_MAX_DEFAULT).unwrap()
    }

    fn path(text: &str) -> Path<'_> {
        Path::parse(text).unwrap()
    }

    #[test]
    fn a_message_of_a_local_client_goes_over_every_bridge() {
        assert_eq!(guard("edge-1").may_forward(Path::default(), "central"), Ok(()));
        assert_eq!(guard("edge-1").outgoing(Path::default()), "edge-1");
    }

    #[test]
    fn a_message_never_goes_back_over_the_bridge_that_it_came_in_over() {
        // From a client of the upstream that knows nothing of paths.
        let text = guard("edge-1").incoming(Path::default(), "central").unwrap();
        assert_eq!(text, ";via=central");
        let back = Loop::Back { bridge: "central".into() };
        assert_eq!(guard("edge-1").may_forward(path(&text), "central"), Err(back));
        assert_eq!(guard("edge-1").may_forward(path(&text), "other"), Ok(()));
    }

    #[test]
    fn a_message_that_a_node_has_forwarded_is_not_received_there_again() {
        let circle = Loop::Circle { node: "edge-1".into() };
        assert_eq!(guard("edge-1").may_receive(path("edge-1,central")), Err(circle.clone()));
        assert_eq!(guard("edge-1").may_forward(path("edge-1,central;via=central"), "other"), Err(circle));
        assert_eq!(guard("edge-2").may_receive(path("edge-1,central")), Ok(()));
    }

    /// Three nodes in a ring, each with bridges of their own names for their neighbours: the message visits each of them once.
    #[test]
    fn a_ring_of_nodes_carries_a_message_around_once() {
        let ring = ["a", "b", "c"].map(guard);
        let (mut carried, mut visits) = (String::new(), 0);
        for at in (0..3).cycle() {
            if visits > 0 && ring[at].may_receive(path(&carried)).is_err() {
                break;
            }
            visits += 1;
            let here = ring[at].incoming(path(&carried), "behind").unwrap();
            assert_eq!(ring[at].may_forward(path(&here), "ahead"), Ok(()));
            carried = ring[at].outgoing(path(&here));
        }
        assert_eq!((visits, carried.as_str()), (3, "a,b,c"));
    }

    #[test]
    fn hops_have_a_limit() {
        let guard = LoopGuard::new("z", 2).unwrap();
        assert_eq!(guard.may_forward(path("a"), "up"), Ok(()));
        let error = Loop::TooManyHops { hops: 2, limit: 2 };
        assert_eq!(guard.may_forward(path("a,b"), "up"), Err(error));
        assert_eq!(LoopGuard::new("z", 1_000).unwrap().hops_max, NODES_MAX);
    }

    #[test]
    fn what_leaves_a_node_does_not_tell_how_it_came_in() {
        assert_eq!(guard("central").outgoing(path("edge-1;via=up")), "edge-1,central");
        assert_eq!(guard("central").incoming(path("edge-1;via=forged"), "up").unwrap(), "edge-1;via=up");
    }

    #[test]
    fn origin_and_hops_are_those_of_the_list() {
        let route = path("edge-1,central;via=cloud");
        assert_eq!((route.origin(), route.hops(), route.via()), (Some("edge-1"), 2, Some("cloud")));
        assert_eq!((Path::default().origin(), Path::default().hops()), (None, 0));
    }

    #[test]
    fn the_path_is_found_among_the_user_properties() {
        let user = [("site", "a"), (PATH_PROPERTY, "edge-1"), ("site", "b")];
        assert_eq!(Path::of(user), Ok(path("edge-1")));
        assert_eq!(Path::of([("site", "a")]), Ok(Path::default()));
        assert_eq!(Path::of([(PATH_PROPERTY, "a"), (PATH_PROPERTY, "b")]), Err(PathError::Twice));
    }

    #[test]
    fn texts_that_are_no_paths_are_told_apart() {
        let long = "a".repeat(PATH_BYTES_MAX + 1);
        let many = vec!["a"; NODES_MAX + 1].join(",");
        let cases = [
            (long.as_str(), PathError::TooLong { bytes: PATH_BYTES_MAX + 1 }),
            (&many, PathError::TooManyNodes),
            ("a,", PathError::Name(NameError::Length { bytes: 0 })),
            (",a", PathError::Name(NameError::Length { bytes: 0 })),
            ("a b", PathError::Name(NameError::Character(' '))),
            ("a;", PathError::Tail),
            ("a;hops=2", PathError::Tail),
            ("a;via=", PathError::Name(NameError::Length { bytes: 0 })),
            ("a;via=b;via=c", PathError::Name(NameError::Character(';'))),
        ];
        for (text, expected) in cases {
            assert_eq!(Path::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn the_longest_path_is_read() {
        let name = "n".repeat(NAME_BYTES_MAX);
        let nodes = vec![name.as_str(); NODES_MAX].join(",");
        let text = format!("{nodes}{VIA}{name}");
        assert!(text.len() <= PATH_BYTES_MAX);
        assert_eq!(path(&text).hops(), NODES_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "[a-b,;=via]{0,40}|.{0,80}") {
            if let Ok(path) = Path::parse(&text) {
                let guard = guard("node");
                let (leaves, comes) = (guard.outgoing(path), guard.incoming(path, "up").unwrap());
                prop_assert_eq!(Path::parse(&leaves).map(|next| next.hops()), Ok(path.hops() + 1));
                prop_assert_eq!(Path::parse(&comes).map(|next| next.via()), Ok(Some("up")));
            }
        }

        /// However nodes are wired, a message is forwarded at most once by each of them.
        #[test]
        fn no_wiring_makes_a_circle(steps in proptest::collection::vec((0_usize..5, "[ab]"), 0..40)) {
            let nodes = ["n0", "n1", "n2", "n3", "n4"].map(guard);
            let (mut carried, mut forwarded) = (String::new(), [0; 5]);
            for (at, bridge) in steps {
                let Ok(()) = nodes[at].may_receive(path(&carried)) else { continue };
                let here = nodes[at].incoming(path(&carried), "in").unwrap();
                if nodes[at].may_forward(path(&here), &bridge).is_ok() {
                    forwarded[at] += 1;
                    carried = nodes[at].outgoing(path(&here));
                }
            }
            prop_assert!(forwarded.iter().all(|times| *times <= 1));
        }
    }
}
