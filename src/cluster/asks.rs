//! What agents ask each other at the door, and the answers, as they travel (postcard).

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::identity::Proof;
use crate::model::{AclId, LeaseId, NodeId, SessionId, TokenId};
use crate::net::peer::{CallError, Refused};
use crate::state::{Admission, Command, Outcome, PastAnswer, PastQuery};

use super::ProposeError;
use super::checkpoint::{Report, Verdict};
use super::deadlines;
use super::founding::Candidate;
use super::logins::{LoginError, Worth};
use super::operator::{Operated, Operation};

/// Released variants are frozen; a change is a new variant.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Who are you? This is who I am.
    Who(Introduction),
    Propose {
        command: Command,
        reach: Reach,
    },
    /// Has a quorum confirm the leader, and then takes heartbeats.
    Confirm {
        pulses: Vec<Pulse>,
        reach: Reach,
    },
    /// Of the leader, by another server.
    Operate(Operation),
    /// Let me in. At the entrance alone.
    Join(Box<Petition>),
    /// A new certificate for the member that shows an old one. At the entrance alone.
    Renew {
        /// PKCS#10, DER.
        request: Vec<u8>,
    },
    /// Is that server there? Asked of the leader.
    Probe(NodeId),
    /// What a replica's state comes to after a checkpoint; asked of the leader.
    Compare(Report),
    /// About revisions that only servers know.
    Past {
        query: PastQuery,
        /// The place in the log that the one who asks has got to: it is not answered from before.
        seen: u64,
    },
    /// Whose token is that?
    Identify(Secret),
    /// A token for who knows that password.
    Login {
        name: String,
        password: Secret,
    },
    /// The secret of another token, for whom that token lets read it.
    Reveal {
        accessor: AclId,
        token: Secret,
    },
}

/// What is not to be shown.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret(pub Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    Who(Introduction),
    Proposed {
        outcome: Outcome,
        /// The entry's place in the log.
        index: u64,
    },
    Confirmed(Confirmed),
    /// Nothing was appended. Only to who asked the leader alone.
    NotLeader,
    Failed(ProposeError),
    Operated(Operated),
    Joined(Box<Welcome>),
    /// Not let in, or no new certificate; why.
    Denied(String),
    /// DER, the member's own first.
    Renewed(Vec<Vec<u8>>),
    /// Whether the server that was asked about answers.
    There(bool),
    Compared(Verdict),
    /// Who was asked leads, but no quorum answers it.
    NoQuorum,
    Past(PastAnswer),
    /// It may go better soon.
    NotYet,
    Identified(Worth),
    LoggedIn(Result<Secret, LoginError>),
    Revealed(Option<Secret>),
}

/// One who asks to be let in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Petition {
    pub token: TokenId,
    /// For which key it wants a certificate: PKCS#10, DER.
    pub request: Vec<u8>,
    pub admission: Admission,
    /// By the token's key, over this connection and that key.
    pub proof: Proof,
}

/// What one who is let in needs to know.
#[derive(Serialize, Deserialize)]
pub(super) struct Welcome {
    pub id: NodeId,
    pub cluster: u128,
    /// DER, the new member's own first.
    pub chain: Vec<Vec<u8>>,
    /// For servers alone: what makes them able to let others in.
    pub authority: Option<Vec<u8>>,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Welcome { id, cluster, .. } = self;
        write!(f, "Welcome({id} of {cluster:032x}, redacted)")
    }
}

/// How far an ask may travel: from an edge on to the leader, from a server no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reach {
    Leader,
    Cluster,
}

/// Who speaks. Told to each other by agents that may have never met.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Introduction {
    /// Drawn at every start: how an agent recognises itself behind an address.
    pub run: u128,
    /// 0: belongs to no cluster yet.
    pub cluster: u128,
    /// 0: not admitted yet.
    pub id: NodeId,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// The cluster would make use of one more server.
    pub wants_servers: bool,
    /// Where it believes the other servers to be.
    pub others: Vec<(NodeId, SocketAddr)>,
    /// While it belongs to no cluster and would found one with others.
    pub candidate: Option<Candidate>,
}

/// One heartbeat on its way to the leader, or a question about one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Pulse {
    Presence(NodeId),
    Lease(LeaseId),
    /// For how long the lease lives if nobody speaks for it. Renews nothing.
    LeaseLeft(LeaseId),
    Session(SessionId),
}

/// Why there is no confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unconfirmed {
    /// It may go better soon.
    NotYet,
    /// The leader has lost most of the voters.
    NoQuorum,
}

/// What the answer to an ask for confirmation means.
pub(super) fn confirmed(answer: Result<Bytes, CallError>) -> Result<Confirmed, Unconfirmed> {
    let answer = answer.map_err(|_| Unconfirmed::NotYet)?;
    match decode(&answer) {
        Ok(Reply::Confirmed(confirmed)) => Ok(confirmed),
        Ok(Reply::NoQuorum) => Err(Unconfirmed::NoQuorum),
        Ok(_) | Err(_) => Err(Unconfirmed::NotYet),
    }
}

impl From<Result<Confirmed, Unconfirmed>> for Reply {
    fn from(answer: Result<Confirmed, Unconfirmed>) -> Reply {
        match answer {
            Ok(confirmed) => Reply::Confirmed(confirmed),
            Err(Unconfirmed::NoQuorum) => Reply::NoQuorum,
            Err(Unconfirmed::NotYet) => Reply::NotLeader,
        }
    }
}

/// A quorum stood behind the leader after the ask had come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Confirmed {
    /// Everything acknowledged before the ask is at or below this place in the log.
    pub index: u64,
    /// One for each pulse, in order.
    pub verdicts: Vec<deadlines::Verdict>,
}

pub(super) fn encode<T: Serialize>(value: &T) -> Bytes {
    match postcard::to_stdvec(value) {
        Ok(bytes) => bytes.into(),
        Err(error) => unreachable!("asks and replies are plain data: {error}"),
    }
}

/// What cannot be read was not handled.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refused> {
    postcard::from_bytes(bytes).map_err(|error| Refused(format!("not understood: {error}")))
}
