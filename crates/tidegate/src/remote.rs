//! A gateway that runs, asked over HTTP: one request a connection, an answer of bounded size.

use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting, asking and each piece of the answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer: more than a gateway gives.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why a gateway did not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LiveError {
    #[error("{0:?} is not like http://127.0.0.1:8080")]
    Url(String),
    #[error("{place}: {source}")]
    Io { place: String, source: io::Error },
    #[error("{0}: this is no answer of a gateway")]
    Strange(String),
    #[error("{place}: {problem}")]
    Refused { place: String, problem: String },
}

/// What a gateway says when it cannot answer.
#[derive(serde::Deserialize)]
struct Refusal {
    error: String,
}

/// The HTTP listener of a gateway.
pub(crate) struct Gateway {
    /// Host and port.
    place: String,
}

impl Gateway {
    pub(crate) fn at(url: &str) -> Result<Gateway, LiveError> {
        let wrong = || LiveError::Url(url.to_owned());
        let place = url.strip_prefix("http://").ok_or_else(wrong)?;
        let place = place.strip_suffix('/').unwrap_or(place);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if place.is_empty() || !place.chars().all(is_plain) {
            return Err(wrong());
        }
        let has_port = place.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Gateway { place: if has_port { place.to_owned() } else { format!("{place}:80") } })
    }

    /// Asks about the messages of a queue.
    pub(crate) fn ask_about<T: DeserializeOwned>(&self, queue: &str, count: usize) -> Result<T, LiveError> {
        self.ask(&format!("/store/queues/{}?count={count}", percent_encoded(queue)))
    }

    /// The answer to a GET request.
    pub(crate) fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, LiveError> {
        let answer = self.get(path).map_err(|source| LiveError::Io { place: self.place.clone(), source })?;
        let strange = || LiveError::Strange(self.place.clone());
        let text = String::from_utf8(answer).map_err(|_| strange())?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or_else(strange)?;
        let status = head.split(' ').nth(1).ok_or_else(strange)?;
        if status != "200" {
            let refusal = serde_json::from_str::<Refusal>(body);
            let problem = refusal.map_or_else(|_| format!("the status is {status}"), |refusal| refusal.error);
            return Err(LiveError::Refused { place: self.place.clone(), problem });
        }
        serde_json::from_str(body).map_err(|_| strange())
    }

    fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.place)?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in self.place.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// Everything but letters, digits and what means nothing in a path.
fn percent_encoded(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~/:$".contains(&byte) {
            true => text.push(char::from(byte)),
            false => text += &format!("%{byte:02X}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_host_and_a_port() {
        for (url, place) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://edge-1.example/", "edge-1.example:80"),
            ("http://[::1]:8080/", "[::1]:8080"),
        ] {
            assert_eq!(Gateway::at(url).unwrap().place, place);
        }
        for url in ["", "http://", "https://a", "127.0.0.1:8080", "http://a/b", "http://a b"] {
            assert!(Gateway::at(url).is_err(), "{url}");
        }
    }

    #[test]
    fn names_are_written_into_a_path() {
        assert_eq!(percent_encoded("$share/g/a/#?ä"), "$share/g/a/%23%3F%C3%A4");
    }
}
