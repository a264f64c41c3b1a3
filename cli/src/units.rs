//! Sizes, durations and assignments as people write them.

use std::time::Duration;

/// Bytes: `65536`, `64K`, `16M`, `1G`, in powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        _ => return Err(format!("`{unit}` is no unit of size: there are K, M and G, as in 64K")),
    };
    number(digits)?.checked_mul(1 << shift).ok_or_else(|| "more than 64 bits can count".into())
}

/// A time with its unit: `300ms`, `5s`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("a time needs a unit: {text}ms, {text}s, {text}m or {text}h")),
        _ => return Err(format!("`{unit}` is no unit of time: there are ms, s, m and h, as in 5s")),
    };
    let ms = number(digits)?.checked_mul(unit_ms).filter(|ms| *ms < u64::from(u32::MAX));
    ms.map(Duration::from_millis).ok_or_else(|| "longer than 49 days, which is the most".into())
}

/// `KEY=VALUE`.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("a variable is written KEY=VALUE".into()),
    }
}

/// An age in its largest unit: `250ms`, `12s`, `3m`, `7h`, `2d`.
pub fn age(ms: u64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let fitting = units.into_iter().find(|(unit_ms, _)| ms >= *unit_ms);
    fitting.map_or_else(|| format!("{ms}ms"), |(unit_ms, unit)| format!("{}{unit}", ms / unit_ms))
}

fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn number(digits: &str) -> Result<u64, String> {
    match digits.parse() {
        Ok(number) => Ok(number),
        Err(_) if digits.is_empty() => Err("starts with a whole number".into()),
        Err(_) => Err("more than 64 bits can count".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("65536"), Ok(65536));
        assert_eq!(size("64K"), Ok(65536));
        assert_eq!(size("4m"), Ok(4 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        for wrong in ["", "K", "-1", "1.5M", "64KB", "99999999999G", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("5").unwrap_err(), "a time needs a unit: 5ms, 5s, 5m or 5h");
        for wrong in ["", "s", "1d", "1000h0", "2000h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn assignments_have_a_key() {
        assert_eq!(assignment("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(assignment("=b").is_err());
        assert!(assignment("A").is_err());
    }

    #[test]
    fn ages_are_short() {
        for (ms, text) in [(7, "7ms"), (1999, "1s"), (61_000, "1m"), (7_200_000, "2h"), (172_800_000, "2d")] {
            assert_eq!(age(ms), text);
        }
    }
}
