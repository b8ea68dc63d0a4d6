//! A door for the fuzzers in `fuzz/`, in builds with the feature `fuzzing` alone.

/// Reads a text file of metrics, whatever is in it. Gives how many families and flaws it has.
#[must_use]
pub fn read_text_file(text: &[u8]) -> (usize, usize) {
    const SAMPLES_MAX: usize = 1000;
    let (families, flaws) = super::exposition::parse(text, false, SAMPLES_MAX);
    let _cut = super::exposition::parse(text, true, SAMPLES_MAX);
    (families.len(), flaws.len())
}
