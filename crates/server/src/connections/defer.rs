//! Connections that the kernel gives out only when something has come on them: while very many come, who is silent costs
//! nothing but an entry in its queue, and of everybody else it can be told at once who they are.

use tokio::net::TcpListener;

/// Has a listener keep back connections on which nothing has come, or no more. After some seconds they are given out all
/// the same. Where a system can't do it, they are given out as they come.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library of ours knows the option")]
pub(super) fn keep_silent_back(listener: &TcpListener, is_kept_back: bool) {
    use std::os::fd::AsRawFd as _;

    /// The kernel rounds them up to the times at which it asks again: 1, 3, 7 s.
    const SECONDS: libc::c_int = 3;
    let seconds = if is_kept_back { SECONDS } else { 0 };
    // A refusal leaves the listener as it was.
    // SAFETY: the descriptor is open while the listener is borrowed, and the kernel reads one `c_int`, which lives on.
    let _ = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn keep_silent_back(_: &TcpListener, _: bool) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn who_is_silent_is_kept_back_only_while_that_is_wanted() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let short = Duration::from_millis(200);
        keep_silent_back(&listener, true);
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        assert!(timeout(short, listener.accept()).await.is_err(), "both are silent");
        second.write_all(b"a").await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, second.local_addr().unwrap(), "who came later spoke first");
        keep_silent_back(&listener, false);
        let third = TcpStream::connect(address).await.unwrap();
        let (_accepted, from) = timeout(short, listener.accept()).await.expect("it need not speak").unwrap();
        assert_eq!(from, third.local_addr().unwrap());
        first.write_all(b"a").await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert_eq!(from, first.local_addr().unwrap(), "nobody is lost");
    }
}
