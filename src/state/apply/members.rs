//! Decides who belongs to the cluster: founded, admitted, reached elsewhere, retired.

use std::net::SocketAddr;

use crate::model::{Member, NodeId, Role};
use crate::state::change::Change;
use crate::state::command::{Admission, Founding, Outcome, Refusal};
use crate::state::rows::Identity;

use super::catalog;
use super::draft::Draft;

/// The founder's id, known before the first entry: its log has to name it.
const FOUNDER: NodeId = NodeId(1);

pub(super) fn found(draft: &mut Draft<'_>, founding: &Founding) -> Result<Outcome, Refusal> {
    if draft.state().is_founded() {
        return Err(Refusal::Founded);
    }
    draft.push(Change::Identity(Identity {
        cluster: founding.cluster,
        lineage: founding.lineage,
        level: crate::state::LEVEL,
        next_node: FOUNDER.0 + 1,
        settings: founding.settings.clone(),
    }));
    draft.push(Change::Member(FOUNDER, Some(member(FOUNDER, &founding.founder))));
    Ok(Outcome::Admitted { id: FOUNDER, cluster: founding.cluster })
}

pub(super) fn admit(draft: &mut Draft<'_>, admission: &Admission) -> Result<Outcome, Refusal> {
    let state = draft.state();
    let cluster = state.identity.cluster;
    if let Some(known) = state.members.values().find(|m| m.nonce == admission.nonce).cloned() {
        let again = member(known.id, admission);
        if *known != again {
            draft.push(Change::Member(known.id, Some(again)));
        }
        return Ok(Outcome::Admitted { id: known.id, cluster });
    }
    let namesake = state.member_named(admission.name.as_str()).cloned();
    if let Some(namesake) = namesake {
        // An edge keeps nothing, so its newer incarnation takes its place. A server is retired by
        // the leader once it is known to be gone, never by whoever claims its name.
        if namesake.role != Role::Edge {
            return Err(Refusal::NameTaken(admission.name.clone()));
        }
        draft.push(Change::Member(namesake.id, None));
    }
    let mut identity = draft.state().identity.clone();
    let id = NodeId(identity.next_node);
    identity.next_node += 1;
    draft.push(Change::Identity(identity));
    draft.push(Change::Member(id, Some(member(id, admission))));
    Ok(Outcome::Admitted { id, cluster })
}

fn member(id: NodeId, admission: &Admission) -> Member {
    Member {
        id,
        name: admission.name.clone(),
        role: admission.role,
        peer_addr: admission.peer_addr,
        client_urls: admission.client_urls.clone(),
        nonce: admission.nonce,
        version: admission.version.clone(),
    }
}

pub(super) fn contact(
    draft: &mut Draft<'_>,
    id: NodeId,
    peer_addr: SocketAddr,
    client_urls: &[String],
    version: &str,
) -> Result<Outcome, Refusal> {
    let Some(known) = draft.state().members.get(&id).cloned() else {
        return Err(Refusal::NoMember(id));
    };
    let mut again = Member::clone(&known);
    again.peer_addr = peer_addr;
    again.client_urls = client_urls.to_vec();
    again.version = version.to_owned();
    if *known != again {
        draft.push(Change::Member(id, Some(again)));
    }
    Ok(Outcome::Done)
}

pub(super) fn retire(draft: &mut Draft<'_>, id: NodeId) -> Result<Outcome, Refusal> {
    let Some(member) = draft.state().members.get(&id).cloned() else {
        return Err(Refusal::NoMember(id));
    };
    let node = member.name.folded();
    if draft.state().catalog.nodes.get(&node).is_some_and(|row| row.def.agent == Some(id)) {
        catalog::remove_node(draft, &node);
    }
    draft.push(Change::Member(id, None));
    Ok(Outcome::Done)
}
