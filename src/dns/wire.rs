//! The numbers and names of DNS messages (RFC 1035) in the form in which they travel.

use std::net::IpAddr;

pub const HEADER: usize = 12;
/// Longest name in wire form, its root label included.
pub const NAME: usize = 255;
pub const LABEL: usize = 63;
/// What a requestor without EDNS takes over UDP.
pub const PLAIN_UDP: usize = 512;

/// Types of records and of questions.
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const OPT: u16 = 41;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
    pub const ANY: u16 = 255;
}

pub mod class {
    pub const IN: u16 = 1;
}

/// How a question was answered (RFC 1035 and, above 15, RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVers = 16,
}

impl Rcode {
    pub fn name(self) -> &'static str {
        match self {
            Rcode::NoError => "NOERROR",
            Rcode::FormErr => "FORMERR",
            Rcode::ServFail => "SERVFAIL",
            Rcode::NxDomain => "NXDOMAIN",
            Rcode::NotImp => "NOTIMP",
            Rcode::Refused => "REFUSED",
            Rcode::BadVers => "BADVERS",
        }
    }
}

/// An uncompressed name in lower case, its root label included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireName(Box<[u8]>);

impl WireName {
    /// None where DNS cannot carry it: an empty label, one over 63 bytes, more than 255 in all.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a str>) -> Option<WireName> {
        let mut wire = Vec::with_capacity(64);
        for label in labels {
            let len = u8::try_from(label.len()).ok().filter(|len| usize::from(*len) <= LABEL)?;
            if len == 0 {
                return None;
            }
            wire.push(len);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= NAME).then(|| WireName(wire.into()))
    }

    /// Reads a dotted name, with or without the last dot.
    pub fn from_dotted(name: &str) -> Option<WireName> {
        let name = name.strip_suffix('.').unwrap_or(name);
        WireName::from_labels(name.split('.'))
    }

    /// This name with labels put before it.
    pub fn below<'a>(&self, labels: impl IntoIterator<Item = &'a str>) -> Option<WireName> {
        let head = WireName::from_labels(labels)?;
        let mut wire = head.0.into_vec();
        wire.pop();
        wire.extend_from_slice(&self.0);
        (wire.len() <= NAME).then(|| WireName(wire.into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes of a record between its owner and its data: type, class, TTL and length.
pub const BODY: usize = 10;

/// A record without its owner: type, class IN, TTL, length and data.
pub fn body(rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY + data.len());
    body.extend_from_slice(&body_head(rtype, ttl, data.len()));
    body.extend_from_slice(data);
    body
}

/// What of it stands before the data.
pub fn body_head(rtype: u16, ttl: u32, len: usize) -> [u8; BODY] {
    let ([r1, r2], [c1, c2]) = (rtype.to_be_bytes(), class::IN.to_be_bytes());
    let [t1, t2, t3, t4] = ttl.to_be_bytes();
    let [l1, l2] = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    [r1, r2, c1, c2, t1, t2, t3, t4, l1, l2]
}

/// The first of bodies that lie one behind the other, and the others.
pub fn first_body(bodies: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = bodies.get(BODY - 2..BODY)?.try_into().ok()?;
    bodies.split_at_checked(BODY + usize::from(u16::from_be_bytes(length)))
}

/// An address record's body: A or AAAA.
pub fn address_body(ip: IpAddr, ttl: u32) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => body(rtype::A, ttl, &ip.octets()),
        IpAddr::V6(ip) => body(rtype::AAAA, ttl, &ip.octets()),
    }
}

/// The type of record that holds this address.
pub fn address_type(ip: IpAddr) -> u16 {
    if ip.is_ipv4() { rtype::A } else { rtype::AAAA }
}
