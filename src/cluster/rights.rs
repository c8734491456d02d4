//! Decides what each kind of agent may ask of another. Pure: the one table of who may do what.

use crate::access::Caller;
use crate::model::{Folded, NodeId, Role};
use crate::net::peer::{Peer, Purpose};
use crate::state::Command;

use super::asks::{Ask, Pulse, Reach};

/// What an agent is to the one it talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Showed no certificate.
    Stranger,
    /// Holds the founding key, and belongs to no cluster yet.
    Candidate,
    Edge,
    Relay,
    Server,
}

impl Kind {
    pub fn of(peer: Option<Peer>) -> Kind {
        match peer {
            None => Kind::Stranger,
            Some(Peer { id: NodeId(0), .. }) => Kind::Candidate,
            Some(Peer { role: Role::Edge, .. }) => Kind::Edge,
            Some(Peer { role: Role::Relay, .. }) => Kind::Relay,
            Some(Peer { role: Role::Server, .. }) => Kind::Server,
        }
    }

    fn is_member(self) -> bool {
        match self {
            Kind::Edge | Kind::Relay | Kind::Server => true,
            Kind::Stranger | Kind::Candidate => false,
        }
    }
}

/// Whether an agent may open a connection for that.
pub(super) fn may_open(caller: Kind, purpose: Purpose) -> bool {
    match purpose {
        Purpose::Raft | Purpose::Snapshot => caller == Kind::Server,
        Purpose::Door => caller.is_member(),
        Purpose::Follow | Purpose::Survey => matches!(caller, Kind::Edge | Kind::Relay),
        Purpose::Entrance => true,
    }
}

/// Whether such an agent is to be called for that.
pub(super) fn may_serve(callee: Kind, purpose: Purpose) -> bool {
    match purpose {
        Purpose::Raft | Purpose::Snapshot => callee == Kind::Server,
        // A follower's followers go through it, and are fed by it.
        Purpose::Door | Purpose::Follow | Purpose::Survey => {
            matches!(callee, Kind::Server | Kind::Relay)
        }
        // A relay lets nobody in, but says where the servers are.
        Purpose::Entrance => matches!(callee, Kind::Server | Kind::Relay | Kind::Candidate),
    }
}

/// Whether one who calls for that may ask this.
pub(super) fn may_ask(caller: Option<Peer>, purpose: Purpose, ask: &Ask) -> Result<(), String> {
    let kind = Kind::of(caller);
    let no = |what: &str| Err(format!("{what} is not for {}", name(kind)));
    match (purpose, ask) {
        (Purpose::Door | Purpose::Entrance, Ask::Who(_)) => Ok(()),
        (Purpose::Entrance, Ask::Join(_)) => Ok(()),
        (Purpose::Entrance, Ask::Renew { .. }) if kind.is_member() => Ok(()),
        (Purpose::Door, Ask::Probe(_) | Ask::Operate(_)) if kind == Kind::Server => Ok(()),
        (Purpose::Door, Ask::Compare(report)) if kind == Kind::Server => match caller {
            Some(peer) if peer.id == report.id => Ok(()),
            _ => no("what another server's state comes to"),
        },
        (Purpose::Door, Ask::Propose { command, reach }) => {
            may_reach(kind, *reach)?;
            may_propose(caller, command)
        }
        (Purpose::Door, Ask::Confirm { pulses, reach }) => {
            may_reach(kind, *reach)?;
            match caller {
                Some(peer) if pulses.iter().all(|pulse| may_beat(peer, *pulse)) => Ok(()),
                _ => no("the heartbeat of another agent"),
            }
        }
        // Whoever follows is told every key anyhow.
        (Purpose::Door, Ask::Past { .. }) if kind.is_member() => Ok(()),
        (_, Ask::Past { .. }) => no("the past"),
        (Purpose::Door, Ask::Identify(_) | Ask::Login { .. } | Ask::Reveal { .. })
            if kind.is_member() =>
        {
            Ok(())
        }
        (_, Ask::Identify(_) | Ask::Login { .. } | Ask::Reveal { .. }) => no("asking about users"),
        (_, Ask::Who(_)) => no("asking who is there"),
        (_, Ask::Join(_)) => no("joining here"),
        (_, Ask::Renew { .. }) => no("a new certificate"),
        (_, Ask::Probe(_)) => no("a look at another server"),
        (_, Ask::Operate(_)) => no("what operators do"),
        (_, Ask::Compare(_)) => no("a comparison of servers"),
        (_, Ask::Propose { .. }) => no("a proposal"),
        (_, Ask::Confirm { .. }) => no("a confirmation"),
    }
}

