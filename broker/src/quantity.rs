//! Quantities as people write them, in files and on the command line alike: `64 MiB`, `0.5` processors, `30s`.

use serde::de::{Error, Visitor};
use std::fmt;
use std::time::Duration;

/// Bytes: `65536`, `64K`, `64 KiB`, `16M`, `1G`, `1TiB`, in powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = split(text);
    let letter = unit.strip_suffix("iB").unwrap_or(unit);
    let shift = match letter {
        "" if unit.is_empty() => 0,
        "B" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        _ => {
            return Err(format!(
                "`{unit}` is no unit of size: there are K, M, G and T, or KiB and so on, as in 64 MiB"
            ));
        }
    };
    number(digits)?.checked_mul(1 << shift).ok_or_else(|| "more than 64 bits can count".into())
}

/// The same as text, in the largest unit that loses nothing.
pub fn bytes_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |(shift, _): &(u32, &str)| bytes != 0 && bytes.trailing_zeros() >= *shift;
    units.into_iter().find(fits).map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

/// A time with its unit: `300ms`, `5s`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (digits, unit) = split(text);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" => return Err(format!("a time needs a unit: {text}ms, {text}s, {text}m or {text}h")),
        _ => return Err(format!("`{unit}` is no unit of time: there are ms, s, m and h, as in 5s")),
    };
    let ms = number(digits)?.checked_mul(unit_ms).filter(|ms| *ms < u64::from(u32::MAX));
    ms.map(Duration::from_millis).ok_or_else(|| "longer than 49 days, which is the most".into())
}

/// The same in milliseconds.
pub fn milliseconds(text: &str) -> Result<u32, String> {
    Ok(u32::try_from(duration(text)?.as_millis()).unwrap_or(u32::MAX))
}

/// Processors, in thousandths of one: `0.5` is 500, `2` is 2000. From 0.01 to 4096.
pub fn processors(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no number of processors: write 0.5 for a half, 2 for two; from 0.01 to 4096");
    let permille = text.trim().parse::<f64>().map_err(|_| wrong())? * 1000.0;
    match (10.0..=4_096_000.0).contains(&permille) {
        // In range, so nothing is cut off but the fraction.
        true => Ok(permille.round() as u32),
        false => Err(wrong()),
    }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    (digits, unit.trim_start())
}

fn number(digits: &str) -> Result<u64, String> {
    match digits.parse() {
        Ok(number) => Ok(number),
        Err(_) if digits.is_empty() => Err("starts with a whole number".into()),
        Err(_) => Err("more than 64 bits can count".into()),
    }
}

/// A quantity in a file: text, or a number that is read as if it were text.
struct Quantity<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// Fields of bytes, for `#[serde(deserialize_with)]`. They are written as numbers; an optional one that is absent isn't written, nor read.
pub mod in_bytes {
    use super::{Quantity, bytes};
    use serde::Deserializer;

    /// A number, or a text such as `64 MiB`.
    pub fn required<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        from.deserialize_any(Quantity { expected: "a size such as \"64 MiB\"", parse: bytes })
    }

    /// The same where there may be nothing.
    pub fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
        required(from).map(Some)
    }
}

/// Fields of milliseconds. They are written with their unit.
pub(crate) mod in_milliseconds {
    use super::{Quantity, milliseconds};
    use serde::{Deserializer, Serializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
        from.deserialize_any(Quantity { expected: "a time such as \"30s\"", parse: milliseconds })
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
    pub(crate) fn serialize<S: Serializer>(ms: &u32, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{ms}ms"))
    }

    pub(crate) mod optional {
        use serde::{Deserializer, Serializer};

        pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
            super::deserialize(from).map(Some)
        }

        pub(crate) fn serialize<S: Serializer>(ms: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
            match ms {
                Some(ms) => super::serialize(ms, to),
                None => to.serialize_none(),
            }
        }
    }
}

/// Fields of thousandths of a processor. They are written as processors.
pub(crate) mod in_processors {
    use super::{Quantity, processors};
    use serde::{Deserializer, Serializer};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
        from.deserialize_any(Quantity { expected: "processors, such as 0.5", parse: processors }).map(Some)
    }

    pub(crate) fn serialize<S: Serializer>(permille: &Option<u32>, to: S) -> Result<S::Ok, S::Error> {
        match permille {
            Some(permille) => to.serialize_f64(f64::from(*permille) / 1000.0),
            None => to.serialize_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, size) in
            [("65536", 65536), ("64K", 65536), ("64 KiB", 65536), ("4m", 4 << 20), ("1GiB", 1 << 30), ("7B", 7)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for (size, text) in [(0, "0"), (1000, "1000"), (2 << 30, "2 GiB"), (1536, "1536"), (3 << 10, "3 KiB")] {
            assert_eq!(bytes_text(size), text);
        }
        for wrong in ["", "K", "-1", "1.5M", "64KB", "iB", "64 K B", "99999999999G", "99999999999999999999"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [("300ms", 300), ("5s", 5000), ("2m", 120_000), ("2 min", 120_000)] {
            assert_eq!(milliseconds(text), Ok(ms), "{text}");
        }
        assert_eq!(duration("5").unwrap_err(), "a time needs a unit: 5ms, 5s, 5m or 5h");
        for wrong in ["", "s", "1d", "1000h0", "2000h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn processors_are_parts_or_multiples() {
        for (text, permille) in [("0.5", 500), ("2", 2000), ("0.01", 10), (" 1.25 ", 1250)] {
            assert_eq!(processors(text), Ok(permille), "{text}");
        }
        for wrong in ["", "half", "0", "0.001", "-1", "nan", "inf", "1e9", "50%"] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
    }
}
