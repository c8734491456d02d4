//! One request's way: path, method, parameters, handler, answer.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{ALLOW, CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::access::Need;
use crate::cluster::Asker;
use crate::model::limits;
use crate::net::http::{BodyError, collect, path};
use crate::state::{self, Command, Outcome};

use super::error::{Failure, plain};
use super::params::{self, Options, Params};
use super::routes::{self, Endpoint, Found, Route};
use super::shared::Key;
use super::{
    Front, acl, agent, answer, catalog, coordinate, event, guard, gzip, health, kv, maintenance,
    members, mesh, operator, patience, query, session, snapshot, status, stream, txn,
};

pub type Answer = Result<Response<Body>, Failure>;

/// A request that found its endpoint.
pub struct Call<'a> {
    pub front: &'a Arc<Front>,
    pub method: &'a Method,
    pub route: &'static Route,
    /// What stands behind the endpoint's path, decoded.
    pub rest: Cow<'a, [u8]>,
    /// As it was sent.
    pub query: Option<&'a str>,
    pub params: Params<'a>,
    pub headers: &'a HeaderMap,
    /// Who asks.
    pub asker: Asker,
    /// The token that it shows, or that the agent has for it.
    pub secret: Option<String>,
    /// Something was not shown to it.
    pub hidden: Arc<AtomicBool>,
}

impl Call<'_> {
    pub fn options(&self) -> Result<Options, Failure> {
        let datacenter = &self.front.config.datacenter;
        let options = Options::parse(&self.params, self.cache_control(), datacenter)?;
        params::no_namespace(&self.params)?;
        Ok(options)
    }

    pub fn cache_control(&self) -> Option<&str> {
        self.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok())
    }

    pub fn pretty(&self) -> bool {
        self.params.has("pretty")
    }

    /// The rest of the path as text; bytes that are not UTF-8 match nothing.
    pub fn name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.rest)
    }

    /// The name that must be there, or the text that says so.
    pub fn required(&self, missing: &'static str) -> Result<Cow<'_, str>, Failure> {
        if self.rest.is_empty() { Err(Failure::bad(missing)) } else { Ok(self.name()) }
    }

    /// What it asks, to be told from others. `about` is what its path stands for beside its words.
    pub fn key(&self, about: &str) -> Key {
        Key::new(self.route.path, &self.rest, about, &self.params, &self.asker.caller)
    }

    /// Whether who asks may do that, as this state knows it.
    pub fn may(&self, state: &state::State, need: Need<'_>) -> Result<(), Failure> {
        Ok(state.judge(&self.asker.caller, need)?)
    }

    /// Has a command applied, for who asks.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Failure> {
        match patience::propose(&self.front.cluster, &self.asker, command).await? {
            Outcome::Refused(refusal) => Err(refusal.into()),
            outcome => Ok(outcome),
        }
    }
}

/// The whole body, up to `max` bytes.
pub async fn whole(body: Body, max: usize) -> Result<Bytes, BodyError> {
    collect(body, max, limits::HTTP_BODY_TIMEOUT).await
}

/// Answers every path that no other front claims.
pub fn answer(
    State(front): State<Arc<Front>>,
    request: Request<Body>,
) -> impl Future<Output = Response<Body>> {
    // Before it begins, so that the request is not kept beside its parts.
    let (parts, body) = request.into_parts();
    async move {
        let raw = parts.uri.path();
        let (route, rest) = match locate(raw, parts.uri.query(), &parts.method) {
            Ok(located) => located,
            Err(response) => {
                let response = *response;
                front.requests.count("unknown", response.status());
                return response;
            }
        };
        let mut response = match enter(&front, route, &parts, rest, body).await {
            Ok(response) => response,
            Err(failure) => failure.into_response(),
        };
        guard::note_default(&front, &mut response);
        if gzip::is_accepted(&parts.headers) {
            response = gzip::compressed(response).await;
        }
        front.requests.count(route.class, response.status());
        response
    }
}

