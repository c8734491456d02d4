//! The shape of `remora.yaml`. Every key is optional; unknown keys are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::cluster::RoleWish;
use crate::model::NodeName;

use super::acl::DefaultSetting;
use super::service::Service;
use super::values::{Advertise, Argv, HttpListen, Listen, Mode, Period, Size, Span, Volume};

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub node: Option<NodeName>,
    pub data_dir: Option<PathBuf>,
    pub datacenter: Option<String>,
    pub meta: BTreeMap<String, String>,
    pub role: Option<RoleSetting>,
    pub cluster: ClusterSection,
    pub limits: LimitsSection,
    pub sessions: SessionsSection,
    pub acl: AclSection,
    pub http: HttpSection,
    pub dns: DnsSection,
    pub services: Vec<Service>,
    /// Consul's name for it is taken, too.
    #[serde(alias = "enable_script_checks")]
    pub exec_checks: bool,
    pub upstreams: Vec<UpstreamSection>,
    pub templates: Vec<TemplateSection>,
    pub files: Vec<FilesSection>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RoleSetting {
    Auto,
    Server,
    Edge,
    Relay,
}

impl RoleSetting {
    pub(super) fn wish(self) -> RoleWish {
        match self {
            RoleSetting::Auto => RoleWish::Auto,
            RoleSetting::Server => RoleWish::Server,
            RoleSetting::Edge => RoleWish::Edge,
            RoleSetting::Relay => RoleWish::Relay,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    pub bind: Option<Listen>,
    pub advertise: Option<Advertise>,
    pub join: Vec<String>,
    pub expect: Option<u32>,
    pub replace_after: Option<Period>,
    pub retire_after: Option<Period>,
    pub token_file: Option<PathBuf>,
    pub voters: Option<u32>,
    pub standbys: Option<u32>,
    pub presence_ttl: Option<Period>,
    pub certificate_ttl: Option<Period>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    pub value: Option<Size>,
    pub request: Option<Size>,
    pub txn_ops: Option<usize>,
    pub txn: Option<Size>,
    pub quota: Option<Volume>,
    pub history: Option<Period>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionsSection {
    pub ttl_factor: Option<u32>,
    pub ttl_min: Option<Period>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AclSection {
    pub enabled: bool,
    pub default_policy: DefaultSetting,
    pub token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    pub listen: Option<Vec<HttpListen>>,
    pub advertise: Vec<String>,
    /// Host names beside IP addresses and `localhost` that requests may be addressed to.
    pub hosts: Vec<String>,
    pub tls: Option<TlsSection>,
    /// Beginnings of paths of Consul's API that are not answered here.
    pub block: Vec<String>,
    pub insecure: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsSection {
    pub token_file: Option<PathBuf>,
    pub listen: Option<Vec<Listen>>,
    pub domains: Option<Vec<String>>,
    pub forward: Option<ForwardSetting>,
    pub ttl: TtlSection,
    pub only_passing: bool,
    pub a_record_limit: Option<usize>,
    pub udp_answer_limit: Option<usize>,
    pub soa: SoaSection,
    pub weight_scale: Option<u16>,
    pub max_stale: Option<Span>,
    pub rate_limit: Option<u32>,
    pub workers: Option<usize>,
    pub insecure: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoaSection {
    pub refresh: Option<Span>,
    pub retry: Option<Span>,
    pub expire: Option<Span>,
    pub min_ttl: Option<Span>,
}

/// `system`, `off`, or a list of servers.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ForwardSetting {
    /// What YAML makes of a bare `off`.
    Switch(bool),
    Word(String),
    Servers(Vec<String>),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TtlSection {
    pub node: Option<Span>,
    /// By name, by `prefix*` or `*`.
    pub services: BTreeMap<String, Span>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamSection {
    pub service: String,
    pub tag: Option<String>,
    pub listen: Listen,
    #[serde(default)]
    pub protocol: ProtocolSetting,
    #[serde(default)]
    pub balance: BalanceSetting,
    #[serde(default)]
    pub insecure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProtocolSetting {
    Http,
    #[default]
    Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BalanceSetting {
    #[default]
    P2c,
    LeastRequest,
    RoundRobin,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSection {
    pub source: Option<PathBuf>,
    pub contents: Option<String>,
    pub destination: PathBuf,
    pub mode: Option<Mode>,
    pub check: Option<Argv>,
    pub reload: Option<Argv>,
    pub wait: Option<WaitSection>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitSection {
    pub min: Span,
    pub max: Span,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesSection {
    pub prefix: String,
    pub directory: PathBuf,
    pub mode: Option<Mode>,
    pub check: Option<Argv>,
    pub reload: Option<Argv>,
    pub wait: Option<WaitSection>,
}
