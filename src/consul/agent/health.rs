//! `/v1/agent/health/service`: how this agent's instances are, as a status that needs no parser.

use axum::body::Body;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::ser::SerializeSeq as _;

use crate::access::{Level, Need, Resource};
use crate::cluster::Consistency;
use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::error::Failure;
use crate::consul::params;
use crate::consul::rows::AgentServiceJson;
use crate::model::{CheckKind, Health};
use crate::presence::Presence;
use crate::state::{CheckRow, InstanceRow, State};

use super::{is_registered, own};

const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");

/// How an instance is, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Passing,
    Warning,
    Critical,
    Maintenance,
}

impl Condition {
    fn of(checks: &[&CheckRow]) -> Condition {
        let each = checks.iter().map(|row| match (&row.def.kind, row.status) {
            (CheckKind::Maintenance, _) => Condition::Maintenance,
            (_, Health::Critical) => Condition::Critical,
            (_, Health::Warning) => Condition::Warning,
            (_, Health::Passing) => Condition::Passing,
        });
        each.max().unwrap_or(Condition::Passing)
    }

    fn word(self) -> &'static str {
        match self {
            Condition::Passing => "passing",
            Condition::Warning => "warning",
            Condition::Critical => "critical",
            Condition::Maintenance => "maintenance",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Condition::Passing => StatusCode::OK,
            Condition::Warning => StatusCode::TOO_MANY_REQUESTS,
            Condition::Critical | Condition::Maintenance => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Report<'a> {
    aggregated_status: &'static str,
    service: Option<AgentServiceJson<'a>>,
    checks: Option<Checks<'a>>,
}

struct Checks<'a> {
    rows: Vec<&'a CheckRow>,
    state: &'a State,
    presence: &'a Presence,
}

impl Serialize for Checks<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            let node = self.state.node(row.node.as_str());
            let node = node.map_or(row.node.as_str(), |node| &*node.def.name);
            let id = row.def.service_id.as_deref();
            let instance = id.and_then(|id| self.state.instance(&row.node, id));
            let tags = instance.map(|instance| &*instance.def.tags);
            let tags = tags.filter(|tags| !tags.is_empty());
            let newest = self.presence.newest_output(&row.def.id);
            seq.serialize_element(&CheckOf {
                node,
                check_id: &row.def.id,
                name: &row.def.name,
                status: row.status,
                notes: &row.def.notes,
                output: newest.as_deref().unwrap_or(&row.output),
                service_id: id.unwrap_or_default(),
                service_name: instance.map_or("", |instance| &instance.def.name),
                service_tags: tags.map(|tags| tags.iter().map(|tag| &**tag).collect()),
                r#type: "",
                definition: Unsaid::default(),
                create_index: 0,
                modify_index: 0,
            })?;
        }
        seq.end()
    }
}

/// A check as this endpoint alone writes it: how it is run, and since when, is never told.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CheckOf<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    check_id: &'a str,
    name: &'a str,
    status: Health,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Option<Vec<&'a str>>,
    r#type: &'static str,
    definition: Unsaid,
    create_index: u64,
    modify_index: u64,
}

/// Go's empty definition.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Unsaid {
    interval: &'static str,
    timeout: &'static str,
    deregister_critical_service_after: &'static str,
    #[serde(rename = "HTTP")]
    http: &'static str,
    header: Option<()>,
    method: &'static str,
    body: &'static str,
    #[serde(rename = "TLSSkipVerify")]
    tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    tcp: &'static str,
}

impl Default for Unsaid {
    fn default() -> Self {
        let never = "0s";
        Unsaid {
            interval: never,
            timeout: never,
            deregister_critical_service_after: never,
            http: "",
            header: None,
            method: "",
            body: "",
            tls_skip_verify: false,
            tcp: "",
        }
    }
}

/// The checks that an instance is judged by: its own and those of the whole node, and at the end
/// whether either is in maintenance.
fn checks<'a>(state: &'a State, instance: &InstanceRow) -> Vec<&'a CheckRow> {
    let of_it = |row: &&CheckRow| match &row.def.service_id {
        None => true,
        Some(id) => *id == instance.def.id,
    };
    let rows = state.checks_on_node(&instance.node).map(|row| &**row);
    let rows = rows.filter(|row| is_registered(row.source)).filter(of_it);
    let mut rows: Vec<&CheckRow> = rows.collect();
    rows.sort_by_key(|row| row.def.kind == CheckKind::Maintenance);
    rows
}

fn report<'a>(
    call: &'a Call<'_>,
    state: &'a State,
    row: &'a InstanceRow,
) -> (Condition, Report<'a>) {
    let rows = checks(state, row);
    let condition = Condition::of(&rows);
    let presence = &call.front.presence;
    let report = Report {
        aggregated_status: condition.word(),
        service: Some(AgentServiceJson::new(row, &call.front.config.datacenter)),
        checks: Some(Checks { rows, state, presence }),
    };
    (condition, report)
}

pub async fn by_id(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let id = call.name();
    if id.is_empty() {
        return Err(Failure::internal("Bad request: Missing serviceID"));
    }
    let state = call.front.cluster.read(Consistency::Local).await?;
    let Some(row) = own(&state, &call.node(), &id) else {
        let nothing = Report { aggregated_status: "critical", service: None, checks: None };
        let reason = format!("ServiceId {id} not found");
        return Ok(told(&call, StatusCode::NOT_FOUND, &reason, &nothing));
    };
    call.may(&state, Need::Rule(Resource::Service, &row.def.name, Level::Read))?;
    let (condition, report) = report(&call, &state, row);
    Ok(told(&call, condition.status(), condition.word(), &report))
}

pub async fn by_name(call: Call<'_>) -> Answer {
    params::no_namespace(&call.params)?;
    let name = call.name();
    if name.is_empty() {
        return Err(Failure::internal("Bad request: Missing service Name"));
    }
    let state = call.front.cluster.read(Consistency::Local).await?;
    let node = call.node();
    let rows = state.instances_on_node(&node);
    let rows = rows.filter(|row| is_registered(row.source) && *row.def.name == *name);
    let reports: Vec<(Condition, Report<'_>)> =
        rows.map(|row| report(&call, &state, row)).collect();
    let worst = reports.iter().map(|(condition, _)| *condition).max();
    let reports: Vec<Report<'_>> = reports.into_iter().map(|(_, report)| report).collect();
    Ok(match worst {
        Some(worst) => told(&call, worst.status(), worst.word(), &reports),
        None => {
            let reason = format!("ServiceName {name} Not Found");
            told(&call, StatusCode::NOT_FOUND, &reason, &reports)
        }
    })
}

/// The reason alone to who wants plain text.
fn told<T: Serialize>(
    call: &Call<'_>,
    status: StatusCode,
    reason: &str,
    report: &T,
) -> axum::response::Response {
    let mut response = if wants_text(call.params.get("format"), call.headers) {
        let mut response = answer::json_body(Body::from(reason.to_owned()));
        response.headers_mut().insert(CONTENT_TYPE, PLAIN);
        response
    } else {
        answer::json(report, call.pretty())
    };
    *response.status_mut() = status;
    if let Ok(reason) = HeaderValue::from_str(reason) {
        response.headers_mut().insert(REASON, reason);
    }
    response
}

fn wants_text(format: Option<&str>, headers: &HeaderMap) -> bool {
    format == Some("text") || headers.get(ACCEPT).is_some_and(|accepted| accepted == "text/plain")
}
