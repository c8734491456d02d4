//! Every path of the Consul API that is served: its methods, its class for metrics, whom it is for.

use http::Method;

use crate::access::Area;
use crate::model::Health;

/// What a path asks for; what stands behind the path goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
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
    /// Of the service mesh, which is not part of this: nothing is ever in it.
    /// What is said without a name, and what with any.
    Mesh(&'static str, &'static str),
    StatusLeader,
    StatusPeers,
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
    GetPutDelete,
}

impl Methods {
    pub fn allows(self, method: &Method) -> bool {
        match self {
            Methods::Get => method == Method::GET,
            Methods::Put => method == Method::PUT,
            Methods::GetPutDelete => {
                matches!(*method, Method::GET | Method::PUT | Method::DELETE)
            }
        }
    }

    /// The value of `Allow`.
    pub fn allow(self) -> &'static str {
        match self {
            Methods::Get => "OPTIONS,GET",
            Methods::Put => "OPTIONS,PUT",
            Methods::GetPutDelete => "OPTIONS,GET,PUT,DELETE",
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
    pub area: Area,
}

const fn route(
    path: &'static str,
    methods: Methods,
    endpoint: Endpoint,
    class: &'static str,
    area: Area,
) -> Route {
    Route { path, methods, endpoint, class, area }
}

/// The prefix of keys, whose paths follow rules of their own.
pub const KV: &str = "/v1/kv/";

use Area as A;
use Endpoint as E;
use Methods as M;

/// Looked through in order: what is asked often stands first, longer paths before their prefixes.
pub const ROUTES: &[Route] = &[
    route("/v1/kv/", M::GetPutDelete, E::Kv, "kv", A::Keys),
    route("/v1/health/service/", M::Get, E::HealthService, "health", A::Catalog),
    route("/v1/catalog/service/", M::Get, E::CatalogService, "catalog", A::Catalog),
    route("/v1/catalog/services", M::Get, E::CatalogServices, "catalog", A::Catalog),
    route(
        "/v1/agent/check/pass/",
        M::Put,
        E::AgentCheckReport(Health::Passing),
        "agent",
        A::Catalog,
    ),
    route(
        "/v1/agent/check/warn/",
        M::Put,
        E::AgentCheckReport(Health::Warning),
        "agent",
        A::Catalog,
    ),
    route(
        "/v1/agent/check/fail/",
        M::Put,
        E::AgentCheckReport(Health::Critical),
        "agent",
        A::Catalog,
    ),
    route("/v1/agent/check/update/", M::Put, E::AgentCheckUpdate, "agent", A::Catalog),
    route("/v1/agent/check/register", M::Put, E::AgentCheckRegister, "agent", A::Catalog),
    route("/v1/agent/check/deregister/", M::Put, E::AgentCheckDeregister, "agent", A::Catalog),
    route("/v1/agent/service/register", M::Put, E::AgentRegister, "agent", A::Catalog),
    route("/v1/agent/service/deregister/", M::Put, E::AgentDeregister, "agent", A::Catalog),
    route(
        "/v1/agent/service/maintenance/",
        M::Put,
        E::AgentServiceMaintenance,
        "agent",
        A::Catalog,
    ),
    route("/v1/agent/maintenance", M::Put, E::AgentMaintenance, "agent", A::Catalog),
    route("/v1/agent/service/", M::Get, E::AgentService, "agent", A::Catalog),
    route("/v1/agent/services", M::Get, E::AgentServices, "agent", A::Catalog),
    route("/v1/agent/checks", M::Get, E::AgentChecks, "agent", A::Catalog),
    route("/v1/agent/self", M::Get, E::AgentSelf, "agent", A::Catalog),
    route("/v1/agent/members", M::Get, E::AgentMembers, "agent", A::Catalog),
    route("/v1/health/checks/", M::Get, E::HealthChecks, "health", A::Catalog),
    route("/v1/health/node/", M::Get, E::HealthNode, "health", A::Catalog),
    route("/v1/health/state/", M::Get, E::HealthState, "health", A::Catalog),
    route("/v1/catalog/datacenters", M::Get, E::CatalogDatacenters, "catalog", A::Catalog),
    route("/v1/catalog/nodes", M::Get, E::CatalogNodes, "catalog", A::Catalog),
    route("/v1/catalog/node/", M::Get, E::CatalogNode, "catalog", A::Catalog),
    route("/v1/catalog/node-services/", M::Get, E::CatalogNodeServices, "catalog", A::Catalog),
    route("/v1/catalog/register", M::Put, E::CatalogRegister, "catalog", A::Catalog),
    route("/v1/catalog/deregister", M::Put, E::CatalogDeregister, "catalog", A::Catalog),
    route(
        "/v1/catalog/connect/",
        M::Get,
        E::Mesh("Missing service name", "[]"),
        "mesh",
        A::Catalog,
    ),
    route("/v1/health/connect/", M::Get, E::Mesh("Missing service name", "[]"), "mesh", A::Catalog),
    route("/v1/health/ingress/", M::Get, E::Mesh("Missing service name", "[]"), "mesh", A::Catalog),
    route(
        "/v1/catalog/gateway-services/",
        M::Get,
        E::Mesh("Missing gateway name", "null"),
        "mesh",
        A::Catalog,
    ),
    route("/v1/txn", M::Put, E::Txn, "txn", A::Keys),
    route("/v1/session/create", M::Put, E::SessionCreate, "session", A::Users),
    route("/v1/session/destroy/", M::Put, E::SessionDestroy, "session", A::Users),
    route("/v1/session/renew/", M::Put, E::SessionRenew, "session", A::Users),
    route("/v1/session/info/", M::Get, E::SessionInfo, "session", A::Users),
    route("/v1/session/node/", M::Get, E::SessionNode, "session", A::Users),
    route("/v1/session/list", M::Get, E::SessionList, "session", A::Users),
    route("/v1/status/leader", M::Get, E::StatusLeader, "status", A::Open),
    route("/v1/status/peers", M::Get, E::StatusPeers, "status", A::Open),
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
