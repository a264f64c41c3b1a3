//! Assignments and ages as people write and read them; sizes and durations are the broker's (`strait_broker::quantity`).

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

#[cfg(test)]
mod tests {
    use super::*;

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
