//! Time-bound things against a clock that the test holds.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::cluster::asks::Pulse;
use crate::cluster::deadlines::{Deadlines, Due, Moment, Subject, TICK, Verdict};
use crate::cluster::duties::forget;
use crate::model::{Health, LeaseId, NodeId, NodeName, SessionId, Source, limits};
use crate::state::{
    Behavior, CatalogOp, Command, KvCommand, NodeDef, Outcome, PRESENCE_CHECK, PRESENT, SessionDef,
    presence_check,
};

const TTL: Duration = Duration::from_secs(5);
const LEASE: LeaseId = LeaseId(7);
const AGENT: NodeId = NodeId(1);

fn secs(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

async fn done(cluster: &Cluster, command: Command) {
    assert_eq!(cluster.propose(command).await, Ok(Outcome::Done));
}

/// An agent that is there, and a lease.
async fn world() -> Cluster {
    let cluster = Cluster::solo(NodeName::new("n1").unwrap());
    let def = NodeDef {
        name: "n1".into(),
        agent: Some(AGENT),
        uuid: String::new(),
        address: "127.0.0.1".into(),
        tagged_addresses: Default::default(),
        meta: Default::default(),
        presence_ttl: TTL,
    };
    let node = cluster.name().folded();
    let check = CatalogOp::PutCheck {
        node,
        def: presence_check(),
        status: Health::Passing,
        output: PRESENT.to_owned(),
        source: Source::System,
    };
    done(&cluster, Command::Catalog(vec![CatalogOp::PutNode(def), check])).await;
    done(&cluster, Command::LeaseGrant { id: LEASE, ttl: TTL }).await;
    cluster
}

/// Ticks as the leader does; stops after the first tick on which something is over.
fn run(deadlines: &mut Deadlines, now: &mut Moment, to: Moment) -> Due {
    while *now < to {
        *now += TICK;
        let due = deadlines.tick(*now);
        if due != Due::default() {
            return due;
        }
    }
    Due::default()
}

#[tokio::test]
async fn silence_ends_a_thing_after_its_ttl_and_not_before() {
    let cluster = world().await;
    let mut now = secs(100);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    assert_eq!(run(&mut deadlines, &mut now, secs(105) - TICK), Due::default());
    let due = run(&mut deadlines, &mut now, secs(106));
    assert_eq!(due, Due { silent: vec![AGENT], expired: vec![LEASE], ..Due::default() });
    assert_eq!(run(&mut deadlines, &mut now, secs(120)), Due::default(), "said once");
}

#[tokio::test]
async fn a_heartbeat_moves_only_its_own_deadline() {
    let cluster = world().await;
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    run(&mut deadlines, &mut now, secs(4));
    assert_eq!(deadlines.renew(Subject::Lease(LEASE), now), Verdict::For(TTL));
    assert_eq!(deadlines.renew(Subject::Lease(LeaseId(8)), now), Verdict::Gone);
    assert_eq!(run(&mut deadlines, &mut now, secs(6)).silent, [AGENT]);
    assert_eq!(run(&mut deadlines, &mut now, secs(9) - TICK), Due::default());
    assert_eq!(run(&mut deadlines, &mut now, secs(10)).expired, [LEASE]);
}

#[tokio::test]
async fn a_heartbeat_that_finds_the_end_proposed_waits_for_what_comes_of_it() {
    let cluster = world().await;
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    let due = run(&mut deadlines, &mut now, secs(6));
    assert_eq!(deadlines.renew(Subject::Lease(LEASE), now), Verdict::Undecided);
    // The agent's end was applied, the lease's was not.
    done(&cluster, Command::Silent { nodes: vec![AGENT], term: 1 }).await;
    deadlines.settle(&due, &cluster.snapshot(), now);
    assert_eq!(deadlines.renew(Subject::Lease(LEASE), now), Verdict::For(TTL));
    assert_eq!(deadlines.renew(Subject::Presence(AGENT), now), Verdict::Gone);
}

#[tokio::test]
async fn a_pause_of_the_leader_moves_everything_by_the_gap() {
    let cluster = world().await;
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    run(&mut deadlines, &mut now, secs(2));
    now = secs(62);
    assert_eq!(deadlines.tick(now), Due::default(), "a minute that nobody could use");
    assert_eq!(run(&mut deadlines, &mut now, secs(64)), Due::default());
    assert_eq!(run(&mut deadlines, &mut now, secs(66)).expired, [LEASE]);
}

#[tokio::test]
async fn a_lease_granted_again_under_its_id_is_another() {
    let cluster = world().await;
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    run(&mut deadlines, &mut now, secs(4));
    done(&cluster, Command::LeaseRevoke(LEASE)).await;
    done(&cluster, Command::LeaseGrant { id: LEASE, ttl: TTL }).await;
    deadlines.sync(&cluster.snapshot(), now);
    deadlines.renew(Subject::Presence(AGENT), now);
    assert_eq!(run(&mut deadlines, &mut now, secs(9) - TICK), Due::default());
}

#[tokio::test]
async fn a_lease_is_revoked_and_granted_between_two_ticks() {
    let cluster = world().await;
    let (now, pulse) = (secs(1), Pulse::Lease(LEASE));
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), secs(0));
    done(&cluster, Command::LeaseRevoke(LEASE)).await;
    deadlines.meet(pulse, &cluster.snapshot(), now);
    assert_eq!(deadlines.answer(pulse, now), Verdict::Gone);
    done(&cluster, Command::LeaseGrant { id: LEASE, ttl: TTL * 2 }).await;
    deadlines.meet(pulse, &cluster.snapshot(), now);
    assert_eq!(deadlines.answer(Pulse::LeaseLeft(LEASE), secs(2)), Verdict::For(TTL * 2 - secs(1)));
    deadlines.meet(pulse, &cluster.snapshot(), secs(3));
    let left = deadlines.answer(Pulse::LeaseLeft(LEASE), secs(3));
    assert_eq!(left, Verdict::For(TTL * 2 - secs(2)), "to meet is not to renew");
}

