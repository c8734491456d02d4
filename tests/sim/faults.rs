//! What is done to a cluster, and undone.

use std::time::Duration;

use rand::RngExt;
use remora::lifecycle::chance::Dice;

use super::clock::Now;
use super::disk::Trouble;
use super::run::World;

/// What goes wrong with a host, or between hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Unsynced bytes are forgotten; nobody is told.
    PowerLoss(usize),
    /// In the middle of what it does to its disk.
    PowerLossAfter(usize, u64),
    /// Every server at once.
    Blackout,
    /// The same, out of the midst of writes that take this long.
    Brownout(Duration),
    /// The machine is another one after it: same name and token, nothing on its disk.
    Wipe(usize),
    /// The process dies, the machine does not.
    Kill(usize),
    /// It stops in good order.
    Stop(usize),
    Pause(usize),
    /// Neither to it nor from it.
    Isolate(usize),
    /// It hears nobody.
    Deaf(usize),
    /// Nobody hears it.
    Mute(usize),
    /// One link, one way.
    OneWay(usize, usize),
    /// One link, both ways: the others reach both.
    Link(usize, usize),
    /// These against the rest.
    Split(Vec<usize>),
    SlowNetwork(usize, Duration),
    /// Connections are torn down.
    Tear(usize),
    SlowDisk(Vec<usize>, Duration),
    FullDisk(Vec<usize>),
    /// A sync fails; later the power goes and the disk is whole again.
    FailingDisk(usize),
    /// Its wall clock shows so many hours too much.
    Clock(usize, i64),
    /// The same, and it comes up so.
    WrongBoot(usize, i64),
}

#[derive(Default)]
pub struct Faults {
    active: Vec<(Now, Fault)>,
    next: Now,
    pub injected: u64,
    /// Whose disk was wiped. Once in a run: of three that vote, the other two have everything that
    /// was acknowledged.
    pub wiped: Option<usize>,
}

/// At most so many at once.
const AT_ONCE: usize = 2;

impl Faults {
    pub fn begin(&mut self, now: Now) {
        self.next = now + Duration::from_millis(Dice.random_range(50..400));
    }

    /// Hosts that something is the matter with.
    fn touched(&self) -> Vec<usize> {
        self.active.iter().flat_map(|(_, fault)| fault.hosts()).collect()
    }
}

impl Fault {
    fn hosts(&self) -> Vec<usize> {
        match self {
            Fault::PowerLoss(host)
            | Fault::PowerLossAfter(host, _)
            | Fault::Kill(host)
            | Fault::Stop(host)
            | Fault::Pause(host)
            | Fault::Isolate(host)
            | Fault::Deaf(host)
            | Fault::Mute(host)
            | Fault::SlowNetwork(host, _)
            | Fault::Tear(host)
            | Fault::Wipe(host)
            | Fault::FailingDisk(host)
            | Fault::Clock(host, _)
            | Fault::WrongBoot(host, _) => vec![*host],
            Fault::OneWay(one, other) | Fault::Link(one, other) => vec![*one, *other],
            Fault::Split(hosts) | Fault::SlowDisk(hosts, _) | Fault::FullDisk(hosts) => {
                hosts.clone()
            }
            Fault::Blackout | Fault::Brownout(_) => Vec::new(),
        }
    }

