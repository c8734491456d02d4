//! Policies: made, shown, changed, deleted.

use axum::body::Body;
use http::Method;

use crate::access::{AclCommand, AclRow, PolicyPut};
use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::decode::DecodeError;
use crate::consul::error::Failure;
use crate::consul::shared::Content;
use crate::model::AclId;

use super::json::{PolicyJson, PolicyStub};
use super::{change, delete, fields, id, id_of, links, listed, missing, read, shown, undecoded};

const KIND: &str = "Policy";

pub(super) async fn list(call: &Call<'_>) -> Answer {
    let pretty = call.pretty();
    listed(call, move |acl| {
        let rows: Vec<_> = acl.policies().map(|policy| PolicyStub::new(policy)).collect();
        Content::json(&rows, pretty)
    })
    .await
}

pub(super) async fn one(call: &Call<'_>, body: Body) -> Answer {
    let name = call.required("Bad request: Missing policy ID")?;
    match *call.method {
        Method::PUT => put(call, Some(&name), body).await,
        Method::DELETE => delete(call, AclCommand::PolicyDelete(id(&name, "policy")?)).await,
        _ => {
            let id = id(&name, "policy").map_err(Failure::with_index)?;
            let view = read(call).await?;
            match view.state.acl().policy(id) {
                Some(policy) => shown(call, &view, &PolicyJson::new(policy)),
                None => missing(&view),
            }
        }
    }
}

pub(super) async fn named(call: &Call<'_>) -> Answer {
    let name = call.required("Bad request: Missing policy Name")?;
    let view = read(call).await?;
    match view.state.acl().policy_named(&name) {
        Some(policy) => shown(call, &view, &PolicyJson::new(policy)),
        None => missing(&view),
    }
}

/// `path`: the id in it, of one that is changed.
pub(super) async fn put(call: &Call<'_>, path: Option<&str>, body: Body) -> Answer {
    let wrong = |error: DecodeError| undecoded(KIND, &error);
    let mut fields = fields(body, KIND).await?;
    let given = fields.string(&["ID"]).map_err(wrong)?;
    let name = fields.string(&["Name"]).map_err(wrong)?.into();
    let description = fields.string(&["Description"]).map_err(wrong)?;
    let text = fields.string(&["Rules"]).map_err(wrong)?.into();
    let datacenters = fields.strings(&["Datacenters"]).map_err(wrong)?;
    fields.skip(&["Hash", "CreateIndex", "ModifyIndex"]);
    fields.finish().map_err(wrong)?;
    let id = id_of(path, &given, KIND)?;
    datacenters.iter().try_for_each(|datacenter| links::is_ours(call, datacenter))?;
    let new = path.is_none();
    let put = PolicyPut { id, new, name, description, text, datacenters };
    respond(call, id, change(call, AclCommand::PolicyPut(put)).await?)
}

fn respond(call: &Call<'_>, id: AclId, row: AclRow) -> Answer {
    match row {
        AclRow::Policy(policy) => Ok(answer::json(&PolicyJson::new(&policy), call.pretty())),
        other => Err(Failure::internal(format!("policy {id} became {other:?}"))),
    }
}
