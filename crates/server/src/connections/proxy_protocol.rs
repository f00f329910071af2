//! The header by which a proxy that passes connections on says from where they come (the PROXY protocol, versions 1 and
//! 2, of `HAProxy`'s `proxy-protocol.txt`). Only declared proxies are asked for one, and they must send it.

use std::io;
use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How a header of version 2 begins.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1: &[u8] = b"PROXY ";
/// Longest header of version 1, with its end.
const V1_BYTES_MAX: usize = 107;
/// Longest header of version 2 that is read; the protocol wants at least 536. What proxies add to addresses (a server's
/// name, a fingerprint, a client's certificate) is read and thrown away.
const V2_BYTES_MAX: usize = 4096;

/// Reads a header and not a byte more. The address of the client; none where the proxy asks for itself, as for a look
/// whether we are well.
///
/// # Errors
/// When the connection ends, or when what comes is no header.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; V2.len()];
    stream.read_exact(&mut header).await?;
    if header == V2 {
        header.resize(16, 0);
        stream.read_exact(&mut header[12..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if 16 + rest > V2_BYTES_MAX {
            return Err(invalid("it is too long"));
        }
        header.resize(16 + rest, 0);
        stream.read_exact(&mut header[16..]).await?;
    } else if header.starts_with(V1) {
        // Its length is nowhere but in its end. Proxies are few, and send it in one packet.
        while !header.ends_with(b"\n") {
            if header.len() == V1_BYTES_MAX {
                return Err(invalid("it is too long"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(invalid("there is none"));
    }
    parse(&header)
}

fn parse(header: &[u8]) -> io::Result<Option<SocketAddr>> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, bytes) = ProxyHeader::parse(header, config).map_err(|error| match error {
        Error::BufferTooShort => invalid("it is cut off"),
        _ => invalid("it can't be read"),
    })?;
    if bytes != header.len() {
        return Err(invalid("there is more in it"));
    }
    match parsed.proxied_address() {
        None => Ok(None),
        Some(address) if address.protocol == Protocol::Stream => Ok(Some(address.source)),
        Some(_) => Err(invalid("it is not for TCP")),
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the header of the PROXY protocol: {why}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proxy_header::ProxiedAddress;

    use super::*;

    /// What is read of these bytes, and how many are left.
    fn read_all(mut bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        // Bytes in memory are always ready: no runtime is needed.
        let read = futures_util::FutureExt::now_or_never(read(&mut bytes)).unwrap();
        (read, bytes.len())
    }

    #[track_caller]
    fn check(header: &[u8], expected: Option<&str>) {
        let bytes = [header, b"GET / HTTP/1.1\r\n"].concat();
        let (found, left) = read_all(&bytes);
        assert_eq!(found.unwrap(), expected.map(|address| address.parse().unwrap()));
        assert_eq!(left, 16, "what follows stays");
    }

    fn v2(kind: &[u8], rest: &[u8]) -> Vec<u8> {
        [&V2[..], kind, &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    #[test]
    fn headers_of_both_versions() {
        check(b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", Some("203.0.113.7:4711"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", Some("[2001:db8::7]:4711"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 whatever 1 2\r\n", None);
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        check(&v2(b"\x21\x11", &four), Some("203.0.113.7:4711"));
        check(&v2(b"\x21\x11", &[&four[..], &[4, 0, 1, 9], &[7; 900]].concat()), Some("203.0.113.7:4711"));
        check(&v2(b"\x20\x00", b""), None);
        check(&v2(b"\x20\x11", &four), None);
        check(&v2(b"\x21\x00", b"anything"), None);
    }

    #[test]
    fn what_is_none_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for header in [
            &b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..],
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 65536\r\n",
            b"PROXY TCP4 203.0.113.7  10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            b"PROXY TCP5 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY tcp4 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\n",
            b"PROXYxTCP4 203.0.113.7 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.7 10.0.0.1",
            b"PROXY",
            b"",
            long.as_bytes(),
            &V2[..],
            &v2(b"\x21\x11", &[1; 11]),
            &v2(b"\x21\x21", &[1; 12]),
            &v2(b"\x21\x12", &[1; 12]),
            &v2(b"\x22\x11", &[1; 12]),
            &v2(b"\x11\x11", &[1; 12]),
            &v2(b"\x21\x41", &[1; 12]),
            &v2(b"\x21\x11", &[1; 5000]),
            &v2(b"\x21\x11", &[1; 12])[..20],
        ] {
            assert!(read_all(header).0.is_err(), "{:?}", String::from_utf8_lossy(header));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600), version in 0_usize..3) {
            let begin: &[u8] = [&b""[..], V1, V2][version];
            let _ = read_all(&[begin, &bytes].concat());
        }

        #[test]
        fn what_is_written_is_read(source: SocketAddr, destination: SocketAddr, first: bool, after: Vec<u8>) {
            prop_assume!(source.is_ipv4() == destination.is_ipv4());
            // An IPv6 address has a scope and a flow here, but not on the way.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let header = ProxyHeader::with_address(ProxiedAddress::stream(plain(source), plain(destination)));
            let mut bytes = [0; 200];
            let length = if first { header.encode_to_slice_v1(&mut bytes) } else { header.encode_to_slice_v2(&mut bytes) };
            let (found, left) = read_all(&[&bytes[..length.unwrap()], &after].concat());
            prop_assert_eq!((found.unwrap(), left), (Some(plain(source)), after.len()));
        }

        #[test]
        fn a_header_that_was_changed_is_read_or_refused(at in 0_usize..44, byte: u8) {
            let mut header = b"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\nxx".to_vec();
            header[at.min(43)] = byte;
            let _ = read_all(&header);
        }
    }
}
