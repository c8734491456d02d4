//! The data directory's files about who this agent is: `identity`, key and chain, the authority.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::model::{Digest, NodeId, NodeName};
use crate::raft::{Disk, LogMark};

use super::{Authority, IdentityError, Key, Leaf};

/// JSON, and no secret.
const IDENTITY: &str = "identity";
/// The agent's own private key: PKCS#8.
const KEY: &str = "agent.key";
/// The certificates that speak for it.
const CHAIN: &str = "agent.chain";
/// Servers only.
const AUTHORITY: &str = "authority";

/// A token's secret that an operator left, as text.
const RESET: &str = "acl-reset";

const IDENTITY_VERSION: u32 = 1;
const CHAIN_VERSION: u8 = 1;

/// Written first with the nonce alone, before the cluster is asked, and again with the answer: a
/// joiner that dies in between asks again with the same nonce and is given the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    version: u32,
    pub name: NodeName,
    #[serde(with = "hex")]
    pub nonce: u128,
    pub admitted: Option<Admitted>,
    /// The cluster's root, pinned at the first join.
    pub root: Option<Digest>,
    /// The log that belongs to it, once that was made: one that does not bear this out was lost.
    pub log: Option<LogMark>,
    /// Of a candidate, while no cluster is found.
    pub promise: Promise,
    /// It was a member, and its log is gone: until it is one again, it never founds.
    pub lost: Option<Lost>,
    /// Where the other servers were last: who has lost its log asks there to be let in again.
    pub peers: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admitted {
    #[serde(with = "hex")]
    pub cluster: u128,
    pub node: NodeId,
    /// It founds the cluster, or has done so.
    pub founder: bool,
}

/// What a candidate has promised.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// Counts the changes of this promise.
    pub round: u64,
    pub pledge: Option<Pledge>,
}

/// To found nothing, and to help nobody else to, while that one holds on to its own promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pledge {
    pub name: NodeName,
    #[serde(with = "hex")]
    pub nonce: u128,
    /// Of the holder's promise.
    pub round: u64,
}

/// Who a server was before it lost its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    #[serde(with = "hex")]
    pub cluster: u128,
    pub node: NodeId,
}

impl Identity {
    pub fn new(name: NodeName, nonce: u128) -> Identity {
        Identity {
            version: IDENTITY_VERSION,
            name,
            nonce,
            admitted: None,
            root: None,
            log: None,
            promise: Promise::default(),
            lost: None,
            peers: Vec::new(),
        }
    }

    /// Its log is gone: from now on this is an agent that was never let in, under the same name
    /// and with another nonce. The root stays pinned.
    pub fn forget(&mut self, nonce: u128) {
        let was = self.admitted.take().map(|was| Lost { cluster: was.cluster, node: was.node });
        self.lost = was.or(self.lost);
        self.nonce = nonce;
        self.log = None;
        self.promise = Promise::default();
    }
}

/// A file that is there, and what is in it.
type Found = (PathBuf, Zeroizing<Vec<u8>>);

/// An agent's data directory, as far as it says who the agent is.
#[derive(Clone)]
pub struct DataDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl DataDir {
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> DataDir {
        DataDir { disk, dir }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The identity, if there is one. It must be that of the agent called `name`.
    pub fn load_identity(&self, name: &NodeName) -> Result<Option<Identity>, IdentityError> {
        let Some(identity) = self.look_at_identity()? else { return Ok(None) };
        if identity.name != *name {
            let why = format!("it belongs to the agent {}, not to {name}", identity.name);
            return Err(IdentityError::Content { path: self.dir.join(IDENTITY), why });
        }
        Ok(Some(identity))
    }

    /// The identity, whosever it is.
    pub fn look_at_identity(&self) -> Result<Option<Identity>, IdentityError> {
        let Some((path, bytes)) = self.read(IDENTITY)? else { return Ok(None) };
        let garbled = |why: String| IdentityError::Content { path: path.clone(), why };
        let identity: Identity =
            serde_json::from_slice(&bytes).map_err(|error| garbled(error.to_string()))?;
        if identity.version != IDENTITY_VERSION {
            let why = format!("version {} is not known to this release", identity.version);
            return Err(garbled(why));
        }
        Ok(Some(identity))
    }

    /// Durable when it returns.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), IdentityError> {
        let path = self.dir.join(IDENTITY);
        match serde_json::to_vec_pretty(identity) {
            Ok(text) => self.write(IDENTITY, &text),
            Err(error) => Err(IdentityError::Content { path, why: error.to_string() }),
        }
    }