/// An edge's asks are passed on by whom it asks.
fn may_reach(kind: Kind, reach: Reach) -> Result<(), String> {
    match reach {
        Reach::Leader if kind != Kind::Server => {
            Err(format!("asking the leader alone is not for {}", name(kind)))
        }
        Reach::Leader | Reach::Cluster => Ok(()),
    }
}

/// A relay passes on the heartbeats of its followers, and a server everybody's.
fn may_beat(peer: Peer, pulse: Pulse) -> bool {
    match (Kind::of(Some(peer)), pulse) {
        (Kind::Server | Kind::Relay, _) => true,
        (Kind::Edge, Pulse::Lease(_) | Pulse::LeaseLeft(_) | Pulse::Session(_)) => true,
        (Kind::Edge, Pulse::Presence(id)) => id == peer.id,
        (Kind::Stranger | Kind::Candidate, _) => false,
    }
}

/// Who may have a command proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Right {
    /// What agents register for applications.
    Members,
    /// What is done for somebody, who is judged when it is applied. Servers alone are believed
    /// when they say who that is, or that it is done for nobody but the cluster itself.
    Somebody,
    /// What an agent says of itself; a server says it of everybody.
    Oneself(NodeId),
    /// What operators do, at a server.
    Servers,
    /// What the leader decides, and nobody else ever sends.
    Leader,
}

fn right(command: &Command) -> Right {
    match command {
        Command::Catalog(_) => Right::Members,
        Command::Put(_)
        | Command::DeleteRange(_)
        | Command::Kv(_)
        | Command::Txn(_)
        | Command::Sequence(_)
        | Command::Compact(_)
        | Command::LeaseGrant { .. }
        | Command::LeaseRevoke(_)
        | Command::SessionCreate(_)
        | Command::SessionDestroy(_)
        | Command::Account(_)
        | Command::QueryPut { .. }
        | Command::QueryDelete(_)
        | Command::EventFire(_)
        | Command::Autopilot { .. }
        | Command::Acl(_)
        | Command::Alarm { .. } => Right::Somebody,
        // Decided by what is inside.
        Command::For(_) => Right::Leader,
        Command::Contact { id, .. } => Right::Oneself(*id),
        Command::Admit(_)
        | Command::Retire(_)
        | Command::Settings(_)
        | Command::Raise(_)
        | Command::TokenPut(_)
        | Command::TokenRetire(_)
        | Command::Stage { .. }
        | Command::Unstage(_)
        | Command::Restore { .. } => Right::Servers,
        Command::Found(_)
        | Command::LeaseExpire { .. }
        | Command::SessionExpire { .. }
        | Command::LockDelayEnd { .. }
        | Command::Silent { .. }
        | Command::Reap { .. }
        | Command::Forget { .. }
        | Command::Recover { .. }
        | Command::Checkpoint
        | Command::Relieve => Right::Leader,
    }
}

/// Whether an agent that is no server may say this in its own name.
pub(super) fn is_own(command: &Command) -> bool {
    match command {
        Command::For(_) => true,
        command => right(command) != Right::Somebody,
    }
}

fn may_propose(caller: Option<Peer>, command: &Command) -> Result<(), String> {
    let kind = Kind::of(caller);
    let (inner, vouched) = match command {
        Command::For(wish) => {
            let unproved = matches!(wish.caller, Caller::Nobody | Caller::Bearer(_));
            (&wish.command, unproved || kind == Kind::Server)
        }
        command => (command, kind == Kind::Server),
    };
    let may = match right(inner) {
        Right::Members => kind.is_member(),
        Right::Somebody => kind.is_member() && vouched,
        // A relay passes on what its followers say of themselves.
        Right::Oneself(id) => match kind {
            Kind::Server | Kind::Relay => true,
            Kind::Edge => caller.is_some_and(|peer| peer.id == id),
            Kind::Stranger | Kind::Candidate => false,
        },
        Right::Servers => kind == Kind::Server,
        Right::Leader => false,
    };
    if may { Ok(()) } else { Err(format!("this command is not for {}", name(kind))) }
}

/// What an edge says in its own name is of its own node: for others it has to say who wants it. A
/// relay passes on what its followers say.
pub(super) fn may_register(
    caller: Option<Peer>,
    own: Option<&Folded>,
    command: &Command,
) -> Result<(), String> {
    let Command::Catalog(ops) = command else { return Ok(()) };
    if Kind::of(caller) != Kind::Edge || ops.iter().all(|op| Some(&op.node()) == own) {
        return Ok(());
    }
    Err("an edge speaks for its own node alone".to_owned())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Stranger => "agents without a certificate",
        Kind::Candidate => "candidates",
        Kind::Edge => "the role edge",
        Kind::Relay => "the role relay",
        Kind::Server => "the role server",
    }
}
