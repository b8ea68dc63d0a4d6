//! Patterns of names: `*` is any text, `?` any one character, everything else itself.

/// Longest pattern: as long as a name.
pub const GLOB_BYTES_MAX: usize = 253;

/// Does the whole name match? It takes at most as many steps as the two lengths multiplied.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and up to where it took the name.
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(b'?'), Some(_)) => (p, n) = (p + 1, n + 1),
            (Some(wanted), Some(byte)) if wanted == byte => (p, n) = (p + 1, n + 1),
            (None, None) => return true,
            _ => match star {
                Some((at, taken)) if taken < name.len() => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                _ => return false,
            },
        }
    }
}

/// May this be a pattern of agent names?
#[must_use]
pub fn is_pattern(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-*?".contains(&byte);
    !text.is_empty() && text.len() <= GLOB_BYTES_MAX && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "huginn", true),
            ("huginn", "huginn", true),
            ("huginn", "huginn2", false),
            ("web-*", "web-", true),
            ("web-*", "web-17.example", true),
            ("web-*", "db-web-1", false),
            ("web-?", "web-1", true),
            ("web-?", "web-", false),
            ("*.eu.*", "a.eu.b.eu.c", true),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbxc", false),
            ("", "", true),
            ("", "x", false),
            ("?", "", false),
            ("web-*-?", "web-eu-west-1", true),
            ("web-*-?", "web-eu-west-12", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_bad_pattern_takes_no_time() {
        let (pattern, name) = ("*a".repeat(120), "a".repeat(253) + "b");
        assert!(!matches(&pattern, &name));
    }
}
