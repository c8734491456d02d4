//! Roles of tokens: made, shown, changed, deleted.

use axum::body::Body;
use http::{Method, StatusCode};

use crate::access::{AclCommand, AclRow, Links, RolePut};
use crate::consul::answer;
use crate::consul::call::{Answer, Call};
use crate::consul::decode::DecodeError;
use crate::consul::error::Failure;
use crate::consul::shared::Content;

use super::json::RoleJson;
use super::{change, delete, fields, id, id_of, links, listed, read, shown, undecoded};

const KIND: &str = "Role";

/// With `policy` those that have it.
pub(super) async fn list(call: &Call<'_>) -> Answer {
    let policy = call.params.get("policy").filter(|policy| !policy.is_empty());
    let (policy, pretty) = (policy.map(str::to_owned), call.pretty());
    listed(call, move |acl| {
        let has = |links: &Links, asked: &String| {
            links.policies.iter().any(|id| id.to_string() == *asked)
        };
        let rows =
            acl.roles().filter(|role| policy.as_ref().is_none_or(|asked| has(&role.links, asked)));
        let rows: Vec<_> = rows.map(|role| RoleJson::new(acl, role)).collect();
        Content::json(&rows, pretty)
    })
    .await
}

pub(super) async fn one(call: &Call<'_>, body: Body) -> Answer {
    let name = call.required("Bad request: Missing role ID")?;
    match *call.method {
        Method::PUT => put(call, Some(&name), body).await,
        Method::DELETE => delete(call, AclCommand::RoleDelete(id(&name, "role")?)).await,
        _ => {
            let id = id(&name, "role").map_err(Failure::with_index)?;
            let view = read(call).await?;
            let acl = view.state.acl();
            match acl.role(id) {
                Some(role) => shown(call, &view, &RoleJson::new(acl, role)),
                None => Ok(answer::empty(StatusCode::NOT_FOUND)),
            }
        }
    }
}

pub(super) async fn named(call: &Call<'_>) -> Answer {
    let name = call.required("Bad request: Missing role Name")?;
    let view = read(call).await?;
    let acl = view.state.acl();
    match acl.role_named(&name) {
        Some(role) => shown(call, &view, &RoleJson::new(acl, role)),
        None => Ok(answer::empty(StatusCode::NOT_FOUND)),
    }
}

/// `path`: the id in it, of one that is changed.
pub(super) async fn put(call: &Call<'_>, path: Option<&str>, body: Body) -> Answer {
    let wrong = |error: DecodeError| undecoded(KIND, &error);
    let mut fields = fields(body, KIND).await?;
    let given = fields.string(&["ID"]).map_err(wrong)?;
    let name = fields.string(&["Name"]).map_err(wrong)?.into();
    let description = fields.string(&["Description"]).map_err(wrong)?;
    let links = links::take(&mut fields, call, call.front.cluster.snapshot().acl(), KIND)?;
    fields.skip(&["Hash", "CreateIndex", "ModifyIndex"]);
    fields.finish().map_err(wrong)?;
    let id = id_of(path, &given, KIND)?;
    let put = RolePut { id, new: path.is_none(), name, description, links };
    let AclRow::Role(role) = change(call, AclCommand::RolePut(put)).await? else {
        return Err(Failure::internal(format!("role {id} became something else")));
    };
    let state = call.front.cluster.snapshot();
    Ok(answer::json(&RoleJson::new(state.acl(), &role), call.pretty()))
}
