//! TLS towards clients: made from files, agreed on with each client, made anew when a file changes.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_lc_rs::digest;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs as provider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::lifecycle::{Level, Life};
use crate::model::limits;
use crate::net::pem::{Pem, PemError};
use crate::net::validity::{ending, validity};
use crate::telemetry::{Counter, Family, Gauge, Metrics};

use super::names::{ClientName, common_name};

/// Where the certificate, its key and the authority of the clients are. All are PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate, followed by those that lead to its authority.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate that one of these has issued.
    pub client_ca: Option<PathBuf>,
}

/// What the files held, so that a change is seen whatever their times say.
type Fingerprint = [u8; 32];

/// The board's line for the end of the certificate.
const END: &str = "http/tls/end";

/// Secures the connections of listeners; clones share the certificate.
#[derive(Clone)]
pub struct ServerTls {
    files: Arc<TlsFiles>,
    /// Of what was in use first.
    opened: Fingerprint,
    current: Arc<Mutex<Loaded>>,
    handshakes: Arc<Semaphore>,
    meters: Meters,
}

/// What the files were when they were taken.
#[derive(Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// When the certificate ends.
    ends: Option<SystemTime>,
}

impl TlsFiles {
    /// Whether a listener could use the files as they are now; what an operator is to know of the
    /// certificate's end.
    pub fn check(&self) -> Result<Option<String>, PemError> {
        let loaded = Contents::read(self)?.load()?;
        Ok(loaded.ends.and_then(|ends| ending(ends, SystemTime::now())))
    }
}

#[derive(Clone)]
struct Meters {
    handshakes: Family<[(&'static str, &'static str); 1], Counter>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    /// 1 while the files hold something that cannot be used.
    stale: Gauge,
    /// Until the certificate ends; below 0 since then.
    seconds: Gauge,
}

/// Why a client is not served.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("no agreement on TLS within {:?}", limits::TLS_HANDSHAKE)]
    Late,
    #[error("no agreement on TLS: {0}")]
    Failed(#[from] std::io::Error),
}

impl ServerTls {
    /// From the files as they are now.
    pub fn open(files: TlsFiles, metrics: &Metrics) -> Result<ServerTls, PemError> {
        let contents = Contents::read(&files)?;
        let (opened, loaded) = (contents.fingerprint(), contents.load()?);
        let meters = Meters {
            handshakes: metrics.register(
                "http_tls_handshakes",
                "Clients that agreed on TLS or did not, by outcome",
                Family::default(),
            ),
            reloads: metrics.register(
                "http_tls_reloads",
                "Changed files of http.tls that were taken or refused, by outcome",
                Family::default(),
            ),
            stale: metrics.register(
                "http_tls_stale",
                "1 while the files of http.tls cannot be used and the last good ones are",
                Gauge::default(),
            ),
            seconds: metrics.register(
                "http_tls_certificate_seconds",
                "Until the certificate of http.tls expires; below 0: since it has",
                Gauge::default(),
            ),
        };
        Ok(ServerTls {
            files: Arc::new(files),
            opened,
            current: Arc::new(Mutex::new(loaded)),
            handshakes: Arc::new(Semaphore::new(limits::TLS_HANDSHAKES)),
            meters,
        })
    }

    fn current(&self) -> Loaded {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The client's secured connection, and who it is if it had to say.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, Option<ClientName>), HandshakeError> {
        let agreed = tokio::time::timeout(limits::TLS_HANDSHAKE, async {
            // Never closed, so it is a permit.
            let _permit = self.handshakes.acquire().await.ok();
            TlsAcceptor::from(self.current().config).accept(stream).into_fallible().await
        });
        let (outcome, result) = match agreed.await {
            Ok(Ok(stream)) => ("done", Ok(stream)),
            Ok(Err((error, stream))) => {
                part(stream).await;
                ("failed", Err(error.into()))
            }
            Err(_) => ("late", Err(HandshakeError::Late)),
        };
        self.meters.handshakes.get_or_create(&[("outcome", outcome)]).inc();
        let stream = result?;
        let shown = stream.get_ref().1.peer_certificates();
        let leaf = shown.and_then(|chain| chain.first());
        let leaf = leaf.and_then(|der| webpki::EndEntityCert::try_from(der).ok());
        let name = leaf.and_then(|leaf| common_name(leaf.subject()));
        Ok((stream, name))
    }

    /// Looks at the files until the agent stops, and takes what changed. Connections that are open
    /// stay; new ones get the new certificate.
    pub async fn follow(self, life: Life) {
        let (mut watch, mut told) = (Watch::new(self.opened), None);
        let mut ticks = tokio::time::interval(limits::TLS_LOOK);
        while life.shutdown.or(ticks.tick()).await.is_some() {
            self.tell_end(&life, &mut told);
            let Some((print, made)) = self.look().await else { continue };
            match watch.judge(print, made.is_ok()) {
                News::Nothing => {}
                News::Back => self.report(&life, None),
                News::Take => {
                    if let Ok(loaded) = made {
                        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
                        tracing::info!(cert = %self.files.cert.display(), "http.tls: changed");
                        self.meters.reloads.get_or_create(&[("outcome", "taken")]).inc();
                        self.report(&life, None);
                    }
                }
                News::Refuse => {
                    if let Err(error) = made {
                        self.meters.reloads.get_or_create(&[("outcome", "refused")]).inc();
                        self.report(&life, Some(&error));
                    }
                }
            }
        }
    }

