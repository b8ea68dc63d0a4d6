//! Is a page what it must be? Speed counts for nothing when it shows half a push.

use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader};

use flate2::bufread::GzDecoder;

use crate::{Error, Result};

const INSTANCE: &[u8] = b"instance=\"bench-";
/// Inflated at once.
const PIECE_BYTES: usize = 256 * 1024;

/// The lines of our agents on a page: what must be the same in every encoding of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// How many samples.
    pub samples: u64,
    /// Of all their lines and of their families' HELP and TYPE, in order.
    pub hash: u64,
}

/// Reads a gzip body, which must be one member: `curl` and browsers show only the first.
///
/// # Errors
/// When it does not inflate, or something follows the first member.
pub fn inflate<T>(body: &[u8], read: impl FnOnce(&mut dyn BufRead) -> Result<T>) -> Result<T> {
    let mut lines = BufReader::with_capacity(PIECE_BYTES, GzDecoder::new(body));
    let result = read(&mut lines)?;
    // The checksum is only looked at when the end is read.
    let left = std::io::copy(&mut lines, &mut std::io::sink()).map_err(Error::io("inflating the page"))?;
    let after = lines.into_inner().into_inner().len();
    if left + after as u64 > 0 {
        return Err(Error::Page(format!("{after} bytes after the first gzip member, {left} unread inside")));
    }
    Ok(result)
}

/// What the page holds apart from the aggregator's own series, which change from scrape to scrape.
///
/// # Errors
/// When the page cannot be read.
pub fn contents(page: &mut dyn BufRead) -> Result<Contents> {
    let mut hash = DefaultHasher::new();
    let mut samples = 0;
    each_line(page, |line| {
        let name = line.strip_prefix(b"# HELP ").or_else(|| line.strip_prefix(b"# TYPE ")).unwrap_or(line);
        if !name.starts_with(b"fleetgauge_") && !name.starts_with(b"process_") {
            hash.write(line);
            hash.write_u8(b'\n');
            samples += u64::from(!line.starts_with(b"#"));
        }
        Ok(())
    })?;
    Ok(Contents { samples, hash: hash.finish() })
}

/// Checks that the page shows each of `agents` with all its `series`, and the same value in all
/// series of one agent: pushes are atomic, and each of them carried one number only.
///
/// # Errors
/// When it shows an agent twice over, in part, or two pushes of it at once.
pub fn check_whole(page: &mut dyn BufRead, agents: usize, series: usize) -> Result<()> {
    let mut seen: Vec<Option<(f64, usize)>> = vec![None; agents];
    let find = memchr::memmem::Finder::new(INSTANCE);
    each_line(page, |line| {
        if line.starts_with(b"#") || line.starts_with(b"fleetgauge_") {
            return Ok(());
        }
        let Some(at) = find.find(line) else { return Ok(()) };
        let number = line.get(at + INSTANCE.len()..).and_then(|rest| parse(until(rest, b'"')));
        let value = parse::<f64>(value_of(line)).ok_or_else(|| wrong(line, "has no value"))?;
        let agent = number.and_then(|number: usize| seen.get_mut(number));
        let (first, count) = agent.ok_or_else(|| wrong(line, "is of no agent that pushes"))?.get_or_insert((value, 0));
        if first.to_bits() != value.to_bits() {
            return Err(wrong(line, &format!("is half a push: another series has {first}")));
        }
        *count += 1;
        Ok(())
    })?;
    match seen.iter().position(|agent| agent.is_none_or(|(_, count)| count != series)) {
        None => Ok(()),
        Some(agent) => {
            let shown = seen.get(agent).copied().flatten().map_or(0, |(_, count)| count);
            Err(Error::Page(format!("it shows {shown} series of agent {agent}, not {series}")))
        }
    }
}

/// The one value that all series of a single agent's page have; `None` of an empty page.
///
/// # Errors
/// When they differ: half a push.
pub fn single_value(page: &[u8]) -> Result<Option<f64>> {
    let mut first = None;
    each_line(&mut &*page, |line| {
        if line.starts_with(b"#") || line.starts_with(b"fleetgauge_") {
            return Ok(());
        }
        let value = parse::<f64>(value_of(line)).ok_or_else(|| wrong(line, "has no value"))?;
        match first {
            None => first = Some(value),
            Some(other) if f64::to_bits(other) == value.to_bits() => {}
            Some(other) => return Err(wrong(line, &format!("is half a push: another series has {other}"))),
        }
        Ok(())
    })?;
    Ok(first)
}

