//! Whose network an address is in: a table of autonomous systems, in a file in `MaxMind`'s format, that somebody else makes.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use defence::Source;
use maxminddb::{MaxMindDbError, Reader, WithinOptions, path};

/// Largest file that is read; those of all the Internet have some 10 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Networks that are looked at until one has a number.
const NETWORKS_LOOKED_AT: usize = 1000;
/// The field of a record that is the system's number, as in `GeoLite2-ASN`.
const NUMBER: &str = "autonomous_system_number";

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SystemsError {
    /// The file can't be read.
    #[error("{path} can't be read: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is too large.
    #[error("{path} may have at most {FILE_BYTES_MAX} bytes, and has more")]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// It is damaged, or something else.
    #[error("{path} must be a whole file in MaxMind's format (.mmdb): {error}")]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong in it.
        error: MaxMindDbError,
    },
    /// It is a table of something else.
    #[error(
        "{path} must have the numbers of autonomous systems ({NUMBER}), as GeoLite2-ASN has; it is a {given:?}"
    )]
    Other {
        /// Which.
        path: PathBuf,
        /// What it says that it is.
        given: String,
    },
}

/// A table of autonomous systems, in memory. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Systems(Arc<Reader<Vec<u8>>>);

impl PartialEq for Systems {
    /// Whether they were read at once.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Systems {}

impl Systems {
    /// Reads a file whole and walks all of it, so that what is damaged is found here and not at a sign-up. Of one that
    /// takes its place later nothing is known.
    ///
    /// # Errors
    /// [`SystemsError`]
    pub fn open(path: &Path) -> Result<Self, SystemsError> {
        let failed = |error| SystemsError::File { path: path.to_path_buf(), error };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(failed)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(SystemsError::TooLarge { path: path.to_path_buf() });
        }
        let broken = |error| SystemsError::Content { path: path.to_path_buf(), error };
        let reader = Reader::from_source(bytes).map_err(broken)?;
        reader.verify().map_err(broken)?;
        if !has_numbers(&reader).map_err(broken)? {
            let given = reader.metadata().database_type.clone();
            return Err(SystemsError::Other { path: path.to_path_buf(), given });
        }
        Ok(Self(Arc::new(reader)))
    }

    /// The number of the system that an address is in, as far as the table knows.
    pub(crate) fn number(&self, address: IpAddr) -> Option<u32> {
        // An IPv6 address in a table of IPv4 alone is an error to the reader, and not known to us.
        let found = self.0.lookup(address.to_canonical()).ok()?;
        found.decode_path(&path![NUMBER]).ok().flatten()
    }
}

/// An address, with its system where there is a table that has it.
pub(super) fn source(systems: Option<&Systems>, address: IpAddr) -> Source {
    Source { address, asn: systems.and_then(|systems| systems.number(address)) }
}

fn has_numbers(reader: &Reader<Vec<u8>>) -> Result<bool, MaxMindDbError> {
    for found in reader.networks(WithinOptions::default())?.take(NETWORKS_LOOKED_AT) {
        if found?.decode_path::<u32>(&path![NUMBER]).is_ok_and(|number| number.is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// See `golden/systems/make.py`.
    const TABLE: &[u8] = include_bytes!("../../../../golden/systems/systems.mmdb");

    fn opened(bytes: &[u8]) -> Result<Systems, SystemsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Systems::open(file.path())
    }

    #[test]
    fn an_address_is_in_a_system_or_in_none() {
        let systems = opened(TABLE).unwrap();
        let check = |address: &str, expected: Option<u32>| {
            assert_eq!(systems.number(address.parse().unwrap()), expected, "{address}");
        };
        check("192.0.2.1", Some(64_496));
        check("192.0.2.255", Some(64_496));
        check("::ffff:192.0.2.7", Some(64_496));
        check("198.51.100.9", Some(64_497));
        check("203.0.113.200", Some(4_200_000_000));
        check("203.0.113.100", None);
        check("2001:db8:1::1", Some(64_496));
        check("2001:db8:2::1", None);
        check("10.0.0.1", None);
        check("::1", None);
    }

    #[test]
    fn what_is_no_table_is_said_to_be_none() {
        let check = |bytes: &[u8], expected: &str| {
            let error = opened(bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(b"", "must be a whole file in MaxMind's format");
        check(b"192.0.2.0/24 64496\n", "must be a whole file in MaxMind's format");
        check(include_bytes!("../../../../golden/systems/countries.mmdb"), "it is a \"Countries\"");
        let missing = Systems::open(Path::new("/nowhere/systems.mmdb")).unwrap_err();
        assert!(missing.to_string().starts_with("/nowhere/systems.mmdb can't be read"), "{missing}");
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Systems::open(folder.path()), Err(SystemsError::File { .. })));
    }

    /// Whatever stands in the file: it is refused, or every question has an answer.
    #[test]
    fn a_damaged_file_is_refused_or_harmless() {
        let ask = |systems: &Systems| {
            for number in 0..64_u32 {
                systems.number(std::net::Ipv4Addr::from(number << 26 | 0x0002_0101).into());
                systems
                    .number(IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number) << 80).to_be_bytes()));
            }
        };
        for length in 0..TABLE.len() {
            assert!(opened(&TABLE[..length]).is_err(), "the first {length} bytes are not the whole");
        }
        let mut refused = 0;
        for at in 0..TABLE.len() {
            for bit in 0..8 {
                let mut bytes = TABLE.to_vec();
                bytes[at] ^= 1 << bit;
                match opened(&bytes) {
                    Ok(systems) => ask(&systems),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > TABLE.len(), "{refused} of {} were refused", 8 * TABLE.len());
    }
}
