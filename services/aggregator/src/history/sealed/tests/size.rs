//! What points take on disk, everything counted: blocks, keys, index. The values are made to look
//! like what hosts and scripts say, at steps of ten seconds.

use super::*;

/// Numbers that look random and are the same in each run.
struct Noise(u64);

impl Noise {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Bytes per point of a day of some series, whose values a function makes from one to the next.
fn bytes_per_point(late: f64, mut next: impl FnMut(f64, &mut Noise) -> f64) -> f64 {
    let (mut model, mut noise) = (Model::new(), Noise(1));
    for id in 0..10 {
        let mut value = 30.0;
        let day = (0..8_640_i64).map(|n| {
            value = next(value, &mut noise);
            (1_700_000_000 + n * 10 + i64::from(noise.next() < late), value)
        });
        series(&mut model, id, &format!("host-{id:04}.example.org.cpu"), day.collect::<Vec<_>>());
    }
    let dir = tempfile::tempdir().unwrap();
    let (path, summary) = write(dir.path(), &model, None);
    check_holds(&Segment::open(&path).unwrap(), &model);
    summary.file_bytes as f64 / summary.points as f64
}

#[track_caller]
fn check(name: &str, late: f64, at_most: f64, next: impl FnMut(f64, &mut Noise) -> f64) {
    let bytes = bytes_per_point(late, next);
    println!("{name}: {bytes:.3} bytes per point");
    assert!(bytes <= at_most, "{name}: {bytes:.3} bytes per point, more than {at_most}");
}

fn one_decimal(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[test]
fn realistic_points_take_less_than_four_bytes() {
    check("constant", 0.0, 0.05, |_, _| 42.5);
    check("percent, random walk", 0.0, 1.0, |before, noise| {
        one_decimal((before + noise.next() * 4.0 - 2.0).clamp(0.0, 100.0))
    });
    check("percent, random walk, a twentieth a second late", 0.05, 1.1, |before, noise| {
        one_decimal((before + noise.next() * 4.0 - 2.0).clamp(0.0, 100.0))
    });
    check("percent, bursts", 0.0, 1.1, |_, noise| {
        let is_busy = noise.next() < 0.1;
        one_decimal(if is_busy { noise.next() * 100.0 } else { 2.0 + noise.next() * 3.0 })
    });
    check("integers, random walk", 0.0, 0.9, |before, noise| (before + noise.next() * 40.0 - 20.0).round());
    check("counter of bytes", 0.0, 3.0, |before, noise| before + (noise.next() * 2e6).round());
    check("bytes per second, noise and bursts", 0.0, 3.0, |_, noise| {
        let burst = if noise.next() < 0.05 { noise.next() * 5e6 } else { 0.0 };
        one_decimal(8e4 + noise.next() * 4e4 + burst)
    });
}

/// Nothing can compress 53 random bits: such values cost what they are, and no more.
#[test]
fn noise_takes_what_it_is() {
    check("ratios of all 53 bits", 0.0, 6.6, |_, noise| 8e4 + noise.next() * 4e4);
    check("any bits", 0.0, 8.1, |_, noise| {
        f64::from_bits((noise.next() * 2f64.powi(53)) as u64 | ((noise.next() * 2048.0) as u64) << 53)
    });
}
