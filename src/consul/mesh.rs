//! What belongs to Consul's service mesh: answers as of an installation that has none.

use axum::body::Body;
use http::StatusCode;

use crate::model::{QueryId, limits};
use crate::state::State;

use super::answer::{self, Freshness};
use super::blocking::{self, Class, Mark};
use super::call::{Answer, Call, whole};
use super::decode;
use super::error::Failure;
use super::filter::{Filter, schema};

const DISABLED: &str = "Connect must be enabled in order to use this endpoint";
/// The kinds of config entries that Consul knows.
const KINDS: [&str; 18] = [
    "api-gateway",
    "bound-api-gateway",
    "exported-services",
    "file-system-certificate",
    "http-route",
    "ingress-gateway",
    "inline-certificate",
    "jwt-provider",
    "mesh",
    "proxy-defaults",
    "rate-limit",
    "sameness-group",
    "service-defaults",
    "service-intentions",
    "service-resolver",
    "service-router",
    "service-splitter",
    "tcp-route",
];

/// What is asked of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mesh {
    /// Instances of a service that it reaches, of which there are none. A filter may name these.
    Meshed(schema::Fields),
    /// Nothing is ever in it: what is said without a name, and what with any.
    Empty(&'static str, &'static str),
    /// Nothing can be asked of it. True: it is a read that carries an index.
    Disabled(bool),
    /// Config entries: none is there, and none is taken.
    Config,
    Authorize,
    IntentionMatch,
    IntentionCheck,
    /// One of them, by its id.
    Intention,
    /// Between clusters and partitions, which there are none of.
    Between(&'static str),
}

pub async fn answer(call: Call<'_>, mesh: Mesh, body: Body) -> Answer {
    match mesh {
        Mesh::Meshed(fields) => {
            call.options().map_err(Failure::with_index)?;
            call.required("Missing service name")?;
            Filter::of(&call.params, fields).map_err(Failure::with_index)?;
            empty(&call, "[]").await
        }
        Mesh::Empty(missing, shown) => {
            call.options()?;
            if !missing.is_empty() {
                call.required(missing)?;
            }
            empty(&call, shown).await
        }
        Mesh::Disabled(true) => Err(Failure::internal(DISABLED).with_index()),
        Mesh::Disabled(false) => Err(Failure::internal(DISABLED)),
        Mesh::Config => config(call, body).await,
        Mesh::Authorize => {
            let body = whole(body, limits::HTTP_BODY).await?;
            let bad = |why: &str| Failure::bad(format!("Bad request: {why}"));
            let mut fields = decode::object(&body, "")
                .map_err(|error| bad(&format!("Request decode failed: {error}")))?;
            match fields.take(&["Target"]) {
                None => Err(bad("Target service must be specified")),
                Some(_) => Err(Failure::internal(DISABLED)),
            }
        }
        Mesh::IntentionMatch => {
            let name = call.params.get("name").filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| Failure::bad("required query parameter 'name' not set"))?;
            let matched = serde_json::Map::from_iter([(name.to_owned(), serde_json::Value::Null)]);
            Ok(answer::json(&matched, call.pretty()))
        }
        Mesh::IntentionCheck => {
            Ok(answer::json(&serde_json::json!({ "Allowed": true }), call.pretty()))
        }
        Mesh::Intention => Err(match QueryId::parse(&call.name()) {
            Some(_) => Failure::new(StatusCode::NOT_FOUND, "Intention not found"),
            None => Failure::bad(
                "Bad request: failed intention lookup: index error: UUID must be 36 characters",
            ),
        }),
        Mesh::Between(what) => Err(Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            format!("{what} are not supported: there is one cluster, and no service mesh"),
        )),
    }
}

/// Nothing can change it, so a query that waits waits its time out.
async fn nothing(call: &Call<'_>) -> Result<Freshness, Failure> {
    let options = call.options()?;
    let mark = |_: &State| Mark { index: 1, found: false };
    let view = blocking::read(call.front, Class::Catalog, &options, Vec::new, mark)
        .await
        .map_err(Failure::with_index)?;
    Ok(view.freshness)
}

async fn empty(call: &Call<'_>, shown: &'static str) -> Answer {
    let freshness = nothing(call).await?;
    let mut response = answer::json_body(Body::from(shown));
    answer::add_freshness(response.headers_mut(), &freshness);
    Ok(response)
}

async fn config(call: Call<'_>, body: Body) -> Answer {
    let name = call.name().into_owned();
    let (kind, entry) = name.split_once('/').unwrap_or((&name, ""));
    let is_read = *call.method == http::Method::GET;
    if is_read && !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(Failure::internal(format!("invalid config entry kind: {kind}")));
    }
    match (is_read, entry) {
        (true, "") => empty(&call, "[]").await,
        (true, entry) => {
            let freshness = nothing(&call).await?;
            let text = format!("Config entry not found for {kind:?} / {entry:?}");
            let mut response = Failure::new(StatusCode::NOT_FOUND, text).into_response();
            answer::add_freshness(response.headers_mut(), &freshness);
            Ok(response)
        }
        // What is not there needs no deleting.
        (false, _) if *call.method == http::Method::DELETE => {
            Ok(answer::json(&serde_json::json!({}), call.pretty()))
        }
        (false, _) => Err(refused(&whole(body, limits::HTTP_BODY).await?)),
    }
}

/// Why an entry is not taken: first what is wrong with it.
fn refused(body: &[u8]) -> Failure {
    let bad = |why: String| Failure::bad(format!("Bad request: Request decoding failed: {why}"));
    let kind = decode::object(body, "").and_then(|mut fields| fields.string(&["Kind"]));
    match kind {
        Err(error) => bad(error.to_string()),
        Ok(kind) if !KINDS.contains(&kind.as_str()) => {
            bad(format!("invalid config entry kind: {kind}"))
        }
        Ok(_) => Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            "config entries are not supported: there is no service mesh",
        ),
    }
}
