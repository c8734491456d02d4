//! Finds in the state what a name stands for, as records.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::model::{Folded, Health, Role};
use crate::state::{InstanceView, NodeRow, State};

use super::answers::Answers;
use super::target::{self, Labels, Target};
use super::txt;
use super::wire::{self, WireName, rtype};
use super::zone::{Domain, Zone};

/// How far a host name of an instance is followed through our own names.
const CHAIN: usize = 3;
/// Servers named in an NS answer.
const NAME_SERVERS: usize = 3;

#[derive(Debug)]
pub enum Found {
    Records(Answers),
    /// The SOA itself was asked for: it comes with the servers.
    Zone(Answers),
    /// The name is there, records of that type are not: NODATA.
    Empty,
    /// NXDOMAIN.
    Absent,
}

/// One look into the state on behalf of a name under one domain.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    pub zone: &'a Zone,
    pub domain: &'a Domain,
    pub state: &'a State,
}

/// Where something listens.
enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    fn parse(address: &'a str) -> Host<'a> {
        address.parse().map_or(Host::Name(address), Host::Ip)
    }
}

impl<'a> Lookup<'a> {
    pub fn find(&self, target: &Target, qtype: u16) -> Found {
        match target {
            Target::Apex => self.apex(qtype),
            Target::NameServer => self.name_server(qtype),
            Target::Service { name, tag, srv_only } => {
                self.service(name, tag.as_deref(), *srv_only, qtype)
            }
            Target::Node(name) => self.node(name, qtype),
            Target::Addr(ip) => self.found(self.addresses(&[*ip], qtype, self.zone.node_ttl)),
            Target::Above => Found::Empty,
            Target::Unknown => Found::Absent,
        }
    }

