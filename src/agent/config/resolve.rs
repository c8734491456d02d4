//! Flags over file over defaults, checked against each other: what the agent is built from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::balance;
use crate::cluster::{self, RoleWish};
use crate::identity::Lifetimes;
use crate::model::{NodeName, limits};
use crate::net::http::TlsFiles;
use crate::raft::LogSizes;
use crate::state::{LEVEL, Settings};
use crate::{consul, dns, etcd, files, net, presence, proxy};

use super::acl;
use super::file::{
    BalanceSetting, ClusterSection, File, FilesSection, HttpSection, LimitsSection,
    ProtocolSetting, RoleSetting, TemplateSection, UpstreamSection, WaitSection,
};
use super::load::ConfigError;
use super::token;
use super::urls;
use super::values::{Advertise, HttpListen, Listen};

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8300);
const HTTP: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8500),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2379),
];
const PRESENCE_TTL: Duration = Duration::from_secs(5);

/// What the command line said; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    pub node: Option<NodeName>,
    pub data_dir: Option<PathBuf>,
    pub join: Vec<String>,
    /// `-` is standard input.
    pub token_file: Option<PathBuf>,
    pub role: Option<RoleSetting>,
    pub bind: Option<Listen>,
    pub advertise: Option<Advertise>,
    /// In place of `dns.listen`.
    pub dns: Vec<Listen>,
}

/// Every module's own config, valid and in agreement with the others.
#[derive(Debug)]
pub struct Resolved {
    pub cluster: cluster::Config,
    pub presence: presence::Config,
    pub http: HttpConfig,
    pub consul: consul::Config,
    pub etcd: etcd::Config,
    pub dns: dns::Config,
    pub proxy: proxy::Config,
    pub files: files::Config,
}

#[derive(Debug)]
pub struct HttpConfig {
    pub listen: Vec<HttpListen>,
    /// There if any of `listen` is secure.
    pub tls: Option<TlsFiles>,
    pub hosts: Vec<String>,
}

pub fn resolve(file: File, flags: &Flags) -> Result<Resolved, ConfigError> {
    let node = match flags.node.clone().or(file.node.clone()) {
        Some(node) => node,
        None => host_name()?,
    };
    let datacenter = file.datacenter.clone().unwrap_or_else(|| "dc1".to_owned());
    let http = http(&file.http)?;
    let etcd = etcd(&file.limits)?;
    let dns = super::dns::dns(file.dns.clone(), &flags.dns, datacenter.clone())?;
    let (cluster, presence) = members(&file, flags, node)?;
    Ok(Resolved {
        presence,
        consul: consul::Config {
            datacenter: datacenter.clone(),
            kv_value_limit: file.limits.value.map_or(limits::KV_VALUE, |size| size.0),
            txn_body_limit: file.limits.txn.map_or(limits::KV_TXN, |size| size.0),
            txn_ops: etcd.txn_ops,
            session_ttl_min: session_ttl_min(&file)?,
            blocked: blocked(&file.http)?,
            shown: consul::Shown {
                data_dir: flags.data_dir.clone().or_else(|| file.data_dir.clone()),
                domain: dns.domains.first().cloned().unwrap_or_default(),
                peer: cluster.advertise,
                ..consul::Shown::default()
            },
        },
        etcd,
        dns,
        proxy: proxy::Config { upstreams: upstreams(file.upstreams)? },
        files: files::Config {
            templates: templates(file.templates)?,
            files: directories(file.files)?,
        },
        cluster,
        http,
    })
}

fn etcd(section: &LimitsSection) -> Result<etcd::Config, ConfigError> {
    let default = etcd::Config::default();
    let txn_ops = section.txn_ops.unwrap_or(default.txn_ops);
    if txn_ops == 0 || txn_ops > limits::TXN_OPS_MAX {
        let message = format!("from 1 to {} operations are allowed", limits::TXN_OPS_MAX);
        return Err(ConfigError::setting("limits.txn_ops", message));
    }
    let request_limit = section.request.map_or(default.request_limit, |size| size.0);
    Ok(etcd::Config { request_limit, txn_ops })
}

