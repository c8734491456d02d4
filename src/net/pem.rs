//! Reads certificates and keys from PEM files, with errors that name the setting, file and line.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::{PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::model::limits;

/// `setting` is the key of the config, or the flag, that named the file.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    #[error("{setting}: {}: cannot be read: {source}", file.display())]
    Read { setting: String, file: PathBuf, source: io::Error },
    #[error("{setting}: {}: more than {} bytes are no PEM file", file.display(), limits::PEM_FILE)]
    Large { setting: String, file: PathBuf },
    #[error(
        "{setting}: {path} has mode {mode:04o}, so others than its owner could read the key; \
         `chmod 600 {path}`",
        path = file.display()
    )]
    Wide { setting: String, file: PathBuf, mode: u32 },
    #[error("{setting}: {}:{line}: {message}", file.display())]
    Content { setting: String, file: PathBuf, line: usize, message: String },
    #[error("TLS cannot be set up: {0}")]
    Provider(String),
}

/// A file as it was read. Its contents may be secret, and are wiped when it goes.
pub(super) struct Pem {
    setting: String,
    file: PathBuf,
    pub(super) text: Zeroizing<Vec<u8>>,
    /// Permission bits.
    mode: u32,
}

/// One `BEGIN` to `END`.
struct Section {
    line: usize,
    kind: SectionKind,
    der: Vec<u8>,
}

