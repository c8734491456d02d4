//! Where instances and nodes have a host name instead of an address: what that name leads to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::limits;

use super::answers::{Answers, Bodies, Known};
use super::lookup::{Lookup, wanted};
use super::target::{self, Labels, Target};
use super::wire::{self, WireName, rtype};

/// How far a host name is followed through our own names.
const CHAIN: usize = 3;

/// Where something listens.
pub enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    pub fn parse(address: &'a str) -> Host<'a> {
        address.parse().map_or(Host::Name(address), Host::Ip)
    }
}

/// Follows names for one answer, and no more of them than an answer may cost.
pub struct Aliases<'a> {
    lookup: Lookup<'a>,
    left: usize,
}

impl<'a> Aliases<'a> {
    pub fn new(lookup: Lookup<'a>) -> Aliases<'a> {
        Aliases { lookup, left: limits::DNS_ALIASES }
    }

    /// A CNAME to one of the host names, followed where it is a name of ours.
    pub fn canonical(&mut self, names: &[&str], qtype: u16, ttl: u32) -> Answers {
        let mut answers = Answers::default();
        let mut known = BTreeMap::new();
        for name in names {
            if let Some(host) = self.host(&mut answers, &mut known, name, qtype, ttl) {
                answers.push_name(rtype::CNAME, ttl, host);
            }
        }
        answers.into_chain()
    }

    /// A host that goes by that name, with the addresses that we know of it.
    pub fn host(
        &mut self,
        answers: &mut Answers,
        known: &mut Known,
        name: &str,
        qtype: u16,
        ttl: u32,
    ) -> Option<u32> {
        let wire = WireName::from_dotted(name)?;
        if self.lookup.ours(name).is_some() {
            answers.mark_volatile();
        } else if qtype != rtype::CNAME {
            answers.mark_outside();
        }
        Some(answers.host(known, wire, || self.bodies(name, qtype, ttl)))
    }

    /// Addresses of a name of ours; of other names none.
    fn bodies(&mut self, name: &str, qtype: u16, ttl: u32) -> Bodies {
        let mut ips = BTreeSet::new();
        self.gather(name, CHAIN, &mut ips);
        let ips = ips.into_iter().filter(|ip| wanted(qtype, *ip));
        let addresses = ips.flat_map(|ip| wire::address_body(ip, ttl)).collect();
        Bodies { addresses, ..Bodies::default() }
    }

    fn gather(&mut self, name: &str, depth: usize, ips: &mut BTreeSet<IpAddr>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let Some(target) = self.lookup.ours(name) else { return };
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        let state = self.lookup.state;
        let mut names = BTreeSet::new();
        let mut take = |address: &str| match Host::parse(address) {
            Host::Ip(ip) => _ = ips.insert(ip),
            Host::Name(name) => _ = names.insert(name.to_owned()),
        };
        match &target {
            Target::Addr(ip) => _ = ips.insert(*ip),
            Target::Node(node) => {
                let node = state.node(node).filter(|_| self.lookup.sight.node(node));
                node.into_iter().for_each(|node| take(&node.def.address));
            }
            Target::Service { name, tag, .. } => {
                let views = self.lookup.healthy(name, tag.as_deref());
                views.iter().for_each(|view| take(view.address()));
            }
            Target::Query(name) => {
                let query = state.find_query(name);
                let views = query.map(|query| state.execute(&query.def.target)).unwrap_or_default();
                self.lookup.shown(views).iter().for_each(|view| take(view.address()));
            }
            _ => {}
        }
        for name in names {
            self.gather(&name, depth, ips);
        }
    }
}

impl Lookup<'_> {
    /// What a name of ours stands for.
    pub(super) fn ours(&self, name: &str) -> Option<Target> {
        let wire = WireName::from_dotted(name)?;
        let labels = Labels::new(wire.as_bytes());
        let domain = target::domain_of(self.zone, &labels)?;
        Some(target::target(&labels.before(domain)?, &self.zone.datacenter))
    }
}
