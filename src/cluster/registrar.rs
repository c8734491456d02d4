//! What a server does for one who asks to be let in, or for a new certificate.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use crate::identity::{Authority, IdentityError, requested_spki, verify_proof};
use crate::model::{NodeId, Role, TokenId};
use crate::net::peer::{Caller, Peer, Purpose};
use crate::state::{Admission, Command, Outcome, Refusal};

use super::asks::{self, Ask, Petition, Reply, Welcome};
use super::badge::Badge;
use super::denials::Denials;
use super::entrance::who;
use super::patience;
use super::server::Server;

/// A server that bears a name and was silent for this long is gone.
const SILENCE: Duration = Duration::from_secs(2);
/// How long the leader may take to find that out.
const PROBE: Duration = Duration::from_secs(4);

pub(super) struct Registrar {
    badge: Arc<Badge>,
    denials: Mutex<Denials>,
    since: Instant,
}

/// Why somebody is not let in.
enum Denial {
    /// Told to the joiner, and in the log.
    Denied(String),
    /// It may go better soon.
    NotYet(Box<Reply>),
}

impl From<IdentityError> for Denial {
    fn from(error: IdentityError) -> Denial {
        Denial::Denied(error.to_string())
    }
}

fn not_yet(reply: Reply) -> Denial {
    Denial::NotYet(Box::new(reply))
}

fn denied<T>(why: impl Into<String>) -> Result<T, Denial> {
    Err(Denial::Denied(why.into()))
}

impl Registrar {
    pub fn new(badge: Arc<Badge>) -> Registrar {
        Registrar { badge, denials: Mutex::default(), since: Instant::now() }
    }

    fn may_try(&self, from: IpAddr) -> bool {
        let denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.may_try(from, self.since.elapsed())
    }

    fn note(&self, from: IpAddr) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        denials.note(from, self.since.elapsed());
    }

    /// Answers one who asks to be let in.
    pub async fn admit(&self, server: &Server, caller: Caller, petition: Petition) -> Reply {
        let from = caller.addr;
        if !self.may_try(from.ip()) {
            let why = "too many tries from this address were denied: wait a little";
            return Reply::Denied(why.to_owned());
        }
        let (name, role) = (petition.admission.name.clone(), petition.admission.role);
        let token = petition.token;
        match self.decide(server, caller, petition).await {
            Ok(welcome) => {
                let (id, role) = (welcome.id, role.as_str());
                tracing::info!(%from, %name, role, %token, %id, "let in");
                Reply::Joined(Box::new(welcome))
            }
            Err(Denial::Denied(why)) => {
                let role = role.as_str();
                tracing::warn!(%from, %name, role, %token, why, "denied");
                self.note(from.ip());
                Reply::Denied(why)
            }
            Err(Denial::NotYet(reply)) => *reply,
        }
    }

    async fn decide(
        &self,
        server: &Server,
        caller: Caller,
        petition: Petition,
    ) -> Result<Welcome, Denial> {
        let Petition { token, request, admission, proof } = petition;
        let Some(authority) = self.badge.authority() else {
            return denied("this server cannot let anybody in");
        };
        let public = known_token(server, token).await?;
        let spki = requested_spki(&request)?;
        if !verify_proof(&public, &caller.binding, &spki, &proof) {
            return denied(WRONG);
        }
        let role = admission.role;
        let admission = Admission { token: Some(token), ..admission };
        let (id, cluster) = propose(server, admission).await?;
        let chain = self.issue(&authority, &request, Peer { id, role })?;
        let authority = match role {
            Role::Server => Some(authority.to_bundle()?.to_vec()),
            Role::Edge | Role::Relay => None,
        };
        Ok(Welcome { id, cluster, chain, authority })
    }

    fn issue(
        &self,
        authority: &Authority,
        request: &[u8],
        peer: Peer,
    ) -> Result<Vec<Vec<u8>>, IdentityError> {
        let now = self.badge.now();
        authority.issue(request, peer.role, peer.id, self.badge.lifetimes(), now)
    }

    /// Answers a member who asks for a new certificate. Who it is says its old one.
    pub fn renew(&self, caller: Caller, request: &[u8]) -> Reply {
        let (Some(peer), Some(authority)) = (caller.peer, self.badge.authority()) else {
            return Reply::Denied("there is nobody here who renews certificates".to_owned());
        };
        match self.issue(&authority, request, peer) {
            Ok(chain) => Reply::Renewed(chain),
            Err(error) => Reply::Denied(error.to_string()),
        }
    }
}

