//! A GET request and the sum of a metric: enough of HTTP to look at the gateway from outside.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::DEADLINE;

/// An answer of the HTTP listener.
pub(crate) struct HttpResponse {
    /// The status code.
    pub(crate) status: u16,
    /// The headers as sent, in lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

/// Sends one GET request on a connection of its own.
pub(crate) fn get(port: u16, path: &str) -> HttpResponse {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the HTTP listener accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        .expect("a request can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the answer is text and ends");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("an answer has a status");
    HttpResponse { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The sum over all series of `name` whose labels contain every one of `labels` (each written `name="value"`).
pub(crate) fn metric_sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    metrics
        .lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter(|rest| labels.iter().all(|label| rest.contains(label)))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
