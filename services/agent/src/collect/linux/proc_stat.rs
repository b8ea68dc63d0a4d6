//! The text of `/proc/stat`, which three collectors read.

use super::error::CollectError;

/// The modes of a CPU's time, in the order of the columns.
pub(in crate::collect) const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
/// How many columns a current kernel writes: the modes, guest and guest_nice.
pub(in crate::collect) const COLUMNS: usize = 10;
/// The unit of the columns: a hundredth of a second on every architecture of Linux, whatever the
/// kernel itself ticks at.
pub(in crate::collect) const TICKS_PER_SECOND: f64 = 100.0;

/// The time of one CPU in seconds, by column.
pub(in crate::collect) type Times = [f64; COLUMNS];

/// One line `cpu… …`: the CPU's number (empty for all together) and its times.
pub(in crate::collect) fn cpu_lines(text: &str) -> impl Iterator<Item = Result<(&str, Times), CollectError>> {
    // They come first; the long line of interrupts after them need not be searched.
    text.lines().take_while(|line| line.starts_with("cpu")).map(|line| {
        let malformed = || CollectError::malformed("stat", line);
        let mut words = line.split_ascii_whitespace();
        let id = words.next().and_then(|word| word.strip_prefix("cpu")).unwrap_or_default();
        let mut times = [0.0; COLUMNS];
        let mut columns = 0;
        for (time, word) in times.iter_mut().zip(words) {
            *time = super::whole(word).ok_or_else(malformed)? / TICKS_PER_SECOND;
            columns += 1;
        }
        // The first kernels wrote four columns.
        let fits = columns >= 4 && id.bytes().all(|byte| byte.is_ascii_digit());
        fits.then_some((id, times)).ok_or_else(malformed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let text =
            "cpu  10 0 20 30\ncpu0 100 0 250 3 4 5 6 7 8 9 99\ncpu1 1 2 3\ncpux 1 2 3 4\nintr 5 1 2\ncpu2 1 2 3 4\n";
        let lines: Vec<_> = cpu_lines(text).collect();
        assert_eq!(lines[0], Ok(("", [0.1, 0.0, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])));
        assert_eq!(lines[1], Ok(("0", [1.0, 0.0, 2.5, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09])));
        assert!(lines[2].is_err(), "three columns are too few");
        assert!(lines[3].is_err());
        assert_eq!(lines.len(), 4, "nothing after the lines of the CPUs");
    }
}
