//! The instances of a service as A, AAAA, CNAME or SRV records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{Folded, Health};
use crate::state::{InstanceView, NodeRow};

use super::aliases::{Aliases, Host};
use super::answers::{Answers, Bodies, Known, Weight};
use super::lookup::{Found, Lookup, texts, wanted};
use super::target::Target;
use super::wire::{self, rtype};
use super::zone::seconds;

/// SRV records in the making.
struct Srv<'a> {
    lookup: Lookup<'a>,
    answers: Answers,
    known: Known,
    aliases: Aliases<'a>,
    ttl: u32,
}

impl<'a> Lookup<'a> {
    pub(super) fn service(
        &self,
        name: &str,
        tag: Option<&str>,
        srv_only: bool,
        qtype: u16,
    ) -> Found {
        let views = self.healthy(name, tag);
        if views.is_empty() {
            return match tag.is_some_and(|tag| self.is_above_a_tag(name, tag)) {
                true => Found::Empty,
                false => Found::Absent,
            };
        }
        if srv_only && qtype != rtype::SRV {
            return Found::Empty;
        }
        self.instances(&views, qtype, self.zone.service_ttl.of(name))
    }

    /// What a prepared query finds: it says itself whose health counts and how.
    pub(super) fn query(&self, name: &str, qtype: u16) -> Found {
        let Some(query) = self.state.find_query(name) else {
            return if self.is_above_a_query(name) { Found::Empty } else { Found::Absent };
        };
        let def = &query.def;
        let views = self.shown(self.state.execute(&def.target));
        if views.is_empty() {
            return Found::Absent;
        }
        let service = Folded::new(&def.target.service);
        let of_service = || self.zone.service_ttl.of(service.as_str());
        self.instances(&views, qtype, def.ttl.map_or_else(of_service, seconds))
    }

    /// Names of queries may have dots: `b` stands above the query `a.b`.
    fn is_above_a_query(&self, name: &str) -> bool {
        self.state.queries().any(|query| ends_behind_a_dot(&query.def.name, name))
    }

    /// Some instances, whatever name they were found by.
    pub(super) fn instances(&self, views: &[InstanceView<'a>], qtype: u16, ttl: u32) -> Found {
        match qtype {
            rtype::SRV => Found::records(self.srv(views, ttl)),
            rtype::A | rtype::AAAA | rtype::ANY | rtype::CNAME => {
                Found::records(self.instance_addresses(views, qtype, ttl))
            }
            _ => Found::Empty,
        }
    }

    pub(super) fn healthy(&self, name: &str, tag: Option<&str>) -> Vec<InstanceView<'a>> {
        let strict = self.zone.only_passing;
        let views = self.state.healthy(name, None);
        let views = views
            .filter(|view| tag.is_none_or(|tag| view.instance.def.has_tag(tag)))
            .filter(|view| !strict || view.health() == Health::Passing);
        self.shown(views.collect())
    }

    /// Tags may have dots: `2` stands above the tag `v1.2`.
    fn is_above_a_tag(&self, service: &str, tag: &str) -> bool {
        let views = self.healthy(service, None);
        let mut tags = views.iter().flat_map(|view| view.instance.def.tags.iter());
        tags.any(|whole| ends_behind_a_dot(whole, tag))
    }

