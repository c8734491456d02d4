//! The file `identity` in the data directory: who this server is, known before its log opens.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{NodeId, NodeName};

use super::ClusterError;

const FILE: &str = "identity";
const VERSION: u32 = 1;

/// Written once with the nonce alone, before the cluster is asked, and once more with the answer:
/// a joiner that dies in between asks again with the same nonce and is given the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    version: u32,
    pub name: NodeName,
    #[serde(with = "hex")]
    pub nonce: u128,
    pub admitted: Option<Admitted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Admitted {
    #[serde(with = "hex")]
    pub cluster: u128,
    pub node: NodeId,
    /// It founds the cluster, or has done so.
    pub founder: bool,
}

impl Identity {
    pub fn new(name: NodeName, nonce: u128) -> Identity {
        Identity { version: VERSION, name, nonce, admitted: None }
    }

    /// The file's content, if there is one. It must be that of the agent called `name`.
    pub fn load(data_dir: &Path, name: &NodeName) -> Result<Option<Identity>, ClusterError> {
        let path = data_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ClusterError::File { path, source }),
        };
        let garbled = |why: String| ClusterError::Identity { path: path.clone(), why };
        let identity: Identity =
            serde_json::from_str(&text).map_err(|error| garbled(error.to_string()))?;
        if identity.version != VERSION {
            let why = format!("version {} is not known to this release", identity.version);
            return Err(garbled(why));
        }
        if identity.name != *name {
            let why = format!("it belongs to the agent {}, not to {name}", identity.name);
            return Err(garbled(why));
        }
        Ok(Some(identity))
    }

    /// Durable when it returns.
    pub fn store(&self, data_dir: &Path) -> Result<(), ClusterError> {
        let path = data_dir.join(FILE);
        let text = match serde_json::to_string_pretty(self) {
            Ok(text) => text,
            Err(error) => return Err(ClusterError::Identity { path, why: error.to_string() }),
        };
        replace(data_dir, &path, text.as_bytes())
            .map_err(|source| ClusterError::File { path, source })
    }
}

fn replace(data_dir: &Path, path: &PathBuf, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(data_dir)?;
    let staged = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    File::open(data_dir)?.sync_all()
}

/// 128 bits do not fit into a JSON number.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{value:032x}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u128, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}
