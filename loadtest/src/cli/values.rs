//! The values that flags take: shares, byte rates, cores, spreads. Each parses what a person would write.

use std::fmt;
use std::str::FromStr;

use crate::plan::Spread;

/// A share: `1%` or `0.01`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Share, String> {
        let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
        match number.trim().parse::<f64>() {
            Ok(number) if (0.0..=unit).contains(&number) => Ok(Share(number / unit)),
            _ => Err(format!("`{text}` is no share: write 1% or 0.01")),
        }
    }
}

/// Slow readers: `1%` (at 2,000 bytes/s) or `1%:10k`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slow {
    pub(crate) share: f64,
    pub(crate) bytes_per_s: u32,
}

/// A modem's worth.
const SLOW_BYTES_PER_S: u32 = 2_000;

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Slow, String> {
        let (share, rate) = text.split_once(':').map_or((text, None), |(share, rate)| (share, Some(rate)));
        let bytes_per_s = match rate {
            None => SLOW_BYTES_PER_S,
            Some(rate) => u32::try_from(count(rate)?).map_err(|_| format!("`{rate}` is not slow"))?,
        };
        Ok(Slow { share: share.parse::<Share>()?.0, bytes_per_s })
    }
}

/// A number that may end in k or m: `10k` is 10,000.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, factor) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 1_000),
        Some(b'm') => (&lower[..lower.len() - 1], 1_000_000),
        _ => (lower.as_str(), 1),
    };
    let number = digits.replace([',', '_'], "").parse::<u64>().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or_else(|| format!("`{text}` is no count"))
}

/// A count that fits 32 bits.
pub(crate) fn count32(text: &str) -> Result<u32, String> {
    u32::try_from(count(text)?).map_err(|_| format!("`{text}` is too much"))
}

/// A rate per second that may end in k or m.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let plain = text.parse::<f64>().ok().filter(|rate| rate.is_finite() && *rate >= 0.0);
    plain.map_or_else(|| count(text).map(|rate| rate as f64), Ok)
}

/// Seconds: `10`, `10s`, `250ms`, `5m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<f64, String> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let factor = match &text[at..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3_600.0,
        unit => return Err(format!("`{unit}` is no unit of time: s, ms, m or h")),
    };
    match text[..at].trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * factor),
        _ => Err(format!("`{text}` is no duration")),
    }
}

/// Cores as `taskset -c` takes them: `0`, `0,2`, `1-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cores(Vec<usize>);

impl Cores {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        let bad = || format!("`{text}` are no cores: write 0, 0,2 or 1-3");
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|core| *core < 1_024).ok_or_else(bad);
        let mut cores = Vec::new();
        for part in text.split(',') {
            match part.split_once('-') {
                Some((first, last)) => cores.extend(number(first)?..=number(last)?),
                None => cores.push(number(part)?),
            }
        }
        cores.sort_unstable();
        cores.dedup();
        if cores.is_empty() { Err(bad()) } else { Ok(Cores(cores)) }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(usize::to_string).collect();
        f.write_str(&names.join(","))
    }
}

/// `uniform`, `zipf` (1) or `zipf:1.2`.
pub(crate) fn spread(text: &str) -> Result<Spread, String> {
    let (name, exponent) = text.split_once(':').unwrap_or((text, "1"));
    match (name, exponent.parse::<f64>()) {
        ("uniform", _) => Ok(Spread::Uniform),
        ("zipf", Ok(exponent)) if (0.0..=10.0).contains(&exponent) => Ok(Spread::Zipf(exponent)),
        _ => Err(format!("`{text}` is no spread: write uniform, zipf or zipf:1.2")),
    }
}

/// `KEY=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!("1%".parse(), Ok(Share(0.01)));
        assert_eq!("0.25".parse(), Ok(Share(0.25)));
        assert!("101%".parse::<Share>().is_err() && "-1".parse::<Share>().is_err());
        assert_eq!("2%:10k".parse(), Ok(Slow { share: 0.02, bytes_per_s: 10_000 }));
        assert_eq!("2%".parse(), Ok(Slow { share: 0.02, bytes_per_s: SLOW_BYTES_PER_S }));
        assert_eq!((count("10k"), count("1_000"), count("2M")), (Ok(10_000), Ok(1_000), Ok(2_000_000)));
        assert!(count("k").is_err() && count("").is_err());
        assert_eq!((rate("12.5"), rate("500k")), (Ok(12.5), Ok(500_000.0)));
        assert_eq!((duration("250ms"), duration("2m"), duration("7")), (Ok(0.25), Ok(120.0), Ok(7.0)));
        assert!(duration("1d").is_err() && duration("s").is_err());
        assert_eq!(spread("zipf"), Ok(Spread::Zipf(1.0)));
        assert!(spread("zipf:x").is_err() && spread("normal").is_err());
    }

    #[test]
    fn cores_are_written_as_for_taskset() {
        let cores: Cores = "3,0-1".parse().unwrap();
        assert_eq!(cores.iter().collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(cores.to_string(), "0,1,3");
        for bad in ["", "a", "1-", "2-1", "9999"] {
            assert!(bad.parse::<Cores>().is_err(), "{bad}");
        }
    }
}
