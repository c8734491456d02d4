//! Every path of the Consul API that is served: its methods, its class for metrics, whom it is for.

use http::Method;

use crate::access::{Demand, Level, Of, Resource};
use crate::model::Health;

use super::acl::{self, Path as P};
use super::agent::Part;
use super::filter::schema;
use super::mesh::Mesh;
use super::operator::Operator;
use super::query;

/// What a path asks for; what stands behind the path goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Tokens, roles, policies.
    Acl(acl::Path),
    Kv,
    Txn,
    SessionCreate,
    SessionDestroy,
    SessionRenew,
    SessionInfo,
    SessionNode,
    SessionList,
    HealthService,
    HealthChecks,
    HealthNode,
    HealthState,
    CatalogDatacenters,
    CatalogNodes,
    CatalogServices,
    CatalogService,
    CatalogNode,
    CatalogNodeServices,
    CatalogRegister,
    CatalogDeregister,
    /// Of the service mesh, which is not part of this.
    Mesh(Mesh),
    Queries,
    Query,
    EventFire,
    EventList,
    Operator(Operator),
    CoordinateDatacenters,
    CoordinateNodes,
    CoordinateNode,
    CoordinateUpdate,
    /// The stream of events.
    Watch,
    Snapshot,
    StatusLeader,
    StatusPeers,
    /// Of the agent as a whole, or of how its instances are.
    Agent(Part),
    AgentSelf,
    AgentMembers,
    AgentServices,
    AgentService,
    AgentRegister,
    AgentDeregister,
    AgentServiceMaintenance,
    AgentMaintenance,
    AgentChecks,
    AgentCheckRegister,
    AgentCheckDeregister,
    AgentCheckReport(Health),
    AgentCheckUpdate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    Get,
    Put,
    Post,
    Delete,
    GetPut,
    PutPost,
    GetPost,
    GetDelete,
    GetPutDelete,
    /// All of them.
    Every,
}

impl Methods {
    pub fn allows(self, method: &Method) -> bool {
        match self {
            Methods::Get => method == Method::GET,
            Methods::Put => method == Method::PUT,
            Methods::Post => method == Method::POST,
            Methods::Delete => method == Method::DELETE,
            Methods::GetPut => matches!(*method, Method::GET | Method::PUT),
            Methods::PutPost => matches!(*method, Method::PUT | Method::POST),
            Methods::GetPost => matches!(*method, Method::GET | Method::POST),
            Methods::GetDelete => matches!(*method, Method::GET | Method::DELETE),
            Methods::GetPutDelete => {
                matches!(*method, Method::GET | Method::PUT | Method::DELETE)
            }
            Methods::Every => {
                matches!(*method, Method::GET | Method::PUT | Method::POST | Method::DELETE)
            }
        }
    }

    /// The value of `Allow`.
    pub fn allow(self) -> &'static str {
        match self {
            Methods::Get => "OPTIONS,GET",
            Methods::Put => "OPTIONS,PUT",
            Methods::Post => "OPTIONS,POST",
            Methods::Delete => "OPTIONS,DELETE",
            Methods::GetPut => "OPTIONS,GET,PUT",
            Methods::PutPost => "OPTIONS,PUT,POST",
            Methods::GetPost => "OPTIONS,GET,POST",
            Methods::GetDelete => "OPTIONS,GET,DELETE",
            Methods::GetPutDelete => "OPTIONS,GET,PUT,DELETE",
            Methods::Every => "OPTIONS,GET,POST,PUT,DELETE",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// A path that ends with a slash takes everything behind it, slashes included.
    pub path: &'static str,
    pub methods: Methods,
    pub endpoint: Endpoint,
    pub class: &'static str,
    /// What it takes to ask for it.
    pub right: Demand,
    /// The same where a method other than GET takes something else.
    pub change: Option<Demand>,
}

const fn route(
    path: &'static str,
    methods: Methods,
    endpoint: Endpoint,
    class: &'static str,
    right: Demand,
) -> Route {
    Route { path, methods, endpoint, class, right, change: None }
}

const fn tokens(path: &'static str, methods: Methods, of: acl::Path, right: Demand) -> Route {
    route(path, methods, Endpoint::Acl(of), "acl", right)
}

const fn part(path: &'static str, methods: Methods, of: Part, right: Demand) -> Route {
    route(path, methods, Endpoint::Agent(of), "agent", right)
}

const fn operator(path: &'static str, methods: Methods, of: Operator) -> Route {
    let right = match methods {
        Methods::Delete | Methods::Post => writes(Resource::Operator, Path),
        _ => reads(Resource::Operator, Path),
    };
    route(path, methods, Endpoint::Operator(of), "operator", right)
        .changed_by(writes(Resource::Operator, Path))
}

/// There is nothing in it to guard.
const fn meshed(path: &'static str, methods: Methods, of: Mesh) -> Route {
    route(path, methods, Endpoint::Mesh(of), "mesh", Known)
}

impl Route {
    const fn changed_by(mut self, change: Demand) -> Route {
        self.change = Some(change);
        self
    }

