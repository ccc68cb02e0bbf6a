//! The server's side of the opening handshake (RFC 6455 section 4.2): an HTTP request in, the answer out.
//!
//! The request may come in any pieces; it is parsed once, when its end has been seen. Extensions are declined by not
//! mentioning them. How long a client may take is the driver's to decide.

use std::sync::Arc;

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

use super::refusal::{HandshakeError, Refusal};

/// The longest request, from the method to the empty line.
const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The most header fields of a request.
const HEADERS_MAX: usize = 64;

/// RFC 6455 section 1.3: what is appended to the client's key before it is hashed.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a listener asks of a handshake; shared by its connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandshakeOptions {
    /// The only path that is served, without query. `None`: any.
    pub path: Option<String>,
    /// The origins whose pages may connect (`https://example.org`). Empty: any. A request without `Origin` passes in
    /// either case, because only browsers send it and only browsers are protected by it.
    pub origins: Vec<String>,
    /// The sub-protocols that are served, such as `mqtt` and `v12.stomp`: tokens of the operator or the program.
    pub subprotocols: Vec<String>,
    /// What a client that offers no sub-protocol speaks. `None`: its messages will tell.
    pub default_subprotocol: Option<String>,
}

/// A handshake that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// So many bytes of the last input belong to the request; frames follow.
    pub consumed: usize,
    /// The 101 answer, to be sent before any frame.
    pub response: Vec<u8>,
    /// What is spoken from now on: the client's first choice that is served, or the default. `None`: the client has offered nothing and
    /// there is no default.
    pub subprotocol: Option<String>,
}

/// One connection's handshake. It is thrown away when it has answered.
#[derive(Debug)]
pub struct Handshake {
    options: Arc<HandshakeOptions>,
    request: Vec<u8>,
}

impl Handshake {
    /// A handshake that has seen nothing yet.
    pub fn new(options: Arc<HandshakeOptions>) -> Self {
        Self { options, request: Vec::new() }
    }

    /// Takes the next bytes. `None`: the request is not complete yet, and all of `input` has been kept.
    ///
    /// # Errors
    ///
    /// The request is refused; the error holds the HTTP answer, after which the connection is to be closed.
    pub fn handle_bytes(&mut self, input: &[u8]) -> Result<Option<Accepted>, HandshakeError> {
        self.advance(input).map_err(|refusal| refusal.into_error(&self.options.subprotocols))
    }

    fn advance(&mut self, input: &[u8]) -> Result<Option<Accepted>, Refusal> {
        let kept = self.request.len();
        let taken = input.len().min(REQUEST_BYTES_MAX - kept);
        self.request.extend_from_slice(input.get(..taken).unwrap_or_default());
        refuse_other_protocols(&self.request)?;
        // The end may have begun in the three bytes before this input; what lies further back has been searched.
        let Some(end) = find_end(&self.request, kept.saturating_sub(3)) else {
            return if self.request.len() >= REQUEST_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(None) };
        };
        let (response, subprotocol) = answer(self.request.get(..end).unwrap_or_default(), &self.options)?;
        Ok(Some(Accepted { consumed: end.saturating_sub(kept), response, subprotocol }))
    }
}

/// Other protocols have no empty line to wait for, so they are told apart by how an HTTP request begins: a method in
/// capital letters and a space.
fn refuse_other_protocols(request: &[u8]) -> Result<(), Refusal> {
    const METHOD_BYTES_MAX: usize = 16;
    let start = request.get(..METHOD_BYTES_MAX).unwrap_or(request);
    match start.iter().position(|byte| !byte.is_ascii_uppercase()) {
        Some(method_len) if method_len > 0 && start.get(method_len) == Some(&b' ') => Ok(()),
        None if start.len() < METHOD_BYTES_MAX => Ok(()),
        _ => Err(Refusal::NotHttp),
    }
}

/// The position behind the empty line that ends a request, searched from `from` on.
fn find_end(request: &[u8], from: usize) -> Option<usize> {
    let unsearched = request.get(from..)?;
    unsearched.windows(4).position(|window| window == b"\r\n\r\n").map(|position| from + position + 4)
}

