//! The agents of a profile: real processes, configured as `tests/profiles` says.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::house::{Place, eventually, tokens};
use super::http::{Request, send};
use super::live;

const START: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(10);
/// Shown of the log of an agent on whom a test fails.
const LOG_LINES: usize = 20;
/// What the profiles and the record call the machine; every stage has an address of its own.
pub const LOOPBACK: &str = "127.0.0.1";

/// The agents of each profile in the order of their start; the first is asked where nothing is
/// said. Of the last two profiles none is ready ever, or not before all of them run.
const PROFILES: [(&str, &[&str]); 7] = [
    ("default", &["n1"]),
    ("acl", &["n1"]),
    ("tuned", &["n1"]),
    ("dev", &["n1"]),
    ("cluster", &["s1", "c1", "c2"]),
    ("lost", &["s1", "s2", "s3"]),
    ("noleader", &["n1"]),
];

struct Process {
    name: &'static str,
    http: SocketAddr,
    dns: SocketAddr,
    child: Option<Child>,
}

pub struct Stage {
    pub place: Place,
    dir: TempDir,
    consul: Option<PathBuf>,
    agents: Vec<Process>,
}

impl Stage {
    /// Of Remora's, or of those of the Consul whose program that is.
    pub fn start(profile: &str, consul: Option<PathBuf>) -> Stage {
        let place = Place::new();
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut stage = Stage { place, dir, consul, agents: Vec::new() };
        let names = PROFILES.iter().find(|(name, _)| *name == profile).unwrap().1;
        let waits = !["lost", "noleader"].contains(&profile);
        for name in names {
            stage.launch(profile, name);
            stage.until_listening(name);
            if waits {
                stage.until_ready(profile, name);
            }
        }
        if profile == "lost" {
            names.iter().for_each(|name| stage.until_ready(profile, name));
        }
        stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn launch(&mut self, profile: &str, name: &'static str) {
        let file = match name {
            "n1" => format!("{profile}.yaml"),
            name => format!("{profile}-{name}.yaml"),
        };
        let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/profiles");
        let text = fs::read_to_string(profiles.join(&file)).unwrap();
        let edge = text.contains("role: edge");
        let token = if edge { tokens().edge.reveal() } else { tokens().server.reveal() };
        fs::write(self.path("token"), tokens().server.reveal().as_str()).unwrap();
        fs::write(self.path("edge-token"), token.as_str()).unwrap();
        // Names of files in a profile are those of its own folder.
        let inside = |line: &str| match line.split_once("_file: ").or(line.split_once("_dir: ")) {
            Some((before, name)) => {
                let kind = if line.contains("_dir: ") { "_dir" } else { "_file" };
                format!("{before}{kind}: {}", self.path(name).display())
            }
            None => line.to_owned(),
        };
        let lines: Vec<String> = text.lines().map(inside).collect();
        let text = lines.join("\n").replace(LOOPBACK, &self.place.0.to_string());
        let address = |key: &str| -> SocketAddr {
            let line = text.lines().find(|line| line.starts_with(key)).unwrap();
            let address = line.split('"').nth(1).unwrap();
            address.parse().unwrap()
        };
        let (http, dns) = (address("http:"), address("dns:"));
        fs::write(self.path(&file), &text).unwrap();
        let mut command = match &self.consul {
            Some(program) => self.of_consul(program, profile, name, http.port()),
            None => Command::new(env!("CARGO_BIN_EXE_remora")),
        };
        if self.consul.is_none() {
            command.args(["agent", "-c"]).arg(self.path(&file));
        }
        let log = File::create(self.path(&format!("{name}.log"))).unwrap();
        let child = command
            .env_remove("REMORA_JOIN_TOKEN")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agents.push(Process { name, http, dns, child: Some(child) });
    }

    fn of_consul(&self, program: &Path, profile: &str, name: &str, port: u16) -> Command {
        let place = self.place.0.to_string();
        let (config, dev) = live::config(profile, name, &place, port, self.dir.path());
        let file = self.path(&format!("{name}.json"));
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(program);
        command.args(["agent", "-config-file"]).arg(file).current_dir(self.dir.path());
        if dev {
            command.arg("-dev");
        }
        command
    }

    fn until_listening(&self, name: &str) {
        let to = self.agent(Some(name)).http;
        eventually(&format!("{name} listens"), START, || match TcpStream::connect(to) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}: {}", self.log(name))),
        });
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn until_ready(&self, profile: &str, name: &str) {
        let to = self.agent(Some(name)).http;
        let signs = match self.consul {
            Some(_) => live::signs_of_life(profile, name),
            None => vec![("/readyz".to_owned(), String::new())],
        };
        for (path, text) in signs {
            eventually(&format!("{name} is ready"), START, || {
                let (method, path, version) = ("GET", path.as_str(), "HTTP/1.1");
                let request = Request { method, path, version, headers: &[], body: None };
                match send(to, &request, PATIENCE) {
                    Ok(raw) if !text.is_empty() && raw.text().contains(&text) => Ok(()),
                    Ok(raw) if text.is_empty() && raw.status == 200 => Ok(()),
                    Ok(raw) => Err(raw.text() + &self.log(name)),
                    Err(error) => Err(error + &self.log(name)),
                }
            });
        }
    }

    fn agent(&self, name: Option<&str>) -> &Process {
        let found = self.agents.iter().find(|agent| name.is_none_or(|name| agent.name == name));
        found.unwrap_or_else(|| panic!("no agent {name:?}"))
    }

    /// Whether they are a real Consul's.
    pub fn is_consul(&self) -> bool {
        self.consul.is_some()
    }

    pub fn has(&self, name: Option<&str>) -> bool {
        name.is_none_or(|name| self.agents.iter().any(|agent| agent.name == name))
    }

    pub fn http(&self, name: Option<&str>) -> SocketAddr {
        self.agent(name).http
    }

    pub fn dns(&self, name: Option<&str>) -> SocketAddr {
        self.agent(name).dns
    }

    /// `kill -9`: nothing is said to anybody.
    pub fn kill(&mut self, name: &str) {
        let agent = self.agents.iter_mut().find(|agent| agent.name == name).unwrap();
        if let Some(mut child) = agent.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for agent in &mut self.agents {
            if std::thread::panicking() {
                let log = self.dir.path().join(format!("{}.log", agent.name));
                let log = fs::read_to_string(log).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(LOG_LINES).collect();
                let lines: Vec<&str> = lines.into_iter().rev().collect();
                eprintln!("--- end of the log of {} ---\n{}", agent.name, lines.join("\n"));
            }
            if let Some(mut child) = agent.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