    /// Whether it can be asked with an index, which its refusals then have as well.
    pub fn is_waited_for(&self) -> bool {
        ["acl", "catalog", "coordinate", "health", "query", "session"].contains(&self.class)
    }

    /// How it may be asked with that behind its path.
    pub fn methods_behind(&self, rest: &[u8]) -> Methods {
        let is_look =
            [query::EXECUTE, query::EXPLAIN].iter().any(|end| rest.ends_with(end.as_bytes()));
        match self.endpoint {
            Endpoint::Query if is_look => Methods::Get,
            _ => self.methods,
        }
    }

    /// Whether Consul's agents keep its answers: then a client may be told that one was not kept.
    pub fn is_cached(&self, rest: &[u8]) -> bool {
        match self.endpoint {
            Endpoint::CatalogDatacenters | Endpoint::CatalogServices | Endpoint::CatalogService => {
                true
            }
            Endpoint::HealthService | Endpoint::Mesh(Mesh::Meshed(_)) => true,
            Endpoint::Query => rest.ends_with(query::EXECUTE.as_bytes()),
            _ => false,
        }
    }

    /// What that way of asking takes.
    pub fn demand(&self, method: &Method) -> Demand {
        match self.change {
            Some(change) if method != Method::GET => change,
            _ => self.right,
        }
    }
}

const fn reads(resource: Resource, of: Of) -> Demand {
    Demand::Takes(resource, Level::Read, of)
}

const fn writes(resource: Resource, of: Of) -> Demand {
    Demand::Takes(resource, Level::Write, of)
}

/// The prefix of keys, whose paths follow rules of their own.
pub const KV: &str = "/v1/kv/";
/// Asked for one by one, or many in a stream.
pub const HEALTH_SERVICE: &str = "/v1/health/service/";

use Demand::{Known, Management, Open, Rows};
use Endpoint as E;
use Methods as M;
use Of::{Agent, Message, Path};
use Operator as Op;
use Resource as R;

/// Looked through in order: what is asked often stands first, longer paths before their prefixes.
pub const ROUTES: &[Route] = &[
    route("/v1/kv/", M::GetPutDelete, E::Kv, "kv", reads(R::Key, Message))
        .changed_by(writes(R::Key, Message)),
    route(HEALTH_SERVICE, M::Get, E::HealthService, "health", Rows(R::Service)),
    route("/v1/catalog/service/", M::Get, E::CatalogService, "catalog", Rows(R::Service)),
    route("/v1/catalog/services", M::Get, E::CatalogServices, "catalog", Rows(R::Service)),
    route(
        "/v1/agent/check/pass/",
        M::Put,
        E::AgentCheckReport(Health::Passing),
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/check/warn/",
        M::Put,
        E::AgentCheckReport(Health::Warning),
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/check/fail/",
        M::Put,
        E::AgentCheckReport(Health::Critical),
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/check/update/",
        M::Put,
        E::AgentCheckUpdate,
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/check/register",
        M::Put,
        E::AgentCheckRegister,
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/check/deregister/",
        M::Put,
        E::AgentCheckDeregister,
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/service/register",
        M::Put,
        E::AgentRegister,
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/service/deregister/",
        M::Put,
        E::AgentDeregister,
        "agent",
        writes(R::Service, Message),
    ),
    route(
        "/v1/agent/service/maintenance/",
        M::Put,
        E::AgentServiceMaintenance,
        "agent",
        writes(R::Service, Message),
    ),
    route("/v1/agent/maintenance", M::Put, E::AgentMaintenance, "agent", writes(R::Node, Agent)),
    route("/v1/agent/service/", M::Get, E::AgentService, "agent", reads(R::Service, Message)),
    route("/v1/agent/services", M::Get, E::AgentServices, "agent", Rows(R::Service)),
    route("/v1/agent/checks", M::Get, E::AgentChecks, "agent", Rows(R::Service)),
    route("/v1/agent/self", M::Get, E::AgentSelf, "agent", reads(R::Agent, Agent)),
    part("/v1/agent/health/service/id/", M::Get, Part::HealthById, reads(R::Service, Message)),
    part("/v1/agent/health/service/name/", M::Get, Part::HealthByName, reads(R::Service, Path)),
    part("/v1/agent/host", M::Get, Part::Host, reads(R::Operator, Path)),
    part("/v1/agent/version", M::Get, Part::Version, reads(R::Agent, Agent)),
    part("/v1/agent/metrics", M::Get, Part::Metrics, reads(R::Agent, Agent)),
    // A log tells of everything.
    part("/v1/agent/monitor", M::Get, Part::Monitor, reads(R::Operator, Path)),
    part("/v1/agent/join/", M::Put, Part::Join, writes(R::Agent, Agent)),
    part("/v1/agent/leave", M::Put, Part::Leave, writes(R::Agent, Agent)),
    part("/v1/agent/force-leave/", M::Put, Part::ForceLeave, writes(R::Operator, Path)),
    part("/v1/agent/reload", M::Put, Part::Reload, writes(R::Agent, Agent)),
    route("/v1/agent/members", M::Get, E::AgentMembers, "agent", Rows(R::Node)),
    route("/v1/health/checks/", M::Get, E::HealthChecks, "health", Rows(R::Service)),
    route("/v1/health/node/", M::Get, E::HealthNode, "health", Rows(R::Node)),
    route("/v1/health/state/", M::Get, E::HealthState, "health", Rows(R::Node)),
    route("/v1/catalog/datacenters", M::Get, E::CatalogDatacenters, "catalog", Known),
    route("/v1/catalog/nodes", M::Get, E::CatalogNodes, "catalog", Rows(R::Node)),
    route("/v1/catalog/node/", M::Get, E::CatalogNode, "catalog", Rows(R::Node)),
    route("/v1/catalog/node-services/", M::Get, E::CatalogNodeServices, "catalog", Rows(R::Node)),
    route("/v1/catalog/register", M::Put, E::CatalogRegister, "catalog", writes(R::Node, Message)),
    route(
        "/v1/catalog/deregister",
        M::Put,
        E::CatalogDeregister,
        "catalog",
        writes(R::Node, Message),
    ),
    route(
        "/v1/catalog/connect/",
        M::Get,
        E::Mesh(Mesh::Meshed(schema::SERVICE_NODE)),
        "mesh",
        Rows(R::Service),
    ),
    route(
        "/v1/health/connect/",
        M::Get,
        E::Mesh(Mesh::Meshed(schema::HEALTH)),
        "mesh",
        Rows(R::Service),
    ),
    route(
        "/v1/health/ingress/",
        M::Get,
        E::Mesh(Mesh::Meshed(schema::HEALTH)),
        "mesh",
        Rows(R::Service),
    ),
    route(
        "/v1/catalog/gateway-services/",
        M::Get,
        E::Mesh(Mesh::Empty("Missing gateway name", "null")),
        "mesh",
        Rows(R::Service),
    ),
    route("/v1/query", M::GetPost, E::Queries, "query", Rows(R::Query))
        .changed_by(writes(R::Query, Message)),
    route("/v1/query/", M::GetPutDelete, E::Query, "query", Rows(R::Query))
        .changed_by(writes(R::Query, Message)),
    route("/v1/event/fire/", M::PutPost, E::EventFire, "event", writes(R::Event, Path)),
    route("/v1/event/list", M::Get, E::EventList, "event", Rows(R::Event)),
    operator("/v1/operator/raft/configuration", M::Get, Op::RaftConfiguration),
    operator("/v1/operator/raft/peer", M::Delete, Op::RaftPeer),
    operator("/v1/operator/raft/transfer-leader", M::Post, Op::TransferLeader),
    operator("/v1/operator/autopilot/configuration", M::GetPut, Op::AutopilotConfiguration),
    operator("/v1/operator/autopilot/health", M::Get, Op::AutopilotHealth),
    operator("/v1/operator/autopilot/state", M::Get, Op::AutopilotState),
    operator("/v1/operator/usage", M::Get, Op::Usage),
    route(
        "/v1/operator/keyring",
        M::Every,
        E::Operator(Op::Keyring),
        "operator",
        reads(R::Keyring, Path),
    )
    .changed_by(writes(R::Keyring, Path)),
    route("/v1/coordinate/datacenters", M::Get, E::CoordinateDatacenters, "coordinate", Known),
    route("/v1/coordinate/nodes", M::Get, E::CoordinateNodes, "coordinate", Rows(R::Node)),
    route("/v1/coordinate/node/", M::Get, E::CoordinateNode, "coordinate", reads(R::Node, Path)),
    route(
        "/v1/coordinate/update",
        M::Put,
        E::CoordinateUpdate,
        "coordinate",
        writes(R::Node, Message),
    ),
    meshed("/v1/config", M::Put, Mesh::Config),
    meshed("/v1/config/", M::GetDelete, Mesh::Config),
    meshed("/v1/connect/ca/roots", M::Get, Mesh::Disabled(true)),
    meshed("/v1/connect/ca/configuration", M::GetPut, Mesh::Disabled(false)),
    meshed("/v1/connect/intentions", M::Get, Mesh::Empty("", "[]")),
    meshed("/v1/connect/intentions/match", M::Get, Mesh::IntentionMatch),
    meshed("/v1/connect/intentions/check", M::Get, Mesh::IntentionCheck),
    meshed("/v1/connect/intentions/", M::Get, Mesh::Intention),
    meshed("/v1/agent/connect/authorize", M::Post, Mesh::Authorize),
    meshed("/v1/agent/connect/ca/roots", M::Get, Mesh::Disabled(false)),
    meshed("/v1/agent/connect/ca/leaf/", M::Get, Mesh::Disabled(false)),
    meshed("/v1/discovery-chain/", M::GetPost, Mesh::Disabled(true)),
    meshed("/v1/exported-services", M::Get, Mesh::Between("exported services")),
    meshed("/v1/imported-services", M::Get, Mesh::Between("imported services")),
    meshed("/v1/peerings", M::Get, Mesh::Between("peerings")),
    meshed("/v1/peering/", M::Every, Mesh::Between("peerings")),
    meshed("/v1/partitions", M::Get, Mesh::Between("partitions")),
    meshed("/v1/partition/", M::Every, Mesh::Between("partitions")),
    route("/v1/snapshot", M::GetPut, E::Snapshot, "snapshot", Management),
    route("/v1/txn", M::Put, E::Txn, "txn", writes(R::Key, Message)),
    route("/v1/session/create", M::Put, E::SessionCreate, "session", writes(R::Session, Message)),
    route(
        "/v1/session/destroy/",
        M::Put,
        E::SessionDestroy,
        "session",
        writes(R::Session, Message),
    ),
    route("/v1/session/renew/", M::Put, E::SessionRenew, "session", writes(R::Session, Message)),
    route("/v1/session/info/", M::Get, E::SessionInfo, "session", Rows(R::Session)),
    route("/v1/session/node/", M::Get, E::SessionNode, "session", Rows(R::Session)),
    route("/v1/session/list", M::Get, E::SessionList, "session", Rows(R::Session)),
    tokens("/v1/acl/bootstrap", M::Put, P::Bootstrap, Known),
    tokens("/v1/acl/tokens", M::Get, P::Tokens, reads(R::Acl, Path)),
    tokens("/v1/acl/token", M::Put, P::TokenNew, writes(R::Acl, Path)),
    tokens("/v1/acl/token/self", M::Get, P::TokenSelf, Known),
    tokens("/v1/acl/token/", M::GetPutDelete, P::Token, reads(R::Acl, Path))
        .changed_by(writes(R::Acl, Path)),
    tokens("/v1/acl/policies", M::Get, P::Policies, reads(R::Acl, Path)),
    tokens("/v1/acl/policy", M::Put, P::PolicyNew, writes(R::Acl, Path)),
    tokens("/v1/acl/policy/name/", M::Get, P::PolicyNamed, reads(R::Acl, Path)),
    tokens("/v1/acl/policy/", M::GetPutDelete, P::Policy, reads(R::Acl, Path))
        .changed_by(writes(R::Acl, Path)),
    tokens("/v1/acl/roles", M::Get, P::Roles, reads(R::Acl, Path)),
    tokens("/v1/acl/role", M::Put, P::RoleNew, writes(R::Acl, Path)),
    tokens("/v1/acl/role/name/", M::Get, P::RoleNamed, reads(R::Acl, Path)),
    tokens("/v1/acl/role/", M::GetPutDelete, P::Role, reads(R::Acl, Path))
        .changed_by(writes(R::Acl, Path)),
    tokens("/v1/acl/auth-methods", M::Get, P::AuthMethods, reads(R::Acl, Path)),
    tokens("/v1/acl/auth-method", M::Put, P::AuthMethod, writes(R::Acl, Path)),
    tokens("/v1/acl/auth-method/", M::GetPutDelete, P::AuthMethod, reads(R::Acl, Path))
        .changed_by(writes(R::Acl, Path)),
    tokens("/v1/acl/binding-rules", M::Get, P::BindingRules, reads(R::Acl, Path)),
    tokens("/v1/acl/binding-rule", M::Put, P::BindingRule, writes(R::Acl, Path)),
    tokens("/v1/acl/binding-rule/", M::GetPutDelete, P::BindingRule, reads(R::Acl, Path))
        .changed_by(writes(R::Acl, Path)),
    tokens("/v1/acl/login", M::Post, P::Login, Known),
    tokens("/v1/acl/logout", M::Post, P::Logout, Known),
    tokens("/v1/acl/replication", M::Get, P::Replication, Known),
    tokens("/v1/acl/list", M::Get, P::Legacy, reads(R::Acl, Path)),
    tokens("/v1/acl/info/", M::Get, P::Legacy, reads(R::Acl, Path)),
    tokens("/v1/acl/create", M::Put, P::Legacy, writes(R::Acl, Path)),
    tokens("/v1/acl/update", M::Put, P::Legacy, writes(R::Acl, Path)),
    tokens("/v1/acl/destroy/", M::Put, P::Legacy, writes(R::Acl, Path)),
    tokens("/v1/acl/clone/", M::Put, P::Legacy, writes(R::Acl, Path)),
    tokens("/v1/acl/rules/translate", M::Post, P::Legacy, reads(R::Acl, Path)),
    tokens("/v1/acl/rules/translate/", M::Get, P::Legacy, reads(R::Acl, Path)),
    tokens("/v1/agent/token/", M::Put, P::AgentToken, writes(R::Agent, Agent)),
    route("/v1/watch", M::Get, E::Watch, "watch", reads(R::Key, Message)),
    route("/v1/status/leader", M::Get, E::StatusLeader, "status", Open),
    route("/v1/status/peers", M::Get, E::StatusPeers, "status", Open),
];

/// Where a decoded path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// The route, and what stands behind its path.
    Route(&'static Route, &'a [u8]),
    /// A prefix without its slash.
    NeedsSlash,
    Unknown,
}

