//! `/v1/coordinate`: nobody measures distances between agents here, so there are none to tell.

use axum::body::Body;
use http::StatusCode;
use serde_json::json;

use crate::access::{Level, Need, Resource};
use crate::model::limits;
use crate::state::State;

use super::answer;
use super::blocking::respond;
use super::blocking::{self, Class, Mark};
use super::call::{Answer, Call, whole};
use super::decode::{self, DecodeError};
use super::error::Failure;
use super::params::{self, Options};

/// How many numbers Consul's coordinates have.
const DIMENSIONS: usize = 8;

pub fn datacenters(call: &Call<'_>) -> Answer {
    let datacenter = &call.front.config.datacenter;
    let own = json!([{ "Datacenter": datacenter, "AreaID": "wan", "Coordinates": [] }]);
    Ok(answer::json(&own, call.pretty()))
}

/// None, as on a cluster whose first measurement has not come in yet.
pub async fn nodes(call: Call<'_>) -> Answer {
    // The one read of Consul's that does not look at namespaces.
    let datacenter = &call.front.config.datacenter;
    let options = Options::parse(&call.params, call.cache_control(), datacenter)
        .map_err(Failure::with_index)?;
    let mark = |_: &State| Mark { index: 1, found: false };
    let view = blocking::read(call.front, Class::Keys, &options, Vec::new, mark)
        .await
        .map_err(Failure::with_index)?;
    Ok(respond(&call, &view, &[(); 0]))
}

/// As of a node that has not been measured.
pub fn node(call: &Call<'_>) -> Answer {
    call.options().map_err(Failure::with_index)?;
    Ok(answer::empty(StatusCode::NOT_FOUND))
}

/// What others have measured is checked and let go.
pub async fn update(call: Call<'_>, body: Body) -> Answer {
    params::no_namespace(&call.params)?;
    let body = whole(body, limits::HTTP_BODY).await?;
    let undecodable = |error: DecodeError| Failure::bad(format!("Request decode failed: {error}"));
    let mut fields =
        decode::object(&body, "structs.CoordinateUpdateRequest").map_err(undecodable)?;
    let datacenter = fields.string(&["Datacenter"]).map_err(undecodable)?;
    if !datacenter.is_empty() && datacenter != call.front.config.datacenter {
        return Err(Failure::internal("No path to datacenter"));
    }
    let node = fields.string(&["Node"]).map_err(undecodable)?;
    fields.string(&["Segment"]).map_err(undecodable)?;
    let coordinate = fields.object(&["Coord"], "coordinate.Coordinate").map_err(undecodable)?;
    fields.skip(&["Partition", "WriteRequest"]);
    fields.finish().map_err(undecodable)?;
    let Some(mut coordinate) = coordinate else { return Err(Failure::bad("Missing coordinate")) };
    if node.is_empty() {
        return Err(Failure::bad("Missing node name"));
    }
    let state = call.front.cluster.snapshot();
    call.rights(&state)?.may(Need::Rule(Resource::Node, &node, Level::Write))?;
    let dimensions = match coordinate.take(&["Vec"]) {
        Some(serde_json::Value::Array(numbers)) => numbers.len(),
        _ => 0,
    };
    match dimensions {
        DIMENSIONS => Ok(answer::empty(StatusCode::OK)),
        _ => Err(Failure::internal("incompatible coordinate")),
    }
}
