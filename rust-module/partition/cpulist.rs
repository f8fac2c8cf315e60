// SPDX-License-Identifier: GPL-2.0

//! Lists of CPUs as users write them: `1`, `3-5`, `1,3`. Depends on nothing, so it is tested on the host.

use core::fmt;

/// Why a list is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Not a list at all.
    Syntax,
    /// A number that isn't below `limit`.
    TooLarge,
    /// A CPU that stands there twice.
    Twice,
}

/// Calls `found` for every CPU in the list, which must be in ascending order.
pub fn parse(text: &[u8], limit: u32, mut found: impl FnMut(u32)) -> Result<(), Problem> {
    let text = text.trim_ascii();
    let mut next = 0;
    for part in text.split(|&b| b == b',') {
        let mut ends = part.splitn(2, |&b| b == b'-');
        let first = number(ends.next().unwrap_or(&[]), limit)?;
        let last = match ends.next() {
            Some(n) => number(n, limit)?,
            None => first,
        };
        if last < first {
            return Err(Problem::Syntax);
        }
        if first < next {
            return Err(Problem::Twice);
        }
        (first..=last).for_each(&mut found);
        next = last + 1;
    }
    Ok(())
}

fn number(digits: &[u8], limit: u32) -> Result<u32, Problem> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Problem::Syntax);
    }
    let value = digits.iter().try_fold(0u32, |n, d| n.checked_mul(10)?.checked_add(u32::from(d - b'0')));
    value.filter(|&n| n < limit).ok_or(Problem::TooLarge)
}

/// Shows ascending CPU numbers as a list.
pub struct Shown<'a>(pub &'a [u32]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut comma = "";
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|(&a, b)| a == *b).count();
            let last = rest[run - 1];
            write!(f, "{comma}{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
            comma = ",";
            rest = &rest[run..];
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<u32>, Problem> {
        let mut cpus = Vec::new();
        parse(text.as_bytes(), 8, |cpu| cpus.push(cpu))?;
        Ok(cpus)
    }

    #[test]
    fn accepts_what_users_write() {
        assert_eq!(list("1\n"), Ok(vec![1]));
        assert_eq!(list("3-5"), Ok(vec![3, 4, 5]));
        assert_eq!(list("1,3"), Ok(vec![1, 3]));
        assert_eq!(list(" 0-1,4-4,7 "), Ok(vec![0, 1, 4, 7]));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "x", "1,", ",1", "1-", "-1", "5-3", "1--2", "1 2", "0x1", "+1", "1-2-3"] {
            assert_eq!(list(text), Err(Problem::Syntax), "{text}");
        }
        for text in ["8", "0-8", "4294967296", "99999999999999999999"] {
            assert_eq!(list(text), Err(Problem::TooLarge), "{text}");
        }
        for text in ["1,1", "1-3,2", "3,1"] {
            assert_eq!(list(text), Err(Problem::Twice), "{text}");
        }
    }

    #[test]
    fn shows_what_it_parses() {
        for text in ["1", "3-5", "1,3", "0-1,4,6-7"] {
            assert_eq!(Shown(&list(text).unwrap()).to_string(), text);
        }
        assert_eq!(Shown(&[]).to_string(), "");
    }
}
