//! Virtual hosts: clients of one listener that live in different parts of the address space and cannot see each other's.
//!
//! A client names its host in CONNECT ([STOMP-1.2/CONNECT or STOMP Frame]); everything that it names then stands below the root of that
//! host. Who may choose which host is not decided here but by the access rules, which see canonical topics.

use crate::reason::Fault;
use serde::Deserialize;
use tidegate_message::Topic;

/// One entry of the option `virtual_hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VirtualHost {
    /// What CONNECT says in `host`.
    pub host: String,
    /// The canonical topic below which the clients of this host live.
    pub root: String,
}

/// The root of a host; none where there are no virtual hosts, so that any host will do. A client that says no host, as those of STOMP
/// 1.0, gets the first one.
pub(crate) fn root_of<'h>(hosts: &'h [VirtualHost], host: Option<&str>) -> Result<Option<&'h str>, Fault> {
    if hosts.is_empty() {
        return Ok(None);
    }
    let found = match host {
        None => hosts.first(),
        Some(host) => hosts.iter().find(|known| known.host == host),
    };
    found.map(|found| Some(&*found.root)).ok_or(Fault::UnknownHost)
}

/// The first mistake in the list, as a sentence without a full stop.
pub(crate) fn find_mistake(hosts: &[VirtualHost]) -> Option<String> {
    hosts.iter().enumerate().find_map(|(at, VirtualHost { host, root })| {
        let is_known = hosts.iter().take(at).any(|other| other.host == *host);
        match Topic::parse(root.as_bytes()) {
            _ if host.is_empty() => Some("has a host without a name".to_owned()),
            _ if is_known => Some(format!("has the host {host:?} twice")),
            Err(error) => Some(format!("has the root {root:?} for {host:?}: {error}")),
            Ok(topic) if topic.is_reserved() => Some(format!(
                "has the root {root:?} for {host:?}: topics that begin with `$` are the gateway's own"
            )),
            Ok(topic) if topic.levels().any(str::is_empty) => {
                Some(format!("has the root {root:?} for {host:?}: its levels must not be empty"))
            }
            Ok(_) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(pairs: &[(&str, &str)]) -> Vec<VirtualHost> {
        let host = |(host, root): &(&str, &str)| VirtualHost { host: (*host).into(), root: (*root).into() };
        pairs.iter().map(host).collect()
    }

    /// [STOMP-1.2/CONNECT or STOMP Frame]: the server may refuse hosts that it does not know.
    #[test]
    fn a_host_has_its_root_and_a_missing_one_the_first() {
        let hosts = hosts(&[("one", "plant/1"), ("two", "plant/2")]);
        assert_eq!(root_of(&hosts, Some("two")), Ok(Some("plant/2")));
        assert_eq!(root_of(&hosts, None), Ok(Some("plant/1")));
        assert_eq!(root_of(&hosts, Some("")), Err(Fault::UnknownHost));
        assert_eq!(root_of(&hosts, Some("One")), Err(Fault::UnknownHost));
        assert_eq!(root_of(&[], Some("any")), Ok(None));
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            (&[][..], None),
            (&[("a", "x"), ("b", "x"), ("c", "x/y")], None),
            (&[("", "x")], Some("has a host without a name")),
            (&[("a", "x"), ("a", "y")], Some("has the host \"a\" twice")),
            (&[("a", "")], Some("has the root \"\" for \"a\": the topic is empty")),
            (&[("a", "x/+")], Some("has the root \"x/+\" for \"a\": the topic contains the wildcard `+`")),
            (
                &[("a", "$x")],
                Some("has the root \"$x\" for \"a\": topics that begin with `$` are the gateway's own"),
            ),
            (&[("a", "x/")], Some("has the root \"x/\" for \"a\": its levels must not be empty")),
        ];
        for (pairs, expected) in cases {
            assert_eq!(find_mistake(&hosts(pairs)).as_deref(), expected, "{pairs:?}");
        }
    }
}
