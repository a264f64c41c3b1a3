//! Assignments, ages, counts and times as people write and read them; sizes and durations are the broker's (`strait_broker::quantity`).

use std::time::SystemTime;

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

/// A time that is left, rounded up: `90s`, `10m`, `3h`.
pub fn left(ms: u64) -> String {
    match ms.div_ceil(1000) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7200 => format!("{}m", seconds.div_ceil(60)),
        seconds => format!("{}h", seconds.div_ceil(3600)),
    }
}

/// A count in few characters: `7`, `0.5`, `1.2k`, `34.5M`.
pub fn short(count: f64) -> String {
    let units = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // What would be rounded up to the next unit belongs there.
    let fitting = units.into_iter().find(|(unit, _)| count >= unit * 0.99995);
    match fitting {
        Some((unit, name)) => format!("{:.1}{name}", count / unit),
        None if count.fract() == 0.0 || count >= 10.0 => format!("{count:.0}"),
        None => format!("{count:.1}"),
    }
}

/// Nanoseconds since 1970, as far as 64 bits go: to the year 2554.
pub fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// A time of day in UTC: `17:03:59.000123`.
pub fn time_of_day(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % 86_400;
    format!("{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, since.subsec_micros())
}

/// Date and time in UTC, as RFC 3339 has it: `2026-11-21T17:03:59.000123Z`.
pub fn timestamp(time: SystemTime) -> String {
    let days = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    let (year, month, day) = date(days);
    format!("{year:04}-{month:02}-{day:02}T{}Z", time_of_day(time))
}

/// The date so many days after 1970-01-01, counted from the March of year 0 in eras of 400 years, so that leap days come last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Bytes in the largest unit of which there is one: `512 B`, `3.0 KiB`, `64.0 MiB`.
pub fn size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.into_iter().find(|(unit, _)| bytes >= *unit);
    fitting.map_or_else(|| format!("{bytes} B"), |(unit, name)| format!("{:.1} {name}", bytes as f64 / unit as f64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_left_is_rounded_up() {
        let told = [1, 2_990, 90_000, 120_001, 7_200_000].map(left);
        assert_eq!(told, ["1s", "3s", "90s", "3m", "2h"]);
    }

    #[test]
    fn counts_are_short() {
        for (count, text) in [
            (0.0, "0"),
            (7.0, "7"),
            (0.5, "0.5"),
            (12.34, "12"),
            (999.0, "999"),
            (999.99, "1.0k"),
            (1234.0, "1.2k"),
            (34.5e6, "34.5M"),
        ] {
            assert_eq!(short(count), text);
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, 5000);
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000005Z"),
            (951_782_399, "2000-02-28T23:59:59.000005Z"),
            (951_868_800, "2000-03-01T00:00:00.000005Z"),
            (1_795_284_000, "2026-11-21T18:00:00.000005Z"),
        ] {
            assert_eq!(timestamp(at(seconds)), text);
        }
    }

    #[test]
    fn assignments_have_a_key() {
        assert_eq!(assignment("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert!(assignment("=b").is_err());
        assert!(assignment("A").is_err());
    }

    #[test]
    fn sizes_have_the_largest_unit() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (64 << 20, "64.0 MiB")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn ages_are_short() {
        for (ms, text) in [(7, "7ms"), (1999, "1s"), (61_000, "1m"), (7_200_000, "2h"), (172_800_000, "2d")] {
            assert_eq!(age(ms), text);
        }
    }
}
