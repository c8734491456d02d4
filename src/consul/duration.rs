//! Durations as Consul's clients write them: Go's `1h30m`, `15.0s`, `100ms`.

use std::time::Duration;

/// Nanoseconds; negative where the text says so. None where it is no duration: a number without a
/// unit, an unknown unit, or more than an `i64` holds.
pub fn parse(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        if !number.bytes().any(|b| b.is_ascii_digit()) {
            return None;
        }
        total += number.parse::<f64>().ok()? * nanoseconds(unit)?;
        rest = tail;
    }
    let total = if negative { -total } else { total };
    (total.abs() < i64::MAX as f64).then_some(total as i64)
}

fn nanoseconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3600e9,
        _ => return None,
    })
}

/// What Go says of a text that is no duration.
pub fn complaint(text: &str) -> String {
    let lacks_unit = parse(&format!("{text}s")).is_some();
    let what = if lacks_unit { "missing unit in" } else { "invalid" };
    format!("time: {what} duration {text:?}")
}

/// A duration of nanoseconds; none where it is not above zero.
pub fn positive(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().filter(|n| *n > 0).map(Duration::from_nanos)
}

/// As Go prints it: `0s`, `1.5s`, `100ms`, `1m30s`, `1h0m0s`.
pub fn format(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    let small = [(1_000_000_000, 1_000_000, "ms"), (1_000_000, 1_000, "µs"), (1_000, 1, "ns")];
    for (below, unit, name) in small.into_iter().rev() {
        if nanoseconds < below {
            return format!("{}{name}", decimal(nanoseconds, unit));
        }
    }
    let minutes = nanoseconds / 60_000_000_000;
    let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// The same of nanoseconds with a sign.
pub fn format_signed(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    format!("{sign}{}", format(Duration::from_nanos(nanoseconds.unsigned_abs())))
}

fn decimal(value: u128, unit: u128) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.to_string().len() - 1;
    let fraction = format!("{fraction:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let good = [
            ("10s", 10_000_000_000),
            ("1m30s", 90_000_000_000),
            ("15.0s", 15_000_000_000),
            ("0.001s", 1_000_000),
            ("100ms", 100_000_000),
            ("-1s", -1_000_000_000),
            ("+2us", 2_000),
            ("0", 0),
            (".5s", 500_000_000),
        ];
        for (text, nanoseconds) in good {
            assert_eq!(parse(text), Some(nanoseconds), "{text}");
        }
        for text in ["", "5", "abc", "s", "1x", "1.2.3s", ".s", "-", "1 s", "99999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(complaint("10"), "time: missing unit in duration \"10\"");
        assert_eq!(complaint("1m30"), "time: missing unit in duration \"1m30\"");
        assert_eq!(complaint("x"), "time: invalid duration \"x\"");
    }

    #[test]
    fn writes_what_go_writes() {
        let ms = Duration::from_millis;
        let cases = [
            (ms(0), "0s"),
            (ms(5), "5ms"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_nanos(7), "7ns"),
            (ms(1500), "1.5s"),
            (ms(90_000), "1m30s"),
            (ms(3_600_000), "1h0m0s"),
        ];
        for (duration, text) in cases {
            assert_eq!(format(duration), text);
        }
    }
}
