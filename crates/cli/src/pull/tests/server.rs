//! A real HTTP server on loopback that answers as each test wants.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A request as it arrived. Header names in lower case.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// `N` of `Range: bytes=N-`.
    pub(super) fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// What the server sends back.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The body's announced length; none for its own.
    pub(super) announced: Option<u64>,
    /// Sends only so much of the body.
    pub(super) cut_at: Option<usize>,
    /// After that, waits until the client goes away instead of closing.
    pub(super) stall: bool,
    /// Sends the body in chunks, without a length.
    pub(super) chunked: bool,
}

impl Reply {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn ok(body: &[u8]) -> Self {
        Self { status: 200, body: body.to_vec(), ..Self::default() }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn cut_at(mut self, bytes: usize) -> Self {
        self.cut_at = Some(bytes);
        self
    }
}

/// What a good file server does with `Range` and `If-Range`.
pub(super) fn serve_file(seen: &Seen, file: &[u8], etag: &str) -> Reply {
    let fits = seen.header("if-range").is_none_or(|validator| validator == etag);
    match seen.range_start().filter(|_| fits) {
        None => Reply::ok(file).header("ETag", etag),
        Some(start) if start >= file.len() => {
            Reply::status(416).header("Content-Range", &format!("bytes */{}", file.len()))
        }
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
            Reply { status: 206, body: file[start..].to_vec(), ..Reply::default() }
                .header("ETag", etag)
                .header("Content-Range", &range)
        }
    }
}

type Handler = dyn Fn(usize, &Seen) -> Reply + Send + Sync;

/// Runs until it is dropped; every connection carries one request.
pub(super) struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// `handler` gets the number of the request (from 0) and the request.
    pub(super) fn start(handler: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped, handler): (_, _, Arc<Handler>) = (seen.clone(), stop.clone(), Arc::new(handler));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (log, handler) = (log.clone(), handler.clone());
                std::thread::spawn(move || answer(&stream.unwrap(), &log, handler.as_ref()));
            }
        });
        Self { address, seen, stop, thread: Some(thread) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn answer(stream: &TcpStream, log: &Mutex<Vec<Seen>>, handler: &Handler) {
    let Some(seen) = read_request(stream) else { return };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(seen.clone());
        log.len() - 1
    };
    // A client that goes away is part of some tests.
    let _ = send(stream, &handler(number, &seen));
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Seen { path, headers })
}

fn send(mut stream: &TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head = format!("{head}{name}: {value}\r\n");
    }
    if reply.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else {
        let length = reply.announced.unwrap_or(reply.body.len() as u64);
        head = format!("{head}Content-Length: {length}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    let body = &reply.body[..reply.cut_at.unwrap_or(reply.body.len()).min(reply.body.len())];
    if reply.chunked {
        for chunk in body.chunks(1_000) {
            write!(stream, "{:x}\r\n", chunk.len())?;
            stream.write_all(chunk)?;
            stream.write_all(b"\r\n")?;
        }
        stream.write_all(b"0\r\n\r\n")?;
    } else {
        stream.write_all(body)?;
    }
    stream.flush()?;
    if reply.stall {
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}
