//! What the config file says of tokens: whether they count in a cluster that is founded, and which
//! ones the agent has for itself.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use crate::access::{AclCommand, DefaultPolicy};
use crate::cluster::{OwnToken, OwnTokens};
use crate::model::limits;

use super::file::{AclSection, File};
use super::load::ConfigError;
use super::token::{Place, read};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DefaultSetting {
    #[default]
    Deny,
    Allow,
}

/// How a cluster that this agent founds begins; none: with nobody asked for a token.
pub(super) fn founding(section: &AclSection) -> Option<AclCommand> {
    let default = match section.default_policy {
        DefaultSetting::Deny => DefaultPolicy::Deny,
        DefaultSetting::Allow => DefaultPolicy::Allow,
    };
    // For people to see, and never compared.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let created = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    section.enabled.then_some(AclCommand::Enable { default, created })
}

pub(super) fn own_tokens(file: &File) -> Result<OwnTokens, ConfigError> {
    let own = OwnTokens::default();
    for (kind, key, path) in [
        (OwnToken::Default, "acl.token_file", &file.acl.token_file),
        (OwnToken::Dns, "dns.token_file", &file.dns.token_file),
    ] {
        if let Some(path) = path {
            own.set(kind, &token(key, path)?);
        }
    }
    Ok(own)
}

fn token(key: &'static str, path: &Path) -> Result<String, ConfigError> {
    let text = read(&Place { key, path, what: "token" })?;
    match text.trim() {
        "" => Err(ConfigError::setting(key, format!("{}: the file is empty", path.display()))),
        token if token.len() > limits::ACCESS_TOKEN || token.contains(char::is_whitespace) => {
            Err(ConfigError::setting(key, format!("{}: that is no token", path.display())))
        }
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_in_its_file_without_the_space_around_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        for (text, expected) in [
            ("b0d5-1\n", Ok("b0d5-1")),
            (" \n", Err("acl.token_file: ")),
            ("two words", Err("that is no token")),
        ] {
            std::fs::write(&path, text).unwrap();
            let read = token("acl.token_file", &path).map_err(|error| error.to_string());
            match expected {
                Ok(token) => assert_eq!(read.as_deref(), Ok(token)),
                Err(part) => assert!(read.as_ref().is_err_and(|e| e.contains(part)), "{read:?}"),
            }
        }
        let missing = token("dns.token_file", &dir.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("dns.token_file") && missing.contains("cannot read the token"));
    }
}