async fn enter(
    front: &Arc<Front>,
    route: &'static Route,
    parts: &http::request::Parts,
    rest: Cow<'_, [u8]>,
    body: Body,
) -> Answer {
    if front.config.blocked.iter().any(|path| parts.uri.path().starts_with(path)) {
        let text = "Endpoint is blocked by agent configuration";
        return Err(Failure::new(StatusCode::FORBIDDEN, text));
    }
    if parts.method == Method::OPTIONS {
        let mut response = match route.endpoint {
            // As Consul has it of this path alone.
            Endpoint::Query => answer::json_body(Body::from("{}")),
            _ => answer::empty(StatusCode::OK),
        };
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.methods.allow()));
        return Ok(response);
    }
    let methods = route.methods_behind(&rest);
    if !methods.allows(&parts.method) {
        let text = format!("method {} not allowed", parts.method);
        let mut response = Failure::new(StatusCode::METHOD_NOT_ALLOWED, text).into_response();
        let allow = methods.allow();
        let allow = match route.endpoint {
            Endpoint::Query => allow.trim_start_matches("OPTIONS,"),
            _ => allow,
        };
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        return Ok(response);
    }
    let query = parts.uri.query();
    let params = Params::parse(query).map_err(|_| Failure::internal(""))?;
    let (method, demand) = (&parts.method, route.demand(&parts.method));
    let cached = params.has("cached") && route.is_cached(&rest);
    let visitor = guard::visitor(front, demand, &params, &parts.headers).await?;
    let (asker, hidden) = (visitor.asker.clone(), Arc::<AtomicBool>::default());
    let (noted, secret) = (hidden.clone(), visitor.secret.clone());
    let headers = &parts.headers;
    let call = Call { front, method, route, rest, query, params, headers, asker, secret, hidden };
    // What is shown there is the token itself, and whether it is one.
    if route.endpoint != Endpoint::Acl(acl::Path::TokenSelf) {
        let waits = *method == Method::GET && route.is_waited_for();
        let failed = |failure: Failure| if waits { failure.of_denied_read() } else { failure };
        call.admit(demand).await.map_err(failed)?;
    }
    let mut response = dispatch(route.endpoint, call, body).await?;
    visitor.note(&noted, &mut response);
    if cached {
        answer::add_uncached(response.headers_mut());
    }
    Ok(response)
}

/// Each on the heap by itself: who waits takes no room for what others might ask.
async fn dispatch(endpoint: Endpoint, call: Call<'_>, body: Body) -> Answer {
    match endpoint {
        Endpoint::Kv => kv::answer(call, body).boxed().await,
        Endpoint::Acl(path) => acl::answer(call, path, body).boxed().await,
        Endpoint::Txn => txn::answer(call, body).boxed().await,
        Endpoint::SessionCreate => session::create(call, body).boxed().await,
        Endpoint::SessionDestroy => session::destroy(call).boxed().await,
        Endpoint::SessionRenew => session::renew(call).boxed().await,
        Endpoint::SessionInfo => session::info(call).boxed().await,
        Endpoint::SessionNode => session::node(call).boxed().await,
        Endpoint::SessionList => session::list(call).boxed().await,
        Endpoint::HealthService => health::service(&call).boxed().await,
        Endpoint::HealthChecks => health::checks(&call).boxed().await,
        Endpoint::HealthNode => health::node(&call).boxed().await,
        Endpoint::HealthState => health::state(&call).boxed().await,
        Endpoint::CatalogDatacenters => catalog::datacenters(&call),
        Endpoint::CatalogNodes => catalog::nodes(&call).boxed().await,
        Endpoint::CatalogServices => catalog::services(&call).boxed().await,
        Endpoint::CatalogService => catalog::service(&call).boxed().await,
        Endpoint::CatalogNode => catalog::node(&call).boxed().await,
        Endpoint::CatalogNodeServices => catalog::node_services(&call).boxed().await,
        Endpoint::CatalogRegister => catalog::register(call, body).boxed().await,
        Endpoint::CatalogDeregister => catalog::deregister(call, body).boxed().await,
        Endpoint::Mesh(mesh) => mesh::answer(call, mesh, body).boxed().await,
        Endpoint::Queries => query::all(call, body).boxed().await,
        Endpoint::Query => query::one(call, body).boxed().await,
        Endpoint::EventFire => event::fire(call, body).boxed().await,
        Endpoint::EventList => event::list(call).boxed().await,
        Endpoint::Operator(operator) => operator::answer(call, operator, body).boxed().await,
        Endpoint::CoordinateDatacenters => coordinate::datacenters(&call),
        Endpoint::CoordinateNodes => coordinate::nodes(call).boxed().await,
        Endpoint::CoordinateNode => coordinate::node(&call),
        Endpoint::CoordinateUpdate => coordinate::update(call, body).boxed().await,
        Endpoint::Snapshot => snapshot::answer(call, body).boxed().await,
        Endpoint::Watch => stream::answer(call).boxed().await,
        Endpoint::StatusLeader => status::leader(&call),
        Endpoint::StatusPeers => status::peers(&call),
        Endpoint::Agent(part) => agent::answer(call, part).boxed().await,
        Endpoint::AgentSelf => agent::itself(call).boxed().await,
        Endpoint::AgentMembers => members::list(call).boxed().await,
        Endpoint::AgentServices => agent::services(call).boxed().await,
        Endpoint::AgentService => agent::service(call).boxed().await,
        Endpoint::AgentRegister => agent::register(call, body).boxed().await,
        Endpoint::AgentDeregister => agent::deregister(call).boxed().await,
        Endpoint::AgentServiceMaintenance => maintenance::of_service(call).boxed().await,
        Endpoint::AgentMaintenance => maintenance::of_node(call).boxed().await,
        Endpoint::AgentChecks => agent::checks(call).boxed().await,
        Endpoint::AgentCheckRegister => agent::register_check(call, body).boxed().await,
        Endpoint::AgentCheckDeregister => agent::deregister_check(call).boxed().await,
        Endpoint::AgentCheckReport(status) => agent::report(call, status).boxed().await,
        Endpoint::AgentCheckUpdate => agent::update(call, body).boxed().await,
    }
}