    fn found(&self, answers: Answers) -> Found {
        if answers.is_empty() { Found::Empty } else { Found::Records(answers) }
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
            rtype::NS => self.found(self.name_servers()),
            _ => Found::Empty,
        }
    }

    /// The servers as NS records with their addresses.
    fn name_servers(&self) -> Answers {
        let mut answers = Answers::default();
        let mut known = BTreeMap::new();
        for (name, ip) in self.servers() {
            let Some(target) = self.node_name(&name) else { continue };
            let ttl = self.zone.node_ttl;
            let host = answers.host(&mut known, target, || vec![wire::address_body(ip, ttl)]);
            answers.push_name(rtype::NS, ttl, host);
        }
        answers.at_most(NAME_SERVERS)
    }

    fn name_server(&self, qtype: u16) -> Found {
        let ips: Vec<IpAddr> = self.servers().into_iter().map(|(_, ip)| ip).collect();
        self.found(self.addresses(&ips, qtype, self.zone.node_ttl))
    }

    /// The servers' nodes with their addresses: the catalog's, else where their agents are reached.
    fn servers(&self) -> Vec<(String, IpAddr)> {
        let servers = self.state.members().filter(|member| member.role == Role::Server);
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
            return match self.is_part_of_a_node(name) {
                true => Found::Empty,
                false => Found::Absent,
            };
        };
        let ttl = self.zone.node_ttl;
        let texts = node.def.meta.iter().map(|(key, value)| txt::body(key, value, ttl));
        let mut answers = match (qtype, Host::parse(&node.def.address)) {
            (rtype::TXT, _) => {
                let mut answers = Answers::default();
                texts.for_each(|text| answers.push(&text, 1));
                return self.found(answers);
            }
            (_, Host::Ip(ip)) => self.addresses(&[ip], qtype, ttl),
            (_, Host::Name(name)) => self.canonical(&[name], qtype, ttl),
        };
        if answers.is_empty() {
            return Found::Empty;
        }
        texts.for_each(|text| answers.push_extra(&text));
        Found::Records(answers)
    }

    /// Node names may have dots: `b` stands above the node `a.b`.
    fn is_part_of_a_node(&self, name: &str) -> bool {
        let name = Folded::new(name);
        self.state.nodes().any(|(node, _)| is_dotted_part(node.as_str(), name.as_str()))
    }

    fn service(&self, name: &str, tag: Option<&str>, srv_only: bool, qtype: u16) -> Found {
        let views = self.healthy(name, tag);
        if views.is_empty() {
            let above = tag.is_some_and(|tag| {
                let tags = self.healthy(name, None);
                let mut tags = tags.iter().flat_map(|view| view.instance.def.tags.iter());
                tags.any(|whole| is_dotted_part(&whole.to_ascii_lowercase(), tag))
            });
            return if above { Found::Empty } else { Found::Absent };
        }
        let ttl = self.zone.service_ttl.of(name);
        match qtype {
            rtype::SRV => self.found(self.srv(&views, name, ttl)),
            rtype::A | rtype::AAAA | rtype::ANY if !srv_only => {
                self.found(self.service_addresses(&views, name, qtype, ttl))
            }
            _ => Found::Empty,
        }
    }

    fn healthy<'s>(&'s self, name: &str, tag: Option<&'s str>) -> Vec<InstanceView<'s>> {
        let views = self.state.healthy(name, tag);
        views.filter(|view| !self.zone.only_passing || view.health() == Health::Passing).collect()
    }

    /// An instance's own address, unless it is a name of the service itself.
    fn own_address<'s>(&self, view: &InstanceView<'s>, service: &str) -> Option<Host<'s>> {
        let own = &view.instance.def.address;
        if own.is_empty() {
            return None;
        }
        match Host::parse(own) {
            Host::Name(name) => match self.ours(name) {
                Some((Target::Service { name: target, .. }, _)) if target == service => None,
                _ => Some(Host::Name(name)),
            },
            ip => Some(ip),
        }
    }

    /// A and AAAA. Host names show as a CNAME, and only where no instance has an address.
    fn service_addresses(
        &self,
        views: &[InstanceView<'_>],
        service: &str,
        qtype: u16,
        ttl: u32,
    ) -> Answers {
        let mut ips: BTreeMap<IpAddr, u16> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for view in views {
            let own = self.own_address(view, service);
            match own.unwrap_or_else(|| Host::parse(&view.node.def.address)) {
                Host::Ip(ip) => {
                    let weight = ips.entry(ip).or_default();
                    *weight = weight.saturating_add(view.weight());
                }
                Host::Name(name) => {
                    names.insert(name);
                }
            }
        }
        if ips.is_empty() {
            let names: Vec<&str> = names.into_iter().collect();
            return self.canonical(&names, qtype, ttl);
        }
        let mut answers = Answers::default();
        for (ip, weight) in ips.into_iter().filter(|(ip, _)| wanted(qtype, *ip)) {
            answers.push(&wire::address_body(ip, ttl), weight);
        }
        answers
    }

    /// A CNAME to one of the host names, followed where it is a name of ours.
    fn canonical(&self, names: &[&str], qtype: u16, ttl: u32) -> Answers {
        let mut answers = Answers::default();
        let mut known = BTreeMap::new();
        for name in names {
            let Some(wire) = WireName::from_dotted(name) else { continue };
            let host = answers.host(&mut known, wire, || self.resolved(name, qtype, ttl));
            answers.push_name(rtype::CNAME, ttl, host);
        }
        answers.mark_volatile();
        answers.into_chain()
    }

    fn srv(&self, views: &[InstanceView<'_>], service: &str, ttl: u32) -> Answers {
        let mut answers = Answers::default();
        let mut hosts = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for view in views {
            let own = &view.instance.def.address;
            if !seen.insert((&view.instance.node, own, view.instance.def.port)) {
                continue;
            }
            let targets = match self.own_address(view, service) {
                None => self.node_target(&mut answers, &mut hosts, view.node, ttl),
                Some(Host::Ip(ip)) => self.ip_target(&mut answers, &mut hosts, view, ip, ttl),
                Some(Host::Name(name)) => self.name_target(&mut answers, &mut hosts, name, ttl),
            };
            let port = u16::try_from(view.instance.def.port).unwrap_or(0);
            answers.push_srv(ttl, view.weight(), port, targets);
        }
        answers
    }

    /// `<node>.node.<dc>.<domain>`, or the address's name where DNS cannot carry the node's.
    fn node_target(
        &self,
        answers: &mut Answers,
        hosts: &mut BTreeMap<WireName, usize>,
        node: &NodeRow,
        ttl: u32,
    ) -> Vec<usize> {
        let host = Host::parse(&node.def.address);
        match (self.node_name(&node.def.name), host) {
            (Some(name), host) => {
                let bodies = || {
                    let address = match host {
                        Host::Ip(ip) => vec![wire::address_body(ip, ttl)],
                        Host::Name(_) => Vec::new(),
                    };
                    address.into_iter().chain(texts(node, ttl)).collect()
                };
                vec![answers.host(hosts, name, bodies)]
            }
            (None, Host::Ip(ip)) => self.address_target(answers, hosts, ip, ttl),
            (None, Host::Name(name)) => self.name_target(answers, hosts, name, ttl),
        }
    }

    /// `<hex>.addr.<dc>.<domain>`, with what the node says of itself.
    fn ip_target(
        &self,
        answers: &mut Answers,
        hosts: &mut BTreeMap<WireName, usize>,
        view: &InstanceView<'_>,
        ip: IpAddr,
        ttl: u32,
    ) -> Vec<usize> {
        let mut targets = self.address_target(answers, hosts, ip, ttl);
        if !view.node.def.meta.is_empty()
            && let Some(name) = self.node_name(&view.node.def.name)
        {
            let node = || {
                let ip = view.node.def.address.parse().ok();
                let address = ip.map(|ip| wire::address_body(ip, ttl));
                address.into_iter().chain(texts(view.node, ttl)).collect()
            };
            targets.push(answers.host(hosts, name, node));
        }
        targets
    }

    fn address_target(
        &self,
        answers: &mut Answers,
        hosts: &mut BTreeMap<WireName, usize>,
        ip: IpAddr,
        ttl: u32,
    ) -> Vec<usize> {
        let hex = match ip {
            IpAddr::V4(ip) => format!("{:08x}", ip.to_bits()),
            IpAddr::V6(ip) => format!("{:032x}", ip.to_bits()),
        };
        let labels = [hex.as_str(), "addr", &self.zone.datacenter];
        let name = self.domain.name.below(labels);
        name.map(|name| answers.host(hosts, name, || vec![wire::address_body(ip, ttl)]))
            .into_iter()
            .collect()
    }

    fn name_target(
        &self,
        answers: &mut Answers,
        hosts: &mut BTreeMap<WireName, usize>,
        name: &str,
        ttl: u32,
    ) -> Vec<usize> {
        let Some(wire) = WireName::from_dotted(name) else { return Vec::new() };
        answers.mark_volatile();
        vec![answers.host(hosts, wire, || self.resolved(name, rtype::ANY, ttl))]
    }

    fn node_name(&self, node: &str) -> Option<WireName> {
        self.domain.name.below(node.split('.').chain(["node", &self.zone.datacenter]))
    }

    /// What a name of ours stands for, with the domain it is under.
    fn ours(&self, name: &str) -> Option<(Target, &'a Domain)> {
        let wire = WireName::from_dotted(name)?;
        let labels = Labels::new(wire.as_bytes());
        let domain = target::domain_of(self.zone, &labels)?;
        Some((target::target(&labels.before(domain)?, &self.zone.datacenter), domain))
    }

    /// Address records of a name of ours; of other names none.
    fn resolved(&self, name: &str, qtype: u16, ttl: u32) -> Vec<Vec<u8>> {
        let mut ips = BTreeSet::new();
        self.gather(name, CHAIN, &mut ips);
        let ips = ips.into_iter().filter(|ip| wanted(qtype, *ip));
        ips.map(|ip| wire::address_body(ip, ttl)).collect()
    }

    fn gather(&self, name: &str, depth: usize, ips: &mut BTreeSet<IpAddr>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let Some((target, _)) = self.ours(name) else { return };
        let addresses: Vec<String> = match &target {
            Target::Addr(ip) => vec![ip.to_string()],
            Target::Node(node) => {
                self.state.node(node).map(|node| node.def.address.to_string()).into_iter().collect()
            }
            Target::Service { name, tag, .. } => {
                let views = self.healthy(name, tag.as_deref());
                views.iter().map(|view| view.address().to_string()).collect()
            }
            _ => Vec::new(),
        };
        for address in addresses {
            match Host::parse(&address) {
                Host::Ip(ip) => {
                    ips.insert(ip);
                }
                Host::Name(name) => self.gather(name, depth, ips),
            }
        }
    }

    /// Names of an address: its nodes, else the services that have it as their own.
    pub fn names_of(&self, ip: IpAddr) -> Answers {
        let mut answers = Answers::default();
        let mut known = BTreeMap::new();
        let is = |address: &str| address.parse() == Ok(ip);
        let nodes = self.state.nodes().filter(|(_, node)| is(&node.def.address));
        let mut names: Vec<WireName> =
            nodes.filter_map(|(_, node)| self.node_name(&node.def.name)).collect();
        if names.is_empty() {
            let rows = self.state.nodes().flat_map(|(name, _)| self.state.instances_on_node(name));
            let rows = rows.filter(|row| is(&row.def.address));
            names.extend(rows.filter_map(|row| self.service_name(&row.def.name)));
        }
        for name in names {
            if known.contains_key(&name) {
                continue;
            }
            let host = answers.host(&mut known, name, Vec::new);
            answers.push_name(rtype::PTR, 0, host);
        }
        answers
    }

    fn service_name(&self, service: &str) -> Option<WireName> {
        self.domain.name.below([service, "service", &self.zone.datacenter])
    }
}

fn texts(node: &NodeRow, ttl: u32) -> impl Iterator<Item = Vec<u8>> {
    node.def.meta.iter().map(move |(key, value)| txt::body(key, value, ttl))
}

fn wanted(qtype: u16, ip: IpAddr) -> bool {
    qtype == rtype::ANY || qtype == wire::address_type(ip)
}

/// Whether `part` is what stands behind one of the dots of `whole`.
fn is_dotted_part(whole: &str, part: &str) -> bool {
    whole.strip_suffix(part).is_some_and(|head| head.ends_with('.'))
}
