//! What is tried again, for how long, and what never is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::cluster::asks::{Confirmed, Pulse, Reply, Unconfirmed, confirmed, encode};
use crate::cluster::confirms::{Confirms, Haste, MERGE};
use crate::cluster::deadlines::Verdict;
use crate::cluster::patience::{self, Attempt, Way};
use crate::cluster::server::forwarded;
use crate::cluster::{Alive, ProposeError, ReadError};
use crate::lifecycle::Life;
use crate::model::{LeaseId, NodeId, limits};
use crate::net::peer::CallError;
use crate::replica;
use crate::state::{Command, Outcome, Part};

/// A leader by script: what it says to each try, the last for ever.
struct Script {
    attempts: Mutex<Vec<fn() -> Attempt>>,
    verdicts: Mutex<Vec<Option<Verdict>>>,
    tries: AtomicUsize,
    /// Changes whenever another leads.
    leader: watch::Sender<u64>,
}

impl Script {
    fn new(attempts: &[fn() -> Attempt], verdicts: &[Option<Verdict>]) -> Script {
        Script {
            attempts: Mutex::new(attempts.iter().rev().copied().collect()),
            verdicts: Mutex::new(verdicts.iter().rev().copied().collect()),
            tries: AtomicUsize::new(0),
            leader: watch::Sender::new(0),
        }
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::Relaxed)
    }
}

fn next<T: Copy>(left: &Mutex<Vec<T>>) -> T {
    let mut left = left.lock().unwrap();
    if left.len() > 1 { left.pop().unwrap() } else { left[0] }
}

impl Way for Script {
    async fn propose(&self, _: &Command) -> Attempt {
        self.tries.fetch_add(1, Ordering::Relaxed);
        next(&self.attempts)()
    }

    async fn confirm(&self, _: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
        self.tries.fetch_add(1, Ordering::Relaxed);
        let verdict = next(&self.verdicts).ok_or(Unconfirmed::NotYet)?;
        Ok(Confirmed { index: 0, verdicts: vec![verdict] })
    }

    fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut leader = self.leader.subscribe();
        let before = *leader.borrow();
        async move {
            let _ = leader.wait_for(|now| *now != before).await;
        }
    }
}

const COMMAND: Command = Command::Retire(NodeId(9));