/// Paths of Consul's API that nobody is answered under.
fn blocked(section: &HttpSection) -> Result<Vec<String>, ConfigError> {
    for (i, path) in section.block.iter().enumerate() {
        if !path.starts_with("/v1/") {
            let key = format!("http.block[{i}]");
            return Err(ConfigError::setting(key, format!("{path:?} does not begin with /v1/")));
        }
    }
    Ok(section.block.clone())
}

fn session_ttl_min(file: &File) -> Result<Duration, ConfigError> {
    let (default, most) = limits::SESSION_TTL;
    let least = file.sessions.ttl_min.map_or(default, |period| period.0);
    if least > most {
        let message = format!("at most {} are allowed", humantime::format_duration(most));
        return Err(ConfigError::setting("sessions.ttl_min", message));
    }
    Ok(least)
}

/// What a cluster that this agent founds begins with.
fn settings(file: &File) -> Result<Settings, ConfigError> {
    let default = Settings::default();
    let voters = file.cluster.voters.unwrap_or(default.voters);
    let standbys = file.cluster.standbys.unwrap_or(default.standbys);
    if voters == 0 {
        return Err(ConfigError::setting("cluster.voters", "a cluster needs a voter"));
    }
    let quota = file.limits.quota.map_or(default.quota, |quota| quota.0);
    let history = file.limits.history.map_or(default.history, |period| period.0);
    let (least, most) = limits::HISTORY_AGE_RANGE;
    if !(least..=most).contains(&history) {
        let [least, most] = [least, most].map(humantime::format_duration);
        let message = format!("from {least} to {most} are allowed");
        return Err(ConfigError::setting("limits.history", message));
    }
    let session_factor = file.sessions.ttl_factor.unwrap_or(default.session_factor);
    let (least, most) = limits::SESSION_FACTOR;
    if !(least..=most).contains(&session_factor) {
        let message = format!("from {least} to {most} are allowed");
        return Err(ConfigError::setting("sessions.ttl_factor", message));
    }
    Ok(Settings { voters, standbys, quota, history, session_factor, ..default })
}

fn host_name() -> Result<NodeName, ConfigError> {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    NodeName::new(&name).map_err(|error| {
        ConfigError::setting("node", format!("the host's name cannot be used: {error}"))
    })
}

/// A listener beyond loopback has to be wanted in so many words.
/// `allow` says how.
pub(super) fn guarded(
    key: &str,
    addr: SocketAddr,
    insecure: bool,
    allow: &str,
) -> Result<(), ConfigError> {
    if insecure || net::is_loopback(addr) {
        return Ok(());
    }
    Err(ConfigError::setting(key, format!("{addr} is beyond loopback and not secured; {allow}")))
}

fn join_names(join: &[String]) -> Result<(), ConfigError> {
    for (i, target) in join.iter().enumerate() {
        let (host, port) = target.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || port.parse::<u16>().is_err() {
            let key = format!("cluster.join[{i}]");
            return Err(ConfigError::setting(key, format!("{target:?} is no host:port")));
        }
    }
    Ok(())
}

fn members(
    file: &File,
    flags: &Flags,
    node: NodeName,
) -> Result<(cluster::Config, presence::Config), ConfigError> {
    let section = &file.cluster;
    let bind = flags.bind.or(section.bind).map_or(PEER, |listen| listen.0);
    let wanted = flags.advertise.clone().or(section.advertise.clone());
    let advertise = advertise(bind, wanted)?;
    let join = if flags.join.is_empty() { &section.join } else { &flags.join };
    join_names(join)?;
    let data_dir = flags.data_dir.clone().or(file.data_dir.clone());
    let role = flags.role.or(file.role).map_or(RoleWish::Auto, RoleSetting::wish);
    if data_dir.is_none() && role == RoleWish::Server {
        return Err(ConfigError::setting("role", "a server needs a data_dir"));
    }
    if data_dir.is_none() && join.is_empty() {
        return Err(ConfigError::setting(
            "cluster.join",
            "an agent without a data_dir is an edge and needs a server to join; \
             with a data_dir it founds a cluster",
        ));
    }
    if matches!(role, RoleWish::Edge | RoleWish::Relay) && join.is_empty() {
        let why = "an edge or a relay needs another agent to join";
        return Err(ConfigError::setting("cluster.join", why));
    }
    let expect = expect(section, join)?;
    let presence_ttl = section.presence_ttl.map_or(PRESENCE_TTL, |period| period.0);
    if presence_ttl < Duration::from_secs(1) {
        return Err(ConfigError::setting("cluster.presence_ttl", "the least is 1s"));
    }
    let services =
        file.services.iter().map(|service| (service.def.clone(), service.checks.clone()));
    let presence = presence::Config {
        node: node.clone(),
        address: advertise.ip().to_string(),
        meta: file.meta.clone(),
        presence_ttl,
        services: services.collect(),
        peer_port: advertise.port(),
        exec_checks: file.exec_checks,
    };
    let token = token::find(flags.token_file.as_ref(), section.token_file.as_ref())?;
    let cluster = cluster::Config {
        name: node,
        data_dir,
        role,
        bind,
        advertise,
        join: join.clone(),
        expect,
        token,
        client_urls: client_urls(&file.http, advertise.ip()),
        lifetimes: lifetimes(section.certificate_ttl.map(|period| period.0))?,
        settings: settings(file)?,
        acl: acl::founding(&file.acl),
        own: acl::own_tokens(file)?,
        wished: cluster::Wished {
            quota: file.limits.quota.map(|quota| quota.0),
            history: file.limits.history.map(|period| period.0),
        },
        level: LEVEL,
        pace: pace(section)?,
        sizes: LogSizes::default(),
        seams: cluster::Seams::default(),
    };
    Ok((cluster, presence))
}

