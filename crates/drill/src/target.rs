//! The server under attack: on this machine, or none.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use url::{Host, Url};

/// A server on loopback, and how to become its administrator.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it listens.
    pub(crate) address: SocketAddrV4,
    /// What requests call it.
    pub(crate) host: String,
    /// Its process, if that may be watched.
    pub(crate) process: Option<u32>,
    /// The folder in which it keeps what it stores, if that is known.
    pub(crate) folder: Option<PathBuf>,
    /// What makes accounts of before.
    pub(crate) admin: Admin,
}

/// How the drill gets the accounts of those who were there before.
#[derive(Debug, Clone)]
pub enum Admin {
    /// The server is new: the token of its first start.
    Setup(String),
    /// The server is somebody's: an administrator's name and password.
    Login {
        /// Name.
        name: String,
        /// Password.
        password: String,
    },
}

/// Why a server may not be attacked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Somebody else's machine, perhaps.
    #[error(
        "a drill attacks servers on this machine only: the address must be http://127.0.0.1:PORT (or another of \
         127.0.0.0/8, or localhost), got {given:?}"
    )]
    NotLoopback {
        /// What was asked for.
        given: String,
    },
}

impl Target {
    /// The server at this address.
    ///
    /// # Errors
    /// When it is not on IPv4's loopback, from which attackers' addresses are taken.
    pub fn new(address: SocketAddr, admin: Admin) -> Result<Self, TargetError> {
        match address {
            SocketAddr::V4(address) if address.ip().is_loopback() => {
                Ok(Self { address, host: address.to_string(), process: None, folder: None, admin })
            }
            _ => Err(TargetError::NotLoopback { given: address.to_string() }),
        }
    }

    /// The server that this address names. No name is looked up but `localhost`, which is 127.0.0.1.
    ///
    /// # Errors
    /// When it is not plain HTTP on IPv4's loopback.
    pub fn of_url(url: &str, admin: Admin) -> Result<Self, TargetError> {
        let refused = || TargetError::NotLoopback { given: url.to_owned() };
        let parsed = Url::parse(url).map_err(|_| refused())?;
        let bare = parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none();
        if parsed.scheme() != "http" || !bare || !parsed.username().is_empty() || parsed.password().is_some()
        {
            return Err(refused());
        }
        let ip = match parsed.host() {
            Some(Host::Ipv4(ip)) => ip,
            Some(Host::Domain(name)) if name.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST,
            _ => return Err(refused()),
        };
        let port = parsed.port_or_known_default().ok_or_else(refused)?;
        Self::new((ip, port).into(), admin).map_err(|_| refused())
    }

    /// The same, called by the name under which users know it. A server counts whoever calls it by a name of loopback
    /// as a program of its own machine, and that would spare the attackers from asking for leave.
    #[must_use]
    pub fn called(self, host: impl Into<String>) -> Self {
        Self { host: host.into(), ..self }
    }

    /// The same, whose process may be watched.
    #[must_use]
    pub fn with_process(self, process: u32) -> Self {
        Self { process: Some(process), ..self }
    }

    /// The same, which keeps what it stores in this folder.
    #[must_use]
    pub fn with_folder(self, folder: PathBuf) -> Self {
        Self { folder: Some(folder), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_url(url: &str) -> Result<Target, TargetError> {
        Target::of_url(url, Admin::Setup(String::new()))
    }

    #[test]
    fn only_this_machine_is_attacked() {
        for (url, address) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://127.1.2.3:9/", "127.1.2.3:9"),
            ("http://localhost", "127.0.0.1:80"),
        ] {
            assert_eq!(of_url(url).unwrap().address.to_string(), address);
        }
        for url in [
            "http://192.0.2.7:8080",
            "http://0.0.0.0:8080",
            "http://10.0.0.1",
            "http://[::1]:8080",
            "http://example.org",
            "http://localhost.example.org",
            "http://127.0.0.1.example.org",
            "https://127.0.0.1:8080",
            "http://user@127.0.0.1",
            "http://127.0.0.1/api",
            "127.0.0.1:8080",
            "",
        ] {
            let refused = of_url(url).unwrap_err().to_string();
            assert!(refused.contains("servers on this machine only"), "{refused}");
            assert!(refused.ends_with(&format!("got {url:?}")), "{refused}");
        }
    }
}
