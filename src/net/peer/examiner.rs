//! TLS between agents: 1.3 alone, and on both sides each agent's own judgement of the other.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig,
    SignatureScheme,
};

use super::{Credentials, Judged, Peer, Purpose};

/// Judges the other side of one connection, and remembers the outcome for after the handshake.
pub(super) struct Examiner {
    credentials: Arc<dyn Credentials>,
    provider: Arc<CryptoProvider>,
    /// What the other side is called for; none if it calls.
    sought: Option<Purpose>,
    outcome: OnceLock<Result<Judged, String>>,
}

impl fmt::Debug for Examiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Examiner").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

impl Examiner {
    pub fn new(
        credentials: Arc<dyn Credentials>,
        provider: Arc<CryptoProvider>,
        sought: Option<Purpose>,
    ) -> Arc<Examiner> {
        Arc::new(Examiner { credentials, provider, sought, outcome: OnceLock::new() })
    }

    /// Who is at the other side; none if it showed no certificate.
    pub fn judged(&self) -> Option<Judged> {
        self.outcome.get()?.as_ref().ok().copied()
    }

    /// Why the other side was not taken, if that is why the handshake failed.
    pub fn why(&self) -> Option<&str> {
        self.outcome.get()?.as_ref().err().map(String::as_str)
    }

    fn examine(&self, own: &CertificateDer<'_>, rest: &[CertificateDer<'_>]) -> bool {
        let chain: Vec<&[u8]> = std::iter::once(own).chain(rest).map(|der| &der[..]).collect();
        let judged = self.credentials.judge(&chain);
        let judged = judged.and_then(|judged| self.fits(judged));
        let fits = judged.is_ok();
        // A handshake has one certificate message of the other side.
        self.outcome.set(judged).is_ok() && fits
    }

    fn fits(&self, judged: Judged) -> Result<Judged, String> {
        let Judged { peer: Peer { id, role }, .. } = judged;
        match self.sought {
            Some(purpose) if !self.credentials.calls_on(judged.peer, purpose) => {
                Err(format!("{} {id} is nobody to call for {purpose:?}", role.as_str()))
            }
            _ => Ok(judged),
        }
    }

    fn signed(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn not_taken() -> rustls::Error {
    // Told to the other side as "access denied".
    CertificateError::ApplicationVerificationFailure.into()
}

fn too_old() -> rustls::Error {
    rustls::PeerIncompatible::SupportedVersionsExtensionRequired.into()
}

impl ServerCertVerifier for Examiner {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.examine(end_entity, intermediates) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(not_taken()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Examiner {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Who joins has none yet.
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match self.examine(end_entity, intermediates) {
            true => Ok(ClientCertVerified::assertion()),
            false => Err(not_taken()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(too_old())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.signed(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// What this agent shows in one handshake.
#[derive(Debug)]
struct Bearer(Option<Arc<CertifiedKey>>);

impl ResolvesServerCert for Bearer {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }
}

impl ResolvesClientCert for Bearer {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// For one connection to another agent. Nothing is resumed: every connection is judged anew.
pub(super) fn calling(
    examiner: &Arc<Examiner>,
    shown: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(examiner.provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(examiner.clone())
        .with_client_cert_resolver(Arc::new(Bearer(shown)));
    config.resumption = Resumption::disabled();
    // Agents are known by their certificates, not by the names they were found under.
    config.enable_sni = false;
    Ok(config)
}

/// For one connection of another agent.
pub(super) fn called(
    examiner: &Arc<Examiner>,
    shown: Arc<CertifiedKey>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(examiner.provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(examiner.clone())
        .with_cert_resolver(Arc::new(Bearer(Some(shown))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}
