//! Reading a history: all of it, and one key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::aggregator::Aggregator;
use crate::lines::Client;
use crate::points::{Series, second};
use crate::proc::{Memory, reset_peak};
use crate::{Error, Result};

/// What reading all took.
#[derive(Debug, Clone, Copy)]
pub struct ReadAll {
    /// Until the last byte.
    pub took: Duration,
    /// Rows.
    pub rows: u64,
    /// The aggregator's peak resident memory meanwhile, above what it had before.
    pub rss_growth_mib: f64,
}

/// Gets all points once.
///
/// # Errors
/// When there are not as many as `rows`.
pub async fn get_all(aggregator: &Aggregator, rows: u64) -> Result<ReadAll> {
    let mut client = Client::connect(aggregator.line()).await?;
    let pid = aggregator.pid();
    reset_peak(pid)?;
    let before = Memory::of(pid)?;
    let answer = client.get("*", &mut |_| {}).await?;
    let after = Memory::of(pid)?;
    if answer.count != rows {
        return Err(Error::Lines(format!("get * has {} rows, put were {rows} points", answer.count)));
    }
    Ok(ReadAll { took: answer.took, rows, rss_growth_mib: after.peak_mib - before.now_mib })
}

/// Gets one key `gets` times, which must have the first `points` points of this series. Says how
/// long each took, in ms.
///
/// # Errors
/// When a row is not what was put.
pub async fn get_key(aggregator: &Aggregator, series: &Series, points: u64, gets: u32) -> Result<Vec<f64>> {
    let mut client = Client::connect(aggregator.line()).await?;
    let mut ms = Vec::new();
    for _ in 0..gets {
        let body = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&body);
        let keep =
            &mut move |piece: &[u8]| sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(piece);
        let answer = client.get(&series.key, keep).await?;
        ms.push(answer.took.as_secs_f64() * 1e3);
        let body = body.lock().unwrap_or_else(PoisonError::into_inner);
        check(&String::from_utf8_lossy(&body), series.clone(), points).map_err(Error::Lines)?;
    }
    Ok(ms)
}

/// Is this the answer that holds the first `points` points of the series?
fn check(answer: &str, mut series: Series, points: u64) -> std::result::Result<(), String> {
    let rows = answer.strip_prefix("ok\n").and_then(|rows| rows.strip_suffix("\n"));
    let mut rows = rows.ok_or("an answer without ok or end")?.lines();
    let mut text = Vec::new();
    for step in 0..points {
        text.clear();
        series.write_value(&mut text);
        let value: Option<f64> = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
        let row = rows.next().unwrap_or_default();
        let mut parts = row.split(' ');
        let is_right = parts.next() == Some(&series.key)
            && value.is_some_and(|value| parts.next().and_then(|text| text.parse().ok()) == Some(value))
            && parts.next().and_then(|text| text.parse().ok()) == Some(second(step))
            && parts.next().is_none();
        if !is_right {
            return Err(format!("row {step} of {} is {row:?}, put was {value:?} at {}", series.key, second(step)));
        }
    }
    rows.next().map_or(Ok(()), |row| Err(format!("{row:?} was not put")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Look;

    #[test]
    fn rows_must_be_what_was_put() {
        let series = Series::called("k".into(), Look::Count, 3);
        let mut copy = series.clone();
        let mut answer = "ok\n".to_owned();
        for step in 0..3 {
            let mut value = Vec::new();
            copy.write_value(&mut value);
            answer.push_str(&format!("k {}.0 {}\n", String::from_utf8(value).unwrap(), second(step)));
        }
        answer.push('\n');
        check(&answer, series.clone(), 3).unwrap();
        for (points, bad) in [
            (2, answer.clone()),
            (4, answer.clone()),
            (3, answer.replace("k ", "l ")),
            (3, answer.replace(".0 ", ".5 ")),
            (3, answer.replace("0\n", "1\n")),
            (3, answer.replace("ok\n", "")),
            (3, answer.replace(".0 ", ".0 1 ")),
        ] {
            assert!(check(&bad, series.clone(), points).is_err(), "{bad:?}");
        }
    }
}
