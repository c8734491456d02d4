//! Addresses for tests: every agent has a loopback address of its own, so ports never collide.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(1);

/// The next unused loopback address of this test process. The second octet comes from the process
/// id, so that test processes that run at once do not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub Ipv4Addr);

impl Place {
    pub fn new() -> Place {
        let process = u8::try_from(std::process::id() % 200).unwrap() + 20;
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        Place(Ipv4Addr::new(127, process, high, low))
    }

    pub fn http(self) -> String {
        format!("{}:8500", self.0)
    }

    pub fn peer(self) -> String {
        format!("{}:8300", self.0)
    }
}
