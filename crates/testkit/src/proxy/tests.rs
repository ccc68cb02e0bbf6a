//! The proxy between two plain sockets, driven without a sleep: every wait is for bytes, an end or a count.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use super::*;

/// A client and a server that are joined by a proxy.
struct Joined {
    listener: TcpListener,
    proxy: Proxy,
    client: TcpStream,
    server: TcpStream,
}

impl Joined {
    fn new() -> Joined {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap());
        let (client, server) = connect(&proxy, &listener);
        Joined { listener, proxy, client, server }
    }

    fn again(&mut self) {
        (self.client, self.server) = connect(&self.proxy, &self.listener);
    }
}

fn connect(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).unwrap();
    let server = listener.accept().unwrap().0;
    for side in [&client, &server] {
        side.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

fn read(from: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    from.read_exact(&mut read).unwrap();
    read
}

/// What is left in the stream, and how it ended.
fn drain(from: &mut TcpStream) -> (usize, io::Result<()>) {
    let mut rest = Vec::new();
    let ended = from.read_to_end(&mut rest).map(|_| ());
    (rest.len(), ended)
}

/// Whether there is nothing to read now.
fn is_silent(from: &TcpStream) -> bool {
    from.set_nonblocking(true).unwrap();
    let silent = matches!(from.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    from.set_nonblocking(false).unwrap();
    silent
}

#[test]
fn bytes_and_the_end_of_a_stream_are_forwarded() {
    let mut joined = Joined::new();
    joined.client.write_all(b"to").unwrap();
    joined.server.write_all(b"from").unwrap();
    assert_eq!(
        (read(&mut joined.server, 2), read(&mut joined.client, 4)),
        (b"to".to_vec(), b"from".to_vec())
    );
    joined.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(drain(&mut joined.server).0, 0);
    joined.server.write_all(b"late").unwrap();
    assert_eq!(read(&mut joined.client, 4), b"late");
    drop(joined.server);
    assert!(drain(&mut joined.client).1.is_ok());
    let counts = joined.proxy.wait_until("the end", |counts| counts.open == 0);
    assert_eq!(counts, Counts { accepted: 1, open: 0, to_upstream: 2, from_upstream: 8, swallowed: 0 });
}

#[test]
fn an_end_reaches_both_sides_as_ordered() {
    let mut joined = Joined::new();
    for ending in [Ending::Close, Ending::Reset] {
        joined.proxy.wait_until("a connection", |counts| counts.open == 1);
        joined.proxy.end_connections(ending);
        for side in [&mut joined.client, &mut joined.server] {
            match drain(side).1 {
                Ok(()) => assert_eq!(ending, Ending::Close),
                Err(error) => assert_eq!((ending, error.kind()), (Ending::Reset, ErrorKind::ConnectionReset)),
            }
        }
        joined.proxy.wait_until("its end", |counts| counts.open == 0);
        joined.again();
    }
}

#[test]
fn a_peer_s_reset_is_a_reset_for_the_other_side() {
    let mut joined = Joined::new();
    joined.client.write_all(b"unread").unwrap();
    joined.proxy.wait_until("the bytes", |counts| counts.to_upstream == 6);
    // The system resets a connection that is closed with something to read.
    drop(joined.server);
    assert_eq!(drain(&mut joined.client).1.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_connection_ends_behind_exactly_as_many_bytes() {
    let mut joined = Joined::new();
    joined.proxy.end_after(Direction::ToUpstream, 100_001, Ending::Close);
    let mut sender = joined.client.try_clone().unwrap();
    // Far more than the buffers of the system hold, so that the sender learns of the end.
    let sending = std::thread::spawn(move || (0..1000).try_for_each(|_| sender.write_all(&[7; 1_000_000])));
    assert_eq!(drain(&mut joined.server).0, 100_001);
    assert!(sending.join().unwrap().is_err());
    assert!(!joined.proxy.is_end_pending(Direction::ToUpstream));
    joined.again();
    joined.client.write_all(&[7; 200_000]).unwrap();
    assert_eq!(read(&mut joined.server, 200_000).len(), 200_000);
}

#[test]
fn a_stalled_direction_holds_bytes_and_end_while_the_other_goes_on() {
    let mut joined = Joined::new();
    joined.proxy.set_flow(Direction::FromUpstream, Flow::Stall);
    joined.server.write_all(b"held").unwrap();
    joined.server.shutdown(Shutdown::Write).unwrap();
    joined.client.write_all(b"passes").unwrap();
    assert_eq!(read(&mut joined.server, 6), b"passes");
    assert!(is_silent(&joined.client));
    assert_eq!(joined.proxy.counts().from_upstream, 0);
    joined.proxy.heal();
    let mut rest = String::new();
    joined.client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "held");
}

#[test]
fn a_slow_direction_trickles_and_loses_nothing() {
    let mut joined = Joined::new();
    joined.proxy.set_flow(Direction::ToUpstream, Flow::Slow(2000));
    joined.client.write_all(&[1; 1000]).unwrap();
    let first = joined.proxy.wait_until("a trickle", |counts| counts.to_upstream > 0).to_upstream;
    assert_eq!(first % 100, 0, "a twentieth of a second is 100 bytes");
    joined.proxy.set_flow(Direction::ToUpstream, Flow::Forward);
    assert_eq!(read(&mut joined.server, 1000), [1; 1000]);
}

#[test]
fn swallowed_confirms_are_lost_and_their_connection_with_them() {
    let mut joined = Joined::new();
    joined.proxy.set_flow(Direction::FromUpstream, Flow::Swallow);
    joined.client.write_all(b"publish").unwrap();
    assert_eq!(read(&mut joined.server, 7), b"publish");
    joined.server.write_all(b"confirm").unwrap();
    let counts = joined.proxy.wait_until("the confirm", |counts| counts.swallowed == 7);
    assert_eq!((counts.from_upstream, counts.open, is_silent(&joined.client)), (0, 1, true));
    joined.proxy.heal();
    assert_eq!(drain(&mut joined.client).0, 0);
    joined.again();
    joined.server.write_all(b"confirm").unwrap();
    assert_eq!(read(&mut joined.client, 7), b"confirm");
}

#[test]
fn a_door_refuses_or_slams_and_opens_on_the_same_port() {
    let mut joined = Joined::new();
    joined.proxy.set_door(Door::Slammed);
    let mut cut = TcpStream::connect(joined.proxy.address()).unwrap();
    assert_eq!(drain(&mut cut).0, 0);
    joined.proxy.set_door(Door::Shut);
    let refused = TcpStream::connect(joined.proxy.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    joined.client.write_all(b"old").unwrap();
    assert_eq!(read(&mut joined.server, 3), b"old", "connections of before are left alone");
    joined.proxy.heal();
    joined.again();
    joined.client.write_all(b"new").unwrap();
    assert_eq!(read(&mut joined.server, 3), b"new");
}

#[test]
fn an_upstream_that_is_gone_resets_the_client_and_may_come_back_elsewhere() {
    let mut joined = Joined::new();
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let gone = std::mem::replace(&mut joined.listener, other);
    drop(gone);
    let mut client = TcpStream::connect(joined.proxy.address()).unwrap();
    assert!(drain(&mut client).1.is_err());
    joined.proxy.set_upstream(joined.listener.local_addr().unwrap());
    joined.again();
    joined.client.write_all(b"moved").unwrap();
    assert_eq!(read(&mut joined.server, 5), b"moved");
}

#[test]
fn a_dropped_proxy_closes_what_it_held() {
    let mut joined = Joined::new();
    joined.proxy.set_flow(Direction::ToUpstream, Flow::Stall);
    drop(joined.proxy);
    assert_eq!((drain(&mut joined.client).0, drain(&mut joined.server).0), (0, 0));
}

#[test]
fn a_seed_determines_its_plan_and_reaches_every_fault() {
    let plan = |seed| FaultPlan::seeded(seed).take(200).collect::<Vec<_>>();
    assert_eq!(plan(1), plan(1));
    assert_ne!(plan(1), plan(2));
    let kinds: std::collections::HashSet<_> =
        plan(1).iter().map(|step| std::mem::discriminant(&step.fault)).collect();
    assert_eq!(kinds.len(), 7);
    assert!(plan(1).iter().all(|step| step.lasting <= Duration::from_secs(1) && !step.lasting.is_zero()));
}

/// Whatever has gone wrong is over behind the step: a new connection passes everything.
#[test]
fn every_fault_is_over_when_its_step_is() {
    let mut joined = Joined::new();
    let lasting = Duration::from_millis(5);
    for step in FaultPlan::seeded(3).within(10, lasting).take(60) {
        joined.client.write_all(b"before").ok();
        joined.proxy.suffer(&step, lasting);
        joined.again();
        joined.client.write_all(b"after").unwrap();
        joined.server.write_all(b"answer").unwrap();
        let passed = (read(&mut joined.server, 5), read(&mut joined.client, 6));
        assert_eq!(passed, (b"after".to_vec(), b"answer".to_vec()), "{step:?}");
    }
}
