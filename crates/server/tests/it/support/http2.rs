//! HTTP/2, as a client that means well and as one that doesn't.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::client::asked;
use super::{Reply, Streaming, within};

/// One connection, on which many requests are made at once.
pub(crate) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<hyper::Result<()>>,
}

impl Http2 {
    pub(crate) async fn new(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        Self { sender, connection: tokio::spawn(connection) }
    }

    pub(crate) async fn get(&self, url: &str) -> Reply {
        within(url, async { self.open(Request::get(url).body(Full::default()).unwrap()).await.whole().await })
            .await
    }

    /// Sends a request and returns when the response's head is there.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Streaming {
        let asked = asked(&request).await;
        let response = self.sender.clone().send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        // The connection lives as long as this client.
        Streaming::of(response, asked, tokio::spawn(async {}))
    }

    /// Waits until the server has ended the connection.
    pub(crate) async fn ended(self) {
        let _sender = self.sender;
        let _ = within("the server ends the connection", self.connection).await.unwrap();
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A connection on which frames are written as they are.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    /// A connection after its preface and settings.
    pub(crate) async fn new(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
        Self(stream)
    }

    /// `GET /healthz` to localhost, by HPACK's static table and without its compression.
    pub(crate) fn get_healthz(stream: u32) -> Vec<u8> {
        let mut block = vec![0x82, 0x86, 0x04, 8];
        block.extend_from_slice(b"/healthz");
        block.extend_from_slice(&[0x01, 9]);
        block.extend_from_slice(b"localhost");
        frame(1, 0x05, stream, &block)
    }

    /// Writes as long as the server reads; whether it read all.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The frames that come until one of this kind, which is given; none if the connection ends before.
    pub(crate) async fn until(&mut self, kind: u8) -> Option<Vec<u8>> {
        within("a frame or the end", async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.ok()?;
                let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                self.0.read_exact(&mut payload).await.ok()?;
                if head[3] == kind {
                    return Some(payload);
                }
            }
        })
        .await
    }

    /// Waits until the server has closed, or reset, the connection.
    pub(crate) async fn closed(mut self) {
        let mut rest = Vec::new();
        let _ = within("the server closes", self.0.read_to_end(&mut rest)).await;
    }
}
