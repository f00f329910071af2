//! Listeners, as the accept loop wants them.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;

/// A listener of whose connections the runtime learns when they are taken in: of those that are not, of whom a flood has
/// thousands a second, each would be entered in its list of descriptors and struck off again.
pub(super) struct Door(AsyncFd<StdListener>);

impl Door {
    #[expect(unsafe_code, reason = "the runtime asks for a descriptor that stays open")]
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        let listener = listener.into_std()?;
        // SAFETY: a listener owns its descriptor, which is the same, and open, for as long as it lives.
        Ok(Self(unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) }?))
    }

    /// For options of the listener.
    pub(super) fn listener(&self) -> &StdListener {
        self.0.get_ref()
    }

    /// The next connection, which blocks who reads from it.
    pub(super) fn poll_accept(&self, context: &mut Context<'_>) -> Poll<io::Result<(StdStream, SocketAddr)>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(context))?;
            if let Ok(accepted) = ready.try_io(|listener| listener.get_ref().accept()) {
                return Poll::Ready(accepted);
            }
        }
    }

    /// The next connection if there is one now.
    pub(super) fn accept_now(&self) -> Option<(StdStream, SocketAddr)> {
        // What is wrong is found again, and told, by who waits for one.
        self.listener().accept().ok()
    }

    /// Has the kernel keep back connections on which nothing has come, or no more: while very many come, who is silent
    /// costs nothing but an entry in its queue, and of everybody else it can be told at once who they are. After some
    /// seconds they are given out all the same. Where a system can't do it, they are given out as they come.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "no library of ours knows the option")]
    pub(super) fn keep_silent_back(&self, is_kept_back: bool) {
        use std::os::fd::AsRawFd as _;

        /// The kernel rounds them up to the times at which it asks again: 1, 3, 7 s.
        const SECONDS: libc::c_int = 3;
        let seconds = if is_kept_back { SECONDS } else { 0 };
        // A refusal leaves the listener as it was.
        // SAFETY: the descriptor is open while self is borrowed, and the kernel reads one `c_int`, which lives on.
        let _ = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                (&raw const seconds).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn keep_silent_back(&self, _: bool) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_is_silent_is_kept_back_only_while_that_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door::new(listener).unwrap();
        let accept = async || poll_fn(|context| door.poll_accept(context)).await;
        let short = Duration::from_millis(200);
        door.keep_silent_back(true);
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(short, accept()).await.is_err(), "both are silent");
        second.write_all(b"a").await.unwrap();
        let (_accepted, from) = accept().await.unwrap();
        assert_eq!(from, second.local_addr().unwrap(), "who came later spoke first");
        door.keep_silent_back(false);
        let third = TcpStream::connect(address).await.unwrap();
        let (_accepted, from) = timeout(short, accept()).await.expect("it need not speak").unwrap();
        assert_eq!(from, third.local_addr().unwrap());
        first.write_all(b"a").await.unwrap();
        let (_accepted, from) = accept().await.unwrap();
        assert_eq!(from, first.local_addr().unwrap(), "nobody is lost");
    }
}