#[tokio::test]
async fn a_silent_node_is_lost_after_its_grace_unless_its_agent_speaks() {
    let cluster = world().await;
    done(&cluster, Command::Silent { nodes: vec![AGENT], term: 1 }).await;
    done(&cluster, Command::LeaseRevoke(LEASE)).await;
    let state = cluster.snapshot();
    let grace = state.identity().settings.node_grace;
    assert!(state.is_silent(&cluster.name().folded()));
    assert!(state.check(&cluster.name().folded(), PRESENCE_CHECK).is_some());
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&state, now);
    run(&mut deadlines, &mut now, grace - secs(1));
    assert_eq!(deadlines.renew(Subject::Presence(AGENT), now), Verdict::Gone);
    assert_eq!(run(&mut deadlines, &mut now, grace + secs(5)), Due::default());
    assert_eq!(run(&mut deadlines, &mut now, grace * 3).lost, [AGENT]);
}

#[tokio::test]
async fn what_is_old_is_forgotten_though_nothing_was_written_since() {
    let cluster = Cluster::solo(NodeName::new("n1").unwrap());
    let key = bytes::Bytes::from_static(b"k");
    let set = KvCommand::Set { key: key.clone(), value: key.clone(), flags: 0, cas: None };
    cluster.propose(Command::Kv(set)).await.unwrap();
    cluster.propose(Command::Kv(KvCommand::Delete { key, cas: None })).await.unwrap();
    let state = cluster.snapshot();
    assert_eq!(forget(&state, state.stamp()), None, "the state's own time stands still");
    let soon = state.stamp().plus(limits::TOMBSTONE_AGE / 2);
    assert_eq!(forget(&state, soon), None);
    let later = state.stamp().plus(limits::TOMBSTONE_AGE + Duration::from_secs(1));
    assert!(matches!(forget(&state, later), Some(Command::Forget { .. })));
}

const SESSION: SessionId = SessionId(5);

