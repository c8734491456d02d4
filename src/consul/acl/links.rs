//! Reads what a token or a role is given: policies and roles by id or by name, and identities.

use std::sync::Arc;

use crate::access::{Acl, Links, NodeIdentity, ServiceIdentity};
use crate::consul::call::Call;
use crate::consul::decode::{DecodeError, Fields};
use crate::consul::error::Failure;
use crate::model::AclId;

use super::{id, undecoded};

/// Everything of a body that links to something, of a role too where it has no roles.
pub(super) fn take(
    fields: &mut Fields,
    call: &Call<'_>,
    acl: &Acl,
    kind: &'static str,
) -> Result<Links, Failure> {
    let wrong = |error: DecodeError| undecoded(kind, &error);
    let templated =
        fields.objects(&["TemplatedPolicies"], "structs.ACLTemplatedPolicy").map_err(wrong)?;
    if !templated.is_empty() {
        return Err(Failure::bad(
            "Bad request: TemplatedPolicies are not supported: say it with ServiceIdentities, \
             NodeIdentities or Policies",
        ));
    }
    let policies = named(fields, "Policies", kind)?;
    let policies = policies.into_iter().map(|(link, name)| match (link.as_str(), &*name) {
        ("", name) => acl
            .policy_named(name)
            .map(|policy| policy.id)
            .ok_or_else(|| Failure::internal(format!("No such ACL policy with name {name:?}"))),
        (link, _) => looked_up(link, "policy"),
    });
    let policies = policies.collect::<Result<_, _>>()?;
    let mut services = Vec::new();
    for mut item in
        fields.objects(&["ServiceIdentities"], "structs.ACLServiceIdentity").map_err(wrong)?
    {
        let name: Arc<str> = item.string(&["ServiceName"]).map_err(wrong)?.into();
        let datacenters = item.strings(&["Datacenters"]).map_err(wrong)?;
        item.finish().map_err(wrong)?;
        if name.is_empty() {
            let why = "Service identity is missing the service name field on this token";
            return Err(Failure::internal(why));
        }
        datacenters.iter().try_for_each(|datacenter| is_ours(call, datacenter))?;
        services.push(ServiceIdentity { name, datacenters });
    }
    let mut nodes = Vec::new();
    for mut item in fields.objects(&["NodeIdentities"], "structs.ACLNodeIdentity").map_err(wrong)? {
        let name: Arc<str> = item.string(&["NodeName"]).map_err(wrong)?.into();
        let datacenter = item.string(&["Datacenter"]).map_err(wrong)?;
        item.finish().map_err(wrong)?;
        for (text, field) in [(&*name, "node name"), (datacenter.as_str(), "datacenter")] {
            if text.is_empty() {
                let why = format!("Node identity is missing the {field} field on this token");
                return Err(Failure::internal(why));
            }
        }
        is_ours(call, &datacenter)?;
        nodes.push(NodeIdentity { name, datacenter });
    }
    Ok(Links { policies, services, nodes })
}

pub(super) fn roles(fields: &mut Fields, acl: &Acl) -> Result<Vec<AclId>, Failure> {
    let roles = named(fields, "Roles", "Token")?;
    let role = |(link, name): (String, String)| match (link.as_str(), &*name) {
        ("", name) => acl
            .role_named(name)
            .map(|role| role.id)
            .ok_or_else(|| Failure::internal(format!("No such ACL role with name {name:?}"))),
        (link, _) => looked_up(link, "role"),
    };
    roles.into_iter().map(role).collect()
}

/// Pairs of an id and a name, one of which is given.
fn named(
    fields: &mut Fields,
    list: &'static str,
    kind: &'static str,
) -> Result<Vec<(String, String)>, Failure> {
    let wrong = |error: DecodeError| undecoded(kind, &error);
    let mut links = Vec::new();
    for mut item in fields.objects(&[list], "structs.ACLLink").map_err(wrong)? {
        let link = item.string(&["ID"]).map_err(wrong)?;
        links.push((link, item.string(&["Name"]).map_err(wrong)?));
        item.finish().map_err(wrong)?;
    }
    Ok(links)
}

fn looked_up(text: &str, kind: &str) -> Result<AclId, Failure> {
    id(text, kind).map_err(|failure| {
        Failure::internal(format!("Error looking up {kind} for id {text:?}: {}", failure.text))
    })
}

/// A cluster is one datacenter: what is for others would count for nothing.
pub(super) fn is_ours(call: &Call<'_>, datacenter: &str) -> Result<(), Failure> {
    let ours = &call.front.config.datacenter;
    match datacenter == ours {
        true => Ok(()),
        false => {
            let why = format!("No path to datacenter {datacenter:?}: this cluster is {ours:?}");
            Err(Failure::internal(why))
        }
    }
}
