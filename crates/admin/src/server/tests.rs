//! The HTTP port over real sockets on the loopback address.

use super::*;
use crate::metrics::tests::{node, node_on};
use crate::readiness::Stage;
use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use tidegate_message::Topic;
use tidegate_storage::record::QueueRecord;
use tidegate_storage::{Change, MemoryStorage, Storage, StreamId, Urgency};

/// No test waits as long as this; it only turns a hang into a failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// So long that no test sees it pass.
const NEVER: Duration = Duration::from_secs(3600);

const PATIENT: Limits =
    Limits { header_timeout: NEVER, connection_timeout: NEVER, stop_timeout: DEADLINE, ..LIMITS };

/// What is told of a node without bridges.
fn of(node: Arc<Node>) -> impl FnOnce(SystemTime) -> NodeCollector {
    |started| NodeCollector { node, started, bridges: BridgeSource::default() }
}

fn serve(limits: Limits) -> (AdminServer, Readiness) {
    let readiness = Readiness::default();
    let bound = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    (bound.serve_within(limits, readiness.clone(), Pages::default(), of(node())).unwrap(), readiness)
}

/// A server with two files and a way to the first.
fn serve_pages() -> AdminServer {
    let mut pages = Pages::new("default-src 'none'");
    pages.add("/demo/", "text/html; charset=utf-8", "<!doctype html>");
    pages.add("/demo/main.js", "text/javascript", "start();");
    pages.redirect("/", "/demo/");
    let bound = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    bound.serve_within(PATIENT, Readiness::default(), pages, of(node())).unwrap()
}

fn connect(server: &AdminServer) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Everything until the server closes the connection, also where it closes with unread bytes.
fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
    String::from_utf8(answer).unwrap()
}

/// The status and the whole answer to a request on a connection of its own.
fn ask(server: &AdminServer, method: &str, path: &str) -> (u16, String) {
    ask_with(server, method, path, "")
}

