//! The JSON shapes of tokens, roles and policies.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::access::{Acl, AclPolicy, AclRole, AclToken, Links};
use crate::identity;
use crate::model::{AclId, Index};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    description: &'a str,
    rules: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    datacenters: &'a [String],
    hash: String,
    create_index: Index,
    modify_index: Index,
}

impl<'a> PolicyJson<'a> {
    pub fn new(policy: &'a AclPolicy) -> PolicyJson<'a> {
        PolicyJson {
            id: policy.id.to_string(),
            name: &policy.name,
            description: &policy.description,
            rules: &policy.text,
            datacenters: &policy.datacenters,
            hash: hash(&(&policy.name, &policy.description, &policy.text, &policy.datacenters)),
            create_index: policy.create,
            modify_index: policy.modified,
        }
    }
}

/// A policy in a list, without its rules.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyStub<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    description: &'a str,
    datacenters: Option<&'a [String]>,
    hash: String,
    create_index: Index,
    modify_index: Index,
}

impl<'a> PolicyStub<'a> {
    pub fn new(policy: &'a AclPolicy) -> PolicyStub<'a> {
        let PolicyJson { id, name, description, hash, create_index, modify_index, .. } =
            PolicyJson::new(policy);
        let datacenters = (!policy.datacenters.is_empty()).then_some(&policy.datacenters[..]);
        PolicyStub { id, name, description, datacenters, hash, create_index, modify_index }
    }
}

#[derive(Serialize)]
struct Link<'a> {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Name")]
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceJson<'a> {
    service_name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    datacenters: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeJson<'a> {
    node_name: &'a str,
    datacenter: &'a str,
}

/// What permits something, by name. Policies that are gone are not shown.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LinksJson<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Link<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Link<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_identities: Vec<ServiceJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node_identities: Vec<NodeJson<'a>>,
}

impl<'a> LinksJson<'a> {
    fn new(acl: &'a Acl, links: &'a Links, roles: &[AclId]) -> LinksJson<'a> {
        let link = |id: AclId, name: &'a str| Link { id: id.to_string(), name };
        let policies = links.policies.iter().filter_map(|id| acl.policy(*id));
        let roles = roles.iter().filter_map(|id| acl.role(*id));
        let services = links.services.iter();
        let nodes = links.nodes.iter();
        LinksJson {
            policies: policies.map(|policy| link(policy.id, &policy.name)).collect(),
            roles: roles.map(|role| link(role.id, &role.name)).collect(),
            service_identities: services
                .map(|identity| ServiceJson {
                    service_name: &identity.name,
                    datacenters: &identity.datacenters,
                })
                .collect(),
            node_identities: nodes
                .map(|identity| NodeJson {
                    node_name: &identity.name,
                    datacenter: &identity.datacenter,
                })
                .collect(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RoleJson<'a> {
    #[serde(rename = "ID")]
    id: String,
    name: &'a str,
    description: &'a str,
    #[serde(flatten)]
    links: LinksJson<'a>,
    hash: String,
    create_index: Index,
    modify_index: Index,
}

impl<'a> RoleJson<'a> {
    pub fn new(acl: &'a Acl, role: &'a AclRole) -> RoleJson<'a> {
        RoleJson {
            id: role.id.to_string(),
            name: &role.name,
            description: &role.description,
            links: LinksJson::new(acl, &role.links, &[]),
            hash: hash(&(&role.name, &role.description, &role.links)),
            create_index: role.create,
            modify_index: role.modified,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TokenJson<'a> {
    #[serde(rename = "AccessorID")]
    accessor: String,
    #[serde(rename = "SecretID", skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    description: &'a str,
    #[serde(flatten)]
    links: LinksJson<'a>,
    local: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration_time: Option<String>,
    create_time: String,
    hash: String,
    create_index: Index,
    modify_index: Index,
}

impl<'a> TokenJson<'a> {
    /// In a list it comes without its secret.
    pub fn new(acl: &'a Acl, token: &'a AclToken, secret: Option<String>) -> TokenJson<'a> {
        let created = UNIX_EPOCH + Duration::from_nanos(token.created);
        let date = |at| humantime::format_rfc3339_nanos(at).to_string();
        TokenJson {
            accessor: token.accessor.to_string(),
            secret,
            description: &token.description,
            links: LinksJson::new(acl, &token.links, &token.roles),
            local: token.local,
            expiration_time: token.ttl.and_then(|ttl| created.checked_add(ttl)).map(date),
            create_time: date(created),
            hash: hash(&(&token.description, &token.links, &token.roles, token.local)),
            create_index: token.create,
            modify_index: token.modified,
        }
    }
}

/// The first token, whose secret is said twice.
#[derive(Serialize)]
pub(super) struct Bootstrapped<'a> {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(flatten)]
    pub token: TokenJson<'a>,
}

/// A token with all that permits it something.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Expanded<'a> {
    pub expanded_policies: Vec<PolicyJson<'a>>,
    pub expanded_roles: Vec<RoleJson<'a>>,
    #[serde(rename = "AgentACLDefaultPolicy")]
    pub default_policy: &'static str,
    pub resolved_by_agent: &'a str,
    #[serde(flatten)]
    pub token: TokenJson<'a>,
}

impl<'a> Expanded<'a> {
    pub fn new(
        acl: &'a Acl,
        token: &'a AclToken,
        shown: TokenJson<'a>,
        agent: &'a str,
    ) -> Expanded<'a> {
        let roles: Vec<&AclRole> =
            token.roles.iter().filter_map(|id| acl.role(*id)).map(|role| &**role).collect();
        let of_roles = roles.iter().flat_map(|role| &role.links.policies);
        let policies = token.links.policies.iter().chain(of_roles);
        Expanded {
            expanded_policies: policies
                .filter_map(|id| acl.policy(*id))
                .map(|policy| PolicyJson::new(policy))
                .collect(),
            expanded_roles: roles.into_iter().map(|role| RoleJson::new(acl, role)).collect(),
            default_policy: acl.switch().default.word(),
            resolved_by_agent: agent,
            token: shown,
        }
    }
}

/// The same for what says the same, and of 32 bytes as Consul's.
fn hash<T: std::fmt::Debug>(said: &T) -> String {
    STANDARD.encode(identity::digest_of_secret(&format!("{said:?}")).0)
}
