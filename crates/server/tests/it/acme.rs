//! Certificates from an ACME server: a small one on this machine, which checks what a real one checks. It really
//! connects to the site to see the challenge's certificate, and signs what was asked for.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm};
use serde_json::{Value, json};
use server::{Acme, Settings, Tls, TlsError};
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::prelude::FromDer as _;

use crate::support::{Setup, Site, eventually, within};
use crate::tls::{Authority, NAME, connect, names};

const TOKEN: &str = "a-token-that-nobody-guesses";
/// acmeIdentifier (RFC 8737, section 3).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

struct Server {
    authority: Authority,
    base: String,
    state: Mutex<Account>,
}

/// One account with one order at a time is enough.
#[derive(Default)]
struct Account {
    nonces: HashSet<String>,
    nonces_given: usize,
    /// Of the account's key (RFC 7638).
    thumbprint: String,
    contact: Value,
    asked_names: Value,
    orders: usize,
    /// Where port 443 of every name is.
    site: Option<SocketAddr>,
    validated: bool,
    chain: Option<String>,
}

impl Server {
    /// Serves by HTTPS with a certificate of `authority` for localhost.
    async fn start() -> Arc<Self> {
        let authority = Authority::new();
        let (chain, key) = authority.issue(names(&["localhost"]));
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let server = Arc::new(Self { authority, base, state: Mutex::default() });
        let router = Router::new()
            .route("/directory", get(directory))
            .route("/nonce", get(nonce))
            .route("/account", post(account))
            .route("/order", post(order))
            .route("/{what}", post(of_account))
            .with_state(Arc::clone(&server));
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), router));
        server
    }

    fn with<T>(&self, work: impl FnOnce(&mut Account) -> T) -> T {
        work(&mut self.state.lock().unwrap())
    }

    /// A response as all are: with a fresh nonce.
    fn reply(&self, status: u16, location: &str, body: impl IntoResponse) -> Response {
        let nonce = self.with(|account| {
            account.nonces_given += 1;
            let nonce = format!("nonce{}", account.nonces_given);
            account.nonces.insert(nonce.clone());
            nonce
        });
        let fields = [("replay-nonce", nonce), ("location", format!("{}{location}", self.base))];
        (StatusCode::from_u16(status).unwrap(), fields, body).into_response()
    }

    /// What a signed request says; its nonce is good once and it is for this address.
    fn open(&self, path: &str, body: &[u8]) -> (Value, Value) {
        let sent: Value = serde_json::from_slice(body).unwrap();
        let part = |name: &str| URL_SAFE_NO_PAD.decode(sent[name].as_str().unwrap()).unwrap();
        let protected: Value = serde_json::from_slice(&part("protected")).unwrap();
        assert_eq!(protected["url"], format!("{}{path}", self.base));
        let nonce = protected["nonce"].as_str().unwrap();
        assert!(self.with(|account| account.nonces.remove(nonce)), "{nonce} is not good");
        assert_eq!(part("signature").len(), 64);
        let payload = part("payload");
        let payload =
            if payload.is_empty() { Value::Null } else { serde_json::from_slice(&payload).unwrap() };
        (protected, payload)
    }

    fn order_view(&self) -> Value {
        self.with(|account| {
            let status = match account {
                Account { chain: Some(_), .. } => "valid",
                Account { validated: true, .. } => "ready",
                _ => "pending",
            };
            json!({
                "status": status,
                "identifiers": account.asked_names,
                "authorizations": [format!("{}/authorization", self.base)],
                "finalize": format!("{}/finalize", self.base),
                "certificate": format!("{}/certificate", self.base),
            })
        })
    }

    /// Connects as RFC 8737 says and looks at what is shown.
    async fn validate(&self) {
        let (site, thumbprint) = self.with(|account| (account.site.unwrap(), account.thumbprint.clone()));
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let stream = TcpStream::connect(site).await.unwrap();
        let name = ServerName::try_from(NAME).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (_, connection) = stream.get_ref();
        assert_eq!(connection.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        let shown = connection.peer_certificates().unwrap()[0].clone();
        let (_, shown) = x509_parser::parse_x509_certificate(&shown).unwrap();
        let san = shown.subject_alternative_name().unwrap().unwrap();
        assert_eq!(format!("{:?}", san.value.general_names), format!("[DNSName({NAME:?})]"));
        let proof = shown
            .extensions()
            .iter()
            .find(|extension| extension.oid.to_id_string() == ACME_IDENTIFIER)
            .unwrap();
        assert!(proof.critical);
        let expected = Sha256::digest(format!("{TOKEN}.{thumbprint}"));
        // An OCTET STRING of 32 bytes.
        assert_eq!(proof.value, [&[4, 32], &expected[..]].concat());
        self.with(|account| account.validated = true);
    }

    /// Signs what a request asks for.
    fn sign(&self, request: &[u8]) {
        let (_, request) =
            x509_parser::certification_request::X509CertificationRequest::from_der(request).unwrap();
        let info = &request.certification_request_info;
        let key = RequestedKey(info.subject_pki.subject_public_key.data.to_vec());
        let certificate =
            names(&[NAME]).signed_by(&key, &self.authority.certificate, &self.authority.key).unwrap();
        let chain = certificate.pem() + &self.authority.certificate.pem();
        self.with(|account| account.chain = Some(chain));
    }
}

