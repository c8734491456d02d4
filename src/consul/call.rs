//! One request's way: path, method, parameters, handler, answer.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, LOCATION};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::access::{Area, Need};
use crate::cluster::{Asker, Consistency, Credential};
use crate::model::limits;
use crate::net::http::{BodyError, collect, path, token};
use crate::state::{self, Command, Outcome};

use super::error::{Failure, plain};
use super::params::{self, Options, Params};
use super::routes::{self, Endpoint, Found, Route};
use super::{
    Front, agent, answer, catalog, health, identity, kv, maintenance, session, status, txn,
};

pub type Answer = Result<Response<Body>, Failure>;

/// A request that found its endpoint.
pub struct Call<'a> {
    pub front: &'a Front,
    pub method: &'a Method,
    /// What stands behind the endpoint's path, decoded.
    pub rest: Cow<'a, [u8]>,
    /// As it was sent.
    pub query: Option<&'a str>,
    pub params: Params<'a>,
    pub cache_control: Option<&'a str>,
    /// Who asks.
    pub asker: Asker,
}

impl Call<'_> {
    pub fn options(&self) -> Result<Options, Failure> {
        let datacenter = &self.front.config.datacenter;
        let options = Options::parse(&self.params, self.cache_control, datacenter)?;
        params::no_namespace(&self.params)?;
        Ok(options)
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

    /// Whether who asks may do that, as this state knows it.
    pub fn may(&self, state: &state::State, need: Need<'_>) -> Result<(), Failure> {
        Ok(state.judge(&self.asker.caller, need)?)
    }

    /// Has a command applied, for who asks.
    pub async fn propose(&self, command: Command) -> Result<Outcome, Failure> {
        match self.front.cluster.propose_for(&self.asker, command).await? {
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
pub async fn answer(State(front): State<Arc<Front>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let raw = parts.uri.path();
    let (route, rest) = match locate(raw, parts.uri.query(), &parts.method) {
        Ok(located) => located,
        Err(response) => {
            let response = *response;
            front.requests.count("unknown", response.status());
            return response;
        }
    };
    let response = match enter(&front, route, &parts, rest, body).await {
        Ok(response) => response,
        Err(failure) => failure.into_response(),
    };
    front.requests.count(route.class, response.status());
    response
}

async fn enter(
    front: &Front,
    route: &'static Route,
    parts: &http::request::Parts,
    rest: Cow<'_, [u8]>,
    body: Body,
) -> Answer {
    if parts.method == Method::OPTIONS {
        let mut response = answer::empty(StatusCode::OK);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.methods.allow()));
        return Ok(response);
    }
    if !route.methods.allows(&parts.method) {
        let text = format!("method {} not allowed", parts.method);
        let mut response = Failure::new(StatusCode::METHOD_NOT_ALLOWED, text).into_response();
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.methods.allow()));
        return Ok(response);
    }
    let query = parts.uri.query();
    let params = Params::parse(query).map_err(|_| Failure::internal(""))?;
    let cache_control = parts.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let asker = asker(front, route.area, &params, &parts.headers).await?;
    let call = Call { front, method: &parts.method, rest, query, params, cache_control, asker };
    dispatch(route.endpoint, call, body).await
}

/// Who asks for something of that area. What keys it touches is judged where they are read.
async fn asker(
    front: &Front,
    area: Area,
    params: &Params<'_>,
    headers: &HeaderMap,
) -> Result<Asker, Failure> {
    if matches!(area, Area::Open | Area::Catalog) {
        // Whatever token is shown: users and roles have no say in it.
        return Ok(Asker::nobody());
    }
    let shown = params.get("token").filter(|shown| !shown.is_empty()).or_else(|| token(headers));
    let credential = shown.map_or(Credential::Nothing, |shown| Credential::Token(shown.into()));
    let asker = front.cluster.asker(&credential).await?;
    let need = match area {
        Area::Operator => Need::Root,
        Area::Users => Need::User,
        Area::Open | Area::Keys | Area::Catalog => return Ok(asker),
    };
    front.cluster.read(Consistency::Local).await?.judge(&asker.caller, need)?;
    Ok(asker)
}

async fn dispatch(endpoint: Endpoint, call: Call<'_>, body: Body) -> Answer {
    match endpoint {
        Endpoint::Kv => kv::answer(call, body).await,
        Endpoint::Txn => txn::answer(call, body).await,
        Endpoint::SessionCreate => session::create(call, body).await,
        Endpoint::SessionDestroy => session::destroy(call).await,
        Endpoint::SessionRenew => session::renew(call).await,
        Endpoint::SessionInfo => session::info(call).await,
        Endpoint::SessionNode => session::node(call).await,
        Endpoint::SessionList => session::list(call).await,
        Endpoint::HealthService => health::service(call).await,
        Endpoint::HealthChecks => health::checks(call).await,
        Endpoint::HealthNode => health::node(call).await,
        Endpoint::HealthState => health::state(call).await,
        Endpoint::CatalogDatacenters => catalog::datacenters(&call),
        Endpoint::CatalogNodes => catalog::nodes(call).await,
        Endpoint::CatalogServices => catalog::services(call).await,
        Endpoint::CatalogService => catalog::service(call).await,
        Endpoint::CatalogNode => catalog::node(call).await,
        Endpoint::CatalogNodeServices => catalog::node_services(call).await,
        Endpoint::CatalogRegister => catalog::register(call, body).await,
        Endpoint::CatalogDeregister => catalog::deregister(call, body).await,
        Endpoint::Mesh(missing, nothing) => catalog::mesh(call, missing, nothing).await,
        Endpoint::StatusLeader => status::leader(&call),
        Endpoint::StatusPeers => status::peers(&call),
        Endpoint::AgentSelf => identity::itself(call).await,
        Endpoint::AgentMembers => identity::members(call).await,
        Endpoint::AgentServices => agent::services(call).await,
        Endpoint::AgentService => agent::service(call).await,
        Endpoint::AgentRegister => agent::register(call, body).await,
        Endpoint::AgentDeregister => agent::deregister(call).await,
        Endpoint::AgentServiceMaintenance => maintenance::of_service(call).await,
        Endpoint::AgentMaintenance => maintenance::of_node(call).await,
        Endpoint::AgentChecks => agent::checks(call).await,
        Endpoint::AgentCheckRegister => agent::register_check(call, body).await,
        Endpoint::AgentCheckDeregister => agent::deregister_check(call).await,
        Endpoint::AgentCheckReport(status) => agent::report(call, status).await,
        Endpoint::AgentCheckUpdate => agent::update(call, body).await,
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
