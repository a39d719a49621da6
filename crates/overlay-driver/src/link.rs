//! Short names of layers, so that many fit into the options of one mount.

use std::fmt;
use std::str::FromStr;

use rustix::rand::{GetRandomFlags, getrandom};
use storage_core::{FsError, FsResultExt};

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const LEN: usize = 26;

/// The name of a layer's short link: 26 characters of `A-Z2-7`.
///
/// Only parsing and [`LinkId::random`] make one, so it is a safe path component.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LinkId(String);

/// Text that is no [`LinkId`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a short link's name of {LEN} characters A-Z and 2-7")]
pub(crate) struct LinkIdError(String);

impl LinkId {
    /// A name that nobody has: 130 random bits.
    pub(crate) fn random() -> Result<Self, FsError> {
        let bytes: [u8; 17] = random_bytes()?;
        Ok(Self(base32(&bytes)[..LEN].to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkId {
    type Err = LinkIdError;

    fn from_str(text: &str) -> Result<Self, LinkIdError> {
        if text.len() == LEN && text.bytes().all(|b| ALPHABET.contains(&b)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(LinkIdError(text.to_owned()))
        }
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Random bytes from the kernel.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], FsError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).during("get", "random bytes"),
        }
    }
    Ok(bytes)
}

/// RFC 4648, upper case, without padding.
fn base32(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 8 / 5 + 1);
    let (mut bits, mut have) = (0u16, 0);
    for &byte in bytes {
        bits = bits << 8 | u16::from(byte);
        have += 8;
        while have >= 5 {
            have -= 5;
            text.push(char::from(ALPHABET[usize::from(bits >> have & 31)]));
        }
    }
    if have > 0 {
        text.push(char::from(ALPHABET[usize::from(bits << (5 - have) & 31)]));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base32_is_that_of_rfc_4648() {
        let vectors = [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(base32(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn random_names_parse_and_differ() {
        let (one, other) = (LinkId::random().unwrap(), LinkId::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().parse::<LinkId>().unwrap(), one);
    }

    #[test]
    fn what_could_leave_the_directory_is_no_name() {
        for bad in ["", "..", "../../../../../../etc/pass", "abcdefghijklmnopqrstuvwxyz"] {
            assert!(bad.parse::<LinkId>().is_err(), "{bad}");
        }
    }
}