pub fn find(path: &[u8]) -> Found<'_> {
    for route in ROUTES {
        let Some(rest) = path.strip_prefix(route.path.as_bytes()) else { continue };
        if rest.is_empty() || route.path.ends_with('/') {
            return Found::Route(route, rest);
        }
    }
    let slashed = |route: &Route| route.path.as_bytes().strip_suffix(b"/") == Some(path);
    if ROUTES.iter().any(slashed) { Found::NeedsSlash } else { Found::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<(Endpoint, &[u8])> {
        match find(path.as_bytes()) {
            Found::Route(route, rest) => Some((route.endpoint, rest)),
            _ => None,
        }
    }

    #[test]
    fn paths_find_their_endpoint_and_what_stands_behind() {
        assert_eq!(found("/v1/kv/a/b"), Some((E::Kv, &b"a/b"[..])));
        assert_eq!(found("/v1/kv/"), Some((E::Kv, &b""[..])));
        assert_eq!(found("/v1/catalog/services"), Some((E::CatalogServices, &b""[..])));
        assert_eq!(found("/v1/catalog/service/a/b"), Some((E::CatalogService, &b"a/b"[..])));
        assert_eq!(found("/v1/status/leader/"), None);
        assert_eq!(find(b"/v1/kv"), Found::NeedsSlash);
        assert_eq!(find(b"/v1/agent"), Found::Unknown);
        assert_eq!(find(b"/V1/kv/a"), Found::Unknown);
    }

    #[test]
    fn no_route_hides_another() {
        for (at, route) in ROUTES.iter().enumerate() {
            let earlier = ROUTES.get(..at).unwrap_or_default();
            for other in earlier.iter().filter(|other| other.path.ends_with('/')) {
                assert!(!route.path.starts_with(other.path), "{} hides {}", other.path, route.path);
            }
        }
    }
}