impl Pem {
    pub(super) fn read(setting: &str, file: &Path) -> Result<Pem, PemError> {
        let failed =
            |source| PemError::Read { setting: setting.to_owned(), file: file.to_owned(), source };
        let open = File::open(file).map_err(failed)?;
        // Of what was opened, not of what has the name by now.
        let mode = open.metadata().map_err(failed)?.mode() & 0o7777;
        let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024));
        let most = limits::PEM_FILE as u64 + 1;
        open.take(most).read_to_end(&mut text).map_err(failed)?;
        if text.len() > limits::PEM_FILE {
            return Err(PemError::Large { setting: setting.to_owned(), file: file.to_owned() });
        }
        Ok(Pem { setting: setting.to_owned(), file: file.to_owned(), text, mode })
    }

    /// An error if anybody but the owner can read the file.
    pub(super) fn guarded(self) -> Result<Pem, PemError> {
        if self.mode & 0o077 == 0 {
            return Ok(self);
        }
        Err(PemError::Wide { setting: self.setting, file: self.file, mode: self.mode })
    }

    /// The error for something at a line of this file.
    pub(super) fn at(&self, line: usize, message: impl Into<String>) -> PemError {
        let (setting, file) = (self.setting.clone(), self.file.clone());
        PemError::Content { setting, file, line, message: message.into() }
    }

    /// All certificates in order, at least one, each with its line.
    pub(super) fn certificates(&self) -> Result<Vec<(usize, CertificateDer<'static>)>, PemError> {
        let mut found = Vec::new();
        for section in self.sections()? {
            if section.kind != SectionKind::Certificate {
                continue;
            }
            let der = CertificateDer::from(section.der);
            if let Err(error) = webpki::EndEntityCert::try_from(&der) {
                return Err(self.at(section.line, format!("is no certificate: {error}")));
            }
            found.push((section.line, der));
        }
        if found.is_empty() {
            return Err(self.at(1, "holds no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        Ok(found)
    }

    /// The certificates as authorities to trust.
    pub(super) fn authorities(&self) -> Result<RootCertStore, PemError> {
        let mut roots = RootCertStore::empty();
        for (line, der) in self.certificates()? {
            let added = roots.add(der);
            added.map_err(|error| self.at(line, format!("is no authority: {error}")))?;
        }
        Ok(roots)
    }

    /// The only private key, with its line.
    pub(super) fn private_key(&self) -> Result<(usize, PrivateKeyDer<'static>), PemError> {
        let mut found = None;
        for section in self.sections()? {
            let Some(key) = PrivateKeyDer::from_pem(section.kind, section.der) else { continue };
            if found.is_some() {
                return Err(self.at(section.line, "a second private key; there must be one"));
            }
            found = Some((section.line, key));
        }
        let none = "holds no private key (-----BEGIN PRIVATE KEY-----); encrypted ones cannot \
                    be used";
        found.ok_or_else(|| self.at(1, none))
    }

    fn sections(&self) -> Result<Vec<Section>, PemError> {
        let mut found = Vec::new();
        let mut open: Option<(usize, Zeroizing<Vec<u8>>)> = None;
        for (i, line) in self.text.split(|byte| *byte == b'\n').enumerate() {
            let begins = line.starts_with(b"-----BEGIN ");
            let ends = line.starts_with(b"-----END ");
            match &mut open {
                Some((start, _)) if begins => {
                    return Err(self.at(*start, "has a BEGIN without its END"));
                }
                None if begins => open = Some((i + 1, Zeroizing::new(Vec::new()))),
                _ => {}
            }
            let Some((_, text)) = &mut open else { continue };
            text.extend_from_slice(line);
            text.push(b'\n');
            if ends && let Some((start, text)) = open.take() {
                found.extend(self.section(start, &text)?);
            }
        }
        match open {
            Some((start, _)) => Err(self.at(start, "has a BEGIN without its END")),
            None => Ok(found),
        }
    }

    /// None where it is of a kind that nobody here needs, such as parameters of a curve.
    fn section(&self, line: usize, text: &[u8]) -> Result<Option<Section>, PemError> {
        use rustls::pki_types::pem::Error::{Base64Decode, MissingSectionEnd, NoItemsFound};
        match <(SectionKind, Vec<u8>)>::from_pem_slice(text) {
            Ok((kind, der)) => Ok(Some(Section { line, kind, der })),
            Err(NoItemsFound) => Ok(None),
            Err(MissingSectionEnd { .. }) => Err(self.at(line, "has an END of another BEGIN")),
            Err(Base64Decode(_)) => Err(self.at(line, "what follows BEGIN is no base64")),
            // Never with the text itself: it may be a key.
            Err(_) => Err(self.at(line, "is no PEM section")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const HEAD: &str = "-----BEGIN CERTIFICATE-----\n";
    const TAIL: &str = "-----END CERTIFICATE-----\n";

    fn pem(text: &str) -> (tempfile::TempDir, Pem) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.pem");
        fs::write(&file, text).unwrap();
        let pem = Pem::read("http.tls.cert", &file).unwrap();
        (dir, pem)
    }

    fn complaint(text: &str) -> String {
        let (_dir, pem) = pem(text);
        pem.certificates().unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_setting_the_file_and_the_line() {
        let cases = [
            ("", "x.pem:1: holds no certificate"),
            ("garbage\n", "x.pem:1: holds no certificate"),
            (&format!("# a\n{HEAD}AAAA\n{TAIL}"), "x.pem:2: is no certificate"),
            (&format!("\n\n{HEAD}!!!!\n{TAIL}"), "x.pem:3: what follows BEGIN is no base64"),
            (&format!("{HEAD}AAAA\n"), "x.pem:1: has a BEGIN without its END"),
            (&format!("{HEAD}AAAA\n{HEAD}"), "x.pem:1: has a BEGIN without its END"),
            (&format!("{HEAD}AAAA\n-----END X-----\n"), "x.pem:1: has an END of another BEGIN"),
        ];
        for (text, expected) in cases {
            let said = complaint(text);
            assert!(said.starts_with("http.tls.cert: "), "{said}");
            assert!(said.contains(expected), "{text:?}: {said}");
        }
        let said = Pem::read("k", Path::new("/nonexistent")).err().unwrap().to_string();
        assert!(said.starts_with("k: /nonexistent: cannot be read: "), "{said}");
        let said = pem(&"x".repeat(limits::PEM_FILE)).1.certificates().unwrap_err();
        assert!(said.to_string().contains("holds no"), "{said}");
    }

    #[test]
    fn keys_and_certificates_are_told_apart() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap().pem();
        let (_dir, both) = pem(&format!("{}{certificate}", key.serialize_pem()));
        assert_eq!(both.private_key().unwrap().0, 1);
        let lines = key.serialize_pem().lines().count();
        assert_eq!(both.certificates().unwrap()[0].0, lines + 1);
        let (_dir, none) = pem(&certificate);
        let said = none.private_key().unwrap_err().to_string();
        assert!(said.contains(":1: holds no private key"), "{said}");
        let (_dir, two) = pem(&format!("{0}{0}", key.serialize_pem()));
        let said = two.private_key().unwrap_err().to_string();
        assert!(said.contains(&format!(":{}: a second private key", lines + 1)), "{said}");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            let (dir, _) = pem("x");
            let file = dir.path().join("x.pem");
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let guarded = Pem::read("http.tls.key", &file).unwrap().guarded();
            assert_eq!(guarded.is_ok(), fine, "{mode:o}");
            if let Err(error) = guarded {
                let said = error.to_string();
                let parts = [&format!("mode 0{mode:o}"), "chmod 600", "http.tls.key", "x.pem"];
                assert!(parts.iter().all(|part| said.contains(*part)), "{said}");
            }
        }
    }
}
