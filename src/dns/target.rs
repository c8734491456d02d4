//! What a name stands for: a service, a node, an address, the zone itself, or nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::wire::{LABEL, NAME};
use super::zone::{Domain, Zone};

/// A name in lower case with its labels found.
pub struct Labels<'a> {
    wire: &'a [u8],
    starts: [u8; NAME / 2 + 1],
    count: usize,
}

impl<'a> Labels<'a> {
    /// `wire` is an uncompressed name, its root label included.
    pub fn new(wire: &'a [u8]) -> Labels<'a> {
        let mut labels = Labels { wire, starts: [0; NAME / 2 + 1], count: 0 };
        let mut at = 0;
        while let Some(len) = wire.get(at).filter(|len| **len != 0)
            && let Some(start) = labels.starts.get_mut(labels.count)
        {
            *start = u8::try_from(at).unwrap_or(u8::MAX);
            labels.count += 1;
            at += usize::from(*len) + 1;
        }
        labels
    }

    /// Where the name of the last `labels` labels begins.
    pub fn suffix_at(&self, labels: usize) -> Option<usize> {
        if labels == 0 {
            return self.wire.len().checked_sub(1);
        }
        let first = self.count.checked_sub(labels)?;
        self.starts.get(first).map(|start| usize::from(*start))
    }

    /// The `nth` label from the left as text; none where no name of ours can hold it.
    fn text(&self, nth: usize) -> Option<&'a str> {
        let at = usize::from(*self.starts.get(nth)?);
        let len = usize::from(*self.wire.get(at)?).min(LABEL);
        let label = self.wire.get(at + 1..at + 1 + len)?;
        if !label.is_ascii() || label.contains(&b'.') {
            return None;
        }
        std::str::from_utf8(label).ok()
    }

    /// Whether the name is the domain itself.
    pub fn is(&self, domain: &Domain) -> bool {
        self.count == domain.labels
    }

    /// The labels before a domain as text; none where a label is no text.
    pub fn before(&self, domain: &Domain) -> Option<Vec<&'a str>> {
        (0..self.count.checked_sub(domain.labels)?).map(|nth| self.text(nth)).collect()
    }

    /// Everything before and at the root as text.
    pub fn all(&self) -> Option<Vec<&'a str>> {
        (0..self.count).map(|nth| self.text(nth)).collect()
    }
}

/// The domain of ours that a name lies in; of nested ones the innermost.
pub fn domain_of<'z>(zone: &'z Zone, labels: &Labels<'_>) -> Option<&'z Domain> {
    let inside = zone.domains.iter().filter(|domain| {
        let at = labels.suffix_at(domain.labels);
        at.and_then(|at| labels.wire.get(at..)) == Some(domain.name.as_bytes())
    });
    inside.max_by_key(|domain| domain.labels)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The domain itself.
    Apex,
    /// `ns.<domain>`: the servers.
    NameServer,
    Service {
        name: String,
        tag: Option<String>,
        /// `_name._tcp` without `service`: known for SRV only.
        srv_only: bool,
    },
    Node(String),
    Addr(IpAddr),
    /// A prepared query's name or id.
    Query(String),
    /// Nothing itself, but names below it are answered: NODATA (RFC 8020).
    Above,
    Unknown,
}

/// Reads the labels before the domain, left to right, in lower case.
pub fn target(labels: &[&str], datacenter: &str) -> Target {
    let ours = |label: &str| label.eq_ignore_ascii_case(datacenter);
    let labels = match labels {
        [] => return Target::Apex,
        ["ns"] => return Target::NameServer,
        [.., last] if is_form(last) => labels,
        // `<dc>` and `<dc>.dc`.
        ["dc"] => return Target::Above,
        [rest @ .., dc, "dc"] | [rest @ .., dc] if ours(dc) => rest,
        _ => return Target::Unknown,
    };
    match labels {
        [] | ["service" | "node" | "addr" | "query"] => Target::Above,
        [rest @ .., "service"] => service(rest),
        [rest @ .., "node"] => Target::Node(rest.join(".")),
        [hex, "addr"] => address(hex).map_or(Target::Unknown, Target::Addr),
        [rest @ .., "query"] => query(rest),
        ["_tcp"] => Target::Above,
        [name, protocol] => rfc2782(name, protocol, true).unwrap_or(Target::Unknown),
        _ => Target::Unknown,
    }
}

/// The label that says what the name is, so that no datacenter follows it.
fn is_form(label: &str) -> bool {
    matches!(label, "service" | "node" | "addr" | "query") || label.starts_with('_')
}

fn service(labels: &[&str]) -> Target {
    match labels {
        [rest @ .., "query"] => query(rest),
        ["_tcp"] => Target::Above,
        [name, protocol] if name.starts_with('_') && protocol.starts_with('_') => {
            rfc2782(name, protocol, false).unwrap_or(Target::Unknown)
        }
        [tag @ .., name] => Target::Service {
            name: (*name).to_owned(),
            tag: (!tag.is_empty()).then(|| tag.join(".")),
            srv_only: false,
        },
        [] => Target::Above,
    }
}

/// The name may have dots; `_name._tcp` is the same query.
fn query(labels: &[&str]) -> Target {
    match labels {
        ["_tcp"] => Target::Above,
        [name @ .., "_tcp"] if name.first().is_some_and(|first| first.starts_with('_')) => {
            Target::Query(name.join(".").split_off(1))
        }
        name => Target::Query(name.join(".")),
    }
}

/// `_name._tcp` is the service, `_name._tag` its instances with that tag.
fn rfc2782(name: &str, protocol: &str, srv_only: bool) -> Option<Target> {
    let name = name.strip_prefix('_').filter(|name| !name.is_empty())?.to_owned();
    let tag = protocol.strip_prefix('_').filter(|tag| !tag.is_empty())?;
    let tag = (tag != "tcp").then(|| tag.to_owned());
    Some(Target::Service { name, tag, srv_only })
}

/// Eight hexadecimal digits are an IPv4 address, 32 an IPv6 address.
fn address(hex: &str) -> Option<IpAddr> {
    if !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    match hex.len() {
        8 => u32::from_str_radix(hex, 16).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        32 => u128::from_str_radix(hex, 16).ok().map(|bits| Ipv6Addr::from_bits(bits).into()),
        _ => None,
    }
}

/// Whether addresses are turned round there.
pub fn is_reverse(labels: &Labels<'_>) -> bool {
    let end = labels.suffix_at(2).and_then(|at| labels.wire.get(at..));
    end == Some(b"\x07in-addr\x04arpa\0") || end == Some(b"\x03ip6\x04arpa\0")
}

/// The address that a name under `in-addr.arpa` or `ip6.arpa` turns round.
pub fn reverse(labels: &[&str]) -> Option<IpAddr> {
    match labels {
        [d, c, b, a, "in-addr", "arpa"] => {
            let digits = |label: &&str| label.bytes().all(|byte| byte.is_ascii_digit());
            let octet = |label: &str| Some(label).filter(digits)?.parse::<u8>().ok();
            Some(Ipv4Addr::new(octet(a)?, octet(b)?, octet(c)?, octet(d)?).into())
        }
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let mut bits = 0_u128;
            for nibble in nibbles.iter().rev() {
                let digit = u128::from_str_radix(nibble, 16).ok().filter(|_| nibble.len() == 1)?;
                bits = bits << 4 | digit;
            }
            Some(Ipv6Addr::from_bits(bits).into())
        }
        _ => None,
    }
}
