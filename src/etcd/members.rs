//! etcd's Cluster service: the servers as etcd's members. Who is one is decided by joining, not by
//! a list.

use crate::cluster::Consistency;
use crate::model::Role;

use super::Front;
use super::error::Failure;
use super::kv::header_at;
use super::proto::{Member, MemberListRequest, MemberListResponse};

/// Servers that do not vote are learners. The header has no revision, as etcd's.
pub(super) async fn list(
    front: &Front,
    request: MemberListRequest,
) -> Result<MemberListResponse, Failure> {
    let how = if request.linearizable { Consistency::Linearizable } else { Consistency::Local };
    let state = front.cluster.read(how).await?;
    let voters = front.cluster.standing().voters;
    let servers = state.members().filter(|member| member.role == Role::Server);
    let members = servers.map(|member| Member {
        id: member.id.0,
        name: member.name.to_string(),
        peer_ur_ls: vec![format!("https://{}", member.peer_addr)],
        client_ur_ls: member.client_urls.clone(),
        is_learner: !voters.contains(&member.id),
    });
    let header = header_at(front, &state, 0);
    Ok(MemberListResponse { header: Some(header), members: members.collect() })
}
