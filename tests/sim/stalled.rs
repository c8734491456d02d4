//! One schedule on purpose: a lease's end is proposed while the followers' disks are full.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use remora::cluster::{Alive, Beat, Cluster};
use remora::model::LeaseId;
use remora::state::{Command, Outcome};
use tokio::time::sleep;

use super::clock::{Now, micros, now};
use super::faults::{self, Fault};
use super::history::{History, Lease};
use super::run::World;

const LEASE: LeaseId = LeaseId(1 << 40);
const TTL: Duration = Duration::from_secs(2);
/// How often it is kept alive.
const PACE: Duration = Duration::from_millis(100);
/// Until the followers' disks have no room for more log, while their heartbeats are answered: at
/// least and at most so long, which is the traffic's matter.
const FILLING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(18));
/// So near to the right moment it is looked for.
const NEAR: Duration = Duration::from_millis(50);
/// What is proposed has no outcome in time, and happens when the disks have room.
const PROPOSAL: Duration = Duration::from_secs(3);

/// For a while, then not for longer than the lease lives, and then until it is gone.
async fn keep_alive(cluster: Cluster, lease: Arc<Mutex<Lease>>, filling: Duration) {
    let mut silent = now() + filling;
    while lease.lock().unwrap().gone.is_none() {
        let called = micros();
        match cluster.keep_alive(Beat::Lease(LEASE)).await {
            Ok(Alive::For(_)) => lease.lock().unwrap().renewed.push(called),
            Ok(Alive::Gone) => lease.lock().unwrap().gone = Some(micros()),
            Err(_) => {}
        }
        if now() >= silent {
            sleep(TTL + PACE).await;
            silent = Now::MAX;
        }
        sleep(PACE).await;
    }
}

/// What became of the lease whose end was proposed at that moment.
enum Fate {
    /// The end was decided at once: the followers' disks still had room.
    Ended,
    /// The leader knew already that they had none, and refused to propose it.
    KeptAlive,
    /// The end lay in the log, and nobody knew whether it would be decided.
    Open(Lease),
}

fn live(filling: Duration) -> Result<Fate, String> {
    let mut world = World::begin(7);
    world.found()?;
    let leader = world.leader().ok_or("nobody leads")?;
    let cluster = world.hosts[leader].cluster().cloned().ok_or("it does not run")?;
    let ttl = u64::try_from(TTL.as_micros()).unwrap();
    let lease = Lease { name: "it".to_owned(), ttl, ..Lease::default() };
    let lease = Arc::new(Mutex::new(lease));
    let (keeper, kept) = (cluster.clone(), lease.clone());
    world.hosts[leader].spawn(async move {
        let grant = Command::LeaseGrant { id: LEASE, ttl: TTL };
        assert_eq!(keeper.propose(grant).await, Ok(Outcome::Done));
        keep_alive(keeper, kept, filling).await;
    });
    let full = Fault::FullDisk(faults::followers(&world));
    world.pass(PACE)?;
    faults::inject(&mut world, full, filling);
    world.pass(filling + TTL)?;
    let renewed = lease.lock().unwrap().renewed.len();
    world.pass(PROPOSAL)?;
    assert_eq!(world.leader(), Some(leader));
    if lease.lock().unwrap().renewed.len() > renewed {
        return Ok(Fate::KeptAlive);
    }
    if cluster.snapshot().lease(LEASE).is_none() {
        return Ok(Fate::Ended);
    }
    faults::heal(&mut world);
    world.until("it ends", |_| lease.lock().unwrap().gone.is_some())?;
    let lease = lease.lock().unwrap();
    Ok(Fate::Open(lease.clone()))
}

/// The life of a lease whose end was proposed when the disks had just filled up, before the leader
/// knew.
fn find() -> Lease {
    let (mut early, mut late) = FILLING;
    while late - early > NEAR {
        let filling = (early + late) / 2;
        let fate = std::thread::spawn(move || live(filling)).join().unwrap().unwrap();
        match fate {
            Fate::Ended => early = filling,
            Fate::KeptAlive => late = filling,
            Fate::Open(lease) => return lease,
        }
    }
    panic!("at {late:?} no end lay in the log")
}

#[test]
fn a_lease_is_not_kept_alive_while_its_end_may_lie_in_the_log() {
    let history = History { leases: vec![find()], ..History::default() };
    assert_eq!(history.check(), Vec::<String>::new());
}
