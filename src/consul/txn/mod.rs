//! `/v1/txn`: operations on keys and on the catalog, all of them or none.

mod body;
mod words;

use axum::body::Body;
use http::{Response, StatusCode};
use serde::Serialize;

use crate::access::Denied;
use crate::state::{Command, OpFailure, Outcome, SequenceOp, Shown, State};

use super::answer::{self, Freshness};
use super::blocking::{self, Class, Mark};
use super::call::{Answer, Call, whole};
use super::error::Failure;
use super::params::Options;
use super::patience;
use super::rows::{CheckJson, KeyJson, NodeJson, ServiceJson};
use body::Wanted;

pub async fn answer(call: Call<'_>, body: Body) -> Answer {
    let options = call.options()?;
    let config = &call.front.config;
    let limit = config.txn_body_limit.max(config.kv_value_limit);
    let body =
        whole(body, limit).await.map_err(|error| Failure::of_body(error, "txn_max_req_len"))?;
    let wanted = body::decode(&body, config.txn_ops, config.kv_value_limit)?;
    if wanted.iter().all(Wanted::is_read) {
        return read(&call, options, &wanted).await;
    }
    let ops: Option<Vec<SequenceOp>> = wanted.iter().map(|wanted| wanted.op.clone().ok()).collect();
    let Some(ops) = ops else {
        // It fails in any case; what else does is told with it.
        let state = patience::read(&call.front.cluster).await?;
        let done = rehearsed(&call, &state, &wanted)?;
        return Ok(respond(&call, &state, done, None));
    };
    let done = match call.propose(Command::Sequence(ops)).await? {
        Outcome::Sequence(done) => done.map_err(|failures| told(&wanted, failures)),
        other => return Err(Failure::internal(format!("unexpected outcome {other:?}"))),
    };
    Ok(respond(&call, &call.front.cluster.snapshot(), done, None))
}

/// Without the log. Nothing is waited for.
async fn read(call: &Call<'_>, options: Options, wanted: &[Wanted]) -> Answer {
    let options = Options { index: 0, ..options };
    let mark = |_: &State| Mark { index: 0, found: true };
    let view = blocking::read(call.front, Class::Keys, &options, Vec::new, mark).await?;
    let done = rehearsed(call, &view.state, wanted)?;
    let mut response = respond(call, &view.state, done, Some(&view.freshness));
    answer::add_contact(response.headers_mut(), &view.freshness);
    Ok(response)
}

type Done = Result<Vec<Shown>, Vec<Told>>;

/// An operation that cannot be done, in words.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    op_index: usize,
    what: String,
    #[serde(skip)]
    early: bool,
}

fn told(wanted: &[Wanted], failures: Vec<OpFailure>) -> Vec<Told> {
    let told = |OpFailure { op, early, why }| {
        let what = wanted.get(op).map(|wanted| words::of(wanted, &why)).unwrap_or_default();
        Told { op_index: op, what, early }
    };
    failures.into_iter().map(told).collect()
}

/// What it would come to, what could not even be understood included.
fn rehearsed(call: &Call<'_>, state: &State, wanted: &[Wanted]) -> Result<Done, Failure> {
    // Nobody in particular may ask for what is open; a token that is worth nothing may not.
    if let Err(Denied::Token) = state.rights(&call.asker.caller) {
        return Err(Denied::Token.into());
    }
    let understood = wanted.iter().enumerate();
    let (places, ops): (Vec<usize>, Vec<SequenceOp>) =
        understood.filter_map(|(at, wanted)| Some((at, wanted.op.clone().ok()?))).unzip();
    let flaws = wanted.iter().enumerate().filter_map(|(at, wanted)| {
        let flaw = wanted.op.as_ref().err()?;
        Some(Told { op_index: at, what: flaw.what.clone(), early: flaw.early })
    });
    let mut failures: Vec<Told> = flaws.collect();
    let done = state.rehearse(&call.asker.caller, &ops);
    let shown = match done {
        Ok(shown) => shown,
        Err(found) => {
            let placed = found
                .into_iter()
                .filter_map(|failure| Some(OpFailure { op: *places.get(failure.op)?, ..failure }));
            failures.extend(told(wanted, placed.collect()));
            Vec::new()
        }
    };
    if failures.is_empty() {
        return Ok(Ok(shown));
    }
    // Where something was seen before anything was tried, nothing was tried.
    if failures.iter().any(|told| told.early) {
        failures.retain(|told| told.early);
    }
    failures.sort_by_key(|told| told.op_index);
    Ok(Err(failures))
}

/// What was not read from the log carries how fresh it is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answered<'a> {
    results: Option<Vec<Row<'a>>>,
    errors: Option<&'a [Told]>,
    #[serde(flatten)]
    meta: Option<Meta>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    index: u64,
    /// Nanoseconds.
    last_contact: u64,
    known_leader: bool,
    consistency_level: &'static str,
}

#[derive(Serialize)]
enum Row<'a> {
    #[serde(rename = "KV")]
    Key(KeyJson<'a>),
    Node(NodeJson<'a>),
    Service(ServiceJson<'a>),
    Check(CheckJson<'a>),
}

fn respond(
    call: &Call<'_>,
    state: &State,
    done: Done,
    freshness: Option<&Freshness>,
) -> Response<Body> {
    let meta = freshness.map(|freshness| Meta {
        index: 0,
        last_contact: u64::try_from(freshness.last_contact.as_nanos()).unwrap_or(u64::MAX),
        known_leader: freshness.known_leader,
        consistency_level: "",
    });
    let (results, errors) = match &done {
        Ok(shown) => {
            (Some(shown.iter().filter_map(|shown| row_of(call, state, shown)).collect()), None)
        }
        Err(told) => (None, Some(told.as_slice())),
    };
    let mut response = answer::json(&Answered { results, errors, meta }, call.pretty());
    if done.is_err() {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    response
}

/// None: a key that JSON cannot name.
fn row_of<'a>(call: &'a Call<'_>, state: &'a State, shown: &'a Shown) -> Option<Row<'a>> {
    Some(match shown {
        Shown::Key(key, row) => Row::Key(KeyJson { key: std::str::from_utf8(key).ok()?, row }),
        Shown::Node(row) => Row::Node(NodeJson::new(row, &call.front.config.datacenter)),
        Shown::Instance(row) => Row::Service(ServiceJson(row)),
        Shown::Check(row) => Row::Check(CheckJson::of(state, row)),
    })
}