fn expect(section: &ClusterSection, join: &[String]) -> Result<u32, ConfigError> {
    let expect = section.expect.unwrap_or(1);
    if expect == 0 || expect as usize > limits::SERVERS {
        let message = format!("from 1 to {} servers are allowed", limits::SERVERS);
        return Err(ConfigError::setting("cluster.expect", message));
    }
    if expect > 1 && join.is_empty() {
        let message = format!("{expect} servers are expected, but cluster.join names none of them");
        return Err(ConfigError::setting("cluster.expect", message));
    }
    Ok(expect)
}

fn pace(section: &ClusterSection) -> Result<cluster::Pace, ConfigError> {
    let default = cluster::Pace::default();
    let replace_after = section.replace_after.map_or(default.replace_after, |period| period.0);
    let retire_after = section.retire_after.map_or(default.retire_after, |period| period.0);
    if replace_after < Duration::from_secs(1) {
        return Err(ConfigError::setting("cluster.replace_after", "the least is 1s"));
    }
    if retire_after < replace_after {
        let message = format!(
            "{} is less than cluster.replace_after ({}): a server is replaced before it is retired",
            humantime::format_duration(retire_after),
            humantime::format_duration(replace_after),
        );
        return Err(ConfigError::setting("cluster.retire_after", message));
    }
    Ok(cluster::Pace { replace_after, retire_after, ..default })
}

/// The grace for renewing is as long as the life.
fn lifetimes(ttl: Option<Duration>) -> Result<Lifetimes, ConfigError> {
    let default = Lifetimes::default();
    let Some(leaf) = ttl else { return Ok(default) };
    if !(Duration::from_secs(5)..=Duration::from_secs(90 * 24 * 3600)).contains(&leaf) {
        let why = "from 5s to 2160h (90 days) are allowed";
        return Err(ConfigError::setting("cluster.certificate_ttl", why));
    }
    Ok(Lifetimes { leaf, grace: leaf, skew: default.skew.min(leaf / 10) })
}

fn advertise(bind: SocketAddr, wanted: Option<Advertise>) -> Result<SocketAddr, ConfigError> {
    let failed =
        |error: net::RouteError| ConfigError::setting("cluster.advertise", error.to_string());
    let ip = match wanted {
        Some(Advertise::Addr(addr)) => return Ok(addr),
        Some(Advertise::Ip(ip)) => ip,
        Some(Advertise::Interface(name)) => net::interface_ip(&name).map_err(failed)?,
        None if bind.ip().is_unspecified() => net::default_route_ip().map_err(failed)?,
        None => bind.ip(),
    };
    Ok(SocketAddr::new(ip, bind.port()))
}

fn client_urls(section: &HttpSection, agent: IpAddr) -> Vec<String> {
    match &*section.advertise {
        [] => urls::of_clients(&listeners(section), agent),
        told => told.to_vec(),
    }
}

