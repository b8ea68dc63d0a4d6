//! What is asked of the history, checked.

use std::ops::RangeInclusive;

/// Which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Which {
    /// This one.
    Key(String),
    /// Those that begin so.
    Prefix(String),
}

/// Which points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) which: Which,
    /// Unix seconds.
    pub(super) range: RangeInclusive<i64>,
}

/// What `/api/v1/history` is asked for, or a sentence that says what is wrong.
pub(super) fn series(query: Vec<(String, String)>) -> Result<Asked, String> {
    let [key, prefix, from, to] = take(query, ["key", "prefix", "from", "to"])?;
    let which = match (key, prefix) {
        (Some(key), None) => Which::Key(key),
        (None, Some(prefix)) => Which::Prefix(prefix),
        _ => return Err("say either key=KEY or prefix=BEGINNING".to_owned()),
    };
    let (from, to) = (second("from", from, i64::MIN)?, second("to", to, i64::MAX)?);
    if from > to {
        return Err(format!("from={from} is later than to={to}"));
    }
    Ok(Asked { which, range: from..=to })
}

/// The prefix that `/api/v1/keys` is asked for, or a sentence that says what is wrong.
pub(super) fn keys(query: Vec<(String, String)>) -> Result<String, String> {
    let [prefix] = take(query, ["prefix"])?;
    Ok(prefix.unwrap_or_default())
}

/// The values of these parameters; there are no others, and none stands twice.
fn take<const N: usize>(query: Vec<(String, String)>, names: [&str; N]) -> Result<[Option<String>; N], String> {
    let mut values = [const { None }; N];
    for (name, value) in query {
        let at = names.iter().position(|known| *known == name);
        let Some(slot) = at.and_then(|at| values.get_mut(at)) else {
            return Err(format!("unknown parameter {name:?}; there is {}", names.join(", ")));
        };
        if slot.replace(value).is_some() {
            return Err(format!("parameter {name} stands twice"));
        }
    }
    Ok(values)
}

fn second(name: &str, value: Option<String>, default: i64) -> Result<i64, String> {
    let Some(value) = value else { return Ok(default) };
    value
        .parse()
        .map_err(|_| format!("{name}={value:?} is no time; a time is in whole Unix seconds, such as 1790000000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[track_caller]
    fn check(query: &str, which: Which, range: RangeInclusive<i64>) {
        assert_eq!(series(pairs(query)), Ok(Asked { which, range }), "{query}");
    }

    #[test]
    fn what_is_asked_for() {
        let key = || Which::Key("a.b".to_owned());
        check("key=a.b", key(), i64::MIN..=i64::MAX);
        check("from=-5&key=a.b&to=7", key(), -5..=7);
        check("key=a.b&from=9223372036854775807", key(), i64::MAX..=i64::MAX);
        check("prefix=", Which::Prefix(String::new()), i64::MIN..=i64::MAX);
        assert_eq!(keys(vec![]), Ok(String::new()));
        assert_eq!(keys(pairs("prefix=a")), Ok("a".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence() {
        let wrong = [
            ("", "either key=KEY"),
            ("from=1", "either key=KEY"),
            ("key=a&prefix=a", "either key=KEY"),
            ("key=a&key=b", "key stands twice"),
            ("key=a&step=5", "\"step\""),
            ("key=a&from=yesterday", "from=\"yesterday\" is no time"),
            ("key=a&to=", "to=\"\" is no time"),
            ("key=a&to=1.5", "Unix seconds"),
            ("key=a&to=9223372036854775808", "Unix seconds"),
            ("key=a&from=2&to=1", "from=2 is later than to=1"),
        ];
        for (query, expected) in wrong {
            let error = series(pairs(query)).unwrap_err();
            assert!(error.contains(expected), "{query}: {error}");
        }
        assert!(keys(pairs("key=a")).unwrap_err().contains("prefix"));
    }
}
