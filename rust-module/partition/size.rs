// SPDX-License-Identifier: GPL-2.0

//! Sizes as users write them: `512M`, `1G`. Depends on nothing, so it is tested on the host.

use core::fmt;

/// Bytes from a number with a suffix K, M, G or T; `None` if it isn't one, is 0, or is too large.
pub fn parse(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let (digits, unit) = match text.split_last()? {
        (b'k' | b'K', rest) => (rest, 1 << 10),
        (b'm' | b'M', rest) => (rest, 1 << 20),
        (b'g' | b'G', rest) => (rest, 1 << 30),
        (b't' | b'T', rest) => (rest, 1u64 << 40),
        _ => (text, 1),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))?;
    value.checked_mul(unit).filter(|&bytes| bytes > 0)
}

/// Shows bytes with the largest suffix that leaves no fraction.
pub struct Shown(pub u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, suffix) in [(30, 'G'), (20, 'M'), (10, 'K')] {
            if self.0 != 0 && self.0 % (1 << shift) == 0 {
                return write!(f, "{}{suffix}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_shows() {
        for (text, bytes) in [("512M\n", 512 << 20), ("1G", 1 << 30), ("4096", 4096), ("3k", 3072), ("2t", 2 << 40)] {
            assert_eq!(parse(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "0", "0M", "1GB", "99999999999T", "lots"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Shown(512 << 20).to_string(), "512M");
        assert_eq!(Shown(3 << 30).to_string(), "3G");
        assert_eq!(Shown(4097).to_string(), "4097");
    }
}
