//! TLS with certificates from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use serde_json::json;
use server::{CertificateFiles, Settings, Tls, TlsError};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use crate::support::{Http2, Reply, Setup, Site, Streaming, eventually, within};

pub(crate) const NAME: &str = "chat.example.org";

/// An authority that vouches for names.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).unwrap(), key }
    }

    /// A chain and a key, in PEM.
    pub(crate) fn issue(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &self.certificate, &self.key).unwrap();
        (certificate.pem() + &self.certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

pub(crate) fn names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn write(files: &CertificateFiles, (chain, key): &(String, String)) {
    use std::os::unix::fs::PermissionsExt as _;
    // Replaced as certificates are: beside first.
    for (path, text) in [(&files.certificate, chain), (&files.key, key)] {
        let draft = path.with_extension("new");
        std::fs::write(&draft, text).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&draft, path).unwrap();
    }
}

fn in_folder(folder: &Path) -> CertificateFiles {
    CertificateFiles { certificate: folder.join("chain.pem"), key: folder.join("key.pem") }
}

/// A site with TLS, its authority and its files.
struct Secured {
    site: Site,
    authority: Authority,
    files: CertificateFiles,
    _folder: TempDir,
}

impl Secured {
    async fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let files = in_folder(folder.path());
        write(&files, &authority.issue(names(&[NAME, "localhost"])));
        let tls = Tls::from_files(files.clone(), Some(NAME), now_ms()).unwrap();
        assert_eq!(tls.warnings(), [""; 0]);
        let mut setup = Setup::with(|settings| {
            settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
            change(settings);
        });
        setup.administrator = false;
        setup.tls = Some(tls);
        Self { site: setup.serve().await, authority, files, _folder: folder }
    }

    async fn connect(&self, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.site.address, config).await
    }

    async fn open(&self) -> TlsStream<TcpStream> {
        self.connect(self.authority.client(&[&TLS13, &TLS12], &["http/1.1"])).await.unwrap()
    }
}

