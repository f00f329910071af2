//! A mail server that keeps what it is given.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use server::{Mail, MailSecurity, Settings};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use url::Url;

use super::{Setup, eventually};

/// Speaks as much of SMTP (RFC 5321) as is needed to get a letter.
#[derive(Clone)]
pub(crate) struct PostOffice {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    letters: Mutex<Vec<Received>>,
    /// Every line that came in, but for letters themselves.
    commands: Mutex<Vec<String>>,
    connections: AtomicUsize,
    /// What the next recipients are answered.
    refusals: Mutex<Vec<&'static str>>,
    /// Whether letters are taken now; the others wait.
    open: watch::Sender<bool>,
    tls: Option<(TlsAcceptor, TlsBegins)>,
}

/// When a conversation becomes one over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsBegins {
    AtOnce,
    WhenAsked,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

type Stream = BufReader<Box<dyn Wire>>;

/// A letter as it came.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) to: String,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) by_tls: bool,
}

impl Received {
    /// The address in it that leads to a page, and what is behind `#`.
    #[track_caller]
    pub(crate) fn ticket(&self, page: &str) -> String {
        let start = format!("{PUBLIC_URL}/{page}#");
        let found = self.body.lines().find_map(|line| line.strip_prefix(&start));
        found.unwrap_or_else(|| panic!("no link to {page} in {}", self.body)).to_owned()
    }
}

pub(crate) const PUBLIC_URL: &str = "https://chat.example";

impl PostOffice {
    pub(crate) async fn new() -> Self {
        Self::open(None).await
    }

    /// One that speaks TLS, and then takes passwords.
    pub(crate) async fn with_tls(acceptor: TlsAcceptor, begins: TlsBegins) -> Self {
        Self::open(Some((acceptor, begins))).await
    }

    async fn open(tls: Option<(TlsAcceptor, TlsBegins)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            letters: Mutex::default(),
            commands: Mutex::default(),
            connections: AtomicUsize::new(0),
            refusals: Mutex::default(),
            open: watch::Sender::new(true),
            tls,
        });
        let served = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                served.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(Arc::clone(&served), Box::new(stream)));
            }
        });
        Self { port, inner }
    }

    /// A server that sends its letters here.
    pub(crate) fn setup(&self, change: impl FnOnce(&mut Settings)) -> Setup {
        Setup::with(|settings| {
            settings.mail = Some(Mail {
                server: "127.0.0.1".to_owned(),
                port: self.port,
                security: MailSecurity::None,
                server_ca: None,
                login: None,
                from: "Cachalot <chat@chat.example>".to_owned(),
            });
            settings.public_url = Some(Url::parse(PUBLIC_URL).unwrap());
            settings.letter_pause = Duration::from_millis(5);
            change(settings);
        })
    }

    /// Answers the next recipients so, one by one, and those after them well.
    pub(crate) fn refuse(&self, answers: &[&'static str]) {
        *self.inner.refusals.lock().unwrap() = answers.iter().rev().copied().collect();
    }

    pub(crate) fn hold(&self, hold: bool) {
        self.inner.open.send_replace(!hold);
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.inner.commands.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.inner.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn letters(&self) -> Vec<Received> {
        self.inner.letters.lock().unwrap().clone()
    }

    /// The letters, as soon as there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        eventually("letters", async || self.letters().len() >= count).await;
        let letters = self.letters();
        assert_eq!(letters.len(), count, "{letters:?}");
        letters
    }

    /// The newest letter, as soon as there are so many.
    pub(crate) async fn newest(&self, count: usize) -> Received {
        self.wait_for(count).await.pop().unwrap()
    }
}

async fn serve(inner: Arc<Inner>, stream: Box<dyn Wire>) {
    let mut later = None;
    let mut stream: Stream = match inner.tls.clone() {
        Some((acceptor, TlsBegins::AtOnce)) => {
            // A client that does not trust the certificate goes away.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            BufReader::new(Box::new(stream))
        }
        Some((acceptor, TlsBegins::WhenAsked)) => {
            later = Some(acceptor);
            BufReader::new(stream)
        }
        None => BufReader::new(stream),
    };
    let mut to = String::new();
    if stream.write_all(b"220 post.example ready\r\n").await.is_err() {
        return;
    }
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 0) {
        let command = std::mem::take(&mut line).trim_end().to_owned();
        inner.commands.lock().unwrap().push(command.clone());
        let by_tls = inner.tls.is_some() && later.is_none();
        let verb = command.split(' ').next().unwrap().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" if by_tls => "250-post.example\r\n250-AUTH PLAIN\r\n250 8BITMIME",
            "EHLO" if later.is_some() => "250-post.example\r\n250-STARTTLS\r\n250 8BITMIME",
            "EHLO" => "250-post.example\r\n250 8BITMIME",
            "AUTH" if by_tls => "235 welcome",
            "STARTTLS" if later.is_some() => {
                let _ = stream.write_all(b"220 go on\r\n").await;
                let Some(acceptor) = later.take() else { return };
                let Ok(secured) = acceptor.accept(stream.into_inner()).await else { return };
                stream = BufReader::new(Box::new(secured));
                continue;
            }
            "RCPT" => {
                to = command.split_once('<').unwrap().1.trim_end_matches('>').to_owned();
                inner.refusals.lock().unwrap().pop().unwrap_or("250 ok")
            }
            "DATA" => {
                let _ = stream.write_all(b"354 go on\r\n").await;
                let letter = Received { by_tls, ..read_letter(&mut stream, to.clone()).await };
                let _ = inner.open.subscribe().wait_for(|open| *open).await;
                inner.letters.lock().unwrap().push(letter);
                "250 taken"
            }
            "QUIT" => "221 bye",
            "MAIL" | "RSET" | "NOOP" => "250 ok",
            _ => "502 not here",
        };
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || verb == "QUIT" {
            return;
        }
    }
}

async fn read_letter(stream: &mut Stream, to: String) -> Received {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        if line == ".\r\n" {
            break;
        }
        // A line that begins with a dot got another in front (RFC 5321, section 4.5.2).
        text.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let body = decode(head, body);
    Received { to, head: head.to_owned(), body, by_tls: false }
}

fn decode(head: &str, body: &str) -> String {
    let encoding =
        head.lines().find_map(|line| line.strip_prefix("Content-Transfer-Encoding: ")).unwrap_or("7bit");
    match encoding {
        "7bit" | "8bit" => body.to_owned(),
        "base64" => {
            let text: String = body.split_whitespace().collect();
            String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
        }
        "quoted-printable" => {
            let joined = body.replace("=\r\n", "");
            let mut bytes = Vec::new();
            let mut rest = joined.as_bytes();
            while let Some((&byte, after)) = rest.split_first() {
                rest = after;
                if byte == b'=' {
                    let (digits, after) = rest.split_at(2);
                    bytes.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
                    rest = after;
                } else {
                    bytes.push(byte);
                }
            }
            String::from_utf8(bytes).unwrap()
        }
        other => panic!("{other}"),
    }
}
