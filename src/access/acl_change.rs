//! Decides changes of tokens, roles and policies, with Consul's refusals.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{AclId, Digest, Index, Stamp, limits};

use super::acl::{
    ANONYMOUS, Acl, AclChange, AclPolicy, AclRole, AclSwitch, AclToken, DefaultPolicy, Links,
    MANAGEMENT, READ_ONLY,
};
use super::hcl::{self, RulesError};
use super::rule::Resource;

/// What is shown to be let in, on its way into the state.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretId {
    /// As who follows sends it. A server seals it before anything is logged.
    Open(Arc<str>),
    Sealed {
        digest: Digest,
        sealed: Sealed,
    },
}

impl std::fmt::Debug for SecretId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretId(redacted)")
    }
}

/// A secret that only servers can read. It never leaves them, and no log line shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed(pub Bytes);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealed(redacted)")
    }
}

/// A policy made (`new`) or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyPut {
    pub id: AclId,
    pub new: bool,
    pub name: Arc<str>,
    pub description: String,
    pub text: Arc<str>,
    pub datacenters: Vec<String>,
}

#[cfg(test)]
impl PolicyPut {
    pub fn made(id: AclId, name: &str, text: &str) -> PolicyPut {
        let (name, text) = (name.into(), text.into());
        let (description, datacenters) = (String::new(), Vec::new());
        PolicyPut { id, new: true, name, description, text, datacenters }
    }
}

/// A role made (`new`) or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePut {
    pub id: AclId,
    pub new: bool,
    pub name: Arc<str>,
    pub description: String,
    pub links: Links,
}

/// A token made, or with `secret` none, changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclTokenPut {
    pub accessor: AclId,
    pub secret: Option<SecretId>,
    pub description: String,
    pub links: Links,
    pub roles: Vec<AclId>,
    pub local: bool,
    /// Nanoseconds since 1970, by the clock of who asks.
    pub created: u64,
    /// In cluster time, from this command on. None: for good.
    pub ttl: Option<Duration>,
}

impl AclTokenPut {
    /// One that permits nothing yet, for good.
    pub fn new(accessor: AclId, secret: Option<SecretId>) -> AclTokenPut {
        AclTokenPut {
            accessor,
            secret,
            description: String::new(),
            links: Links::default(),
            roles: Vec::new(),
            local: false,
            created: 0,
            ttl: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclCommand {
    Enable {
        default: DefaultPolicy,
        /// What the anonymous token was made at, for people.
        created: u64,
    },
    Disable,
    /// The first token, which may do everything: for who asks first.
    Bootstrap(AclTokenPut),
    PolicyPut(PolicyPut),
    PolicyDelete(AclId),
    RolePut(RolePut),
    RoleDelete(AclId),
    TokenPut(AclTokenPut),
    TokenDelete(AclId),
    /// Tokens whose time is up go.
    Expire,
    /// The same as the first, made anew: for who has a server's machine.
    Reset(AclTokenPut),
}

/// What a change left, for who asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclRow {
    Policy(Arc<AclPolicy>),
    Role(Arc<AclRole>),
    Token(Arc<AclToken>),
}

/// What changes, and what becomes of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AclDecided {
    pub changes: Vec<AclChange>,
    pub secrets: Vec<(AclId, Option<Sealed>)>,
    pub row: Option<AclRow>,
}

/// Why tokens, roles and policies stay as they are. In Consul's words, as far as it has any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AclError {
    #[error("ACL support disabled")]
    Disabled,
    #[error("Permission denied: ACL bootstrap no longer allowed (reset index: {0})")]
    Bootstrapped(Index),
    #[error("Invalid {0}: no Name is set")]
    NoName(Kind),
    #[error("Invalid {kind}: A {kind} with Name {name:?} already exists")]
    NameTaken { kind: Kind, name: Arc<str> },
    #[error("Invalid {0}: invalid Name. Only alphanumeric characters, '-' and '_' are allowed")]
    BadName(Kind),
    #[error("{0}")]
    Rules(String),
    #[error("cannot find {word} {id}", word = .kind.word())]
    NotFound { kind: Kind, id: AclId },
    #[error("Cannot find token \"{0}\"")]
    NoToken(AclId),
    #[error("Delete operation not permitted on the builtin {0} policy")]
    KeepsPolicy(Arc<str>),
    #[error("Changing the {what} for the builtin {name} policy is not permitted")]
    FixedPolicy { what: String, name: Arc<str> },
    #[error("Delete operation not permitted on the anonymous token")]
    KeepsAnonymous,
    #[error("Invalid Token: AccessorID is already in use")]
    AccessorTaken,
    #[error("Invalid Token: SecretID is already in use")]
    SecretTaken,
    #[error("No such ACL policy with ID \"{0}\"")]
    NoPolicy(AclId),
    #[error("No such ACL role with ID \"{0}\"")]
    NoRole(AclId),
    #[error(
        "{kind} identity {name:?} has an invalid name. Only alphanumeric characters, '-' and '_' \
         are allowed"
    )]
    BadIdentity { kind: String, name: Arc<str> },
    #[error("Changing the secret, the expiration or Local of a token is not permitted")]
    FixedToken,
    #[error("{what} of {len} is too long: at most {max}")]
    TooLong { what: String, len: usize, max: usize },
    #[error("there are {0} of them, and no more are kept")]
    TooMany(usize),
    #[error("a secret has to be sealed by a server")]
    Unsealed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Policy,
    Role,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Policy => "policy",
            Kind::Role => "role",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Policy => "Policy",
            Kind::Role => "Role",
        })
    }
}