fn answer(request: &[u8], options: &HandshakeOptions) -> Result<(Vec<u8>, Option<String>), Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Err(httparse::Error::Version) => return Err(Refusal::HttpVersion),
        Err(_) => return Err(Refusal::Malformed),
    }
    let fields = Fields(parsed.headers);
    check_request_line(&parsed.method, &parsed.version)?;
    check_upgrade(&fields)?;
    check_path(parsed.path.unwrap_or_default(), options)?;
    let key = check_key(&fields)?;
    check_origin(&fields, &options.origins)?;
    let named = choose_subprotocol(&fields, options)?;
    let spoken = named.or(options.default_subprotocol.as_deref());
    Ok((accept_response(key, named), spoken.map(str::to_owned)))
}

/// RFC 6455 section 4.2.1, item 1.
fn check_request_line(method: &Option<&str>, version: &Option<u8>) -> Result<(), Refusal> {
    if *version != Some(1) {
        return Err(Refusal::HttpVersion);
    }
    if *method != Some("GET") {
        return Err(Refusal::Method);
    }
    Ok(())
}

/// RFC 6455 section 4.2.1, items 2, 3, 4 and 6.
fn check_upgrade(fields: &Fields<'_>) -> Result<(), Refusal> {
    if fields.all("host").count() != 1 {
        return Err(Refusal::Malformed);
    }
    if !fields.has_token("upgrade", "websocket") || !fields.has_token("connection", "upgrade") {
        return Err(Refusal::NotUpgrade);
    }
    if fields.only("sec-websocket-version") != Some(b"13") {
        return Err(Refusal::WebSocketVersion);
    }
    Ok(())
}

fn check_path(target: &str, options: &HandshakeOptions) -> Result<(), Refusal> {
    let Some(served) = &options.path else { return Ok(()) };
    let path = target.split(['?', '#']).next().unwrap_or_default();
    // The target may be a whole URI (RFC 9112 section 3.2.2), whose path begins after the host.
    let path = match path.split_once("://") {
        Some((_, after_scheme)) => {
            after_scheme.find('/').and_then(|start| after_scheme.get(start..)).unwrap_or("/")
        }
        None => path,
    };
    if path == served { Ok(()) } else { Err(Refusal::Path) }
}

/// RFC 6455 section 4.2.1, item 5.
fn check_key<'a>(fields: &Fields<'a>) -> Result<&'a [u8], Refusal> {
    let key = fields.only("sec-websocket-key").ok_or(Refusal::Key)?;
    let is_key = key.len() == 24 && BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16);
    if is_key { Ok(key) } else { Err(Refusal::Key) }
}

/// RFC 6455 section 10.2. Scheme and host do not distinguish case (RFC 6454 section 4).
fn check_origin(fields: &Fields<'_>, allowed: &[String]) -> Result<(), Refusal> {
    let is_allowed = |origin: &[u8]| allowed.iter().any(|one| one.as_bytes().eq_ignore_ascii_case(origin));
    if allowed.is_empty() || fields.all("origin").all(is_allowed) { Ok(()) } else { Err(Refusal::Origin) }
}

/// RFC 6455 section 4.2.2, item 5 (`/subprotocol/`): the client's first choice that is served. Nothing where the client offers nothing: a
/// name that it has not offered must not stand in the answer.
fn choose_subprotocol<'a>(
    fields: &Fields<'_>,
    options: &'a HandshakeOptions,
) -> Result<Option<&'a str>, Refusal> {
    let mut offers = fields.tokens("sec-websocket-protocol").peekable();
    if offers.peek().is_none() {
        return Ok(None);
    }
    offers
        .find_map(|offer| options.subprotocols.iter().find(|served| served.as_bytes() == offer))
        .map(|served| Some(served.as_str()))
        .ok_or(Refusal::Subprotocol)
}

/// RFC 6455 section 4.2.2, item 5.
fn accept_response(key: &[u8], subprotocol: Option<&str>) -> Vec<u8> {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    let accept = BASE64.encode(&digest);
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n"
    );
    if let Some(name) = subprotocol {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(name);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    response.into_bytes()
}

/// The header fields of a request, found by name without distinction of case.
struct Fields<'a>(&'a [httparse::Header<'a>]);

impl<'a> Fields<'a> {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value.trim_ascii())
    }

    /// The value of a field that stands exactly once.
    fn only(&self, name: &'static str) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The elements of a comma-separated field, over all of its lines.
    fn tokens(&self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(name)
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|token| !token.is_empty())
    }

    fn has_token(&self, name: &'static str, token: &str) -> bool {
        self.tokens(name).any(|one| one.eq_ignore_ascii_case(token.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