type Located<'a> = (&'static Route, Cow<'a, [u8]>);

/// The route of a path and what stands behind it, or the answer that the path alone decides.
fn locate<'a>(
    raw: &'a str,
    query: Option<&str>,
    method: &Method,
) -> Result<Located<'a>, Box<Response<Body>>> {
    let bad = || Box::new(plain(StatusCode::BAD_REQUEST, "400 Bad Request"));
    let decoded = path::decode(raw, false).map_err(|_| bad())?;
    // Keys are bytes: nothing of their path is cleaned or refused here.
    if raw.starts_with(routes::KV)
        && let Some(rest) = raw.get(routes::KV.len()..)
        && let Some(route) = routes::ROUTES.first()
    {
        let rest = path::decode(rest, false).map_err(|_| bad())?;
        return Ok((route, rest));
    }
    if path::has_unprintable(&decoded) {
        return Err(Box::new(answer::empty(StatusCode::BAD_REQUEST)));
    }
    if let Some(cleaned) = path::clean(&decoded) {
        return Err(Box::new(moved(&cleaned, query, method)));
    }
    match routes::find(&decoded) {
        Found::Route(route, rest) => {
            let from = decoded.len() - rest.len();
            let rest = match decoded {
                Cow::Borrowed(bytes) => Cow::Borrowed(bytes.get(from..).unwrap_or_default()),
                Cow::Owned(bytes) => Cow::Owned(bytes.get(from..).unwrap_or_default().to_vec()),
            };
            Ok((route, rest))
        }
        Found::NeedsSlash => {
            let mut slashed = decoded.into_owned();
            slashed.push(b'/');
            Err(Box::new(moved(&slashed, query, method)))
        }
        Found::Unknown if decoded.starts_with(b"/v1/") => Err(Box::new(plain(
            StatusCode::NOT_FOUND,
            "Invalid URL path: not a recognized HTTP API endpoint\n",
        ))),
        Found::Unknown => Err(Box::new(plain(
            StatusCode::NOT_FOUND,
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with \
             '/v1/'\n",
        ))),
    }
}

/// 301 to the clean path, the query kept.
pub fn moved(to: &[u8], query: Option<&str>, method: &Method) -> Response<Body> {
    let path = path::encode_path(to);
    let location = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    let page = if *method == Method::GET {
        let href = location.replace('&', "&amp;").replace('"', "&#34;");
        Body::from(format!("<a href=\"{href}\">Moved Permanently</a>.\n\n"))
    } else {
        Body::empty()
    };
    let mut response = Response::new(page);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    if *method == Method::GET {
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        headers.insert(http::header::CONTENT_TYPE, html);
    }
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(LOCATION, location);
    }
    response
}
