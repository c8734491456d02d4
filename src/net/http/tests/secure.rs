//! TLS on a real socket: names, versions, refusals, strangers that say nothing, changed files.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::model::limits;
use crate::net::PemError;
use crate::net::http::{ServerTls, TlsFiles};
use crate::telemetry::Metrics;

/// An authority that makes certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key for `name`, both PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

fn write(dir: &Path, pair: &(String, String)) {
    for (name, text) in [("cert.pem", &pair.0), ("key.pem", &pair.1)] {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

struct Site {
    dir: TempDir,
    authority: Authority,
    tls: ServerTls,
    metrics: Metrics,
    addr: SocketAddr,
    life: Life,
}

fn files(dir: &Path, client_ca: bool) -> TlsFiles {
    TlsFiles {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca: client_ca.then(|| dir.join("ca.pem")),
    }
}

impl Site {
    async fn new(client_ca: bool) -> Site {
        let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::new());
        write(dir.path(), &authority.issue("first"));
        fs::write(dir.path().join("ca.pem"), &authority.pem).unwrap();
        let metrics = Metrics::default();
        let tls = ServerTls::open(files(dir.path(), client_ca), &metrics).unwrap();
        let door = |listener| Door::Secure(listener, tls.clone());
        let (addr, life) = open(door, Limits::default()).await;
        Site { dir, authority, tls, metrics, addr, life }
    }

    /// A client's connection, with a certificate or without.
    async fn connect(
        &self,
        pair: Option<(String, String)>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match pair {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Who the server takes a client for; an error if it does not serve it.
    async fn who(&self, pair: Option<(String, String)>) -> std::io::Result<String> {
        let mut stream = self.connect(pair, &[&rustls::version::TLS13]).await?;
        ask(&mut stream, "/who", true).await
    }
}

/// The end of the answer; a connection that is kept must have answered in one piece.
async fn ask(stream: &mut TlsStream<TcpStream>, path: &str, last: bool) -> std::io::Result<String> {
    let end = if last { "Connection: close\r\n" } else { "" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{end}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1024];
    let read = timeout(PATIENCE, stream.read(&mut answer)).await.expect("answered in time")?;
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}

/// The certificate that the server showed.
fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn a_handler_sees_the_name_in_a_verified_certificate() {
    let site = Site::new(true).await;
    assert_eq!(site.who(Some(site.authority.issue("ann"))).await.unwrap(), "ann");
    let error = site.who(None).await.unwrap_err().to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let stranger = site.who(Some(Authority::new().issue("ann"))).await;
    assert!(stranger.is_err(), "another authority's: {stranger:?}");

    let open = Site::new(false).await;
    assert_eq!(open.who(Some(open.authority.issue("ann"))).await.unwrap(), "nobody");
    let metrics = site.metrics.encode();
    for line in ["{outcome=\"done\"} 1\n", "{outcome=\"failed\"} 2\n"] {
        assert!(metrics.contains(&format!("remora_http_tls_handshakes_total{line}")), "{metrics}");
    }
}

#[tokio::test]
async fn both_versions_are_spoken_and_a_session_is_never_resumed_past_the_certificate() {
    let site = Site::new(true).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let ann = Some(site.authority.issue("ann"));
        let mut stream = site.connect(ann, &[version]).await.unwrap();
        assert_eq!(ask(&mut stream, "/who", false).await.unwrap(), "ann", "{version:?}");
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_let_go_and_keeps_nobody_waiting() {
    let site = Site::new(false).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(site.addr).await.unwrap());
    }
    assert_eq!(site.who(None).await.unwrap(), "nobody");
    let begun = tokio::time::Instant::now();
    for mut stream in silent {
        let read = stream.read(&mut [0; 8]).await;
        assert_eq!(read.unwrap_or(0), 0);
    }
    let waited = begun.elapsed();
    assert!(waited <= limits::TLS_HANDSHAKE * 2, "{waited:?}");
}

#[tokio::test]
async fn changed_files_are_taken_bad_ones_are_not_and_connections_stay() {
    let site = Site::new(false).await;
    site.life.tasks.spawn("tls", site.tls.clone().follow(site.life.clone()));
    let versions = [&rustls::version::TLS13];
    let mut kept = site.connect(None, &versions).await.unwrap();
    let first = shown(&kept);

    let changes = async |what: &str, check: &dyn Fn(&CertificateDer<'static>) -> bool| {
        let begun = std::time::Instant::now();
        loop {
            let stream = site.connect(None, &versions).await.unwrap();
            if check(&shown(&stream)) {
                return shown(&stream);
            }
            assert!(begun.elapsed() < limits::TLS_LOOK * 10, "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    write(site.dir.path(), &site.authority.issue("second"));
    let second = changes("the second is taken", &|shown| *shown != first).await;

    let (cert, _) = site.authority.issue("third");
    fs::write(site.dir.path().join("cert.pem"), cert).unwrap();
    let told = async |told: bool| {
        let begun = std::time::Instant::now();
        loop {
            let board = site.life.board.entries();
            let found = board.iter().find(|(subject, _)| subject == "http/tls");
            if found.is_some() == told {
                return found.map(|(_, entry)| entry.text.clone()).unwrap_or_default();
            }
            assert!(begun.elapsed() < limits::TLS_LOOK * 10, "{board:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = told(true).await;
    assert!(text.contains("key.pem:1: this key is not the one of the certificate"), "{text}");
    assert!(site.metrics.encode().contains("remora_http_tls_stale 1\n"));
    changes("the second stays", &|shown| *shown == second).await;

    write(site.dir.path(), &site.authority.issue("fourth"));
    changes("the fourth is taken", &|shown| *shown != second).await;
    told(false).await;
    let metrics = site.metrics.encode();
    for line in ["stale 0\n", "reloads_total{outcome=\"taken\"} 2\n"] {
        assert!(metrics.contains(&format!("remora_http_tls_{line}")), "{metrics}");
    }
    assert_eq!(ask(&mut kept, "/still", true).await.unwrap(), "/still");
}

#[tokio::test]
async fn what_cannot_be_used_is_no_beginning() {
    let site = Site::new(true).await;
    let dir = site.dir.path();
    let opened = || match ServerTls::open(files(dir, true), &Metrics::default()) {
        Ok(_) => String::new(),
        Err(error @ PemError::Provider(_)) => panic!("{error}"),
        Err(error) => error.to_string(),
    };
    assert_eq!(opened(), "");
    let other = site.authority.issue("other");
    fs::write(dir.join("key.pem"), &other.1).unwrap();
    let said = opened();
    assert!(said.starts_with("http.tls.key: ") && said.contains("is not the one"), "{said}");
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(opened().contains("chmod 600"), "{}", opened());
    write(dir, &other);
    fs::write(dir.join("ca.pem"), "garbage").unwrap();
    let said = opened();
    assert!(said.starts_with("http.tls.client_ca: ") && said.contains("ca.pem:1: "), "{said}");
}