    /// The agent's own key, if it has one already.
    pub fn load_key(&self) -> Result<Option<Key>, IdentityError> {
        let Some((path, bytes)) = self.read(KEY)? else { return Ok(None) };
        let key = Key::from_pkcs8(&bytes).map_err(|error| content(&path, error))?;
        Ok(Some(key))
    }

    pub fn store_key(&self, key: &Key) -> Result<(), IdentityError> {
        self.write(KEY, &key.pkcs8()?)
    }

    /// The agent's own certificate, whatever its dates. None: there is no key or no chain, or the
    /// chain is that of a key which has been replaced.
    pub fn load_leaf(&self) -> Result<Option<Leaf>, IdentityError> {
        let (Some(key), Some((path, bytes))) = (self.load_key()?, self.read(CHAIN)?) else {
            return Ok(None);
        };
        let garbled = |why: &str| IdentityError::Content { path: path.clone(), why: why.into() };
        let chain = match bytes.split_first() {
            Some((&CHAIN_VERSION, rest)) => postcard::from_bytes::<Vec<Vec<u8>>>(rest)
                .map_err(|error| garbled(&error.to_string()))?,
            Some(_) => return Err(garbled("its version is not known to this release")),
            None => return Err(garbled("it is empty")),
        };
        Leaf::new(key, chain).map(Some).map_err(|error| content(&path, error))
    }

    /// Durable when it returns. The key must be stored already.
    pub fn store_chain(&self, chain: &[Vec<u8>]) -> Result<(), IdentityError> {
        let bytes = postcard::to_extend(chain, vec![CHAIN_VERSION])
            .map_err(|error| content(&self.dir.join(CHAIN), error))?;
        self.write(CHAIN, &bytes)
    }

    /// The cluster's authority, if this is a server.
    pub fn load_authority(&self) -> Result<Option<Authority>, IdentityError> {
        let Some((path, bytes)) = self.read(AUTHORITY)? else { return Ok(None) };
        Authority::from_bundle(&bytes).map(Some).map_err(|error| content(&path, error))
    }

    pub fn store_authority(&self, authority: &Authority) -> Result<(), IdentityError> {
        self.write(AUTHORITY, &authority.to_bundle()?)
    }

    /// Where an operator leaves the secret of a token that is to be made.
    pub fn reset(&self) -> PathBuf {
        self.dir.join(RESET)
    }

    pub fn load_reset(&self) -> Result<Option<Zeroizing<String>>, IdentityError> {
        let Some((path, bytes)) = self.read(RESET)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|error| content(&path, error))?;
        Ok(Some(Zeroizing::new(text.trim().to_owned())))
    }

    pub fn store_reset(&self, secret: &str) -> Result<(), IdentityError> {
        self.write(RESET, secret.as_bytes())
    }

    /// One that is not there any more is fine.
    pub fn forget_reset(&self) -> Result<(), IdentityError> {
        self.forget(&[RESET])
    }

    /// Removes key, chain and authority: whoever has lost its log starts anew.
    pub fn forget_keys(&self) -> Result<(), IdentityError> {
        self.forget(&[AUTHORITY, CHAIN, KEY])
    }

    fn forget(&self, names: &[&str]) -> Result<(), IdentityError> {
        for name in names {
            let path = self.dir.join(name);
            match self.disk.remove(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(IdentityError::File { path, source });
                }
                _ => {}
            }
        }
        let path = self.dir.clone();
        self.disk.sync_dir(&self.dir).map_err(|source| IdentityError::File { path, source })
    }

    /// The bytes of a file that nobody but its owner can reach.
    fn read(&self, name: &str) -> Result<Option<Found>, IdentityError> {
        let path = self.dir.join(name);
        let read = self.disk.mode(&path).and_then(|mode| match mode & 0o077 {
            0 => self.disk.read(&path).map(|bytes| Ok(Zeroizing::new(bytes))),
            _ => Ok(Err(mode)),
        });
        match read {
            Ok(Ok(bytes)) => Ok(Some((path, bytes))),
            Ok(Err(mode)) => Err(IdentityError::Wide { path, mode }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::File { path, source }),
        }
    }

    /// The old content or the new one, whatever happens; durable when it returns.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        self.replace(&path, bytes).map_err(|source| IdentityError::File { path, source })
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.disk.create_dir(&self.dir)?;
        let mut staged = path.as_os_str().to_owned();
        staged.push(".new");
        let staged = PathBuf::from(staged);
        // One left from before keeps its mode.
        match self.disk.remove(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(&staged)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
        self.disk.rename(&staged, path)?;
        self.disk.sync_dir(&self.dir)
    }
}

fn content(path: &Path, error: impl std::fmt::Display) -> IdentityError {
    IdentityError::Content { path: path.to_owned(), why: error.to_string() }
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
