//! Stands at every connection between agents, in and out: secures it, and can end it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ConnectionCommon, Error};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::net::Connection;

use super::examiner::{self, Examiner};
use super::knocks::{Knock, Knocks};
use super::register::{Pass, Register};
use super::{Binding, Credentials, Peer, Purpose, Shown};

/// The label of what ties a join to its connection.
const LABEL: &[u8] = b"EXPORTER-remora-join";

/// Cheap to clone; all clones know of the same connections.
#[derive(Clone)]
pub struct Guard {
    shared: Arc<Shared>,
}

struct Shared {
    credentials: Arc<dyn Credentials>,
    provider: Arc<CryptoProvider>,
    register: Register,
    knocks: Knocks,
    /// What was last shown, ready for use.
    ready: Mutex<Option<(Arc<Shown>, Arc<CertifiedKey>)>>,
}

/// A connection on which both sides know as much of each other as they ever will.
pub(super) struct Secured {
    pub stream: Connection,
    pub peer: Option<Peer>,
    pub late: bool,
    pub binding: Binding,
    pub pass: Pass,
}

impl Guard {
    /// Acts with these credentials.
    pub fn new(credentials: Arc<dyn Credentials>) -> Guard {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (register, knocks) = (Register::default(), Knocks::default());
        let ready = Mutex::default();
        Guard { shared: Arc::new(Shared { credentials, provider, register, knocks, ready }) }
    }

    /// Cuts, in both directions, the connections of those who belong here no more.
    pub fn recheck(&self) {
        self.shared.register.recheck(|peer| self.shared.credentials.knows(peer));
    }

    /// An attempt to call has failed.
    pub(super) fn failed(&self, error: &io::Error) {
        if error.get_ref().is_some_and(|inner| inner.is::<NotTaken>()) {
            self.shared.credentials.not_taken();
        }
    }

    /// A place among the connections that are on their way in, if there is one.
    pub(super) fn knock(&self, from: IpAddr) -> Option<Knock> {
        self.shared.knocks.knock(from)
    }

    /// Whether a caller may have what it connected for.
    pub(super) fn admits(
        &self,
        caller: Option<Peer>,
        late: bool,
        purpose: Purpose,
    ) -> Result<(), String> {
        let credentials = &self.shared.credentials;
        match caller {
            _ if purpose == Purpose::Entrance => Ok(()),
            None => Err(format!("{purpose:?} is not for agents without a certificate")),
            Some(_) if late => Err("the certificate has expired".to_owned()),
            Some(peer) if credentials.admits(peer, purpose) => Ok(()),
            Some(peer) => Err(format!("{purpose:?} is not for the role {}", peer.role.as_str())),
        }
    }

    /// Secures a connection to the agent at `addr`.
    pub(super) async fn call(
        &self,
        stream: Connection,
        addr: SocketAddr,
        purpose: Purpose,
    ) -> io::Result<Secured> {
        let credentials = self.shared.credentials.clone();
        let examiner = self.examiner(credentials.clone(), Some(purpose));
        let config = examiner::calling(&examiner, self.ready(&*credentials, Some(purpose))?)
            .map_err(io::Error::other)?;
        let name = ServerName::IpAddress(addr.ip().into());
        let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = secured.map_err(|error| explained(error, &examiner))?;
        let binding = binding(&**stream.get_ref().1)?;
        self.welcome(Box::new(stream), binding, &examiner, true)
    }

    /// Secures a connection that has come in.
    pub(super) async fn take(&self, stream: Connection) -> io::Result<Secured> {
        let credentials = self.shared.credentials.clone();
        let examiner = self.examiner(credentials.clone(), None);
        let Some(shown) = self.ready(&*credentials, None)? else {
            let why = "this agent has no certificate yet";
            return Err(io::Error::new(io::ErrorKind::NotConnected, why));
        };
        let config = examiner::called(&examiner, shown).map_err(io::Error::other)?;
        let secured = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
        let stream = secured.map_err(|error| explained(error, &examiner))?;
        let binding = binding(&**stream.get_ref().1)?;
        self.welcome(Box::new(stream), binding, &examiner, false)
    }

    fn examiner(
        &self,
        credentials: Arc<dyn Credentials>,
        sought: Option<Purpose>,
    ) -> Arc<Examiner> {
        Examiner::new(credentials, self.shared.provider.clone(), sought)
    }

    fn welcome(
        &self,
        stream: Connection,
        binding: Binding,
        examiner: &Examiner,
        calling: bool,
    ) -> io::Result<Secured> {
        let denied = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
        let judged = examiner.judged();
        match judged {
            None if calling => return Err(denied("the agent there shows no certificate")),
            Some(judged) if calling && judged.late => {
                return Err(denied("the certificate there has expired"));
            }
            _ => {}
        }
        let peer = judged.map(|judged| judged.peer);
        let pass = self.shared.register.enter(peer);
        // It may have been thrown out between the judgement and the entry in the register.
        if let Some(peer) = peer {
            self.shared.credentials.knows(peer).map_err(|why| denied(&why))?;
        }
        Ok(Secured { stream, peer, late: judged.is_some_and(|j| j.late), binding, pass })
    }

    /// What this agent shows now; a key is read once.
    fn ready(
        &self,
        credentials: &dyn Credentials,
        calling: Option<Purpose>,
    ) -> io::Result<Option<Arc<CertifiedKey>>> {
        let Some(shown) = credentials.shown(calling) else { return Ok(None) };
        let mut ready = self.shared.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, key)) = &*ready
            && Arc::ptr_eq(last, &shown)
        {
            return Ok(Some(key.clone()));
        }
        let chain = shown.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(shown.key.as_slice()));
        let key = self.shared.provider.key_provider.load_private_key(key.clone_key());
        let key =
            key.map_err(|error| io::Error::other(format!("this agent's own key: {error}")))?;
        let key = Arc::new(CertifiedKey::new(chain, key));
        *ready = Some((shown, key.clone()));
        Ok(Some(key))
    }
}

fn binding<Data>(connection: &ConnectionCommon<Data>) -> io::Result<Binding> {
    connection.export_keying_material([0; 32], LABEL, None).map_err(io::Error::other)
}

/// What a person is told of a handshake that failed.
fn explained(error: io::Error, examiner: &Examiner) -> io::Error {
    match examiner.why() {
        Some(why) => io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned()),
        None => in_words(error),
    }
}

/// The other side has refused this one's certificate.
#[derive(Debug, thiserror::Error)]
#[error("the agent there does not take this one's certificate")]
pub(super) struct NotTaken;

/// TLS's errors in words; others as they are.
pub(super) fn in_words(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let text = match inner {
        Some(Error::InvalidMessage(_)) => {
            "no TLS: between agents nothing else is spoken".to_owned()
        }
        Some(Error::PeerIncompatible(why)) => {
            format!("agents speak TLS 1.3 with each other and nothing older: {why:?}")
        }
        Some(Error::AlertReceived(AlertDescription::AccessDenied)) => {
            return io::Error::new(io::ErrorKind::PermissionDenied, NotTaken);
        }
        Some(Error::AlertReceived(alert)) => format!("the agent there broke off: {alert:?}"),
        Some(Error::General(why)) => why.clone(),
        Some(other) => other.to_string(),
        None => return error,
    };
    io::Error::new(error.kind(), text)
}
