//! From values to places on an axis.

/// How far apart values are before a linear scale would hide the small ones.
const WIDE: f64 = 30.0;

/// A scale from `low` to `high` onto 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    low: f64,
    high: f64,
    pub is_log: bool,
}

impl Scale {
    /// One that has room for all of these: from zero if they are of a kind, by decades otherwise.
    pub fn of(values: &[f64]) -> Self {
        let (least, most) = extremes(values);
        match most / least > WIDE {
            true => Self::log(values),
            false => Self { low: 0.0, high: most * 1.02, is_log: false },
        }
    }

    /// One by decades.
    pub fn log(values: &[f64]) -> Self {
        let (least, most) = extremes(values);
        // Nothing sits on the axis itself, where a bar would have no length.
        Self { low: least * 0.7, high: most * 1.1, is_log: true }
    }

    pub fn place(self, value: f64) -> f64 {
        let place = match self.is_log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        place.clamp(0.0, 1.0)
    }

    /// Where to draw lines: round values, three to eight of them.
    pub fn ticks(self) -> Vec<f64> {
        let exponent = |value: f64| value.log10().floor() as i32;
        if self.is_log {
            let decades = exponent(self.low)..=exponent(self.high);
            let steps: &[f64] = if self.high / self.low > 300.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
            return all.filter(|value| (self.low..=self.high).contains(value)).collect();
        }
        let rough = self.high / 5.0;
        let decade = 10f64.powi(exponent(rough));
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * decade).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        (0..).map(|n| f64::from(n) * step).take_while(|value| *value <= self.high).collect()
    }
}

/// The least and the most of the positive values; there is always something between them to show.
fn extremes(values: &[f64]) -> (f64, f64) {
    let positive = || values.iter().copied().filter(|value| value.is_finite() && *value > 0.0);
    let (least, most) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
    if most > 0.0 { (least, most) } else { (0.5, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_kind_start_at_zero_and_others_go_by_decades() {
        assert!(!Scale::of(&[3.0, 40.0]).is_log);
        assert!(Scale::of(&[0.5, 40.0]).is_log);
        assert!(!Scale::of(&[]).is_log);
        assert_eq!(Scale::of(&[10.0]).place(0.0), 0.0);
    }

    #[test]
    fn every_value_has_a_place_and_larger_ones_are_further() {
        for scale in [Scale::of(&[1.0, 5.0]), Scale::log(&[1.0, 5000.0])] {
            assert!(scale.place(1.0) < scale.place(4.0) && scale.place(4.0) < 1.0);
            assert!(scale.place(-1.0) >= 0.0);
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(Scale::of(&[47.0, 20.0]).ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(Scale::log(&[1.0, 5000.0]).ticks(), [1.0, 10.0, 100.0, 1000.0]);
        for most in [0.003, 1.0, 8.0, 99.0, 12345.0] {
            assert!((3..=8).contains(&Scale::of(&[most]).ticks().len()), "{most}");
        }
    }
}
