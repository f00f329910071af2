use super::{GgufError, Place};

/// Reads little-endian fields from hostile bytes. Nothing is read, and nothing reserved, before the file is known
/// to hold it.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a count may be.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Of what, for the message.
    pub(super) what: &'static str,
    /// One takes at least so many bytes of the file.
    pub(super) least_bytes: usize,
    /// More than these there never are: what they take in memory is larger than what they take in the file.
    pub(super) most: usize,
}

/// Makes a [`Place`] only when there is an error to tell: places own their names.
pub(super) type Where<'w> = &'w dyn Fn() -> Place;

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: u64, place: Where<'_>) -> Result<&'a [u8], GgufError> {
        let available = self.remaining();
        match usize::try_from(length) {
            Ok(wanted) if wanted <= available => {
                let start = self.at;
                self.at += wanted;
                Ok(&self.bytes[start..self.at])
            }
            _ => Err(GgufError::Truncated { place: place(), wanted: length, available: available as u64 }),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, place: Where<'_>) -> Result<[u8; N], GgufError> {
        let mut field = [0; N];
        field.copy_from_slice(self.take(N as u64, place)?);
        Ok(field)
    }

    pub(super) fn u32(&mut self, place: Where<'_>) -> Result<u32, GgufError> {
        self.array(place).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, place: Where<'_>) -> Result<u64, GgufError> {
        self.array(place).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least_bytes` each: refused when the rest of the file cannot hold them.
    pub(super) fn count(&mut self, limits: Limits, place: Where<'_>) -> Result<usize, GgufError> {
        let given = self.u64(place)?;
        self.check_count(given, limits, place)
    }

    /// Checks a count that was read earlier against what is left of the file.
    pub(super) fn check_count(
        &self,
        given: u64,
        Limits { what, least_bytes, most }: Limits,
        place: Where<'_>,
    ) -> Result<usize, GgufError> {
        let allowed = (self.remaining() / least_bytes).min(most);
        usize::try_from(given).ok().filter(|count| *count <= allowed).ok_or_else(|| GgufError::Bounds {
            place: place(),
            what,
            given: given.to_string(),
            allowed: format!("0 to {allowed} (with {} bytes left)", self.remaining()),
        })
    }

    /// A length-prefixed UTF-8 string of at most `longest` bytes.
    pub(super) fn text(
        &mut self,
        what: &'static str,
        allowed: std::ops::RangeInclusive<u64>,
        place: Where<'_>,
    ) -> Result<&'a str, GgufError> {
        let length = self.u64(place)?;
        if !allowed.contains(&length) {
            return Err(GgufError::Bounds {
                place: place(),
                what,
                given: length.to_string(),
                allowed: format!("{} to {} bytes", allowed.start(), allowed.end()),
            });
        }
        let bytes = self.take(length, place)?;
        std::str::from_utf8(bytes).map_err(|error| GgufError::NotUtf8 {
            place: place(),
            at: error.valid_up_to(),
            length: bytes.len(),
        })
    }
}
