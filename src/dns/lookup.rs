//! Finds in the state what a name stands for, as records.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::access::Sight;
use crate::model::Role;
use crate::state::{InstanceRow, InstanceView, NodeRow, State};

use super::aliases::{Aliases, Host};
use super::answers::{Answers, Bodies, Known};
use super::target::Target;
use super::txt;
use super::wire::{self, WireName, rtype};
use super::zone::{Domain, Zone};

/// The service that the servers are instances of.
const SERVERS: &str = "consul";
/// Servers named in an NS answer.
const NAME_SERVERS: usize = 3;
/// Names given for one address: a host that is known under more has no name.
const NAMES: usize = 64;

#[derive(Debug)]
pub enum Found {
    Records(Answers),
    /// The SOA itself was asked for: it comes with the servers.
    Zone(Answers),
    /// The name is there, records of that type are not: NODATA.
    Empty,
    /// NXDOMAIN.
    Absent,
    /// Whether it is there is not for who asks: REFUSED.
    Closed,
}

impl Found {
    pub(super) fn records(answers: Answers) -> Found {
        if answers.is_empty() { Found::Empty } else { Found::Records(answers) }
    }
}

/// One look into the state on behalf of a name under one domain.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    pub zone: &'a Zone,
    pub sight: &'a Sight,
    pub domain: &'a Domain,
    pub state: &'a State,
}

impl<'a> Lookup<'a> {
    pub fn find(&self, target: &Target, qtype: u16) -> Found {
        match target {
            target if self.is_closed(target, qtype) => Found::Closed,
            Target::Apex => self.apex(qtype),
            Target::NameServer => self.name_server(qtype),
            Target::Service { name, tag, srv_only } => {
                self.service(name, tag.as_deref(), *srv_only, qtype)
            }
            Target::Node(name) => self.node(name, qtype),
            Target::Query(name) => self.query(name, qtype),
            Target::Addr(ip) => Found::records(self.addresses(&[*ip], qtype, self.zone.node_ttl)),
            Target::Above => Found::Empty,
            Target::Unknown => Found::Absent,
        }
    }

    /// Whether who asks may not know what such a name stands for, be there anything or not.
    fn is_closed(&self, target: &Target, qtype: u16) -> bool {
        let open = || match target {
            // The servers are the instances of a service. That there is a zone is no secret.
            Target::NameServer => self.sight.service(SERVERS),
            Target::Apex => qtype != rtype::NS || self.sight.service(SERVERS),
            Target::Service { name, .. } => self.sight.service(name),
            Target::Node(name) => self.sight.node(name),
            // What a query finds is guarded as the service is, whoever may know the query.
            Target::Query(name) => match self.state.find_query(name) {
                Some(query) => self.sight.service(&query.def.target.service),
                None => self.sight.query(name),
            },
            Target::Addr(_) | Target::Above | Target::Unknown => true,
        };
        !self.sight.is_open() && !open()
    }

