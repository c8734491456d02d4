//! One agent in a host of its own: started, killed, stopped, traced, wiped.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::network::Host;
use super::stage::run;
use super::wait::eventually;

/// How long a clean stop may take.
const STOP: Duration = Duration::from_secs(20);
const ATTACH: Duration = Duration::from_secs(10);
const HTTP: u16 = 8500;
const PEERS: u16 = 8300;
/// Room on a small disk: for the log that lies before the next snapshot, and some of those.
const DISK: &str = "size=256m";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    Server,
    Edge,
}

/// What lets agents into the cluster of one run.
pub struct Tokens {
    server: String,
    edge: String,
}

impl Tokens {
    /// New ones, for a cluster that does not exist yet.
    pub fn offline() -> Tokens {
        let printed = run(env!("CARGO_BIN_EXE_remora"), &["join-token", "--offline"]);
        let mut lines = printed.lines().map(str::to_owned);
        let mut next = || lines.next().expect("two tokens, each on a line");
        Tokens { server: next(), edge: next() }
    }
}

pub struct Node {
    pub name: String,
    duty: Duty,
    token: String,
    dir: PathBuf,
    namespace: PathBuf,
    child: Option<Child>,
    tracer: Option<Child>,
}

impl Node {
    pub fn new(host: &Host, duty: Duty, tokens: &Tokens, dir: &Path) -> Node {
        let (name, dir) = (host.name.clone(), dir.join(&host.name));
        fs::create_dir_all(dir.join("data")).unwrap();
        let token = match duty {
            Duty::Server => tokens.server.clone(),
            Duty::Edge => tokens.edge.clone(),
        };
        let namespace = host.namespace.clone();
        Node { name, duty, token, dir, namespace, child: None, tracer: None }
    }

    /// A disk of its own that can be filled. It lies in memory, so an fsync says nothing there.
    pub fn on_small_disk(self) -> Node {
        run("mount", &["-t", "tmpfs", "-o", DISK, "data", self.data().to_str().unwrap()]);
        self
    }

    pub fn is_server(&self) -> bool {
        self.duty == Duty::Server
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Everything that an agent on this stage is told.
    fn config(&self, ip: Ipv4Addr, join: &[String]) -> String {
        let Node { name, .. } = self;
        let keeping = match self.duty {
            Duty::Server => format!("data_dir: {}\nrole: server\n", self.data().display()),
            Duty::Edge => "role: edge\n".to_owned(),
        };
        let join: Vec<String> = join.iter().map(|name| format!("{name}:{PEERS}")).collect();
        format!(
            "node: {name}\n{keeping}cluster:\n  bind: {ip}:{PEERS}\n  join: {join:?}\n\
             http: {{ listen: [\"{ip}:{HTTP}\"], insecure: true }}\n\
             dns: {{ listen: [] }}\n"
        )
    }

    /// Starts the process with what it has on disk.
    pub fn start(&mut self, ip: Ipv4Addr, join: &[String]) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let config = self.dir.join("remora.yaml");
        fs::write(&config, self.config(ip, join)).unwrap();
        let log = File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        let child = Command::new("nsenter")
            .arg(format!("--net={}", self.namespace.display()))
            .arg(env!("CARGO_BIN_EXE_remora"))
            .args(["agent", "-c"])
            .arg(&config)
            .env("REMORA_JOIN_TOKEN", &self.token)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn pid(&self) -> String {
        self.child.as_ref().expect("the agent runs").id().to_string()
    }

    pub fn pause(&self) {
        run("kill", &["-STOP", &self.pid()]);
    }

    pub fn resume(&self) {
        run("kill", &["-CONT", &self.pid()]);
    }

    /// `kill -9`: nothing is said to anybody.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.untrace();
    }

    /// Asks for a clean stop.
    pub fn tell_to_stop(&self) {
        run("kill", &["-TERM", &self.pid()]);
    }

    /// Waits for the stop that it was asked for.
    pub fn stopped(&mut self) {
        let mut child = self.child.take().expect("the agent runs");
        let status = eventually(&format!("{} stops", self.name), STOP, || {
            child.try_wait().map_err(|error| error.to_string())?.ok_or_else(|| self.tail())
        });
        assert!(status.success(), "{} stopped with {status}\n{}", self.name, self.tail());
    }

    /// From now on, its calls to sync files go as `injection` says, in strace's words.
    pub fn trace(&mut self, injection: &str) {
        let pid = self.pid();
        let said = File::create(self.dir.join("strace")).unwrap();
        let tracer = Command::new("strace")
            .args(["-f", "-qq", "-e", "trace=fdatasync,fsync", "-e"])
            .arg(format!("inject=fdatasync,fsync:{injection}"))
            .args(["-p", &pid])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn()
            .unwrap();
        self.tracer = Some(tracer);
        eventually(&format!("strace holds {}", self.name), ATTACH, || untraced(&pid));
    }

    /// Its syncs are its own again.
    pub fn untrace(&mut self) {
        if let Some(mut tracer) = self.tracer.take() {
            // It has ended already where its agent has.
            let _ = Command::new("kill").arg(tracer.id().to_string()).output();
            tracer.wait().unwrap();
        }
    }

    /// Calls that strace made fail.
    pub fn injected(&self) -> usize {
        let said = fs::read_to_string(self.dir.join("strace")).unwrap_or_default();
        said.lines().filter(|line| line.contains("(INJECTED)")).count()
    }

    /// Takes everything from the disk of an agent that does not run.
    pub fn wipe(&self) {
        assert!(self.child.is_none(), "{} runs", self.name);
        for entry in fs::read_dir(self.data()).unwrap() {
            let path = entry.unwrap().path();
            let gone = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            gone.unwrap();
        }
    }

    /// Takes every byte that its disk has left.
    pub fn fill(&self) {
        let filler = File::create(self.filler()).unwrap();
        let mut page = [0_u8; 64 * 1024].as_slice();
        loop {
            match std::io::Write::write(&mut &filler, page) {
                Ok(_) => {}
                Err(_) if page.len() > 1 => page = &page[..page.len() / 2],
                Err(_) => return,
            }
        }
    }

    /// Gives back what `fill` took.
    pub fn unfill(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.data().join("filler")
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(30);
        format!("--- the log of {} ends ---\n{}", self.name, lines[from..].join("\n"))
    }

    pub fn authority(ip: Ipv4Addr) -> String {
        format!("{ip}:{HTTP}")
    }
}

/// Complains while a thread of the process is not traced.
fn untraced(pid: &str) -> Result<(), String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
    for thread in threads.flatten() {
        // A thread that has ended meanwhile needs no tracer.
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == "TracerPid:\t0") {
            return Err(format!("{} is not", thread.path().display()));
        }
    }
    Ok(())
}
