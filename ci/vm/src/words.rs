// SPDX-License-Identifier: MIT OR Apache-2.0
//! Splits a line into words as a POSIX shell does, without any expansion.

use anyhow::{bail, Result};

/// Splits `line` at unquoted blanks; `'…'`, `"…"` and `\` quote as in sh(1).
/// `$`, `*`, `;` and the like are ordinary characters.
pub fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_with(String::new))?,
            '"' => double_quoted(&mut chars, word.get_or_insert_with(String::new))?,
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(next) => word.get_or_insert_with(String::new).push(next),
                None => bail!("ARGS ends with a lone backslash: write \\\\ for a backslash"),
            },
            other => word.get_or_insert_with(String::new).push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<()> {
    for c in chars {
        if c == '\'' {
            return Ok(());
        }
        word.push(c);
    }
    bail!("ARGS has an opening ' without a closing one");
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> Result<()> {
    while let Some(c) = chars.next() {
        match c {
            '"' => return Ok(()),
            // Inside double quotes a backslash quotes only these (XCU 2.2.3).
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(q @ ('"' | '\\' | '$' | '`')) => word.push(q),
                Some(other) => word.extend(['\\', other]),
                None => break,
            },
            other => word.push(other),
        }
    }
    bail!("ARGS has an opening \" without a closing one");
}

#[cfg(test)]
mod tests {
    use super::split;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn blanks_separate_and_vanish() {
        assert_eq!(words("  a\tb \n c "), ["a", "b", "c"]);
        assert!(words(" \t\n").is_empty());
    }

    #[test]
    fn quotes_keep_blanks_and_make_empty_words() {
        assert_eq!(words(r#"'a b' "c  d" '' """#), ["a b", "c  d", "", ""]);
        assert_eq!(words(r#"x'y 'z"#), ["xy z"]);
    }

    #[test]
    fn backslashes_follow_the_shell() {
        assert_eq!(words(r#"a\ b '\n' "\n\"\\\$""#), ["a b", r"\n", r#"\n"\$"#]);
    }

    #[test]
    fn nothing_is_expanded() {
        assert_eq!(words("$HOME *.c ~ `x` a;b"), ["$HOME", "*.c", "~", "`x`", "a;b"]);
    }

    #[test]
    fn unfinished_quotes_are_errors() {
        assert!(split("'a").is_err());
        assert!(split("\"a").is_err());
        assert!(split("a\\").is_err());
    }
}