    /// Of the instances those that who asks is shown.
    pub(super) fn shown(&self, mut views: Vec<InstanceView<'a>>) -> Vec<InstanceView<'a>> {
        if !self.sight.is_open() {
            views.retain(|view| self.shows_instance(view.instance));
        }
        views
    }

    fn shows_instance(&self, row: &InstanceRow) -> bool {
        self.sight.service(&row.def.name) && self.sight.node(row.node.as_str())
    }

    fn addresses(&self, ips: &[IpAddr], qtype: u16, ttl: u32) -> Answers {
        let mut answers = Answers::default();
        for ip in ips.iter().filter(|ip| wanted(qtype, **ip)) {
            answers.push(&wire::address_body(*ip, ttl), 1);
        }
        answers
    }

    fn apex(&self, qtype: u16) -> Found {
        match qtype {
            rtype::SOA => Found::Zone(self.name_servers()),
            rtype::NS => Found::records(self.name_servers()),
            _ => Found::Empty,
        }
    }

    /// The servers as NS records with their addresses.
    fn name_servers(&self) -> Answers {
        let mut answers = Answers::default();
        let mut known = BTreeMap::new();
        let ttl = self.zone.node_ttl;
        for (name, ip) in self.servers() {
            let Some(target) = self.node_name(&name) else { continue };
            let addresses = wire::address_body(ip, ttl);
            let bodies = || Bodies { addresses, ..Bodies::default() };
            let host = answers.host(&mut known, target, bodies);
            answers.push_name(rtype::NS, ttl, host);
        }
        answers.at_most(NAME_SERVERS)
    }

    fn name_server(&self, qtype: u16) -> Found {
        let ips: Vec<IpAddr> = self.servers().into_iter().map(|(_, ip)| ip).collect();
        Found::records(self.addresses(&ips, qtype, self.zone.node_ttl))
    }

    /// The servers' nodes with their addresses: the catalog's, else where their agents are reached.
    fn servers(&self) -> Vec<(String, IpAddr)> {
        let servers = self.state.members().filter(|member| member.role == Role::Server);
        let open = self.sight.is_open() || self.sight.service(SERVERS);
        let servers = servers.filter(|member| open && self.sight.node(member.name.as_str()));
        let address = |name: &str| self.state.node(name)?.def.address.parse().ok();
        servers
            .map(|member| {
                let name = member.name.as_str();
                (name.to_owned(), address(name).unwrap_or(member.peer_addr.ip()))
            })
            .collect()
    }

    fn node(&self, name: &str, qtype: u16) -> Found {
        let Some(node) = self.state.node(name) else {
            // Node names may have dots: `b` stands above the node `a.b`.
            return match self.state.is_above_a_node(name) {
                true => Found::Empty,
                false => Found::Absent,
            };
        };
        let ttl = self.zone.node_ttl;
        let mut answers = match (qtype, Host::parse(&node.def.address)) {
            (rtype::TXT, _) => {
                let mut answers = Answers::default();
                let texts = node.def.meta.iter().map(|(key, value)| txt::body(key, value, ttl));
                texts.for_each(|text| answers.push(&text, 1));
                return Found::records(answers);
            }
            (rtype::A | rtype::AAAA | rtype::ANY, Host::Ip(ip)) => {
                self.addresses(&[ip], qtype, ttl)
            }
            (rtype::A | rtype::AAAA | rtype::ANY | rtype::CNAME, Host::Name(name)) => {
                Aliases::new(*self).canonical(&[name], qtype, ttl)
            }
            _ => return Found::Empty,
        };
        if answers.is_empty() {
            return Found::Empty;
        }
        answers.set_extra(&texts(node, ttl));
        Found::Records(answers)
    }

    /// `<node>.node.<dc>.<domain>`; none where DNS cannot carry it.
    pub(super) fn node_name(&self, node: &str) -> Option<WireName> {
        self.domain.name.below(node.split('.').chain(["node", &self.zone.datacenter]))
    }

    /// Names of an address: its nodes, else the services that have it as their own.
    pub fn names_of(&self, ip: IpAddr) -> Answers {
        let nodes = self.state.nodes_at(ip).filter(|node| self.sight.node(&node.def.name));
        let nodes = nodes.take(NAMES);
        let mut names: Vec<WireName> =
            nodes.filter_map(|node| self.node_name(&node.def.name)).collect();
        if names.is_empty() {
            let rows = self.state.instances_at(ip).filter(|row| self.shows_instance(row));
            let rows = rows.take(NAMES);
            names.extend(rows.filter_map(|row| self.service_name(&row.def.name)));
        }
        let mut answers = Answers::default();
        let mut known = Known::new();
        for name in names {
            if !known.contains_key(&name) {
                let host = answers.host(&mut known, name, Bodies::default);
                answers.push_name(rtype::PTR, 0, host);
            }
        }
        answers
    }

    fn service_name(&self, service: &str) -> Option<WireName> {
        self.domain.name.below([service, "service", &self.zone.datacenter])
    }
}

/// What a node says of itself, one TXT body behind the other.
pub(super) fn texts(node: &NodeRow, ttl: u32) -> Vec<u8> {
    node.def.meta.iter().flat_map(|(key, value)| txt::body(key, value, ttl)).collect()
}

pub(super) fn wanted(qtype: u16, ip: IpAddr) -> bool {
    qtype == rtype::ANY || qtype == wire::address_type(ip)
}