fn each_line(page: &mut dyn BufRead, mut work: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        // No limit on a line: the page is kept in memory by the caller anyway.
        let read = page.read_until(b'\n', &mut line).map_err(Error::io("reading the page"))?;
        if read == 0 {
            return Ok(());
        }
        work(line.strip_suffix(b"\n").ok_or_else(|| wrong(&line, "does not end"))?)?;
    }
}

fn value_of(line: &[u8]) -> &[u8] {
    memchr::memrchr(b' ', line).and_then(|at| line.get(at + 1..)).unwrap_or_default()
}

fn until(bytes: &[u8], end: u8) -> &[u8] {
    memchr::memchr(end, bytes).and_then(|at| bytes.get(..at)).unwrap_or(bytes)
}

fn parse<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn wrong(line: &[u8], what: &str) -> Error {
    Error::Page(format!("{:?} {what}", String::from_utf8_lossy(line)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const PAGE: &str = "# HELP a Some.\n# TYPE a gauge\na{instance=\"bench-00000\",job=\"node\"} 7\n\
        a{instance=\"bench-00001\"} 8\nb{x=\"y\",instance=\"bench-00000\"} 7\nb{x=\"y\",instance=\"bench-00001\"} 8\n\
        # TYPE fleetgauge_x gauge\nfleetgauge_x 1\nprocess_y 2\nfleetgauge_agent_up{instance=\"bench-00000\"} 1\n";

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check(page: &str, agents: usize, series: usize, expected: &str) {
        let result = check_whole(&mut page.as_bytes(), agents, series);
        match expected {
            "" => result.unwrap(),
            expected => {
                let error = result.expect_err("a wrong page").to_string();
                assert!(error.contains(expected), "{error}");
            }
        }
    }

    #[test]
    fn half_a_push_is_seen() {
        check(PAGE, 2, 2, "");
        check(&PAGE.replacen("} 8\nb{x", "} 9\nb{x", 1), 2, 2, "half a push: another series has 9");
        check(PAGE, 2, 3, "2 series of agent 0, not 3");
        check(PAGE, 3, 2, "0 series of agent 2, not 2");
        check(PAGE, 1, 2, "no agent that pushes");
        check(&PAGE.replace("} 7\n", "} x\n"), 2, 2, "has no value");
        check("a{instance=\"bench-00000\"} 1", 1, 1, "does not end");
    }

    #[test]
    fn a_single_agents_page_has_one_value() {
        assert_eq!(single_value(b"# TYPE a gauge\na 5\nb 5\n").unwrap(), Some(5.0));
        assert_eq!(single_value(b"").unwrap(), None);
        assert!(single_value(b"a 5\nb 6\n").unwrap_err().to_string().contains("half a push"));
    }

    #[test]
    fn contents_leave_out_what_changes_by_itself() {
        let whole = contents(&mut PAGE.as_bytes()).unwrap();
        assert_eq!(whole.samples, 4);
        assert_eq!(contents(&mut PAGE.replace("process_y 2", "process_y 3").as_bytes()).unwrap(), whole);
        assert_ne!(contents(&mut PAGE.replace("} 8", "} 9").as_bytes()).unwrap(), whole);
        assert_ne!(contents(&mut PAGE.replace("Some", "Any").as_bytes()).unwrap(), whole);
    }

    #[test]
    fn gzip_is_one_member_and_whole() {
        let body = gzip(PAGE);
        assert_eq!(inflate(&body, contents).unwrap(), contents(&mut PAGE.as_bytes()).unwrap());
        let two = [body.clone(), gzip("a 1\n")].concat();
        assert!(inflate(&two, contents).unwrap_err().to_string().contains("after the first gzip member"));
        assert!(inflate(&body[..body.len() - 1], contents).is_err(), "a checksum cut off");
        let mut flipped = body.clone();
        let at = body.len() - 6;
        flipped[at] ^= 1;
        assert!(inflate(&flipped, contents).is_err(), "a wrong checksum");
    }
}