struct RequestedKey(Vec<u8>);

impl PublicKeyData for RequestedKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// Takes any certificate: a challenge's is self-signed, and has an extension that no other client understands.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, router: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(router);
            // A client that goes away shows in the test.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Shared = State<Arc<Server>>;

async fn directory(State(server): Shared) -> Response {
    let at = |path| format!("{}/{path}", server.base);
    let body = json!({"newNonce": at("nonce"), "newAccount": at("account"), "newOrder": at("order")});
    axum::Json(body).into_response()
}

async fn nonce(State(server): Shared) -> Response {
    server.reply(200, "", ())
}

async fn account(State(server): Shared, body: Bytes) -> Response {
    let (protected, payload) = server.open("/account", &body);
    let key = &protected["jwk"];
    let canonical =
        format!(r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#, key["crv"], key["kty"], key["x"], key["y"]);
    assert_eq!(payload["termsOfServiceAgreed"], true);
    server.with(|account| {
        account.thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
        account.contact = payload["contact"].clone();
    });
    server.reply(201, "/account/1", axum::Json(json!({"status": "valid"})))
}

async fn order(State(server): Shared, body: Bytes) -> Response {
    let (protected, payload) = server.open("/order", &body);
    assert_eq!(protected["kid"], format!("{}/account/1", server.base));
    server.with(|account| {
        account.asked_names = payload["identifiers"].clone();
        account.orders += 1;
    });
    server.reply(201, "/order-1", axum::Json(server.order_view()))
}

async fn of_account(State(server): Shared, UrlPath(what): UrlPath<String>, body: Bytes) -> Response {
    let (_, payload) = server.open(&format!("/{what}"), &body);
    match what.as_str() {
        "authorization" => {
            let status = if server.with(|account| account.validated) { "valid" } else { "pending" };
            let challenges = json!([
                {"type": "http-01", "url": format!("{}/other", server.base), "token": "x"},
                {"type": "tls-alpn-01", "url": format!("{}/challenge", server.base), "token": TOKEN},
            ]);
            let identifier = json!({"type": "dns", "value": NAME});
            let body = json!({"status": status, "identifier": identifier, "challenges": challenges});
            server.reply(200, "", axum::Json(body))
        }
        "challenge" => {
            server.validate().await;
            server.reply(200, "", axum::Json(json!({"status": "valid"})))
        }
        "finalize" => {
            assert!(server.with(|account| account.validated), "nothing is signed for who has shown nothing");
            server.sign(&URL_SAFE_NO_PAD.decode(payload["csr"].as_str().unwrap()).unwrap());
            server.reply(200, "", axum::Json(server.order_view()))
        }
        "order-1" => server.reply(200, "", axum::Json(server.order_view())),
        "certificate" => {
            let chain = server.with(|account| account.chain.clone()).unwrap();
            server.reply(200, "", ([(header::CONTENT_TYPE, "application/pem-certificate-chain")], chain))
        }
        _ => server.reply(404, "", ()),
    }
}

fn asked(server: &Server, folder: &Path) -> Acme {
    let authority = folder.join("authority.pem");
    std::fs::write(&authority, server.authority.certificate.pem()).unwrap();
    Acme {
        domains: vec![NAME.to_owned()],
        email: Some("captain@example.org".to_owned()),
        directory: format!("{}/directory", server.base),
        directory_ca: Some(authority),
        folder: folder.join("acme"),
    }
}

async fn serve(acme: &Acme) -> Site {
    let mut setup = Setup::with(|settings: &mut Settings| {
        settings.public_url = Some(format!("https://{NAME}/").parse().unwrap());
    });
    setup.administrator = false;
    setup.tls = Some(Tls::acme(acme).unwrap());
    setup.serve().await
}

#[tokio::test]
async fn a_certificate_is_ordered_shown_and_kept() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let acme = asked(&server, folder.path());
    let site = serve(&acme).await;
    server.with(|account| account.site = Some(site.address));
    let client = || server.authority.client(&[&TLS13], &["http/1.1"]);
    eventually("the certificate is shown", async || connect(site.address, client()).await.is_ok()).await;
    server.with(|account| {
        assert_eq!(account.contact, json!(["mailto:captain@example.org"]));
        assert_eq!(account.asked_names, json!([{"type": "dns", "value": NAME}]));
        assert_eq!(account.orders, 1);
    });
    // Who asks for the challenge afterwards gets nothing.
    assert!(connect(site.address, server.authority.client(&[&TLS13], &["acme-tls/1"])).await.is_err());

    let kept = async || {
        let files = std::fs::read_dir(&acme.folder).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_none()).count() == 2
    };
    eventually("the account's key and the certificate are kept", kept).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&acme.folder), 0o700);
    for file in std::fs::read_dir(&acme.folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    within("the server ends", site.shut_down()).await.unwrap();

    // The next server has it at once and orders nothing.
    let site = serve(&acme).await;
    eventually("the kept one is shown", async || connect(site.address, client()).await.is_ok()).await;
    assert_eq!(server.with(|account| account.orders), 1);
}

#[tokio::test]
async fn without_a_certificate_nobody_gets_in_and_nothing_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start().await;
    // The port of a server that is not there.
    let acme =
        Acme { directory: "https://localhost:1/directory".to_owned(), ..asked(&server, folder.path()) };
    let site = serve(&acme).await;
    for alpn in [&["http/1.1"][..], &["acme-tls/1"]] {
        assert!(connect(site.address, server.authority.client(&[&TLS13], alpn)).await.is_err());
    }
    within("the server ends", site.shut_down()).await.unwrap();
}

#[tokio::test]
async fn the_folder_is_ours_alone() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let acme = asked(&server, folder.path());
    std::fs::create_dir(&acme.folder).unwrap();
    std::fs::set_permissions(&acme.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = Tls::acme(&acme).unwrap_err();
    assert!(matches!(error, TlsError::Exposed { .. }), "{error}");
    assert!(error.to_string().contains("chmod 700"), "{error}");
    std::fs::set_permissions(&acme.folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(acme.directory_ca.as_ref().unwrap(), "nonsense").unwrap();
    let error = Tls::acme(&acme).unwrap_err();
    assert!(error.to_string().contains("authority.pem"), "{error}");
}
