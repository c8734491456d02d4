//! TLS of a client whose authority, certificate and key are named by a person.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

use super::pem::{Pem, PemError};
use super::tls::system_roots;

/// Names of PEM files, and what a person calls each, for errors.
#[derive(Debug, Clone, Default)]
pub struct ClientFiles {
    /// Servers must show a certificate that one of these has issued; none: the system's.
    pub ca: Option<(String, PathBuf)>,
    /// The certificate that is shown and its key.
    pub pair: Option<[(String, PathBuf); 2]>,
}

impl ClientFiles {
    /// A configuration with a crypto provider of its own, as there is no global one.
    pub fn config(&self) -> Result<ClientConfig, PemError> {
        let roots = match &self.ca {
            Some((name, file)) => Pem::read(name, file)?.authorities()?,
            None => system_roots(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| PemError::Provider(error.to_string()))?
            .with_root_certificates(roots);
        let Some([(cert_name, cert), (key_name, key)]) = &self.pair else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = Pem::read(cert_name, cert)?.certificates()?;
        let chain = chain.into_iter().map(|(_, der)| der).collect();
        let pem = Pem::read(key_name, key)?;
        let (line, key) = pem.private_key()?;
        let unusable = |error| pem.at(line, format!("cannot be used with {cert_name}: {error}"));
        builder.with_client_auth_cert(chain, key).map_err(unusable)
    }
}

/// What TLS says about an error, if it is the reason of it.
pub fn tls_trouble(error: &(dyn Error + 'static)) -> Option<String> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(trouble) = error.downcast_ref::<rustls::Error>() {
            return Some(trouble.to_string());
        }
        // An I/O error hides what it wraps from `source`.
        let io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        at = match io {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}
