//! Certificates ordered from an ACME server such as Let's Encrypt (RFC 8555), which comes to see that a name is ours by
//! a handshake at port 443 (TLS-ALPN-01, RFC 8737). The order and the renewals are rustls-acme's work.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use rustls_acme::{AccountCache, AcmeConfig, AcmeState, CertCache, EventOk};
use rustls_platform_verifier::BuilderVerifierExt as _;
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::tls::{Tls, TlsError, check_mode};

/// What to order certificates for, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// Names, all in one certificate.
    pub domains: Vec<String>,
    /// Where the server writes when a certificate is about to expire.
    pub email: Option<String>,
    /// Address of the server's directory.
    pub directory: String,
    /// The authority that vouches for that server, in PEM; those of the operating system if not given.
    pub directory_ca: Option<PathBuf>,
    /// Where the account's key and the certificate are kept, in files that only we may read.
    pub folder: PathBuf,
}

impl Tls {
    /// TLS with certificates that are ordered and renewed while the server runs. Until the first one is there,
    /// handshakes fail.
    ///
    /// # Errors
    /// [`TlsError`], where the folder or the authorities can't be used. What goes wrong with an order is logged, and
    /// tried again.
    pub fn acme(acme: &Acme) -> Result<Self, TlsError> {
        private_folder(&acme.folder)?;
        let provider = Arc::new(ring::default_provider());
        let client = client_config(acme, &provider)?;
        let contact = acme.email.iter().map(|email| format!("mailto:{email}"));
        let state = AcmeConfig::new_with_client_config(&acme.domains, Arc::new(client))
            .contact(contact)
            .directory(&acme.directory)
            .cache(Folder(acme.folder.clone()))
            .state();
        let challenges = state.challenge_rustls_config_with_provider(Arc::clone(&provider));
        Self::kept(&provider, state.resolver(), challenges, Box::pin(keep(state)))
    }
}

/// Makes the folder, or checks that it is ours alone: what is in it may have any mode.
fn private_folder(path: &PathBuf) -> Result<(), TlsError> {
    let failed = |error| TlsError::File { path: path.clone(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    check_mode(path, fs::metadata(path).map_err(failed)?.mode(), 0o700)
}

/// How the ACME server itself is known.
fn client_config(acme: &Acme, provider: &Arc<CryptoProvider>) -> Result<ClientConfig, TlsError> {
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let Some(path) = &acme.directory_ca else {
        return Ok(builder.with_platform_verifier()?.with_no_client_auth());
    };
    let text = fs::read(path).map_err(|error| TlsError::File { path: path.clone(), error })?;
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok);
    if roots.add_parsable_certificates(found).0 == 0 {
        return Err(TlsError::Content { path: path.clone(), wanted: "an authority's certificate" });
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Orders and renews. A failed order is tried again after a pause that grows from seconds to hours.
async fn keep(mut state: AcmeState<io::Error>) {
    while let Some(event) = state.next().await {
        match event {
            Ok(EventOk::DeployedCachedCert) => tracing::info!("the certificate of before is in use"),
            Ok(EventOk::DeployedNewCert) => tracing::info!("a new certificate is in use"),
            Ok(EventOk::CertCacheStore | EventOk::AccountCacheStore) => {}
            Err(error) => tracing::error!(%error, "no certificate from the ACME server"),
        }
    }
}

/// Keeps the account's key and the certificate with its key, each whole or not at all.
struct Folder(PathBuf);

impl Folder {
    /// One file for each of what is asked of whom: another order does not take this one's place.
    fn path(&self, kind: &str, asked: &[String], directory: &str) -> PathBuf {
        let mut hash = Sha256::new();
        for part in asked.iter().map(String::as_str).chain([directory]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let name: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(format!("{kind}-{name}"))
    }

    async fn load(path: PathBuf) -> io::Result<Option<Vec<u8>>> {
        blocking(move || match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    async fn keep(path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
        blocking(move || {
            let draft = path.with_extension("new");
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[async_trait]
impl AccountCache for Folder {
    type EA = io::Error;

    async fn load_account(&self, contact: &[String], directory: &str) -> io::Result<Option<Vec<u8>>> {
        Self::load(self.path("account", contact, directory)).await
    }

    async fn store_account(&self, contact: &[String], directory: &str, account: &[u8]) -> io::Result<()> {
        Self::keep(self.path("account", contact, directory), account.to_vec()).await
    }
}

#[async_trait]
impl CertCache for Folder {
    type EC = io::Error;

    async fn load_cert(&self, domains: &[String], directory: &str) -> io::Result<Option<Vec<u8>>> {
        Self::load(self.path("certificate", domains, directory)).await
    }

    async fn store_cert(&self, domains: &[String], directory: &str, certificate: &[u8]) -> io::Result<()> {
        Self::keep(self.path("certificate", domains, directory), certificate.to_vec()).await
    }
}