/// As [`ask`], with more headers, each ended by a line break.
fn ask_with(server: &AdminServer, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = connect(server);
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    let answer = read_to_end(stream);
    let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default();
    (status, answer)
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// A process that answers is alive, in whatever stage it is.
#[test]
fn health_is_ok_in_every_stage() {
    let (server, readiness) = serve(PATIENT);
    for stage in [Stage::Starting, Stage::Ready, Stage::Stopping] {
        readiness.set(stage);
        let (status, answer) = ask(&server, "GET", "/healthz");
        assert_eq!((status, body(&answer)), (200, "ok"));
    }
    server.stop();
}

/// A gateway whose disk fails serves on and says so.
#[test]
fn a_failing_store_leaves_the_gateway_ready() {
    let storage = Arc::new(MemoryStorage::manual());
    let readiness = Readiness::default();
    let bound = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let node = node_on(Some(storage.clone()));
    let server = bound.serve_within(PATIENT, readiness.clone(), Pages::default(), of(node)).unwrap();
    readiness.set(Stage::Ready);
    let ready = || {
        let (status, answer) = ask(&server, "GET", "/readyz");
        (status, body(&answer).to_owned())
    };
    assert_eq!(ready(), (200, "ready".to_owned()));
    storage.set_failing(true);
    assert_eq!(ready(), (200, "degraded: the store is failing".to_owned()));
    readiness.set(Stage::Stopping);
    assert_eq!(ready(), (503, "stopping".to_owned()));
    server.stop();
}

/// Traffic is wanted between starting and stopping only, and the answer says which it is.
#[test]
fn readiness_follows_the_stage() {
    let (server, readiness) = serve(PATIENT);
    let ready = |status: u16, reason: &str| {
        let (answered, answer) = ask(&server, "GET", "/readyz");
        assert_eq!((answered, body(&answer)), (status, reason));
    };
    ready(503, "starting");
    readiness.set(Stage::Ready);
    ready(200, "ready");
    readiness.set(Stage::Stopping);
    ready(503, "stopping");
    server.stop();
}

/// OpenMetrics 1.0, "Content-Type"; HTTP connections are in no metric.
#[test]
fn metrics_are_openmetrics_text() {
    let (server, _) = serve(PATIENT);
    let (status, answer) = ask(&server, "GET", "/metrics");
    assert_eq!(status, 200);
    let content_type = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
    assert!(answer.contains(content_type), "{answer}");
    assert!(answer.contains("\ntidegate_connections_opened_total{protocol=\"mqtt\"} 0\n"), "{answer}");
    assert!(answer.ends_with("\n# EOF\n"), "{answer}");
    server.stop();
}

/// HEAD is answered like GET, without the body.
#[test]
fn head_has_no_body() {
    let (server, _) = serve(PATIENT);
    let (status, answer) = ask(&server, "HEAD", "/metrics");
    assert_eq!((status, body(&answer)), (200, ""));
    server.stop();
}

/// RFC 9110 sections 15.5.5 and 15.5.6.
#[test]
fn unknown_paths_and_methods_are_refused() {
    let (server, _) = serve(PATIENT);
    for path in ["/", "/nothing-here", "/metrics/", "/healthz/x", "/../metrics"] {
        assert_eq!(ask(&server, "GET", path).0, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let (status, answer) = ask(&server, method, "/metrics");
        assert_eq!(status, 405, "{method}");
        assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
    }
    server.stop();
}

/// Files come with their type, and with headers that keep a browser from guessing, framing and leaking.
#[test]
fn pages_are_served_with_strict_headers() {
    let server = serve_pages();
    for (path, content_type, content) in [
        ("/demo/", "text/html; charset=utf-8", "<!doctype html>"),
        ("/demo/main.js", "text/javascript", "start();"),
    ] {
        let (status, answer) = ask(&server, "GET", path);
        assert_eq!((status, body(&answer)), (200, content));
        for header in [
            &format!("content-type: {content_type}"),
            "content-security-policy: default-src 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-cache",
            &format!("content-length: {}", content.len()),
        ] {
            assert!(answer.contains(&format!("\r\n{header}\r\n")), "{header} is missing in {answer}");
        }
    }
    server.stop();
}

/// RFC 9110 section 13.1.2: the tag of an answer spares the next one its body; any other tag does not.
#[test]
fn a_page_that_the_client_has_is_not_sent_again() {
    let server = serve_pages();
    let (_, answer) = ask(&server, "GET", "/demo/main.js");
    let etag = answer.split("\r\netag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let condition = format!("if-none-match: {known}\r\n");
        let (status, answer) = ask_with(&server, "GET", "/demo/main.js", &condition);
        assert_eq!((status, body(&answer)), (304, ""), "{known}");
        assert!(answer.contains(&format!("\r\netag: {etag}\r\n")), "{answer}");
    }
    for unknown in ["\"other\"", etag.trim_matches('"'), ""] {
        let condition = format!("if-none-match: {unknown}\r\n");
        assert_eq!(ask_with(&server, "GET", "/demo/main.js", &condition).0, 200, "{unknown}");
    }
    assert_eq!(ask_with(&server, "GET", "/demo/", &format!("if-none-match: {etag}\r\n")).0, 200);
    server.stop();
}

/// HEAD has the headers of GET; other methods are refused; a redirect names its target; neighbours of a path are nowhere.
#[test]
fn pages_answer_what_they_are_for() {
    let server = serve_pages();
    let (status, answer) = ask(&server, "HEAD", "/demo/main.js");
    assert_eq!((status, body(&answer)), (200, ""));
    assert!(answer.contains("\r\ncontent-length: 8\r\n"), "{answer}");
    let (status, answer) = ask(&server, "GET", "/");
    assert_eq!(status, 307);
    assert!(answer.contains("\r\nlocation: /demo/\r\n"), "{answer}");
    for path in ["/", "/demo/"] {
        let (status, answer) = ask(&server, "POST", path);
        assert_eq!(status, 405, "{path}");
        assert!(answer.contains("allow: GET,HEAD\r\n"), "{answer}");
    }
    for path in ["/demo", "/demo/main.js/", "/demo/../demo/main.js", "/demo/%6dain.js", "//demo/"] {
        assert_eq!(ask(&server, "GET", path).0, 404, "{path}");
    }
    assert_eq!(ask(&server, "GET", "/demo/main.js?x=1").0, 200);
    assert_eq!(ask(&server, "GET", "/healthz").0, 200);
    server.stop();
}

/// What is no HTTP request is answered with 400 and a request without end with 431; the next client is served.
#[test]
fn malformed_and_oversized_requests_are_refused() {
    let (server, _) = serve(PATIENT);
    let mut garbage = connect(&server);
    garbage.write_all(b"\x10\x0c\x00\x04MQTT\x04\x02\r\n\r\n").unwrap();
    assert!(read_to_end(garbage).starts_with("HTTP/1.1 400 "));

    let mut endless = connect(&server);
    // Not a byte more than the limit: nothing is left unread that could reset the connection under the answer.
    let mut request = b"GET /metrics HTTP/1.1\r\nx: ".to_vec();
    request.resize(LIMITS.header_bytes, b'a');
    endless.write_all(&request).unwrap();
    assert!(read_to_end(endless).starts_with("HTTP/1.1 431 "));
    assert_eq!(ask(&server, "GET", "/healthz").0, 200);
    server.stop();
}

/// A connection carries one request: what a client sends after it is not answered.
#[test]
fn one_request_a_connection() {
    let (server, _) = serve(PATIENT);
    let mut stream = connect(&server);
    let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.repeat(2).as_bytes()).unwrap();
    let answer = read_to_end(stream);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 1, "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    server.stop();
}

/// One connection more than the limit is told so and closed; when another ends there is room again.
#[test]
fn connections_above_the_limit_are_refused() {
    let (server, _) = serve(Limits { connections: 3, ..PATIENT });
    let held: Vec<TcpStream> = (0..3).map(|_| connect(&server)).collect();
    for _ in 0..5 {
        // The system hands connections over in the order in which they were made, so these come after the others.
        let answer = read_to_end(connect(&server));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    for mut stream in held {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        assert!(read_to_end(stream).starts_with("HTTP/1.1 200 "));
    }
    // A place is given back in the moment after the client saw the end.
    while ask(&server, "GET", "/healthz").0 != 200 {}
    server.stop();
}

/// Clients that send half a header, or nothing, do not disturb the others.
#[test]
fn a_stuck_client_delays_nobody() {
    let (server, _) = serve(PATIENT);
    let _silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: loc").unwrap();
    assert_eq!(ask(&server, "GET", "/metrics").0, 200);
    half.write_all(b"alhost\r\n\r\n").unwrap();
    assert!(read_to_end(half).starts_with("HTTP/1.1 200 "));
    drop(server);
}

/// Clients that send half a header, or nothing, lose their connection when their time is over.
#[test]
fn half_a_header_is_closed() {
    let (server, _) = serve(Limits { header_timeout: Duration::from_millis(20), ..PATIENT });
    let silent = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: loc").unwrap();
    let answer = read_to_end(half);
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(!read_to_end(silent).contains("200 OK"));
    server.stop();
}

/// Whatever a client does or does not do, its connection ends with the deadline.
#[test]
fn a_connection_ends_with_its_deadline() {
    let (server, _) = serve(Limits { connection_timeout: Duration::from_millis(20), ..PATIENT });
    let mut half = connect(&server);
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: loc").unwrap();
    assert_eq!(read_to_end(half), "");
    server.stop();
}

/// Stopping closes the port and ends connections that wait for nothing; it does not wait for half a header for ever.
#[test]
fn stop_ends_every_connection_and_closes_the_port() {
    let (server, _) = serve(Limits { stop_timeout: Duration::from_millis(20), ..PATIENT });
    let address = server.address();
    let idle = connect(&server);
    let mut half = connect(&server);
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: loc").unwrap();
    assert_eq!(ask(&server, "GET", "/healthz").0, 200);
    server.stop();
    assert_eq!((read_to_end(idle), read_to_end(half)), (String::new(), String::new()));
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

/// A server that is dropped without a word ends as well.
#[test]
fn dropping_the_server_closes_the_port() {
    let (server, _) = serve(PATIENT);
    let idle = connect(&server);
    assert_eq!(ask(&server, "GET", "/healthz").0, 200);
    let AdminServer { stop, thread, .. } = server;
    drop(stop);
    thread.join().unwrap();
    assert_eq!(read_to_end(idle), "");
}

/// A port that is taken is named in the error.
#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let error = AdminServer::bind(taken.address()).unwrap_err();
    assert_eq!(error.address, taken.address());
    assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.address().to_string()));
}