fn session(id: SessionId, ttl: Option<Duration>) -> Command {
    Command::SessionCreate(SessionDef {
        id,
        name: String::new(),
        node: "n1".into(),
        behavior: Behavior::Release,
        ttl,
        ttl_text: String::new(),
        lock_delay: 15_000_000_000,
        node_checks: Vec::new(),
        service_checks: None,
        checks: Vec::new(),
    })
}

/// The agent and its lease speak all the time.
fn run_session(deadlines: &mut Deadlines, now: &mut Moment, to: Moment) -> Due {
    while *now < to {
        deadlines.renew(Subject::Presence(AGENT), *now);
        deadlines.renew(Subject::Lease(LEASE), *now);
        let due = run(deadlines, now, *now + TICK);
        if due != Due::default() {
            return due;
        }
    }
    Due::default()
}

#[tokio::test]
async fn a_session_lives_for_twice_its_ttl_and_one_without_a_ttl_for_good() {
    let cluster = world().await;
    done(&cluster, session(SESSION, Some(TTL))).await;
    done(&cluster, session(SessionId(6), None)).await;
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    assert_eq!(run_session(&mut deadlines, &mut now, secs(8)), Due::default());
    let renewed = deadlines.answer(Pulse::Session(SESSION), now);
    assert_eq!(renewed, Verdict::For(TTL * 2));
    assert_eq!(deadlines.answer(Pulse::Session(SessionId(6)), now), Verdict::Gone);
    assert_eq!(run_session(&mut deadlines, &mut now, secs(18) - TICK), Due::default());
    let due = run_session(&mut deadlines, &mut now, secs(19));
    assert_eq!(due, Due { sessions: vec![SESSION], ..Due::default() });
    assert_eq!(deadlines.answer(Pulse::Session(SESSION), now), Verdict::Undecided);
    assert_eq!(run_session(&mut deadlines, &mut now, secs(60)), Due::default());
}

#[tokio::test]
async fn a_session_that_was_destroyed_is_not_renewed_though_no_tick_has_seen_it() {
    let cluster = world().await;
    done(&cluster, session(SESSION, Some(TTL))).await;
    let (now, pulse) = (secs(1), Pulse::Session(SESSION));
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    done(&cluster, Command::SessionDestroy(SESSION)).await;
    deadlines.meet(pulse, &cluster.snapshot(), now);
    assert_eq!(deadlines.answer(pulse, now), Verdict::Gone);
}

#[tokio::test]
async fn a_lock_delay_ends_by_itself_and_only_its_own() {
    let cluster = world().await;
    let acquire = |session| {
        let (key, value) = (bytes::Bytes::from("k"), bytes::Bytes::from("v"));
        Command::Kv(KvCommand::Acquire { key, value, flags: 0, session })
    };
    let mut now = secs(0);
    let mut deadlines = Deadlines::begin(&cluster.snapshot(), now);
    done(&cluster, session(SESSION, None)).await;
    assert_eq!(cluster.propose(acquire(SESSION)).await, Ok(Outcome::Kv(true)));
    done(&cluster, Command::SessionDestroy(SESSION)).await;
    done(&cluster, session(SessionId(6), None)).await;
    deadlines.sync(&cluster.snapshot(), now);
    assert_eq!(run_session(&mut deadlines, &mut now, secs(15) - TICK), Due::default());
    assert_eq!(cluster.propose(acquire(SessionId(6))).await, Ok(Outcome::Kv(false)));
    let due = run_session(&mut deadlines, &mut now, secs(16));
    let [(key, index)] = &due.delays[..] else { panic!("{due:?}") };
    let begun = cluster.snapshot().lock_delay(key).map(|delay| delay.index);
    assert_eq!(begun, Some(*index));
    for command in due.commands(1) {
        done(&cluster, command).await;
    }
    deadlines.settle(&due, &cluster.snapshot(), now);
    assert_eq!(cluster.propose(acquire(SessionId(6))).await, Ok(Outcome::Kv(true)));
    assert_eq!(run_session(&mut deadlines, &mut now, secs(60)), Due::default());
}