impl From<RulesError> for AclError {
    fn from(error: RulesError) -> AclError {
        AclError::Rules(error.to_string())
    }
}

use AclError as E;

/// When a change is made.
#[derive(Debug, Clone, Copy)]
pub struct When {
    pub index: Index,
    pub stamp: Stamp,
}

const MANAGEMENT_NAME: &str = "global-management";
const READ_ONLY_NAME: &str = "builtin/global-read-only";

impl Acl {
    /// What a command does to them; changes nothing itself. Whoever asks may do it.
    pub fn decide(&self, command: &AclCommand, when: When) -> Result<AclDecided, AclError> {
        let mut decided = self.changed(command, when)?;
        if decided.changes.is_empty() {
            return Ok(decided);
        }
        let switched = decided.changes.iter_mut().find_map(|change| match change {
            AclChange::Switch(switch) => Some(switch),
            _ => None,
        });
        match switched {
            Some(switch) => switch.index = when.index,
            None => {
                let switch = AclSwitch { index: when.index, ..self.switch };
                decided.changes.push(AclChange::Switch(switch));
            }
        }
        Ok(decided)
    }

    fn changed(&self, command: &AclCommand, when: When) -> Result<AclDecided, AclError> {
        match command {
            AclCommand::Enable { default, created } => {
                return Ok(self.enable(*default, *created, when));
            }
            AclCommand::Disable if !self.enabled() => return Ok(AclDecided::default()),
            AclCommand::Disable => {
                let switch = AclSwitch { enabled: false, ..self.switch };
                return Ok(only(AclChange::Switch(switch)));
            }
            AclCommand::Expire => {
                let ended: Vec<AclId> = self.ended(when.stamp).collect();
                return Ok(gone(&ended));
            }
            _ if !self.enabled() => return Err(E::Disabled),
            _ => {}
        }
        match command {
            AclCommand::Bootstrap(_) if self.switch.bootstrapped != 0 => {
                Err(E::Bootstrapped(self.switch.bootstrapped))
            }
            AclCommand::Bootstrap(put) | AclCommand::Reset(put) => self.bootstrap(put, when),
            AclCommand::PolicyPut(put) => self.put_policy(put, when),
            AclCommand::PolicyDelete(id) => self.delete_policy(*id),
            AclCommand::RolePut(put) => self.put_role(put, when),
            AclCommand::RoleDelete(id) => Ok(match self.role(*id) {
                Some(_) => only(AclChange::Role(*id, None)),
                None => AclDecided::default(),
            }),
            AclCommand::TokenPut(put) => self.put_token(put, when),
            AclCommand::TokenDelete(ANONYMOUS) => Err(E::KeepsAnonymous),
            AclCommand::TokenDelete(id) => Ok(match self.token(*id) {
                Some(_) => gone(&[*id]),
                None => AclDecided::default(),
            }),
            AclCommand::Enable { .. } | AclCommand::Disable | AclCommand::Expire => {
                Ok(AclDecided::default())
            }
        }
    }

    /// What is there from before stays. What there always is comes with the first time.
    fn enable(&self, default: DefaultPolicy, created: u64, when: When) -> AclDecided {
        let switch = AclSwitch { enabled: true, default, ..self.switch };
        let mut changes = Vec::new();
        if switch != self.switch {
            changes.push(AclChange::Switch(switch));
        }
        let builtin = |id, name: &str, description: &str, level: &str| AclPolicy {
            id,
            name: name.into(),
            description: description.to_owned(),
            text: builtin_text(level).into(),
            datacenters: Vec::new(),
            create: when.index,
            modified: when.index,
        };
        let all = "Builtin Policy that grants unlimited access";
        let read = "A policy that grants read-only access to all parts of the cluster";
        let builtins = [
            builtin(MANAGEMENT, MANAGEMENT_NAME, all, "write"),
            builtin(READ_ONLY, READ_ONLY_NAME, read, "read"),
        ];
        for policy in builtins.into_iter().filter(|policy| self.policy(policy.id).is_none()) {
            changes.push(AclChange::Policy(policy.id, Some(Arc::new(policy))));
        }
        if self.token(ANONYMOUS).is_none() {
            let token = AclToken {
                accessor: ANONYMOUS,
                digest: Digest([0; 32]),
                description: "Anonymous Token".to_owned(),
                links: Links::default(),
                roles: Vec::new(),
                local: false,
                created,
                ttl: None,
                ends: None,
                create: when.index,
                modified: when.index,
            };
            changes.push(AclChange::Token(ANONYMOUS, Some(Arc::new(token))));
        }
        AclDecided { changes, ..AclDecided::default() }
    }