    /// Links that are cut, from and to.
    fn cuts(&self, hosts: usize) -> Vec<(usize, usize)> {
        let others = |host: usize| (0..hosts).filter(move |other| *other != host);
        match self {
            Fault::Isolate(host) => {
                others(*host).flat_map(|other| [(*host, other), (other, *host)]).collect()
            }
            Fault::Deaf(host) => others(*host).map(|other| (other, *host)).collect(),
            Fault::Mute(host) => others(*host).map(|other| (*host, other)).collect(),
            Fault::OneWay(from, to) => vec![(*from, *to)],
            Fault::Link(one, other) => vec![(*one, *other), (*other, *one)],
            Fault::Split(side) => {
                let apart = |a: &usize, b: &usize| side.contains(a) != side.contains(b);
                let all = (0..hosts).flat_map(|a| (0..hosts).map(move |b| (a, b)));
                all.filter(|(a, b)| apart(a, b)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Half of what happens happens to the leader.
fn target(world: &World) -> usize {
    match world.leader() {
        Some(leader) if Dice.random_bool(0.5) => leader,
        _ => Dice.random_range(0..world.hosts.len()),
    }
}

fn draw(world: &World) -> Fault {
    let host = target(world);
    let other = (host + Dice.random_range(1..world.hosts.len())) % world.hosts.len();
    match Dice.random_range(0..116) {
        0..8 => Fault::PowerLoss(host),
        8..18 => Fault::PowerLossAfter(host, Dice.random_range(1..40)),
        18..22 => Fault::Blackout,
        22..27 => Fault::Brownout(millis(50..500)),
        27..32 => Fault::Kill(host),
        32..35 => Fault::Stop(host),
        35..47 => Fault::Pause(host),
        47..59 => Fault::Isolate(host),
        59..64 => Fault::Deaf(host),
        64..69 => Fault::Mute(host),
        69..74 => Fault::OneWay(host, other),
        74..79 => Fault::Link(host, other),
        79..85 => Fault::Split(vec![host, other]),
        85..88 => Fault::SlowNetwork(host, millis(20..150)),
        88..90 => Fault::Tear(host),
        90..94 => Fault::SlowDisk(vec![host], millis(30..400)),
        94..96 => Fault::SlowDisk(followers(world), millis(1000..3000)),
        96..98 => Fault::FullDisk(vec![host]),
        98..99 => Fault::FullDisk(followers(world)),
        99..102 => Fault::FailingDisk(host),
        102..105 => Fault::Clock(host, Dice.random_range(-40..80)),
        105..108 => Fault::WrongBoot(host, Dice.random_range(-40..80)),
        _ if world.faults.wiped.is_none() && world.hosts[host].is_server() => Fault::Wipe(host),
        _ => Fault::PowerLoss(host),
    }
}

fn millis(range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(Dice.random_range(range))
}

/// Who is cut off is so for longer, now and then, than the others need to elect a leader and leases
/// to end: all the while clients on either side go on.
fn hold(fault: &Fault) -> Duration {
    let parts = matches!(
        fault,
        Fault::Pause(_) | Fault::Isolate(_) | Fault::Deaf(_) | Fault::Mute(_) | Fault::Split(_)
    );
    if parts && Dice.random_bool(0.4) { millis(3000..5500) } else { millis(200..3500) }
}

/// The servers that do not lead.
pub fn followers(world: &World) -> Vec<usize> {
    let leader = world.leader();
    servers(world).into_iter().filter(|host| Some(*host) != leader).collect()
}

fn servers(world: &World) -> Vec<usize> {
    let servers = world.hosts.iter().filter(|host| host.is_server());
    servers.map(|host| host.index).collect()
}

/// Starts an agent again that has stopped by itself, once nothing is the matter with its host.
pub fn supervise(world: &mut World) {
    let touched = world.faults.touched();
    for host in 0..world.hosts.len() {
        if world.hosts[host].ends() && !touched.contains(&host) {
            world.trace.note(format!("h{host} has stopped by itself"));
            world.crash(host, false);
            world.boot(host);
        }
    }
}

/// Undoes what is over, and now and then does something new.
pub fn step(world: &mut World) {
    let now = world.now;
    let (over, active): (Vec<_>, Vec<_>) =
        std::mem::take(&mut world.faults.active).into_iter().partition(|(until, _)| *until <= now);
    world.faults.active = active;
    over.into_iter().for_each(|(_, fault)| undo(world, fault));
    if world.faults.next <= now && world.faults.active.len() < AT_ONCE {
        world.faults.next = now + Duration::from_millis(Dice.random_range(100..1200));
        let fault = draw(world);
        let touched = world.faults.touched();
        if fault.hosts().iter().any(|host| touched.contains(host)) {
            return;
        }
        let hold = hold(&fault);
        inject(world, fault, hold);
    }
}

pub fn inject(world: &mut World, fault: Fault, hold: Duration) {
    world.faults.injected += 1;
    world.trace.note(format!("fault: {fault:?} for {hold:?}"));
    for (from, to) in fault.cuts(world.hosts.len()) {
        world.net.cut(from, to);
    }
    match &fault {
        Fault::PowerLoss(host) => world.crash(*host, true),
        Fault::PowerLossAfter(host, changes) => {
            world.hosts[*host].disk.trouble(Trouble::Fuse(*changes));
        }
        Fault::Blackout => {
            servers(world).into_iter().for_each(|host| world.crash(host, true));
        }
        Fault::Brownout(by) => slow(world, &servers(world), *by),
        Fault::Wipe(host) => {
            world.crash(*host, true);
            world.hosts[*host].wipe();
            world.faults.wiped = Some(*host);
        }
        Fault::Kill(host) => world.crash(*host, false),
        Fault::Stop(host) => world.hosts[*host].begin_stop(),
        Fault::Pause(host) => world.hosts[*host].paused = true,
        Fault::SlowNetwork(host, by) => {
            for other in (0..world.hosts.len()).filter(|other| other != host) {
                world.net.slow(*host, other, *by);
                world.net.slow(other, *host, *by);
            }
        }
        Fault::Tear(host) => {
            (0..world.hosts.len()).for_each(|other| world.net.tear(*host, other));
        }
        Fault::SlowDisk(hosts, by) => slow(world, hosts, *by),
        Fault::FullDisk(hosts) => {
            hosts.iter().for_each(|host| world.hosts[*host].disk.trouble(Trouble::Full));
        }
        Fault::FailingDisk(host) => world.hosts[*host].disk.trouble(Trouble::Failing),
        Fault::Clock(host, hours) => world.hosts[*host].wall.jump(*hours),
        Fault::WrongBoot(host, hours) => {
            world.hosts[*host].wall.jump(*hours);
            world.crash(*host, false);
            world.boot(*host);
        }
        _ => {}
    }
    world.faults.active.push((world.now + hold, fault));
}

fn slow(world: &World, hosts: &[usize], by: Duration) {
    hosts.iter().for_each(|host| world.hosts[*host].disk.trouble(Trouble::Slow(by)));
}

fn undo(world: &mut World, fault: Fault) {
    world.trace.note(format!("over: {fault:?}"));
    for (from, to) in fault.cuts(world.hosts.len()) {
        world.net.mend(from, to);
    }
    match fault {
        Fault::PowerLoss(host) | Fault::Kill(host) | Fault::Wipe(host) => world.boot(host),
        Fault::PowerLossAfter(host, _) | Fault::FailingDisk(host) => {
            world.crash(host, true);
            world.hosts[host].disk.mend();
            world.boot(host);
        }
        Fault::Stop(host) => {
            world.crash(host, false);
            world.boot(host);
        }
        Fault::Blackout => {
            (0..world.hosts.len()).for_each(|host| world.boot(host));
        }
        Fault::Brownout(_) => {
            for host in servers(world) {
                world.crash(host, true);
                world.hosts[host].disk.mend();
            }
            (0..world.hosts.len()).for_each(|host| world.boot(host));
        }
        Fault::Pause(host) => world.hosts[host].paused = false,
        Fault::SlowNetwork(host, _) => {
            for other in (0..world.hosts.len()).filter(|other| *other != host) {
                world.net.mend(host, other);
                world.net.mend(other, host);
            }
        }
        Fault::SlowDisk(hosts, _) | Fault::FullDisk(hosts) => {
            hosts.into_iter().for_each(|host| world.hosts[host].disk.mend());
        }
        Fault::Clock(host, _) | Fault::WrongBoot(host, _) => world.hosts[host].wall.jump(0),
        _ => {}
    }
}

/// Everything is as it should be again, and everyone runs.
pub fn heal(world: &mut World) {
    for (_, fault) in std::mem::take(&mut world.faults.active) {
        undo(world, fault);
    }
    (0..world.hosts.len()).for_each(|host| world.boot(host));
    world.trace.note("healed");
}
