//! Where the join token comes from: a flag, the environment, the config file, in this order.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::identity::JoinToken;

use super::load::ConfigError;

/// Holds the token itself.
const VARIABLE: &str = "REMORA_JOIN_TOKEN";
/// A token is far shorter; keeps a wrong path from filling the memory.
const LARGEST: usize = 4096;
const JOIN: &str = "join token";

/// A place that may have a token: `-` is standard input.
pub(super) struct Place<'a> {
    pub key: &'a str,
    pub path: &'a Path,
    /// Which kind of token.
    pub what: &'static str,
}

/// The join token, if there is one; `flag` and `file` are paths.
pub(super) fn find(
    flag: Option<&PathBuf>,
    file: Option<&PathBuf>,
) -> Result<Option<JoinToken>, ConfigError> {
    join_token(flag, std::env::var(VARIABLE).ok(), file)
}

/// The same. `environment` is the variable's value.
fn join_token(
    flag: Option<&PathBuf>,
    environment: Option<String>,
    file: Option<&PathBuf>,
) -> Result<Option<JoinToken>, ConfigError> {
    let environment = environment.map(Zeroizing::new).filter(|text| !text.trim().is_empty());
    let (key, text) = match (flag, environment, file) {
        (Some(path), _, _) => {
            ("--token-file", read(&Place { key: "--token-file", path, what: JOIN })?)
        }
        (None, Some(text), _) => (VARIABLE, text),
        (None, None, Some(path)) => {
            let key = "cluster.token_file";
            (key, read(&Place { key, path, what: JOIN })?)
        }
        (None, None, None) => return Ok(None),
    };
    let parsed = JoinToken::parse(&text);
    parsed.map(Some).map_err(|error| ConfigError::setting(key, error.to_string()))
}

pub(super) fn read(place: &Place<'_>) -> Result<Zeroizing<String>, ConfigError> {
    let Place { key, path, what } = place;
    let failed = |why: String| ConfigError::setting(*key, format!("{}: {why}", path.display()));
    // Never grows, so no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    let most = LARGEST as u64 + 1;
    let taken = if *path == Path::new("-") {
        std::io::stdin().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    taken.map_err(|error| failed(format!("cannot read the {what}: {error}")))?;
    if bytes.len() > LARGEST {
        return Err(failed(format!("too long for a {what}")));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(failed(format!("no {what}, not even text"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Digest, Role};

    #[test]
    fn the_flag_wins_over_the_environment_and_that_over_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let tokens: Vec<JoinToken> = (0..3)
            .map(|n| JoinToken::generate(Role::Edge, Digest([n; 32])).expect("a token"))
            .collect();
        let stored = |n: usize| {
            let path = dir.path().join(n.to_string());
            std::fs::write(&path, format!("{}\n", *tokens[n].reveal())).expect("written");
            path
        };
        let (flag, file) = (stored(0), stored(2));
        let variable = || Some(tokens[1].reveal().to_string());
        let id = |token: Result<Option<JoinToken>, ConfigError>| {
            token.expect("it is read").map(|token| token.id())
        };
        let expected = |n: usize| Some(tokens[n].id());
        assert_eq!(id(join_token(Some(&flag), variable(), Some(&file))), expected(0));
        assert_eq!(id(join_token(None, variable(), Some(&file))), expected(1));
        assert_eq!(id(join_token(None, Some(" ".to_owned()), Some(&file))), expected(2));
        assert_eq!(id(join_token(None, None, None)), None);
    }

    #[test]
    fn what_is_wrong_names_the_place_and_shows_no_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let secret = "0f".repeat(32);
        let said = |text: &[u8]| {
            std::fs::write(&path, text).expect("written");
            let error = join_token(None, None, Some(&path)).expect_err("no token");
            error.to_string()
        };
        for text in [
            format!("rmr1-edge-{}-{}-{secret}", "0".repeat(64), "0".repeat(16)),
            format!("rmr1-edge-{secret}"),
            String::new(),
        ] {
            let said = said(text.as_bytes());
            assert!(said.starts_with("cluster.token_file: "), "{said}");
            assert!(!said.contains(&secret), "{said}");
        }
        assert!(said(&[0xff; 10]).contains("not even text"));
        assert!(said(&[b'a'; 5000]).contains("too long"));
        std::fs::remove_file(&path).expect("removed");
        let missing = join_token(Some(&path), None, None).expect_err("no file").to_string();
        assert!(missing.starts_with("--token-file: "), "{missing}");
        assert!(missing.contains(&path.display().to_string()), "{missing}");
        let wrong = join_token(None, Some("hello".to_owned()), None).expect_err("no token");
        assert!(wrong.to_string().starts_with("REMORA_JOIN_TOKEN: "), "{wrong}");
    }
}
