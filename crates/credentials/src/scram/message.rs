//! The client's two messages (RFC 5802 section 7).

use crate::secret::Hash;
use data_encoding::BASE64;

/// No message of a client is longer: a name, a nonce, and some fixed letters.
const MESSAGE_BYTES_MAX: usize = 2048;
/// The client's half of the nonce.
const NONCE_BYTES_MAX: usize = 512;

/// `client-first-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    /// `gs2-header`.
    pub(super) header: &'a str,
    /// `client-first-message-bare`.
    pub(super) bare: &'a str,
    pub(super) user: String,
    pub(super) nonce: &'a str,
}

/// `client-final-message`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    pub(super) channel: &'a str,
    pub(super) nonce: &'a str,
    pub(super) without_proof: &'a str,
    pub(super) proof: Hash,
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<ClientFirst<'a>> {
        let text = text(data)?;
        let (flag, rest) = text.split_once(',')?;
        let (authorization, bare) = rest.split_once(',')?;
        // "p=" asks for channel binding, which only SCRAM-SHA-256-PLUS has.
        if flag != "n" && flag != "y" {
            return None;
        }
        let header = text.get(..text.len() - bare.len())?;
        let mut parts = bare.split(',');
        // "m=" in front would be an extension that must be understood.
        let user = unescape(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| is_nonce(nonce))?;
        // Acting for somebody else is not possible; naming oneself twice is.
        let acts_for = match authorization {
            "" => user.clone(),
            named => unescape(named.strip_prefix("a=")?)?,
        };
        (acts_for == user && !user.is_empty()).then_some(ClientFirst { header, bare, user, nonce })
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(data: &'a [u8]) -> Option<ClientFinal<'a>> {
        let (without_proof, proof) = text(data)?.rsplit_once(",p=")?;
        let mut parts = without_proof.split(',');
        let channel = parts.next()?.strip_prefix("c=")?;
        let nonce = parts.next()?.strip_prefix("r=")?;
        let proof = Hash::try_from(BASE64.decode(proof.as_bytes()).ok()?).ok()?;
        Some(ClientFinal { channel, nonce, without_proof, proof })
    }
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok().filter(|text| text.len() <= MESSAGE_BYTES_MAX && !text.contains('\0'))
}

/// `printable`: visible ASCII but the comma.
fn is_nonce(nonce: &str) -> bool {
    let is_printable = |byte: u8| byte.is_ascii_graphic() && byte != b',';
    (1..=NONCE_BYTES_MAX).contains(&nonce.len()) && nonce.bytes().all(is_printable)
}

/// `saslname`: a comma is `=2C`, an equals sign `=3D`, and no other may stand there.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => plain.extend([",", rest]),
            (_, Some(rest)) => plain.extend(["=", rest]),
            _ => return None,
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped() {
        for (text, expected) in [
            ("ann", Some("ann")),
            ("a=2Cb=3Dc", Some("a,b=c")),
            ("=2C", Some(",")),
            ("a=2cb", None),
            ("a=", None),
            ("a=4", None),
        ] {
            assert_eq!(unescape(text).as_deref(), expected, "{text}");
        }
    }

    /// RFC 5802 section 7: what a client may say first, and what it may not.
    #[test]
    fn first_messages() {
        let parsed = ClientFirst::parse(b"n,a=ann,n=ann,r=abc,x=later").unwrap();
        assert_eq!((parsed.header, parsed.bare), ("n,a=ann,", "n=ann,r=abc,x=later"));
        assert_eq!((&*parsed.user, parsed.nonce), ("ann", "abc"));
        assert_eq!(ClientFirst::parse(b"y,,n=a=2Cb,r=abc").unwrap().user, "a,b");
        for wrong in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=ann",
            "n,,n=,r=abc",
            "n,,n=ann,r=",
            "n,,n=ann,r=a b",
            "n,,r=abc,n=ann",
            "n,,m=must,n=ann,r=abc",
            "n,a=bob,n=ann,r=abc",
            "p=tls-exporter,,n=ann,r=abc",
            "x,,n=ann,r=abc",
            "n,,n=a\0b,r=abc",
        ] {
            assert_eq!(ClientFirst::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(ClientFirst::parse(b"n,,n=\xff,r=abc"), None);
        let long = format!("n,,n=ann,r={}", "r".repeat(513));
        assert_eq!(ClientFirst::parse(long.as_bytes()), None);
    }

    #[test]
    fn last_messages() {
        let proof = BASE64.encode(&[7; 32]);
        let text = format!("c=biws,r=abc,x=1,p={proof}");
        let parsed = ClientFinal::parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.channel, parsed.nonce, parsed.without_proof), ("biws", "abc", "c=biws,r=abc,x=1"));
        assert_eq!(parsed.proof, [7; 32]);
        for wrong in
            ["", "c=biws", "c=biws,r=abc", "c=biws,r=abc,p=", "c=biws,r=abc,p=AAAA", "r=abc,c=biws,p=AAAA"]
        {
            assert_eq!(ClientFinal::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
