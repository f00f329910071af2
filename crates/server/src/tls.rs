//! TLS, with a certificate from files or from an ACME server ([`crate::acme`]).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::MissedTickBehavior;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::client::verify_server_name;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{Acceptor, ClientHello, ParsedCertificate, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::app::App;

/// Largest file that is read; a chain has a few certificates of a few KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_mins(1);

/// A certificate in files. They are read again when they have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM: the server's own certificate, then those that vouch for it.
    pub certificate: PathBuf,
    /// The private key in PEM; nobody else may read it.
    pub key: PathBuf,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or folder is not there, or not ours to use.
    #[error("{path} can't be used: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// Whoever reads a private key can be this server.
    #[error("{path} has mode {mode:03o}, and others may read the private key: chmod {allowed:o} it")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// Those that it may have.
        allowed: u32,
    },
    /// A file holds something else.
    #[error("{path} must hold {wanted} in PEM, in at most {FILE_BYTES_MAX} bytes, and doesn't")]
    Content {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The certificate or its key can't be used, or they don't belong together.
    #[error("the certificate {certificate} with the key {key}: {error}")]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// TLS itself can't be set up, as when this machine knows no authorities to ask an ACME server by.
    #[error("TLS can't be set up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What a server needs to speak TLS.
pub struct Tls {
    pub(crate) handshakes: Handshakes,
    keeper: Keeper,
    warnings: Vec<String>,
}

/// What keeps the certificate good.
enum Keeper {
    Files(FileKeeper),
    Acme(BoxFuture<'static, ()>),
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(..)")
    }
}

impl Tls {
    /// TLS with a certificate in files; `name` is what users know the server by, for warnings.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn from_files(
        files: CertificateFiles,
        name: Option<&str>,
        now_unix_ms: i64,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        // Before they are read: what changes from here on is seen as a change.
        let stamps = files.stamps();
        let pair = files.load(&provider)?;
        let warnings = warnings(&pair, name, now_unix_ms);
        let current = Arc::new(Current(RwLock::new(Arc::new(pair))));
        let handshakes =
            Handshakes { config: config(&provider, Arc::clone(&current) as _)?, challenges: None };
        let name = name.map(str::to_owned);
        Ok(Self {
            handshakes,
            keeper: Keeper::Files(FileKeeper { files, name, provider, current, stamps }),
            warnings,
        })
    }

    /// TLS with the certificates of a resolver, which `keep` keeps good.
    pub(crate) fn kept(
        provider: &Arc<CryptoProvider>,
        resolver: Arc<dyn ResolvesServerCert>,
        challenges: Arc<ServerConfig>,
        keep: BoxFuture<'static, ()>,
    ) -> Result<Self, TlsError> {
        let handshakes = Handshakes { config: config(provider, resolver)?, challenges: Some(challenges) };
        Ok(Self { handshakes, keeper: Keeper::Acme(keep), warnings: Vec::new() })
    }

    /// What is not as it should be, but no reason to refuse: an expired certificate, or one for another name.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The half that takes connections, and the half that keeps the certificate good for as long as it is run.
    pub(crate) fn split(self, app: App) -> (Handshakes, BoxFuture<'static, ()>) {
        let keep = match self.keeper {
            Keeper::Files(files) => Box::pin(files.keep(app)) as _,
            Keeper::Acme(keep) => keep,
        };
        (self.handshakes, keep)
    }
}

/// TLS 1.2 and 1.3 for HTTP/2 and HTTP/1.1.
fn config(
    provider: &Arc<CryptoProvider>,
    resolver: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Takes connections.
pub(crate) struct Handshakes {
    config: Arc<ServerConfig>,
    /// For those who come to see whether we have a name (TLS-ALPN-01, RFC 8737).
    challenges: Option<Arc<ServerConfig>>,
}

impl Handshakes {
    /// A connection to speak HTTP on; none if it was a challenge, which ends with the handshake.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<Option<TlsStream<S>>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        if let Some(challenges) = &self.challenges
            && rustls_acme::is_tls_alpn_challenge(&hello.client_hello())
        {
            let mut stream = hello.into_stream(Arc::clone(challenges)).await?;
            stream.shutdown().await?;
            return Ok(None);
        }
        hello.into_stream(Arc::clone(&self.config)).await.map(Some)
    }
}