    /// Says that the certificate in use soon ends, or has. `told`: what the log has last.
    fn tell_end(&self, life: &Life, told: &mut Option<String>) {
        let Some(ends) = self.current().ends else { return };
        let now = SystemTime::now();
        let seconds = match ends.duration_since(now) {
            Ok(left) => i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            Err(over) => -i64::try_from(over.duration().as_secs()).unwrap_or(i64::MAX),
        };
        self.meters.seconds.set(seconds);
        let text = ending(ends, now);
        match &text {
            Some(text) => life.board.set(END, Level::Warning, format!("http.tls.cert: {text}")),
            None => life.board.clear(END),
        }
        if *told != text {
            if let Some(text) = &text {
                tracing::warn!(cert = %self.files.cert.display(), "http.tls.cert: {text}");
            }
            *told = text;
        }
    }

    fn report(&self, life: &Life, trouble: Option<&PemError>) {
        self.meters.stale.set(i64::from(trouble.is_some()));
        match trouble {
            Some(error) => {
                tracing::warn!(%error, "http.tls: the last good files stay in use");
                let text = format!("{error}; the last good files stay in use");
                life.board.set("http/tls", Level::Warning, text);
            }
            None => life.board.clear("http/tls"),
        }
    }

    /// What the files hold now; none if the agent is about to end.
    async fn look(&self) -> Option<(Fingerprint, Result<Loaded, PemError>)> {
        let files = self.files.clone();
        let look = move || match Contents::read(&files) {
            Ok(contents) => (contents.fingerprint(), contents.load()),
            Err(error) => (fingerprint([error.to_string().as_bytes()]), Err(error)),
        };
        tokio::task::spawn_blocking(look).await.ok()
    }
}

/// Lets the client read why it is refused: closed over unread bytes, the reason would be lost.
async fn part(mut stream: TcpStream) {
    let mut rest = [0; 1024];
    let drain = async {
        // Whether it is still there shows in the reads.
        let _ = stream.shutdown().await;
        while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    let _: Result<(), _> = tokio::time::timeout(limits::TLS_PARTING, drain).await;
}

/// What of a look at the files is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Nothing,
    /// What is in use is in the files again.
    Back,
    Take,
    Refuse,
}

/// Remembers what was seen, so that each change is told once. Two files are not replaced at one
/// instant: what cannot be used is refused only when it is still there at the next look.
#[derive(Debug)]
struct Watch {
    used: Fingerprint,
    suspect: Option<Fingerprint>,
    refused: Option<Fingerprint>,
}

impl Watch {
    fn new(used: Fingerprint) -> Watch {
        Watch { used, suspect: None, refused: None }
    }

    fn judge(&mut self, seen: Fingerprint, usable: bool) -> News {
        if usable {
            let known = self.used == seen;
            let troubled = self.refused.is_some();
            *self = Watch::new(seen);
            return match (known, troubled) {
                (false, _) => News::Take,
                (true, true) => News::Back,
                (true, false) => News::Nothing,
            };
        }
        if self.refused == Some(seen) {
            return News::Nothing;
        }
        if self.suspect == Some(seen) {
            self.refused = Some(seen);
            return News::Refuse;
        }
        self.suspect = Some(seen);
        News::Nothing
    }
}

/// The files as they were read.
struct Contents {
    cert: Pem,
    key: Pem,
    client_ca: Option<Pem>,
}

fn fingerprint<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut print = Fingerprint::default();
    for (to, from) in print.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    print
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Contents, PemError> {
        let ca = files.client_ca.as_ref();
        Ok(Contents {
            key: Pem::read("http.tls.key", &files.key)?.guarded()?,
            cert: Pem::read("http.tls.cert", &files.cert)?,
            client_ca: ca.map(|file| Pem::read("http.tls.client_ca", file)).transpose()?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let files = [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()];
        fingerprint(files.into_iter().flatten().map(|pem| pem.text.as_slice()))
    }

    fn load(&self) -> Result<Loaded, PemError> {
        let provider = Arc::new(provider::default_provider());
        let chain: Vec<_> = self.cert.certificates()?.into_iter().map(|(_, der)| der).collect();
        let dates = chain.first().and_then(|leaf| validity(leaf));
        let (line, key) = self.key.private_key()?;
        let unusable = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(_) => {
                self.key.at(line, "this key is not the one of the certificate in http.tls.cert")
            }
            error => self.key.at(line, format!("cannot be used with http.tls.cert: {error}")),
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let roots = Arc::new(pem.authorities()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                let verifier = verifier.build().map_err(|error| pem.at(1, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session would not look at the client's certificate again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Loaded { config: Arc::new(config), ends: dates.map(|(_, ends)| ends) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once_and_half_a_change_not_at_all() {
        let [a, b, bad, worse] = [[1; 32], [2; 32], [3; 32], [4; 32]];
        let mut watch = Watch::new(a);
        assert_eq!(watch.judge(a, true), News::Nothing);
        assert_eq!(watch.judge(bad, false), News::Nothing, "perhaps half replaced");
        assert_eq!(watch.judge(b, true), News::Take);
        assert_eq!(watch.judge(bad, false), News::Nothing);
        assert_eq!(watch.judge(bad, false), News::Refuse);
        assert_eq!(watch.judge(bad, false), News::Nothing, "told already");
        assert_eq!(watch.judge(worse, false), News::Nothing);
        assert_eq!(watch.judge(worse, false), News::Refuse);
        assert_eq!(watch.judge(b, true), News::Back);
        assert_eq!(watch.judge(b, true), News::Nothing);
    }
}