    /// An instance's own address, unless it is a name of the service itself.
    fn own_address(&self, view: &InstanceView<'a>) -> Option<Host<'a>> {
        let def = &view.instance.def;
        if def.address.is_empty() {
            return None;
        }
        match Host::parse(&def.address) {
            Host::Name(name) => match self.ours(name) {
                Some(Target::Service { name: target, .. })
                    if target == Folded::of(&def.name).as_str() =>
                {
                    None
                }
                _ => Some(Host::Name(name)),
            },
            ip => Some(ip),
        }
    }

    /// A and AAAA. Host names show as a CNAME, and only where no instance has an address.
    fn instance_addresses(&self, views: &[InstanceView<'a>], qtype: u16, ttl: u32) -> Answers {
        let mut ips: BTreeMap<IpAddr, u16> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for view in views {
            let own = self.own_address(view);
            match own.unwrap_or_else(|| Host::parse(&view.node.def.address)) {
                Host::Ip(ip) => {
                    let weight = ips.entry(ip).or_default();
                    *weight = weight.saturating_add(view.weight());
                }
                Host::Name(name) => _ = names.insert(name),
            }
        }
        if ips.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            return Aliases::new(*self).canonical(&names, qtype, ttl);
        }
        let mut answers = Answers::default();
        for (ip, weight) in ips.into_iter().filter(|(ip, _)| wanted(qtype, *ip)) {
            answers.push(&wire::address_body(ip, ttl), weight);
        }
        answers
    }

    fn srv(&self, views: &[InstanceView<'a>], ttl: u32) -> Answers {
        let (answers, known) = (Answers::default(), Known::new());
        let mut srv = Srv { lookup: *self, answers, known, aliases: Aliases::new(*self), ttl };
        let mut seen = BTreeSet::new();
        for view in views {
            let def = &view.instance.def;
            if !seen.insert((&view.instance.node, &def.address, def.port)) {
                continue;
            }
            let (host, node) = match self.own_address(view) {
                None => srv.at_node(view.node),
                Some(Host::Ip(ip)) => (srv.address(ip), srv.node_texts(view.node)),
                Some(Host::Name(name)) => (srv.name(name), srv.node_texts(view.node)),
            };
            let Some(host) = host else { continue };
            let share = view.weight();
            let weight = Weight { share, shown: share.saturating_mul(self.zone.weight_scale) };
            let port = u16::try_from(def.port).unwrap_or(0);
            srv.answers.push_srv(ttl, weight, port, host, node);
        }
        srv.answers
    }
}

impl Srv<'_> {
    /// `<node>.node.<dc>.<domain>`, or the address's name where DNS cannot carry the node's; a node
    /// that has a host name goes by that.
    fn at_node(&mut self, node: &NodeRow) -> (Option<u32>, Option<u32>) {
        match Host::parse(&node.def.address) {
            Host::Ip(ip) => match self.node(node) {
                Some(host) => (Some(host), None),
                None => (self.address(ip), None),
            },
            Host::Name(name) => (self.name(name), self.node_texts(node)),
        }
    }

    fn node(&mut self, node: &NodeRow) -> Option<u32> {
        let name = self.lookup.node_name(&node.def.name)?;
        let ttl = self.ttl;
        let bodies = || Bodies {
            addresses: match Host::parse(&node.def.address) {
                Host::Ip(ip) => wire::address_body(ip, ttl),
                Host::Name(_) => Vec::new(),
            },
            texts: texts(node, ttl),
        };
        Some(self.answers.host(&mut self.known, name, bodies))
    }

    /// The node as one of which only the texts are given, if there are any.
    fn node_texts(&mut self, node: &NodeRow) -> Option<u32> {
        if node.def.meta.is_empty() { None } else { self.node(node) }
    }

    /// `<hex>.addr.<dc>.<domain>`.
    fn address(&mut self, ip: IpAddr) -> Option<u32> {
        let hex = match ip {
            IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
        };
        let labels = [hex.as_str(), "addr", &self.lookup.zone.datacenter];
        let name = self.lookup.domain.name.below(labels)?;
        let ttl = self.ttl;
        let bodies = || Bodies { addresses: wire::address_body(ip, ttl), ..Bodies::default() };
        Some(self.answers.host(&mut self.known, name, bodies))
    }

    fn name(&mut self, name: &str) -> Option<u32> {
        self.aliases.host(&mut self.answers, &mut self.known, name, rtype::ANY, self.ttl)
    }
}

/// Whether `end` is what stands behind one of the dots of `whole`, in any case.
fn ends_behind_a_dot(whole: &str, end: &str) -> bool {
    let at = whole.len().checked_sub(end.len());
    at.and_then(|at| whole.split_at_checked(at))
        .is_some_and(|(head, tail)| head.ends_with('.') && tail.eq_ignore_ascii_case(end))
}
