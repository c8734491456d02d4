//! Decides who belongs to the cluster: founded, admitted, reached elsewhere, retired.

use std::net::SocketAddr;

use crate::model::{Folded, Member, NodeId, Role};
use crate::state::change::Change;
use crate::state::command::{Admission, Founding, Outcome, Refusal};
use crate::state::rows::Identity;

use super::draft::Draft;
use super::{acl, catalog, change_identity, tokens};

/// The founder's id, known before the first entry: its log has to name it.
const FOUNDER: NodeId = NodeId(1);

pub(super) fn found(draft: &mut Draft<'_>, founding: &Founding) -> Result<Outcome, Refusal> {
    if draft.state().is_founded() {
        return Err(Refusal::Founded);
    }
    draft.push(Change::Identity(Identity {
        cluster: founding.cluster,
        lineage: founding.lineage,
        level: founding.founder.level,
        next_node: FOUNDER.0 + 1,
        settings: founding.settings.clone(),
        root: founding.trust.root,
        founding: tokens::founding(&founding.trust),
        restored: 0,
    }));
    tokens::found(draft, &founding.trust);
    draft.push(Change::Member(FOUNDER, Some(member(FOUNDER, &founding.founder))));
    if let Some(command) = &founding.acl {
        acl::change(draft, command)?;
    }
    Ok(Outcome::Admitted { id: FOUNDER, cluster: founding.cluster })
}

pub(super) fn admit(draft: &mut Draft<'_>, admission: &Admission) -> Result<Outcome, Refusal> {
    speaks(draft, admission.level)?;
    let cluster = draft.state().identity.cluster;
    let mut members = draft.state().members.values();
    if let Some(known) = members.find(|member| member.nonce == admission.nonce).cloned() {
        tokens::check(draft, admission, Some(&*known))?;
        make_room(draft, admission, Some(known.id))?;
        if known.name.folded() != admission.name.folded() {
            remove_nodes_of(draft, known.id);
        }
        let again = member(known.id, admission);
        if *known != again {
            draft.push(Change::Member(known.id, Some(again)));
        }
        return Ok(Outcome::Admitted { id: known.id, cluster });
    }
    tokens::check(draft, admission, None)?;
    make_room(draft, admission, None)?;
    let mut identity = draft.state().identity.clone();
    let id = NodeId(identity.next_node);
    identity.next_node += 1;
    draft.push(Change::Identity(identity));
    draft.push(Change::Member(id, Some(member(id, admission))));
    Ok(Outcome::Admitted { id, cluster })
}

/// Sees to it that nobody but `own` bears the name. An edge keeps nothing, so its newer
/// incarnation takes its place. A server is retired by the leader once it is known to be gone,
/// never by whoever claims its name.
fn make_room(
    draft: &mut Draft<'_>,
    admission: &Admission,
    own: Option<NodeId>,
) -> Result<(), Refusal> {
    match draft.state().member_named(admission.name.as_str()).cloned() {
        Some(namesake) if Some(namesake.id) == own => Ok(()),
        Some(namesake) if namesake.role.follows() => {
            draft.push(Change::Member(namesake.id, None));
            Ok(())
        }
        Some(_) => Err(Refusal::NameTaken(admission.name.clone())),
        None => Ok(()),
    }
}

fn remove_nodes_of(draft: &mut Draft<'_>, agent: NodeId) {
    let nodes: Vec<Folded> = draft.state().nodes_of_agent(agent).cloned().collect();
    for node in nodes {
        catalog::remove_node(draft, &node);
    }
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
        level: admission.level,
    }
}

/// Where a member is reached from now on, and what it runs.
pub(super) struct Reached<'a> {
    pub peer_addr: SocketAddr,
    pub client_urls: &'a [String],
    pub version: &'a str,
}

pub(super) fn contact(
    draft: &mut Draft<'_>,
    id: NodeId,
    reached: &Reached<'_>,
    level: u32,
) -> Result<Outcome, Refusal> {
    let Some(known) = draft.state().members.get(&id).cloned() else {
        return Err(Refusal::NoMember(id));
    };
    speaks(draft, level)?;
    let mut again = Member::clone(&known);
    again.peer_addr = reached.peer_addr;
    again.client_urls = reached.client_urls.to_vec();
    again.version = reached.version.to_owned();
    again.level = level;
    if *known != again {
        draft.push(Change::Member(id, Some(again)));
    }
    Ok(Outcome::Done)
}

/// Who does not speak the level in force has no place in the cluster.
fn speaks(draft: &mut Draft<'_>, spoken: u32) -> Result<(), Refusal> {
    let current = draft.state().identity.level;
    if spoken < current { Err(Refusal::Outdated { spoken, current }) } else { Ok(()) }
}

/// Decided here once more: a server that speaks less may have been admitted since it was proposed.
pub(super) fn raise(draft: &mut Draft<'_>, level: u32) -> Result<Outcome, Refusal> {
    let current = draft.state().identity.level;
    let mut servers = draft.state().members.values().filter(|m| m.role == Role::Server);
    if level < current || servers.any(|member| member.level < level) {
        return Err(Refusal::Level { asked: level, current });
    }
    change_identity(draft, |identity| identity.level = level)
}

pub(super) fn retire(draft: &mut Draft<'_>, id: NodeId) -> Result<Outcome, Refusal> {
    if !draft.state().members.contains_key(&id) {
        return Err(Refusal::NoMember(id));
    }
    remove_nodes_of(draft, id);
    draft.push(Change::Member(id, None));
    Ok(Outcome::Done)
}
