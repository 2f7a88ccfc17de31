//! Durations as people write them: `250ms`, `30s`, `5m`, `2h`.

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a duration: expected a whole number with ms, s, m, h or d, as in 30s")]
pub struct ParseDurationError {
    /// The text.
    pub value: String,
}

/// Units in milliseconds; `ms` first, so that it is not read as `m` and `s`.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration into milliseconds.
///
/// # Errors
/// [`ParseDurationError`] when the text has no unit, another form, or is too large.
pub fn parse_duration_ms(text: &str) -> Result<u64, ParseDurationError> {
    let wrong = || ParseDurationError { value: text.to_owned() };
    let unit =
        UNITS.iter().find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)));
    let (number, unit) = unit.ok_or_else(wrong)?;
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = if plain { number.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    number.checked_mul(unit).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_every_unit() {
        for (text, ms) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "30", "s", "1.5s", "-1s", "1 s", "999999999999999999d"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
    }
}
