//! The byte-level alphabet: every byte as one printable character, so that BPE can work on text.
//!
//! Bytes that are printable in Latin-1 stand for themselves; the others, in order, are the characters from U+0100.

/// The character for each byte.
pub(super) struct ByteAlphabet {
    chars: [char; 256],
}

impl ByteAlphabet {
    pub(super) fn new() -> Self {
        let mut chars = ['\0'; 256];
        let mut next = 0x100_u32;
        for byte in 0..=u8::MAX {
            chars[usize::from(byte)] = match byte {
                b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
                _ => {
                    next += 1;
                    char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
                }
            };
        }
        Self { chars }
    }

    /// Replaces the content of `out` by `text` spelt in the alphabet.
    pub(super) fn spell(&self, text: &str, out: &mut String) {
        out.clear();
        out.extend(text.bytes().map(|byte| self.chars[usize::from(byte)]));
    }

    /// Appends the bytes that `token` spells; a token with other characters stands for its own text.
    pub(super) fn read(&self, token: &str, out: &mut Vec<u8>) {
        let start = out.len();
        for character in token.chars() {
            let Some(byte) = self.byte(character) else {
                out.truncate(start);
                out.extend_from_slice(token.as_bytes());
                return;
            };
            out.push(byte);
        }
    }

    fn byte(&self, character: char) -> Option<u8> {
        let code = u32::from(character);
        if code >= 0x100 {
            // The moved bytes are few (68) and in order.
            return self.chars.iter().position(|&c| c == character).map(|byte| byte as u8);
        }
        let byte = code as u8;
        (self.chars[usize::from(byte)] == character).then_some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let alphabet = ByteAlphabet::new();
        for byte in 0..=u8::MAX {
            let mut bytes = Vec::new();
            alphabet.read(&alphabet.chars[usize::from(byte)].to_string(), &mut bytes);
            assert_eq!(bytes, [byte]);
        }
        assert_eq!(alphabet.chars[usize::from(b' ')], 'Ġ');
        assert_eq!(alphabet.chars[usize::from(b'\n')], 'Ċ');
    }

    #[test]
    fn a_token_outside_the_alphabet_is_its_own_text() {
        let mut bytes = Vec::new();
        ByteAlphabet::new().read("a▁é", &mut bytes);
        assert_eq!(bytes, "a▁é".as_bytes());
    }
}