fn listeners(section: &HttpSection) -> Vec<HttpListen> {
    section.listen.clone().unwrap_or_else(|| HTTP.map(HttpListen::Plain).to_vec())
}

fn http(section: &HttpSection) -> Result<HttpConfig, ConfigError> {
    let listen = listeners(section);
    for (i, listen) in listen.iter().enumerate() {
        let key = format!("http.listen[{i}]");
        match listen {
            HttpListen::Plain(addr) => {
                let allow = "https:// with http.tls secures it, `http.insecure: true` allows it";
                guarded(&key, *addr, section.insecure, allow)?;
            }
            HttpListen::Secure(_) if section.tls.is_none() => {
                let message = "https:// needs http.tls: { cert: FILE, key: FILE }";
                return Err(ConfigError::setting(key, message));
            }
            HttpListen::Secure(_) | HttpListen::Unix(_) => {}
        }
    }
    let secure = listen.iter().any(|listen| matches!(listen, HttpListen::Secure(_)));
    if section.tls.is_some() && !secure {
        let message = "no address of http.listen begins with https://, so it secures nothing";
        return Err(ConfigError::setting("http.tls", message));
    }
    let tls = section.tls.clone().map(|tls| TlsFiles {
        cert: tls.cert,
        key: tls.key,
        client_ca: tls.client_ca,
    });
    Ok(HttpConfig { listen, tls, hosts: section.hosts.clone() })
}

fn upstreams(sections: Vec<UpstreamSection>) -> Result<Vec<proxy::Upstream>, ConfigError> {
    let mut upstreams = Vec::new();
    for (i, section) in sections.into_iter().enumerate() {
        let key = format!("upstreams[{i}].listen");
        let allow = format!("`upstreams[{i}].insecure: true` allows it");
        guarded(&key, section.listen.0, section.insecure, &allow)?;
        let protocol = match section.protocol {
            ProtocolSetting::Http => proxy::Protocol::Http,
            ProtocolSetting::Tcp => proxy::Protocol::Tcp,
        };
        let mut upstream = proxy::Upstream::new(&section.service, section.listen.0, protocol);
        upstream.tag = section.tag;
        upstream.insecure = section.insecure;
        upstream.balance = match section.balance {
            BalanceSetting::P2c => balance::Policy::P2c,
            BalanceSetting::LeastRequest => balance::Policy::LeastRequest,
            BalanceSetting::RoundRobin => balance::Policy::RoundRobin,
        };
        upstreams.push(upstream);
    }
    Ok(upstreams)
}

fn wait(key: &str, section: Option<WaitSection>) -> Result<files::Wait, ConfigError> {
    let Some(section) = section else { return Ok(files::Wait::default()) };
    if section.max.0 < section.min.0 {
        return Err(ConfigError::setting(format!("{key}.wait"), "max is less than min"));
    }
    Ok(files::Wait { min: section.min.0, max: section.max.0 })
}

fn templates(sections: Vec<TemplateSection>) -> Result<Vec<files::TemplateSpec>, ConfigError> {
    let mut templates = Vec::new();
    for (i, section) in sections.into_iter().enumerate() {
        let key = format!("templates[{i}]");
        let source = match (section.source, section.contents) {
            (Some(path), None) => files::TemplateSource::Path(path),
            (None, Some(contents)) => files::TemplateSource::Contents(contents),
            _ => return Err(ConfigError::setting(key, "needs one of source and contents")),
        };
        templates.push(files::TemplateSpec {
            source,
            destination: section.destination,
            mode: section.mode.map(|mode| mode.0),
            check: section.check.map(|argv| argv.0),
            reload: section.reload.map(|argv| argv.0),
            wait: wait(&key, section.wait)?,
        });
    }
    Ok(templates)
}

fn directories(sections: Vec<FilesSection>) -> Result<Vec<files::PrefixSpec>, ConfigError> {
    let mut directories = Vec::new();
    for (i, section) in sections.into_iter().enumerate() {
        directories.push(files::PrefixSpec {
            prefix: section.prefix,
            directory: section.directory,
            mode: section.mode.map(|mode| mode.0),
            check: section.check.map(|argv| argv.0),
            reload: section.reload.map(|argv| argv.0),
            wait: wait(&format!("files[{i}]"), section.wait)?,
        });
    }
    Ok(directories)
}