    fn bootstrap(&self, put: &AclTokenPut, when: When) -> Result<AclDecided, AclError> {
        let links = Links { policies: vec![MANAGEMENT], ..Links::default() };
        let put = AclTokenPut { links, roles: Vec::new(), ttl: None, ..put.clone() };
        let mut decided = self.put_token(&put, when)?;
        let switch = AclSwitch { bootstrapped: when.index, ..self.switch };
        decided.changes.push(AclChange::Switch(switch));
        Ok(decided)
    }

    fn put_policy(&self, put: &PolicyPut, when: When) -> Result<AclDecided, AclError> {
        let old = self.policy(put.id);
        if put.new != old.is_none() {
            return Err(E::NotFound { kind: Kind::Policy, id: put.id });
        }
        if let Some(old) = old.filter(|old| matches!(old.id, MANAGEMENT | READ_ONLY)) {
            let fixed =
                |what: &str| Err(E::FixedPolicy { what: what.to_owned(), name: old.name.clone() });
            if old.text != put.text {
                return fixed("Rules");
            }
            if !put.datacenters.is_empty() {
                return fixed("Datacenters");
            }
        }
        named(Kind::Policy, &put.name, limits::ACL_POLICY_NAME, old.map(|old| &old.name))?;
        let other = self.policy_named(&put.name).filter(|known| known.id != put.id);
        if other.is_some() {
            return Err(E::NameTaken { kind: Kind::Policy, name: put.name.clone() });
        }
        short("Rules", put.text.len(), limits::ACL_RULES)?;
        short("Description", put.description.len(), limits::ACL_DESCRIPTION)?;
        hcl::parse(&put.text)?;
        room(put.new, self.policies.len(), limits::ACL_POLICIES)?;
        let row = Arc::new(AclPolicy {
            id: put.id,
            name: put.name.clone(),
            description: put.description.clone(),
            text: put.text.clone(),
            datacenters: put.datacenters.clone(),
            create: old.map_or(when.index, |old| old.create),
            modified: when.index,
        });
        let decided = only(AclChange::Policy(put.id, Some(row.clone())));
        Ok(AclDecided { row: Some(AclRow::Policy(row)), ..decided })
    }

    fn delete_policy(&self, id: AclId) -> Result<AclDecided, AclError> {
        match self.policy(id) {
            Some(policy) if matches!(id, MANAGEMENT | READ_ONLY) => {
                Err(E::KeepsPolicy(policy.name.clone()))
            }
            Some(_) => Ok(only(AclChange::Policy(id, None))),
            None => Ok(AclDecided::default()),
        }
    }

    fn put_role(&self, put: &RolePut, when: When) -> Result<AclDecided, AclError> {
        let old = self.role(put.id);
        if put.new != old.is_none() {
            return Err(E::NotFound { kind: Kind::Role, id: put.id });
        }
        named(Kind::Role, &put.name, limits::ACL_ROLE_NAME, old.map(|old| &old.name))?;
        if self.role_named(&put.name).is_some_and(|known| known.id != put.id) {
            return Err(E::NameTaken { kind: Kind::Role, name: put.name.clone() });
        }
        short("Description", put.description.len(), limits::ACL_DESCRIPTION)?;
        self.linked(&put.links)?;
        room(put.new, self.roles.len(), limits::ACL_ROLES)?;
        let row = Arc::new(AclRole {
            id: put.id,
            name: put.name.clone(),
            description: put.description.clone(),
            links: put.links.clone(),
            create: old.map_or(when.index, |old| old.create),
            modified: when.index,
        });
        let decided = only(AclChange::Role(put.id, Some(row.clone())));
        Ok(AclDecided { row: Some(AclRow::Role(row)), ..decided })
    }