pub(crate) async fn connect(
    address: std::net::SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(NAME).unwrap();
    within("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await
}

fn now_ms() -> i64 {
    base::Clock::unix_ms(&base::SystemClock::new())
}

async fn get(stream: TlsStream<TcpStream>, path: &str) -> Reply {
    let request = Request::get(path).header("host", NAME).body(Full::new(Bytes::new())).unwrap();
    within(path, async { Streaming::ask(stream, request).await.whole().await }).await
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http() {
    let secured = Secured::new(|_| {}).await;
    for (version, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        for (alpn, chosen) in [(&["http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
            let stream = secured.connect(secured.authority.client(&[version], alpn)).await.unwrap();
            let (_, connection) = stream.get_ref();
            assert_eq!(connection.protocol_version(), Some(expected));
            assert_eq!(connection.alpn_protocol(), chosen);
            let reply = get(stream, "/api/session").await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
        }
        for alpn in [&["h2", "http/1.1"][..], &["h2"]] {
            let stream = secured.connect(secured.authority.client(&[version], alpn)).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let client = Http2::over(stream).await;
            let reply = client.get(&format!("https://{NAME}/api/session")).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(reply.header("strict-transport-security"), "max-age=31536000");
        }
        let refused = secured.connect(secured.authority.client(&[version], &["h3"])).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    }
    let stranger = Authority::new().client(&[&TLS13], &[]);
    assert!(secured.connect(stranger).await.is_err(), "another authority does not vouch for it");
}

#[tokio::test]
async fn answers_stream_over_tls() {
    let secured = Secured::new(|_| {}).await;
    let asked = json!({"model": "plain", "messages": [{"role": "user", "content": "Hi"}], "stream": true});
    let request = Request::post("/v1/chat/completions")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(&asked).unwrap())))
        .unwrap();
    let mut stream = Streaming::ask(secured.open().await, request).await;
    assert_eq!(stream.status, 200);
    let events = stream.rest().await;
    assert!(events.len() > 3, "{events:?}");
    assert_eq!(events.last().unwrap().data, "[DONE]");
}

#[tokio::test]
async fn what_is_no_tls_is_no_harm() {
    let secured = Secured::new(|_| {}).await;
    for nonsense in [
        &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        &[0; 4096],
    ] {
        let mut stream = TcpStream::connect(secured.site.address).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // A server that closes while bytes are on their way resets; what came before that counts.
        let _ = within("the server closes", stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer[0] == 0x15, "an alert of TLS or nothing: {answer:?}");
    }
    assert_eq!(get(secured.open().await, "/healthz").await.status, 200);
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_ended() {
    let secured = Secured::new(|settings| {
        settings.connections.handshake_timeout = Duration::from_millis(100);
    })
    .await;
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(secured.site.address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let _ = within("the server closes", stream.read_to_end(&mut answer)).await;
        assert_eq!(answer, b"");
    }
}

#[tokio::test]
async fn handshakes_count_as_connections() {
    let secured = Secured::new(|settings| settings.connections_max = 1).await;
    let idle = TcpStream::connect(secured.site.address).await.unwrap();
    let address = secured.site.address;
    let config = secured.authority.client(&[&TLS13], &[]);
    let mut waiting = tokio::spawn(async move { connect(address, config).await.is_ok() });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err(), "there was room beside one that has not shaken hands");
    drop(idle);
    assert!(within("there is room", waiting).await.unwrap());
}

/// The serial number of the certificate that new handshakes get, or rather all of it.
async fn shown(secured: &Secured) -> Vec<u8> {
    let stream = secured.open().await;
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_changed_certificate_is_taken_and_no_connection_lost() {
    let secured = Secured::new(|_| {}).await;
    let minute = Duration::from_secs(61);
    let first = shown(&secured).await;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(secured.open().await))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let mut ask = async || {
        let request = Request::get("/healthz").header("host", NAME).body(Full::new(Bytes::new())).unwrap();
        let reply = within("an answer", sender.send_request(request)).await.unwrap();
        assert_eq!(reply.status(), 200);
        http_body_util::BodyExt::collect(reply.into_body()).await.unwrap();
        sender.ready().await.unwrap();
    };
    ask().await;

    write(&secured.files, &secured.authority.issue(names(&[NAME])));
    secured.site.clock.advance(minute);
    eventually("the new certificate is shown", async || shown(&secured).await != first).await;
    ask().await;
    assert!(!connection.is_finished(), "the connection of before goes on");

    // A key that doesn't fit, as between the replacement of one file and that of the other.
    let second = shown(&secured).await;
    let good = secured.authority.issue(names(&[NAME]));
    let (_, other_key) = secured.authority.issue(names(&[NAME]));
    write(&secured.files, &(good.0.clone(), other_key));
    secured.site.clock.advance(minute);
    // It is read in a tick or two; handshakes go on meanwhile and after.
    for _ in 0..5 {
        assert_eq!(shown(&secured).await, second);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    write(&secured.files, &good);
    secured.site.clock.advance(minute);
    eventually("what fits is shown", async || shown(&secured).await != second).await;
}

#[tokio::test]
async fn open_connections_do_not_hold_up_the_end() {
    let secured = Secured::new(|_| {}).await;
    let (spoken, silent) = (secured.open().await, TcpStream::connect(secured.site.address).await.unwrap());
    within("the server ends", secured.site.shut_down()).await.unwrap();
    drop((spoken, silent));
}

fn refused(change: impl FnOnce(&CertificateFiles)) -> TlsError {
    let folder = tempfile::tempdir().unwrap();
    let files = in_folder(folder.path());
    write(&files, &Authority::new().issue(names(&[NAME])));
    change(&files);
    Tls::from_files(files, None, now_ms()).unwrap_err()
}

#[test]
fn what_can_not_be_used_is_said() {
    let check = |change: &dyn Fn(&CertificateFiles), says: &[&str]| {
        let error = refused(change).to_string();
        for text in says {
            assert!(error.contains(text), "{error:?} should say {text:?}");
        }
    };
    let mode = |path: &PathBuf, mode| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    check(&|files| mode(&files.key, 0o644), &["key.pem", "mode 644", "chmod 600"]);
    check(&|files| mode(&files.key, 0o640), &["mode 640"]);
    check(&|files| std::fs::remove_file(&files.key).unwrap(), &["key.pem", "No such file"]);
    check(&|files| std::fs::remove_file(&files.certificate).unwrap(), &["chain.pem", "No such file"]);
    check(
        &|files| std::fs::write(&files.certificate, "nonsense").unwrap(),
        &["chain.pem", "certificates in PEM"],
    );
    check(
        &|files| std::fs::write(&files.key, "secret nonsense").unwrap(),
        &["key.pem", "private key in PEM"],
    );
    check(
        &|files| std::fs::write(&files.certificate, vec![b' '; 2 << 20]).unwrap(),
        &["at most 1048576 bytes"],
    );
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    check(&|files| std::fs::write(&files.key, &other).unwrap(), &["chain.pem", "key.pem", "KeyMismatch"]);
}

#[test]
fn what_is_not_as_it_should_be_is_a_warning() {
    let check = |params: CertificateParams, name: &str, says: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let files = in_folder(folder.path());
        write(&files, &Authority::new().issue(params));
        let tls = Tls::from_files(files, Some(name), now_ms()).unwrap();
        assert_eq!(tls.warnings().len(), says.len(), "{:?}", tls.warnings());
        for (warning, text) in tls.warnings().iter().zip(says) {
            assert!(warning.contains(text), "{warning:?} should say {text:?}");
        }
    };
    check(names(&[NAME]), NAME, &[]);
    check(names(&["*.example.org"]), NAME, &[]);
    check(names(&["203.0.113.7", "2001:db8::7"]), "[2001:db8::7]", &[]);
    check(names(&["www.example.org"]), NAME, &["not for chat.example.org"]);
    let mut expired = names(&["www.example.org"]);
    expired.not_after = rcgen::date_time_ymd(2020, 2, 3);
    check(expired, NAME, &["expired on Feb  3", "not for"]);
    let mut early = names(&[NAME]);
    early.not_before = rcgen::date_time_ymd(3020, 2, 3);
    check(early, NAME, &["not valid before"]);
}
