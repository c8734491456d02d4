//! Apps to discover: a web server that says who it is; and what stands before it: nginx, HAProxy.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::client::Client;
use super::wait::eventually;

/// `python3 -m http.server` with a file `who` that holds its name.
pub struct App {
    child: Child,
    _dir: TempDir,
}

impl App {
    pub fn start(name: &str, ip: Ipv4Addr, port: u16) -> App {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("who"), name).unwrap();
        let child = Command::new("python3")
            .args(["-m", "http.server", &port.to_string(), "--bind", &ip.to_string()])
            .arg("--directory")
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let app = App { child, _dir: dir };
        let client = Client::new(&format!("{ip}:{port}"));
        eventually(&format!("app {name} serves"), Duration::from_secs(20), || {
            client.get("/who").map(|_| ())
        });
        app
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().unwrap();
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A program that says nothing.
fn quiet(program: &str, args: &[&str], config: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(args).arg(config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// Debian's nginx in the foreground with a config of ours.
pub struct Nginx {
    child: Child,
}

impl Nginx {
    pub fn start(config: &Path) -> Nginx {
        Nginx { child: quiet("/usr/sbin/nginx", &["-g", "daemon off;", "-c"], config) }
    }
}

/// Debian's HAProxy in the foreground with a config of ours.
pub struct Haproxy {
    child: Child,
}

impl Haproxy {
    pub fn start(config: &Path) -> Haproxy {
        Haproxy { child: quiet("/usr/sbin/haproxy", &["-db", "-q", "-f"], config) }
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM, so that the master takes its workers with it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
