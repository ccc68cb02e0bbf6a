//! Ports that are free now, and likely to be so a moment later.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the system gives to outgoing connections: a server that is restarted finds its port free.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;

/// So many different ports that nobody listens on. Two tests of one program never get the same ones; programs begin at
/// different places, and who meets another one nevertheless finds the port in use and asks again.
pub(super) fn free(count: usize) -> Vec<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(97);
    std::iter::repeat_with(|| begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT + FIRST)
        .take(COUNT as usize)
        .map(|port| port as u16)
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .take(count)
        .collect()
}
