//! Where a cluster is: `kafka://host:9092,host:9092`, or `kafka+tls://` for an encrypted connection.
//!
//! Any of the servers tells of all the others, so one address names several servers of one cluster; another cluster is another
//! address. Users and passwords have no place here.

use std::fmt;
use std::str::FromStr;
use tidegate_bridge::Place;

/// Servers of one address at most.
const SERVERS_MAX: usize = 64;
const PORT: u16 = 9092;

/// The servers of a cluster that are asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    servers: Vec<String>,
    is_encrypted: bool,
}

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another protocol's, or none.
    #[error("an address of Kafka begins with `kafka://` or `kafka+tls://`")]
    Scheme,
    /// It would be printed with the address.
    #[error("user and password do not stand in the address, but in `sasl`")]
    User,
    /// There is more than servers.
    #[error("an address of Kafka has no path: servers are written `host:port`, with `,` between them")]
    Path,
    /// A server cannot be understood.
    #[error("`{0}` is no server: it is written `host` or `host:port`")]
    Server(String),
    /// Too many of them.
    #[error("an address has at most {SERVERS_MAX} servers")]
    TooMany,
}

impl Bootstrap {
    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Whether all of its servers are on this machine.
    pub(crate) fn is_of_this_machine(&self) -> bool {
        self.servers.iter().all(|server| {
            let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
            let host = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }

    /// As the client library wants it.
    pub(crate) fn servers(&self) -> String {
        self.servers.join(",")
    }
}

impl fmt::Display for Bootstrap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "kafka+tls" } else { "kafka" };
        write!(formatter, "{scheme}://{}", self.servers())
    }
}

impl FromStr for Bootstrap {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Bootstrap, AddressError> {
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let is_encrypted = match scheme {
            "kafka" => false,
            "kafka+tls" => true,
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains('@') {
            return Err(AddressError::User);
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(AddressError::Path);
        }
        if rest.split(',').count() > SERVERS_MAX {
            return Err(AddressError::TooMany);
        }
        let servers = rest.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(Bootstrap { servers, is_encrypted })
    }
}

/// One server with its port. An IPv6 address stands in brackets.
fn server(text: &str) -> Result<String, AddressError> {
    let Place { host, port } = Place::parse(text).map_err(|_| AddressError::Server(text.to_owned()))?;
    let port = port.unwrap_or(PORT);
    Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_printed_with_its_ports() {
        for (text, printed) in [
            ("kafka://a", "kafka://a:9092"),
            ("kafka://a:1,b.example:2/", "kafka://a:1,b.example:2"),
            ("kafka+tls://[::1]:9093,[fe80::1]", "kafka+tls://[::1]:9093,[fe80::1]:9092"),
        ] {
            assert_eq!(text.parse::<Bootstrap>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("a:9092", AddressError::Scheme),
            ("mqtt://a", AddressError::Scheme),
            ("kafka://user:secret@a", AddressError::User),
            ("kafka://a/topic", AddressError::Path),
            ("kafka://", AddressError::Server(String::new())),
            ("kafka://a,", AddressError::Server(String::new())),
            ("kafka://a:", AddressError::Server("a:".to_owned())),
            ("kafka://a:0", AddressError::Server("a:0".to_owned())),
            ("kafka://a:66000", AddressError::Server("a:66000".to_owned())),
            ("kafka://[::1", AddressError::Server("[::1".to_owned())),
            ("kafka://[::1]9092", AddressError::Server("[::1]9092".to_owned())),
            ("kafka://a b", AddressError::Server("a b".to_owned())),
        ] {
            assert_eq!(text.parse::<Bootstrap>(), Err(error), "{text}");
        }
        let many = format!("kafka://{}", vec!["a"; SERVERS_MAX + 1].join(","));
        assert_eq!(many.parse::<Bootstrap>(), Err(AddressError::TooMany));
    }
}
