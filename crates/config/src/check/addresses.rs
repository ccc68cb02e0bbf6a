//! No two listeners, the HTTP one included, on the same port of overlapping addresses.
//!
//! The kernel would catch most of this when the second port is opened; but listeners may share ports between threads, and then
//! the kernel silently deals connections out to both.

use std::net::{IpAddr, SocketAddr};

use crate::findings::{Findings, Part, item};
use crate::schema::Config;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let mut addresses: Vec<(String, String, SocketAddr)> = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        let path = format!("{}.bind", item("listener", index));
        addresses.push((path, format!("listener `{}`", listener.name), listener.bind));
    }
    if let Some(http) = &config.http {
        addresses.push(("http.bind".to_owned(), "`[http]`".to_owned(), http.bind));
    }
    for (index, (path, _, address)) in addresses.iter().enumerate() {
        let taken = addresses.iter().take(index).find(|(_, _, earlier)| overlap(*earlier, *address));
        let Some((other_path, owner, other)) = taken else { continue };
        let note = findings.line_note(other_path);
        let message = if other == address {
            format!("{address} is already used by {owner}{note}")
        } else {
            format!("{address} overlaps with {other}, which is used by {owner}{note}")
        };
        findings.error(path, Part::Value, message, Some("choose another port".to_owned()));
    }
}

/// Port 0 is a different free port every time. `[::]` takes IPv4 connections too, unless the system was told otherwise.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    if one.port() != other.port() || one.port() == 0 {
        return false;
    }
    let (one, other) = (one.ip().to_canonical(), other.ip().to_canonical());
    one == other || covers(one, other) || covers(other, one)
}

fn covers(wide: IpAddr, narrow: IpAddr) -> bool {
    wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wildcard addresses cover the others; loopback addresses and port 0 are apart.
    #[test]
    fn knows_which_addresses_overlap() {
        for (one, other, expected) in [
            ("127.0.0.1:1883", "127.0.0.1:1883", true),
            ("0.0.0.0:1883", "127.0.0.1:1883", true),
            ("[::]:1883", "127.0.0.1:1883", true),
            ("[::]:1883", "0.0.0.0:1883", true),
            ("[::]:1883", "[::1]:1883", true),
            ("[::ffff:127.0.0.1]:1883", "127.0.0.1:1883", true),
            ("0.0.0.0:1883", "[::1]:1883", false),
            ("127.0.0.1:1883", "127.0.0.2:1883", false),
            ("127.0.0.1:1883", "127.0.0.1:1884", false),
            ("127.0.0.1:1883", "[::1]:1883", false),
            ("0.0.0.0:0", "0.0.0.0:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
