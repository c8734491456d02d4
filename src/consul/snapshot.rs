//! `/v1/snapshot`: a backup of everything to take away, or to put in the place of everything.

use axum::body::Body;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode};

use crate::cluster::{Backup, Consistency, RestoreError, SurveyError};
use crate::model::limits;
use crate::net::http::pieces;
use crate::state::State;

use super::answer;
use super::blocking::{self, Class, Mark};
use super::call::{Answer, Call};
use super::error::Failure;
use super::operator;
use super::params::{self, Mode};

pub async fn answer(call: Call<'_>, body: Body) -> Answer {
    match *call.method {
        Method::PUT => restore(call, body).await,
        _ => save(call).await,
    }
}

/// As `remora snapshot save` has it. `stale`: what this server has, whoever leads.
async fn save(call: Call<'_>) -> Answer {
    let mut options = call.options()?;
    options.index = 0;
    let mark = |state: &State| Mark { index: state.index(), found: true };
    let view = blocking::read(call.front, Class::Keys, &options, Vec::new, mark).await?;
    let consistency = match options.mode {
        Mode::Stale => Consistency::Local,
        Mode::Default | Mode::Consistent => Consistency::Linearizable,
    };
    let backup = call.front.cluster.back_up_at(consistency, &call.asker).await;
    let Backup { len, pieces } = backup.map_err(unsaved)?;
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    answer::add_vary(headers);
    answer::add_freshness(headers, &view.freshness);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // What breaks off is seen to have done so.
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    Ok(response)
}

fn unsaved(error: SurveyError) -> Failure {
    match error {
        SurveyError::Read(error) => error.into(),
        SurveyError::Refused(refusal) => refusal.into(),
        SurveyError::Broken(_) => Failure::internal(error.to_string()),
    }
}

async fn restore(call: Call<'_>, body: Body) -> Answer {
    params::same_datacenter(&call.params, &call.front.config.datacenter)?;
    params::no_namespace(&call.params)?;
    let cluster = &call.front.cluster;
    cluster.is_for_operators().map_err(operator::failed)?;
    let Ok(_place) = call.front.places.restores.try_acquire() else {
        return Err(Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many snapshots are being restored through this agent",
        ));
    };
    cluster.restore(pieces(body, limits::HTTP_BODY_TIMEOUT)).await?.map_err(unrestored)?;
    Ok(answer::empty(StatusCode::OK))
}

/// Also of what cannot be a snapshot: with Consul's status, which its clients know.
fn unrestored(error: RestoreError) -> Failure {
    match error {
        RestoreError::Staging(error) | RestoreError::Cluster(error) => error.into(),
        RestoreError::Refused(refusal) => refusal.into(),
        RestoreError::Backup(_) | RestoreError::Odd => Failure::internal(error.to_string()),
    }
}