/// What the store holds is told in JSON, by the names of its queues.
#[test]
fn the_store_is_looked_into() {
    let storage = MemoryStorage::new();
    let mut change = Change::default();
    let mut body = Vec::new();
    let topic = Topic::parse(b"$queue/jobs/a b").unwrap();
    QueueRecord { queue: 2000, topic }.write(&mut body);
    change.append(&[(StreamId::QUEUES, 1, b"")], &body);
    storage.append(&mut change, Urgency::Lazy);
    let bound = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let node = node_on(Some(Arc::new(storage)));
    let server = bound.serve_within(PATIENT, Readiness::default(), Pages::default(), of(node)).unwrap();
    let (status, answer) = ask(&server, "GET", "/store");
    assert!(status == 200 && body_has(&answer, "\"named_queues\":1"), "{answer}");
    let (status, answer) = ask(&server, "GET", "/store/queues?count=5");
    assert!(
        status == 200 && body_has(&answer, "\"total\":1,\"queues\":[{\"name\":\"$queue/jobs/a b\""),
        "{answer}"
    );
    let (status, answer) = ask(&server, "GET", "/store/queues/$queue/jobs/a%20b?count=5");
    assert!(status == 200 && body_has(&answer, "\"messages\":[]"), "{answer}");
    let (status, answer) = ask(&server, "GET", "/store/queues/$queue/other");
    assert!(status == 404 && body_has(&answer, "\"error\":\"no queue is called so"), "{answer}");
    assert_eq!(ask(&server, "GET", "/store/queues?count=-1").0, 400);
    assert_eq!(ask(&server, "DELETE", "/store/queues/$queue/jobs").0, 405);
    server.stop();
    let (without, _) = serve(PATIENT);
    let (status, answer) = ask(&without, "GET", "/store");
    assert!(status == 404 && body_has(&answer, "no `data_dir` is set"), "{answer}");
    without.stop();
}

/// What bridges tell is told in JSON, as it is at that moment.
#[test]
fn bridges_are_told() {
    let (without, _) = serve(PATIENT);
    let (status, answer) = ask(&without, "GET", "/bridges");
    assert_eq!((status, body(&answer)), (200, "{\"bridges\":[]}"));
    assert_eq!(ask(&without, "POST", "/bridges").0, 405);
    without.stop();
    let bound = AdminServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let bridges = crate::metrics::tests::bridges();
    let collector = |started| NodeCollector { node: node(), started, bridges };
    let server = bound.serve_within(PATIENT, Readiness::default(), Pages::default(), collector).unwrap();
    let (status, answer) = ask(&server, "GET", "/bridges");
    assert!(
        status == 200 && body_has(&answer, r#""name":"central","kind":"toy","state":"connecting""#),
        "{answer}"
    );
    assert!(
        body_has(&answer, r#""backlog_messages":7,"backlog_bytes":700,"oldest_seconds":1.5"#),
        "{answer}"
    );
    server.stop();
}

fn body_has(answer: &str, piece: &str) -> bool {
    body(answer).contains(piece)
}
