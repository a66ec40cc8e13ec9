//! TLS by certificate files: what the front door's handshakes use.
//!
//! TLS 1.2 and 1.3 with ring's suites alone (forward secrecy and AEAD, all of them), HTTP/1.1 by ALPN, session tickets
//! whose keys rotate in memory. The certificate is looked up for each handshake, so that a new one serves newcomers
//! while open connections go on. It does not know what is said over it; shards drive the connection afterwards
//! (`shard/socket`).

mod reload;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::{fs, io};

use ring::digest;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::config;
pub(super) use reload::run as watch;

/// Makes ring the cryptography of whatever asks for the process's default; the first caller wins, and all are ring.
pub(super) fn use_ring() {
    let _ = provider::default_provider().install_default();
}

/// The certificate in use and where it came from.
pub(super) struct Certificate {
    files: config::Tls,
    key: RwLock<Arc<CertifiedKey>>,
}

/// What the files held when they were last read.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen([u8; 32]);

/// A certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} holds no {what} in PEM: {source}")]
    NotPem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What it holds instead.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("{cert_file} and {key_file} cannot be used together: {source}")]
    Unusable {
        /// The certificate.
        cert_file: PathBuf,
        /// The key.
        key_file: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// Both files' contents.
struct Files {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn load(files: &config::Tls) -> Result<(Arc<Certificate>, Seen), TlsError> {
        let contents = read(files)?;
        let key = RwLock::new(Arc::new(parse(files, &contents)?));
        Ok((Arc::new(Certificate { files: files.clone(), key }), contents.seen()))
    }

    /// Reads the files again if they hold something else than what was seen; puts it in force if it can be used.
    /// `None`: nothing new.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate stays.
    fn look_again(&self, seen: &mut Option<Seen>) -> Option<Result<(), TlsError>> {
        let contents = match read(&self.files) {
            Ok(contents) => contents,
            // Said once, until they can be read again.
            Err(error) => return seen.take().map(|_| Err(error)),
        };
        let now = contents.seen();
        if seen.as_ref() == Some(&now) {
            return None;
        }
        *seen = Some(now);
        Some(parse(&self.files, &contents).map(|key| {
            *self.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        }))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        // Whoever held the lock replaced an Arc or read one.
        Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Files {
    fn seen(&self) -> Seen {
        let mut context = digest::Context::new(&digest::SHA256);
        for file in [&self.chain, &self.key] {
            context.update(&(file.len() as u64).to_be_bytes());
            context.update(file);
        }
        Seen(context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// How handshakes are made with this certificate.
///
/// # Errors
/// When the system gives no randomness.
pub(super) fn server_config(certificate: Arc<Certificate>) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(suites())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = provider::Ticketer::new()?;
    Ok(Arc::new(config))
}

fn suites() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

fn read(files: &config::Tls) -> Result<Files, TlsError> {
    let read = |path: &PathBuf| fs::read(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source });
    Ok(Files { chain: read(&files.cert_file)?, key: read(&files.key_file)? })
}

fn parse(files: &config::Tls, contents: &Files) -> Result<CertifiedKey, TlsError> {
    let not_pem = |path: &PathBuf, what| {
        let path = path.clone();
        move |source| TlsError::NotPem { path, what, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&contents.chain).collect();
    let chain = match chain {
        Ok(chain) if chain.is_empty() => Err(pem::Error::NoItemsFound),
        other => other,
    };
    let chain = chain.map_err(not_pem(&files.cert_file, "certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(not_pem(&files.key_file, "private key"))?;
    CertifiedKey::from_der(chain, key, &suites()).map_err(|source| TlsError::Unusable {
        cert_file: files.cert_file.clone(),
        key_file: files.key_file.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};
    use tempfile::TempDir;

    fn made() -> Made<rcgen::KeyPair> {
        generate_simple_self_signed(vec!["localhost".into()]).unwrap()
    }

    fn written(made: &Made<rcgen::KeyPair>) -> (TempDir, config::Tls) {
        let dir = tempfile::tempdir().unwrap();
        let files = config::Tls { cert_file: dir.path().join("tls.crt"), key_file: dir.path().join("tls.key") };
        fs::write(&files.cert_file, made.cert.pem()).unwrap();
        fs::write(&files.key_file, made.signing_key.serialize_pem()).unwrap();
        (dir, files)
    }

    #[test]
    fn a_new_pair_is_put_in_force_and_half_of_one_is_not() {
        let (one, two) = (made(), made());
        let (_dir, files) = written(&one);
        let (certificate, seen) = Certificate::load(&files).unwrap();
        let mut seen = Some(seen);
        let in_force = |made: &Made<rcgen::KeyPair>| certificate.current().cert[0] == *made.cert.der();
        assert!(in_force(&one));
        assert!(certificate.look_again(&mut seen).is_none(), "nothing new");
        fs::write(&files.cert_file, two.cert.pem()).unwrap();
        let half = certificate.look_again(&mut seen);
        assert!(matches!(half, Some(Err(TlsError::Unusable { .. }))), "{half:?}");
        assert!(in_force(&one), "the old one stays");
        assert!(certificate.look_again(&mut seen).is_none(), "said once");
        fs::write(&files.key_file, two.signing_key.serialize_pem()).unwrap();
        assert!(matches!(certificate.look_again(&mut seen), Some(Ok(()))));
        assert!(in_force(&two));
    }

    #[test]
    fn files_that_vanish_or_hold_nonsense_change_nothing() {
        let one = made();
        let (_dir, files) = written(&one);
        let (certificate, seen) = Certificate::load(&files).unwrap();
        let mut seen = Some(seen);
        fs::remove_file(&files.key_file).unwrap();
        assert!(matches!(certificate.look_again(&mut seen), Some(Err(TlsError::Unreadable { .. }))));
        assert!(certificate.look_again(&mut seen).is_none(), "said once");
        fs::write(&files.key_file, "no key").unwrap();
        assert!(matches!(certificate.look_again(&mut seen), Some(Err(TlsError::NotPem { .. }))));
        fs::write(&files.cert_file, "").unwrap();
        assert!(matches!(certificate.look_again(&mut seen), Some(Err(TlsError::NotPem { .. }))));
        assert!(certificate.current().cert[0] == *one.cert.der());
        assert!(Certificate::load(&files).is_err());
    }
}
