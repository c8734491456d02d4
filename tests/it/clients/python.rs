//! python-consul, as PyPI has it, through the whole of what it can.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::house::{Agent, AgentSpec};

/// Where `scripts/test` has pip put it.
fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python")
}

#[test]
fn python_consul_does_what_it_does_with_consul() {
    let packages = packages();
    assert!(packages.join("consul").is_dir(), "{}: scripts/test installs it", packages.display());
    let agent = Agent::start(AgentSpec::server("n1"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/python_consul.py");
    let ended = Command::new("python3")
        .arg(script)
        .arg(agent.spec.place.0.to_string())
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.trim_end().ends_with("all of it"), "{said}");
}