    fn put_token(&self, put: &AclTokenPut, when: When) -> Result<AclDecided, AclError> {
        let old = self.token(put.accessor);
        let (digest, sealed) = match (&put.secret, old) {
            (None, None) => return Err(E::NoToken(put.accessor)),
            (Some(_), Some(_)) => return Err(E::AccessorTaken),
            (Some(SecretId::Open(_)), _) => return Err(E::Unsealed),
            (Some(SecretId::Sealed { digest, .. }), _) if self.digests.contains_key(digest) => {
                return Err(E::SecretTaken);
            }
            (Some(SecretId::Sealed { digest, sealed }), None) => (*digest, Some(sealed.clone())),
            (None, Some(old)) => (old.digest, None),
        };
        if old.is_some_and(|old| put.ttl.is_some_and(|ttl| old.ttl != Some(ttl))) {
            return Err(E::FixedToken);
        }
        short("Description", put.description.len(), limits::ACL_DESCRIPTION)?;
        self.linked(&put.links)?;
        short("Roles", put.roles.len(), limits::ACL_LINKS)?;
        if let Some(unknown) = put.roles.iter().find(|id| self.role(**id).is_none()) {
            return Err(E::NoRole(*unknown));
        }
        room(old.is_none(), self.tokens.len(), limits::ACL_TOKENS)?;
        let row = Arc::new(AclToken {
            accessor: put.accessor,
            digest,
            description: put.description.clone(),
            links: put.links.clone(),
            roles: put.roles.clone(),
            local: old.map_or(put.local, |old| old.local),
            created: old.map_or(put.created, |old| old.created),
            ttl: old.map_or(put.ttl, |old| old.ttl),
            ends: match old {
                Some(old) => old.ends,
                None => put.ttl.map(|ttl| when.stamp.plus(ttl)),
            },
            create: old.map_or(when.index, |old| old.create),
            modified: when.index,
        });
        let changes = vec![AclChange::Token(put.accessor, Some(row.clone()))];
        let secrets = sealed.map(|sealed| (put.accessor, Some(sealed))).into_iter().collect();
        Ok(AclDecided { changes, secrets, row: Some(AclRow::Token(row)) })
    }

    fn linked(&self, links: &Links) -> Result<(), AclError> {
        let Links { policies, services, nodes } = links;
        for (what, len) in [
            ("Policies", policies.len()),
            ("ServiceIdentities", services.len()),
            ("NodeIdentities", nodes.len()),
        ] {
            short(what, len, limits::ACL_LINKS)?;
        }
        if let Some(unknown) = policies.iter().find(|id| self.policy(**id).is_none()) {
            return Err(E::NoPolicy(*unknown));
        }
        let services = services.iter().map(|identity| ("Service", &identity.name));
        let nodes = nodes.iter().map(|identity| ("Node", &identity.name));
        for (kind, name) in services.chain(nodes) {
            if !is_plain(name) || name.len() > limits::ACL_ROLE_NAME {
                return Err(E::BadIdentity { kind: kind.to_owned(), name: name.clone() });
            }
        }
        Ok(())
    }
}

fn only(change: AclChange) -> AclDecided {
    AclDecided { changes: vec![change], ..AclDecided::default() }
}

fn gone(tokens: &[AclId]) -> AclDecided {
    let changes = tokens.iter().map(|id| AclChange::Token(*id, None)).collect();
    let secrets = tokens.iter().map(|id| (*id, None)).collect();
    AclDecided { changes, secrets, row: None }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

/// A name that it has already is no worse than before.
fn named(kind: Kind, name: &str, max: usize, old: Option<&Arc<str>>) -> Result<(), AclError> {
    match name {
        "" => Err(E::NoName(kind)),
        name if old.is_some_and(|old| **old == *name) => Ok(()),
        name if name.len() > max || !is_plain(name) => Err(E::BadName(kind)),
        _ => Ok(()),
    }
}

fn short(what: &str, len: usize, max: usize) -> Result<(), AclError> {
    if len > max { Err(E::TooLong { what: what.to_owned(), len, max }) } else { Ok(()) }
}

fn room(new: bool, known: usize, max: usize) -> Result<(), AclError> {
    if new && known >= max { Err(E::TooMany(max)) } else { Ok(()) }
}

/// As Consul writes it, which names nothing that this does not have.
fn builtin_text(level: &str) -> String {
    let mut text = String::from("\n");
    let later = |resource: &Resource| matches!(resource, Resource::Mesh | Resource::Peering);
    for resource in Resource::ALL.into_iter().filter(|resource| !later(resource)) {
        let name = resource.name();
        let rule = if resource.is_whole() {
            format!("{name} = \"{level}\"\n")
        } else {
            let mesh = match name {
                "service" => format!("\n\tintentions = \"{level}\""),
                _ => String::new(),
            };
            format!("{name}_prefix \"\" {{\n\tpolicy = \"{level}\"{mesh}\n}}\n")
        };
        text.push_str(&rule);
    }
    text.truncate(text.trim_end().len());
    text
}
