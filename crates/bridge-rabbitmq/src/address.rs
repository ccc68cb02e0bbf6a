//! Where a RabbitMQ is, and who connects to it: `amqps://user:password@host:port/vhost`.
//!
//! Read here and not by the client library, because what is shown of it may hold no secret, and because nothing that is written behind a
//! `?` may change how the library works.

use std::fmt;
use tidegate_bridge::{Place, PlaceError, percent_decoded};

/// The longest address that is read, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;

/// The address of one RabbitMQ. It shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct RabbitMqAddress {
    pub(crate) is_encrypted: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
    pub(crate) user: Option<User>,
}

/// Who connects.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// Why a text is no address. Says nothing of what stands in it: it may be a password at the wrong place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than any address.
    #[error("an address has at most {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// It does not begin with a scheme that is known.
    #[error("an address of RabbitMQ begins with amqp:// or amqps://")]
    Scheme,
    /// There is no host, or it has characters that no host has.
    #[error("the host of the address is missing or malformed")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port of the address is no number from 1 to 65535")]
    Port,
    /// A `%` without two hexadecimal digits, or what they stand for is no text.
    #[error(
        "a % in the address is not followed by two hexadecimal digits, or stands for no text (a % itself is %25)"
    )]
    Percent,
    /// More than one `/` behind the host.
    #[error("the virtual host of the address has a / in it, which is written %2F")]
    VirtualHost,
    /// User, password or virtual host are longer than the protocol can say.
    #[error("user and virtual host have at most 255 bytes each")]
    NameTooLong,
    /// A `?` or a `#`.
    #[error("an address has no ? and no #; where they belong to a password they are written %3F and %23")]
    Query,
}

impl From<PlaceError> for AddressError {
    fn from(error: PlaceError) -> AddressError {
        match error {
            PlaceError::Host => AddressError::Host,
            PlaceError::Port => AddressError::Port,
        }
    }
}

impl RabbitMqAddress {
    /// Reads an address. Without a port it is 5672 (5671 for `amqps`), without a virtual host `/`, without a user RabbitMQ's `guest`.
    pub fn parse(text: &str) -> Result<RabbitMqAddress, AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let (is_encrypted, default_port) = match scheme {
            "amqp" => (false, 5672),
            "amqps" => (true, 5671),
            _ => return Err(AddressError::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        let (authority, vhost) = match rest.split_once('/') {
            Some((_, vhost)) if vhost.contains('/') => return Err(AddressError::VirtualHost),
            // A virtual host without a name is nobody's; a `/` at the end is what addresses end in.
            Some((authority, "")) => (authority, "/".to_owned()),
            Some((authority, vhost)) => (authority, decode(vhost)?),
            None => (rest, "/".to_owned()),
        };
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(User::parse(user)?), place),
            None => (None, authority),
        };
        let Place { host, port } = Place::parse(place)?;
        let port = port.unwrap_or(default_port);
        let longest = user.as_ref().map_or(0, |user| user.name.len()).max(vhost.len());
        if longest > 255 {
            return Err(AddressError::NameTooLong);
        }
        Ok(RabbitMqAddress { is_encrypted, host, port, vhost, user })
    }

    /// Whether the connection is encrypted (`amqps`).
    pub fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Whether user and password stand in it.
    pub fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// The same address, with another password for its user. Without a user nothing changes.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> RabbitMqAddress {
        if let Some(user) = &mut self.user {
            password.clone_into(&mut user.password);
        }
        self
    }

    /// The host, as it is looked up and as its certificate has to name it.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl User {
    fn parse(text: &str) -> Result<User, AddressError> {
        let (name, password) = text.split_once(':').unwrap_or((text, ""));
        Ok(User { name: decode(name)?, password: decode(password)? })
    }
}

impl fmt::Display for RabbitMqAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted { "amqps" } else { "amqp" };
        let vhost = if self.vhost == "/" { "" } else { &self.vhost };
        match self.host.contains(':') {
            true => write!(formatter, "{scheme}://[{}]:{}/{vhost}", self.host, self.port),
            false => write!(formatter, "{scheme}://{}:{}/{vhost}", self.host, self.port),
        }
    }
}

impl fmt::Debug for RabbitMqAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RabbitMqAddress({self})")
    }
}

fn decode(text: &str) -> Result<String, AddressError> {
    percent_decoded(text).ok_or(AddressError::Percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_names_user_host_port_and_virtual_host() {
        let address =
            RabbitMqAddress::parse("amqps://gate%40way:s%3A%2Fcret@broker.example:5699/plant%2F7").unwrap();
        assert!(address.is_encrypted);
        assert_eq!(
            (address.host.as_str(), address.port, address.vhost.as_str()),
            ("broker.example", 5699, "plant/7")
        );
        let user = address.user.unwrap();
        assert_eq!((user.name.as_str(), user.password.as_str()), ("gate@way", "s:/cret"));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let plain = RabbitMqAddress::parse("amqp://h").unwrap();
        assert_eq!((plain.port, plain.vhost.as_str(), plain.user.is_none()), (5672, "/", true));
        assert_eq!(RabbitMqAddress::parse("amqp://h:1/").unwrap().vhost, "/");
        let encrypted = RabbitMqAddress::parse("amqps://[::1]/v").unwrap();
        assert_eq!((encrypted.host.as_str(), encrypted.port, encrypted.vhost.as_str()), ("::1", 5671, "v"));
    }

    #[test]
    fn neither_user_nor_password_is_shown() {
        let address = RabbitMqAddress::parse("amqp://gateway:secret@h:1/v").unwrap();
        assert_eq!(address.to_string(), "amqp://h:1/v");
        assert_eq!(format!("{address:?}"), "RabbitMqAddress(amqp://h:1/v)");
        let address = RabbitMqAddress::parse("amqps://gateway:secret@[::1]").unwrap();
        assert_eq!(address.to_string(), "amqps://[::1]:5671/");
    }

    #[test]
    fn texts_that_are_no_addresses_are_told_apart() {
        let cases = [
            ("broker:5672", AddressError::Scheme),
            ("http://broker", AddressError::Scheme),
            ("amqp://", AddressError::Host),
            ("amqp://u:p@:5672", AddressError::Host),
            ("amqp://[::1", AddressError::Host),
            ("amqp://[x]", AddressError::Host),
            ("amqp://a b", AddressError::Host),
            ("amqp://h:0", AddressError::Port),
            ("amqp://h:65536", AddressError::Port),
            ("amqp://u:p%4@h", AddressError::Percent),
            ("amqp://u:p%ff@h", AddressError::Percent),
            ("amqp://h/a/b", AddressError::VirtualHost),
            ("amqp://h/v?heartbeat=1", AddressError::Query),
        ];
        for (text, expected) in cases {
            assert_eq!(RabbitMqAddress::parse(text), Err(expected), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "(amqps?://)?[a-z:@/%\\[\\]0-9é]{0,40}") {
            let _ = RabbitMqAddress::parse(&text);
        }

        #[test]
        fn a_secret_is_in_no_error_and_nothing_that_is_shown(host in ".{0,10}") {
            let text = format!("amqp://gateway:Kennwort@{host}");
            let shown = match RabbitMqAddress::parse(&text) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("Kennwort"), "{}", shown);
        }
    }
}
