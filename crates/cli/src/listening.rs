//! The sockets that `cachalot up` listens on.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// Connections that may wait in the kernel's queue.
const BACKLOG: u32 = 1024;

/// Listens on all of them.
pub(crate) fn listen(addresses: &[SocketAddr]) -> anyhow::Result<Vec<TcpListener>> {
    addresses
        .iter()
        .map(|&address| bind(address, addresses).map_err(|error| explained(address, error)))
        .collect()
}

/// `[::]` takes IPv4 too, whatever the system's default is, unless IPv4 has a listener of its own.
fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A server that has just ended leaves connections behind that would keep the port.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        let apart = all.iter().any(|other| other.is_ipv4() && other.port() == address.port());
        rustix::net::sockopt::set_ipv6_v6only(&socket, apart)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn explained(address: SocketAddr, error: io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "{address} is in use: is another cachalot running? Choose another port with --listen {}",
            SocketAddr::new(address.ip(), 0).to_string().trim_end_matches('0').to_owned() + "PORT"
        ),
        ErrorKind::PermissionDenied => {
            anyhow::anyhow!("{address} may not be listened on by this user; ports from 1024 on usually may")
        }
        _ => anyhow::Error::new(error).context(format!("{address} can't be listened on")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    /// A port that is free in both families, and that the system gives to nobody who doesn't name it (it gives those from
    /// 32768 on): connections of other tests take those.
    fn free_port() -> u16 {
        let first = 10_000 + (std::process::id() % 10_000) as u16;
        let is_free = |port: &u16| std::net::TcpListener::bind(("::", *port)).is_ok();
        (first..32_000).find(is_free).unwrap()
    }

    #[tokio::test]
    async fn both_families_by_one_socket_or_by_two() {
        let port = free_port();
        for addresses in
            [vec![format!("[::]:{port}")], vec![format!("0.0.0.0:{port}"), format!("[::]:{port}")]]
        {
            let addresses: Vec<SocketAddr> =
                addresses.iter().map(|address| address.parse().unwrap()).collect();
            let listeners = listen(&addresses).unwrap();
            assert_eq!(listeners.len(), addresses.len());
            for client in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
                TcpStream::connect(&client)
                    .await
                    .unwrap_or_else(|error| panic!("{client} {addresses:?}: {error}"));
            }
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_said() {
        let first = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let error = listen(&[first[0].local_addr().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("is in use") && error.contains("--listen 127.0.0.1:PORT"), "{error}");
    }
}
