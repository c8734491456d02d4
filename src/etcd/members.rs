//! etcd's Cluster service: the servers as etcd's members. Who is one is decided by joining, not by
//! a list: what changes members is done as operators do it, or said to be done elsewhere.

use crate::cluster::{Consistency, Operation, OperatorError};
use crate::model::{NodeId, Role};
use crate::state::State;

use super::Front;
use super::error::{Code, Failure};
use super::gate::Visit;
use super::kv::header_at;
use super::maintenance::elsewhere;
use super::proto::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse,
    MemberPromoteRequest, MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse,
    MemberUpdateRequest, MemberUpdateResponse, ResponseHeader,
};

/// The header has no revision, as etcd's.
pub(super) async fn list(
    visit: Visit,
    request: MemberListRequest,
) -> Result<MemberListResponse, Failure> {
    let front = &visit.front;
    let how = if request.linearizable { Consistency::Linearizable } else { Consistency::Local };
    let state = front.cluster.read(how).await?;
    let (header, members) = shown(front, &state);
    Ok(MemberListResponse { header, members })
}

/// Servers that do not vote are learners.
fn shown(front: &Front, state: &State) -> (Option<ResponseHeader>, Vec<Member>) {
    let voters = front.cluster.standing().voters;
    let servers = state.members().filter(|member| member.role == Role::Server);
    let members = servers.map(|member| Member {
        id: member.id.0,
        name: member.name.to_string(),
        peer_ur_ls: vec![format!("https://{}", member.peer_addr)],
        client_ur_ls: member.client_urls.clone(),
        is_learner: !voters.contains(&member.id),
    });
    (Some(header_at(front, state, 0)), members.collect())
}

fn refused(text: impl Into<String>) -> Failure {
    Failure::new(Code::FailedPrecondition, text)
}

fn not_found() -> Failure {
    Failure::new(Code::NotFound, "etcdserver: member not found")
}

/// The server of that id; an edge is no member of etcd's kind.
async fn server(front: &Front, id: u64) -> Result<NodeId, Failure> {
    let state = front.cluster.read(Consistency::Linearizable).await?;
    let member = state.member(NodeId(id)).filter(|member| member.role == Role::Server);
    member.map(|member| member.id).ok_or_else(not_found)
}

/// `http[s]://host:port` and nothing more: the address in it.
fn address(url: &str) -> Option<&str> {
    let address = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let (host, port) = address.rsplit_once(':')?;
    let fits = !host.is_empty() && !host.contains(['/', '@', '?', '#']);
    (fits && port.parse::<u16>().is_ok()).then_some(address)
}

/// Nobody can be made a member from outside: a new server shows a token, and says where it is.
pub(super) async fn add(
    visit: Visit,
    request: MemberAddRequest,
) -> Result<MemberAddResponse, Failure> {
    let addresses: Option<Vec<&str>> = request.peer_ur_ls.iter().map(|url| address(url)).collect();
    let addresses = addresses.filter(|addresses| !addresses.is_empty());
    let addresses =
        addresses.ok_or_else(|| Failure::invalid("etcdserver: given member URLs are invalid"))?;
    let state = visit.front.cluster.read(Consistency::Linearizable).await?;
    let mut servers = state.members().filter(|member| member.role == Role::Server);
    if servers.any(|server| addresses.contains(&server.peer_addr.to_string().as_str())) {
        return Err(refused("etcdserver: Peer URLs already exists"));
    }
    Err(refused(
        "etcdserver: not capable: a server joins by itself, with a token: run \
         `remora join-token --role server` and start the new agent with what it prints",
    ))
}

/// As `remora servers remove` does it.
pub(super) async fn remove(
    visit: Visit,
    request: MemberRemoveRequest,
) -> Result<MemberRemoveResponse, Failure> {
    let front = &visit.front;
    let id = server(front, request.id).await?;
    operate(front, Operation::RemoveServer(id), || {
        // etcd has no code of its own for it.
        let text = "etcdserver: re-configuration failed due to not enough started members";
        Failure::new(Code::Unknown, text)
    })
    .await?;
    let (header, members) = shown(front, &front.cluster.snapshot());
    Ok(MemberRemoveResponse { header, members })
}

async fn operate(
    front: &Front,
    operation: Operation,
    refusal: impl FnOnce() -> Failure,
) -> Result<(), Failure> {
    let done = front.cluster.operate(operation).await;
    done.map_err(|error| match error {
        OperatorError::NotServer(_) => elsewhere(error),
        OperatorError::NoAgent(_) => not_found(),
        OperatorError::Refused(why) => {
            tracing::warn!(?operation, why, "refused");
            refusal()
        }
        OperatorError::Propose(error) => error.into(),
        OperatorError::Failed(why) => {
            tracing::warn!(?operation, why, "failed");
            Failure::new(Code::Unavailable, "etcdserver: unhealthy cluster")
        }
    })
}

/// Where a server is reached it says itself: only what it has said already can be said again.
pub(super) async fn update(
    visit: Visit,
    request: MemberUpdateRequest,
) -> Result<MemberUpdateResponse, Failure> {
    let front = &visit.front;
    let id = server(front, request.id).await?;
    let (header, members) = shown(front, &front.cluster.snapshot());
    let member = members.iter().find(|member| member.id == id.0).ok_or_else(not_found)?;
    let known = |url: &String| {
        let known = member.peer_ur_ls.iter().any(|known| address(known) == address(url));
        known && address(url).is_some()
    };
    if request.peer_ur_ls.is_empty() || !request.peer_ur_ls.iter().all(known) {
        return Err(refused(
            "etcdserver: not capable: a server says itself where it is reached: set \
             `cluster.advertise` in its config and start it again",
        ));
    }
    Ok(MemberUpdateResponse { header, members })
}

/// One more votes from now on: that server, once it has the log.
pub(super) async fn promote(
    visit: Visit,
    request: MemberPromoteRequest,
) -> Result<MemberPromoteResponse, Failure> {
    let front = &visit.front;
    let id = server(front, request.id).await?;
    if front.cluster.standing().voters.contains(&id) {
        return Err(refused("etcdserver: can only promote a learner member"));
    }
    operate(front, Operation::Promote(id), || {
        let text = "etcdserver: can only promote a learner member which is in sync with leader";
        refused(text)
    })
    .await?;
    let (header, members) = shown(front, &front.cluster.snapshot());
    Ok(MemberPromoteResponse { header, members })
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn a_peer_is_a_host_and_a_port_and_nothing_more() {
        for (url, expected) in [
            ("http://127.0.0.1:1", Some("127.0.0.1:1")),
            ("https://n1.example:2380", Some("n1.example:2380")),
            ("https://[::1]:2380", Some("[::1]:2380")),
            ("127.0.0.1:1", None),
            ("http://127.0.0.1", None),
            ("http://127.0.0.1:1/path", None),
            ("http://127.0.0.1:99999", None),
            ("http://:1", None),
            ("ftp://127.0.0.1:1", None),
            ("", None),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }
}