#[tokio::test(start_paused = true)]
async fn what_was_never_appended_is_tried_again_until_it_is() {
    let done: fn() -> Attempt = || Attempt::Done(Outcome::Done, 5);
    let script = Script::new(&[|| Attempt::NotYet, || Attempt::NotYet, done], &[]);
    assert_eq!(patience::propose(&script, &COMMAND).await, Ok((Outcome::Done, 5)));
    assert_eq!(script.tries(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_is_asked_at_once() {
    let done: fn() -> Attempt = || Attempt::Done(Outcome::Done, 5);
    let script = Script::new(&[|| Attempt::NotYet, done], &[None, Some(Verdict::Gone)]);
    let elected = async { script.leader.send_modify(|leader| *leader += 1) };
    let begun = Instant::now();
    let (proposed, ()) = tokio::join!(patience::propose(&script, &COMMAND), elected);
    assert_eq!(proposed, Ok((Outcome::Done, 5)));
    let pulse = Pulse::Lease(LeaseId(1));
    let elected = async { script.leader.send_modify(|leader| *leader += 1) };
    let (alive, ()) = tokio::join!(patience::keep_alive(&script, pulse), elected);
    assert_eq!(alive, Ok(Alive::Gone));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_it_is_said_after_seven_seconds() {
    let script = Script::new(&[|| Attempt::NotYet], &[None]);
    let begun = Instant::now();
    assert_eq!(patience::propose(&script, &COMMAND).await, Err(ProposeError::NoLeader));
    assert!(begun.elapsed() >= limits::LEADER_PATIENCE);
    assert!(begun.elapsed() < limits::LEADER_PATIENCE + Duration::from_secs(1));
    let begun = Instant::now();
    let (_writer, replica) = replica::new(Part::Shared);
    let read = patience::read(&script, &replica).await;
    assert_eq!(read.err(), Some(ReadError::NoLeader));
    assert_eq!(begun.elapsed(), limits::LEADER_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_said_and_never_tried_again() {
    let lost: fn() -> Attempt = || Attempt::Failed(ProposeError::Unknown("lost".to_owned()));
    let script = Script::new(&[lost], &[]);
    let unknown = patience::propose(&script, &COMMAND).await;
    assert_eq!(unknown, Err(ProposeError::Unknown("lost".to_owned())));
    assert_eq!(script.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_applied_but_never_arrives_here_is_not_called_done() {
    let script = Script::new(&[|| Attempt::Done(Outcome::Done, 5)], &[]);
    let (_writer, replica) = replica::new(Part::Shared);
    let unseen = patience::propose_and_see(&script, &replica, &COMMAND).await;
    assert!(matches!(unseen, Err(ProposeError::Unknown(_))), "{unseen:?}");
    assert_eq!(script.tries(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_waits_for_an_end_that_is_being_decided() {
    let ttl = Duration::from_secs(3);
    let pulse = Pulse::Lease(LeaseId(1));
    let undecided = Some(Verdict::Undecided);
    let script = Script::new(&[], &[None, undecided, undecided, Some(Verdict::For(ttl))]);
    assert_eq!(patience::keep_alive(&script, pulse).await, Ok(Alive::For(ttl)));
    assert_eq!(script.tries(), 4);
    let script = Script::new(&[], &[undecided, Some(Verdict::Gone)]);
    assert_eq!(patience::keep_alive(&script, pulse).await, Ok(Alive::Gone));
    let script = Script::new(&[], &[undecided]);
    assert_eq!(patience::keep_alive(&script, pulse).await, Err(ReadError::NoLeader));
}

#[test]
fn only_what_was_certainly_not_handled_may_be_forwarded_again() {
    let not_sent = forwarded(Err(CallError::NotSent("refused".to_owned())));
    assert!(matches!(not_sent, Attempt::NotYet));
    let elsewhere = forwarded(Ok(encode(&Reply::NotLeader)));
    assert!(matches!(elsewhere, Attempt::NotYet));
    let done = forwarded(Ok(encode(&Reply::Proposed { outcome: Outcome::Done, index: 3 })));
    assert!(matches!(done, Attempt::Done(Outcome::Done, 3)));
    for answer in [Err(CallError::Lost("cut".to_owned())), Ok(Bytes::new())] {
        let unknown = forwarded(answer);
        assert!(matches!(unknown, Attempt::Failed(ProposeError::Unknown(_))), "{unknown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_a_quorum_is_not_waited_for() {
    let script = Script::new(&[|| Attempt::Failed(ProposeError::NoQuorum)], &[]);
    let refused = patience::propose(&script, &COMMAND).await;
    assert_eq!(refused.err(), Some(ProposeError::NoQuorum));
    assert_eq!(script.tries(), 1);
    let answer = confirmed(Ok(encode(&Reply::NoQuorum)));
    assert_eq!(answer, Err(Unconfirmed::NoQuorum));
    assert_eq!(confirmed(Ok(encode(&Reply::NotLeader))), Err(Unconfirmed::NotYet));
    struct Lost;
    impl Way for Lost {
        async fn propose(&self, _: &Command) -> Attempt {
            Attempt::NotYet
        }
        async fn confirm(&self, _: Vec<Pulse>) -> Result<Confirmed, Unconfirmed> {
            Err(Unconfirmed::NoQuorum)
        }
        fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
            std::future::pending()
        }
    }
    let (_writer, replica) = replica::new(Part::Shared);
    let before = Instant::now();
    assert_eq!(patience::read(&Lost, &replica).await.err(), Some(ReadError::NoQuorum));
    let pulse = Pulse::Lease(LeaseId(1));
    assert_eq!(patience::keep_alive(&Lost, pulse).await, Err(ReadError::NoQuorum));
    assert_eq!(before.elapsed(), Duration::ZERO);
}

/// What each message had, and when it was sent.
type Sent = Arc<Mutex<Vec<(usize, Instant)>>>;

/// Gathers what is asked into messages that are confirmed whenever the gate lets one through.
fn gathering(gate: &Arc<Notify>) -> (Confirms, Sent) {
    let sent = Sent::default();
    let (gate, noted) = (gate.clone(), sent.clone());
    let route = move |pulses: Vec<Pulse>| {
        noted.lock().unwrap().push((pulses.len(), Instant::now()));
        let gate = gate.clone();
        async move {
            gate.notified().await;
            let verdict = |pulse: &Pulse| match pulse {
                Pulse::Lease(id) => Verdict::For(Duration::from_secs(id.0.unsigned_abs())),
                Pulse::Presence(_) | Pulse::LeaseLeft(_) | Pulse::Session(_) => Verdict::Gone,
            };
            let verdicts = pulses.iter().map(verdict).collect();
            Ok(Confirmed { index: 8, verdicts })
        }
        .boxed()
    };
    (Confirms::start(&Life::default(), Arc::new(route)), sent)
}

#[tokio::test]
async fn what_is_asked_while_one_is_under_way_goes_together_with_the_next() {
    let gate = Arc::new(Notify::new());
    let (confirms, sent) = gathering(&gate);
    let first = tokio::spawn(confirms.ask(vec![], Haste::Now));
    while sent.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let rest: Vec<_> = (0..5)
        .map(|n| confirms.ask(vec![Pulse::Lease(LeaseId(n)); n as usize], Haste::Now))
        .map(tokio::spawn)
        .collect();
    // Everyone has queued before the first is answered.
    tokio::task::yield_now().await;
    gate.notify_one();
    assert_eq!(first.await.unwrap().unwrap().verdicts, []);
    gate.notify_one();
    for (n, answer) in rest.into_iter().enumerate() {
        let verdicts = answer.await.unwrap().unwrap().verdicts;
        assert_eq!(verdicts, vec![Verdict::For(Duration::from_secs(n as u64)); n]);
    }
    let lengths: Vec<usize> = sent.lock().unwrap().iter().map(|(len, _)| *len).collect();
    assert_eq!(lengths, [0, 10]);
}

#[tokio::test]
async fn whoever_is_about_to_ask_is_let_in_before_a_message_goes() {
    let gate = Arc::new(Notify::new());
    let (confirms, sent) = gathering(&gate);
    let clients = (0..10).map(|n| {
        let confirms = confirms.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                // None is as quick as the others.
                for _ in 0..n / 2 {
                    tokio::task::yield_now().await;
                }
                confirms.ask(vec![Pulse::Lease(LeaseId(1))], Haste::Now).await.unwrap();
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        gate.notify_one();
        tokio::task::yield_now().await;
    }
    let lengths: Vec<usize> = sent.lock().unwrap().iter().map(|(len, _)| *len).collect();
    assert_eq!(lengths, [10; 10]);
}

#[tokio::test(start_paused = true)]
async fn what_can_wait_makes_few_messages_and_goes_along_with_what_cannot() {
    let gate = Arc::new(Notify::new());
    let (confirms, sent) = gathering(&gate);
    let begun = Instant::now();
    let beats = (0..100).map(|n| {
        let (confirms, gate) = (confirms.clone(), gate.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(n)).await;
            let answer = confirms.ask(vec![Pulse::Lease(LeaseId(1))], Haste::Merged);
            // Whoever is under way is let through at once.
            gate.notify_one();
            answer.await.unwrap()
        })
    });
    for beat in beats.collect::<Vec<_>>() {
        gate.notify_one();
        beat.await.unwrap();
    }
    let messages = sent.lock().unwrap().clone();
    assert_eq!(messages.iter().map(|(len, _)| len).sum::<usize>(), 100);
    let most = begun.elapsed().as_millis() / MERGE.as_millis() + 1;
    assert!(messages.len() as u128 <= most, "{} messages", messages.len());
    assert!(messages.windows(2).all(|two| two[1].1 - two[0].1 >= MERGE));

    let waits = tokio::spawn(confirms.ask(vec![Pulse::Lease(LeaseId(1))], Haste::Merged));
    tokio::task::yield_now().await;
    let hurries = Instant::now();
    let read = tokio::spawn(confirms.ask(vec![], Haste::Now));
    gate.notify_one();
    assert_eq!(read.await.unwrap().unwrap().index, 8);
    assert_eq!(waits.await.unwrap().unwrap().verdicts.len(), 1);
    assert!(hurries.elapsed() < MERGE);
}
