//! One real agent process with a config file, a data dir and a log of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use remora::identity::{JoinToken, Offline};
use tempfile::TempDir;

use super::client::Client;
use super::place::Place;
use super::wait::eventually;

/// How long a start may take on a loaded machine.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);

/// The tokens of every cluster that this process founds.
pub fn tokens() -> &'static Offline {
    static TOKENS: LazyLock<Offline> = LazyLock::new(|| Offline::generate().unwrap());
    &TOKENS
}

/// What is written into an agent's config.
#[derive(Debug, Clone)]
pub struct AgentSpec {
    pub name: String,
    pub place: Place,
    pub server: bool,
    /// Of an agent with a data dir.
    pub role: &'static str,
    pub join: Vec<String>,
    /// Its join token: by default one of those that all agents of this process share.
    pub token: JoinToken,
    /// Its files are in memory: for who asks nothing of what a crash leaves.
    pub in_memory: bool,
    /// Other agents may reach it on every address of the machine.
    pub exposed: bool,
    /// What `http` holds; empty: one plain listener at the agent's place.
    pub http: String,
    /// What `dns` holds; empty: one listener at the agent's place.
    pub dns: String,
    /// More YAML, one line below `cluster`.
    pub cluster: String,
    /// More YAML, at the top level.
    pub extra: String,
    /// More arguments on its command line.
    pub args: Vec<String>,
}

impl AgentSpec {
    pub fn server(name: &str) -> AgentSpec {
        AgentSpec {
            name: name.into(),
            place: Place::new(),
            server: true,
            role: "server",
            join: vec![],
            token: tokens().server.clone(),
            in_memory: false,
            exposed: false,
            http: String::new(),
            dns: String::new(),
            cluster: String::new(),
            extra: String::new(),
            args: vec![],
        }
    }

    pub fn edge(name: &str, join: Vec<String>) -> AgentSpec {
        let token = tokens().edge.clone();
        AgentSpec { server: false, join, token, ..AgentSpec::server(name) }
    }

    pub fn joining(mut self, join: Vec<String>) -> AgentSpec {
        self.join = join;
        self
    }

    pub fn exposed(mut self) -> AgentSpec {
        self.exposed = true;
        self
    }

    pub fn with(mut self, yaml: &str) -> AgentSpec {
        self.extra.push_str(yaml);
        self.extra.push('\n');
        self
    }

    pub fn with_args(mut self, args: &[&str]) -> AgentSpec {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    pub fn with_dns(mut self, yaml: &str) -> AgentSpec {
        self.dns = format!("listen: [\"{}:8600\"], {yaml}", self.place.0);
        self
    }

    pub fn with_cluster(mut self, yaml: &str) -> AgentSpec {
        self.cluster = yaml.to_owned();
        self
    }

    fn yaml(&self, data: &Path, token: &Path) -> String {
        let Place(ip) = self.place;
        let data = if self.server {
            format!("data_dir: {}\nrole: {}\n", data.display(), self.role)
        } else {
            String::new()
        };
        let bind = if self.exposed {
            format!("bind: 0.0.0.0:0\n  advertise: {ip}")
        } else {
            format!("bind: {ip}:8300")
        };
        let http = match self.http.as_str() {
            "" => format!("listen: [\"{ip}:8500\"]"),
            http => http.to_owned(),
        };
        let dns = match self.dns.as_str() {
            "" => format!("listen: [\"{ip}:8600\"]"),
            dns => dns.to_owned(),
        };
        format!(
            "node: {name}\n{data}cluster:\n  {bind}\n  join: {join:?}\n  \
             token_file: {token}\n  {cluster}\n  presence_ttl: 2s\nhttp: {{ {http} }}\n\
             dns: {{ {dns} }}\n{extra}",
            name = self.name,
            join = self.join,
            token = token.display(),
            cluster = self.cluster,
            extra = self.extra,
        )
    }
}

pub struct Agent {
    pub spec: AgentSpec,
    dir: TempDir,
    child: Option<Child>,
}

impl Agent {
    /// Starts the process and waits until it says that it is ready.
    pub fn start(spec: AgentSpec) -> Agent {
        let agent = Agent::launch(spec);
        agent.wait_ready();
        agent
    }

    /// For files that no test asks to be durable; the disk where there is no such place.
    pub fn memory() -> &'static Path {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) }
    }

    /// Starts the process without waiting.
    pub fn launch(spec: AgentSpec) -> Agent {
        // Not in /tmp, which may be tmpfs: fsync means nothing there.
        let dir =
            if spec.in_memory { Agent::memory() } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        let dir = tempfile::tempdir_in(dir).unwrap();
        let mut agent = Agent { spec, dir, child: None };
        agent.spawn();
        agent
    }

    fn spawn(&mut self) {
        let config = self.path("remora.yaml");
        let token = self.path("token");
        fs::write(&token, self.spec.token.reveal().as_str()).unwrap();
        fs::write(&config, self.spec.yaml(&self.path("data"), &token)).unwrap();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_remora"))
            .args(["agent", "-c"])
            .arg(&config)
            .args(&self.spec.args)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    pub fn wait_ready(&self) {
        let client = self.client();
        eventually(&format!("{} is ready", self.spec.name), START, || {
            match client.get("/readyz") {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(format!("{}\n{}", answer.text(), self.log())),
                Err(error) => Err(format!("{error}\n{}", self.log())),
            }
        });
    }

    /// The agent's own directory: config, log, data, and whatever a test puts there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn client(&self) -> Client {
        Client::new(&self.spec.place.http())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent runs").id()
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.pid().to_string()]).status().unwrap();
        assert!(sent.success(), "kill {signal} {}", self.pid());
    }

    pub fn pause(&self) {
        self.signal("-STOP");
    }

    pub fn resume(&self) {
        self.signal("-CONT");
    }

    /// `kill -9`: nothing is said to anybody.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// A clean stop; its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let mut child = self.child.take().expect("the agent runs");
        eventually(&format!("{} stops", self.spec.name), STOP, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.log()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// The exit status of a process that ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the agent runs");
        eventually(&format!("{} ends", self.spec.name), START, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(self.log()),
            Err(error) => Err(error.to_string()),
        })
    }

    /// Starts it again, with what it had on disk.
    pub fn start_again(&mut self) {
        self.launch_again();
        self.wait_ready();
    }

    pub fn launch_again(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.spec.name);
        self.spawn();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.spec.name, self.log());
        }
        self.kill();
    }
}