/// Said of tokens that are not known, too: who guesses learns nothing.
const WRONG: &str = "wrong token: it was retired, or is another cluster's; `remora join-token` at a \
                     server makes another";

/// The public half of a token's key. A token may be younger than what this server has.
async fn known_token(server: &Server, id: TokenId) -> Result<Bytes, Denial> {
    let known = server.replica.snapshot();
    if let Some(token) = known.token(id) {
        return Ok(token.def.public.clone());
    }
    let newest = patience::read(server, &server.replica).await;
    let newest = newest.map_err(|error| {
        not_yet(Reply::Denied(format!("the token cannot be looked up now: {error}")))
    })?;
    match newest.token(id) {
        Some(token) => Ok(token.def.public.clone()),
        None => denied(WRONG),
    }
}

/// Has the leader admit an agent; a server of the same name that is gone makes way for it.
async fn propose(server: &Server, admission: Admission) -> Result<(NodeId, u128), Denial> {
    let failed = |error| not_yet(Reply::Failed(error));
    let admit = Command::Admit(admission.clone());
    let (outcome, _) = patience::propose(server, &admit).await.map_err(failed)?;
    let outcome = match outcome {
        Outcome::Refused(Refusal::NameTaken(_)) => {
            make_way(server, &admission).await?;
            patience::propose(server, &admit).await.map_err(failed)?.0
        }
        outcome => outcome,
    };
    match outcome {
        Outcome::Admitted { id, cluster } => Ok((id, cluster)),
        Outcome::Refused(refusal) => denied(refusal.to_string()),
        _ => denied("the cluster gave an odd answer"),
    }
}

async fn make_way(server: &Server, admission: &Admission) -> Result<(), Denial> {
    let name = &admission.name;
    let state = server.replica.snapshot();
    let Some(old) = state.member_named(name.as_str()).map(|member| member.id) else {
        return Ok(());
    };
    match ask_leader(server, old).await {
        Some(false) => {}
        Some(true) => return denied(format!("name taken: server {old}, called {name}, answers")),
        None => {
            let why = format!("no leader says whether server {old}, called {name}, is there");
            return Err(not_yet(Reply::Denied(why)));
        }
    }
    tracing::warn!(%old, %name, "the server of this name is gone: a new one takes its place");
    let retired = patience::propose(server, &Command::Retire(old)).await;
    retired.map(|_| ()).map_err(|error| not_yet(Reply::Failed(error)))
}

/// Whether the leader reaches a server; none if no leader says so.
async fn ask_leader(server: &Server, id: NodeId) -> Option<bool> {
    let leader = server.raft.status().borrow().leader?;
    if leader == server.id() {
        return Some(is_there(server, id).await);
    }
    let addr = server.roster.addr(leader)?;
    let ask = asks::encode(&Ask::Probe(id));
    let answer = server.links.call(addr, Purpose::Door, ask, PROBE).await.ok()?;
    match asks::decode(&answer).ok()? {
        Reply::There(there) => Some(there),
        _ => None,
    }
}

/// Whether a server answers, in two seconds at most.
pub(super) async fn is_there(server: &Server, id: NodeId) -> bool {
    if id == server.id() {
        return true;
    }
    let me = server.introduction();
    let answers = async {
        loop {
            if let Some(addr) = server.roster.addr(id)
                && let Ok(other) = who(&server.links, addr, &me).await
                && other.id == id
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(SILENCE, answers).await.is_ok()
}