/// The certificate of new handshakes. Connections that are there keep theirs.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl CertificateFiles {
    fn load(&self, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let wanted = "a chain of certificates";
        let content = |path: &Path, wanted| TlsError::Content { path: path.to_owned(), wanted };
        let text = read(&self.certificate, None)?.ok_or_else(|| content(&self.certificate, wanted))?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| content(&self.certificate, wanted))?;

        let wanted = "a private key";
        let text = read(&self.key, Some(0o600))?.ok_or_else(|| content(&self.key, wanted))?;
        let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| content(&self.key, wanted))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        })
    }

    /// What changes when the files do; none for one that is not there.
    fn stamps(&self) -> [Option<Stamp>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let facts = path.metadata().ok()?;
            let modified = (facts.mtime(), facts.mtime_nsec());
            Some(Stamp { modified, bytes: facts.len(), file: (facts.dev(), facts.ino()) })
        })
    }
}

/// By what one sees that a file is not the one of before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    bytes: u64,
    file: (u64, u64),
}

/// The content of a file; none if it is too large. One that is private may have no permissions beyond `allowed`.
fn read(path: &Path, allowed: Option<u32>) -> Result<Option<Zeroizing<Vec<u8>>>, TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    if let Some(allowed) = allowed {
        check_mode(path, facts.mode(), allowed)?;
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(facts.len().min(FILE_BYTES_MAX) as usize + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= FILE_BYTES_MAX))
}

/// Refuses what others may use. What the owner may do is the owner's matter.
pub(crate) fn check_mode(path: &Path, mode: u32, allowed: u32) -> Result<(), TlsError> {
    let mode = mode & 0o777;
    if mode & 0o077 != 0 {
        return Err(TlsError::Exposed { path: path.to_owned(), mode, allowed });
    }
    Ok(())
}

/// What is not as it should be about a certificate for `name`.
fn warnings(pair: &CertifiedKey, name: Option<&str>, now_unix_ms: i64) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(own) = pair.cert.first() else { return warnings };
    match x509_parser::parse_x509_certificate(own) {
        Ok((_, parsed)) => {
            let now = now_unix_ms.div_euclid(1000);
            let validity = parsed.validity();
            if now < validity.not_before.timestamp() {
                warnings.push(format!("the certificate is not valid before {}", validity.not_before));
            }
            if now > validity.not_after.timestamp() {
                warnings.push(format!("the certificate expired on {}", validity.not_after));
            }
        }
        Err(_) => warnings.push("the certificate's dates can't be read".to_owned()),
    }
    if let Some(name) = name {
        let server_name = ServerName::try_from(name.trim_matches(['[', ']']));
        let parsed = ParsedCertificate::try_from(own);
        if !matches!((server_name, parsed), (Ok(name), Ok(own)) if verify_server_name(&own, &name).is_ok()) {
            warnings.push(format!("the certificate is not for {name}, the host of public_url"));
        }
    }
    warnings
}

/// Reads the files again when they have changed.
struct FileKeeper {
    files: CertificateFiles,
    name: Option<String>,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    stamps: [Option<Stamp>; 2],
}

impl FileKeeper {
    async fn keep(mut self, app: App) {
        let mut ticks = tokio::time::interval(app.settings.progress_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = app.clock.monotonic();
        loop {
            ticks.tick().await;
            let now = app.clock.monotonic();
            if now.saturating_sub(looked) < LOOK_INTERVAL {
                continue;
            }
            looked = now;
            let now_unix_ms = app.clock.unix_ms();
            match app.blocking(move || self.look(now_unix_ms)).await {
                Ok(keeper) => self = keeper,
                // A panic of the reader; the certificate that is there stays.
                Err(_) => return tracing::error!("the certificate's files can't be watched any more"),
            }
        }
    }

    /// A pair that is being replaced may not fit for a moment: what there was stays until it does.
    fn look(mut self, now_unix_ms: i64) -> Self {
        let stamps = self.files.stamps();
        if stamps == self.stamps {
            return self;
        }
        match self.files.load(&self.provider) {
            Ok(pair) => {
                for warning in warnings(&pair, self.name.as_deref(), now_unix_ms) {
                    tracing::warn!("{warning}");
                }
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                self.stamps = stamps;
                tracing::info!("the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate has changed and can't be used; the old one stays");
            }
        }
        self
    }
}
