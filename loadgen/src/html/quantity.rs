//! Figures as people read them.

/// Three digits, and a unit that suits: `950 µs`, `1.25 ms`, `3.10 s`.
pub(crate) fn time(ns: f64) -> String {
    match ns {
        0.0 => "0".to_owned(),
        ns if ns.abs() < 1e6 => format!("{} µs", digits(ns / 1e3)),
        ns if ns.abs() < 1e9 => format!("{} ms", digits(ns / 1e6)),
        _ => format!("{} s", digits(ns / 1e9)),
    }
}

pub(crate) fn bytes(bytes: f64) -> String {
    match bytes {
        bytes if bytes.abs() < 1024.0 => format!("{} B", digits(bytes)),
        bytes if bytes.abs() < 1024.0 * 1024.0 => format!("{} KiB", digits(bytes / 1024.0)),
        bytes if bytes.abs() < 1024.0 * 1024.0 * 1024.0 => format!("{} MiB", digits(bytes / 1024.0 / 1024.0)),
        _ => format!("{} GiB", digits(bytes / 1024.0 / 1024.0 / 1024.0)),
    }
}

/// Whole, with commas between thousands.
pub(crate) fn count(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::with_capacity(plain.len() + plain.len() / 3);
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits; whole and with commas from 1,000.
pub(crate) fn number(number: f64) -> String {
    if number >= 1000.0 { count(number.round() as u64) } else { digits(number) }
}

/// For the labels of an axis: as few digits as it takes.
pub(crate) fn plain(number: f64) -> String {
    if number >= 1000.0 { count(number.round() as u64) } else { format!("{}", (number * 1e6).round() / 1e6) }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

fn digits(number: f64) -> String {
    let size = number.abs();
    let places = if size == 0.0 || size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    format!("{number:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        for (got, expected) in [
            (time(0.0), "0"),
            (time(950_000.0), "950 µs"),
            (time(1_250_000.0), "1.25 ms"),
            (time(3.1e9), "3.10 s"),
            (bytes(512.0), "512 B"),
            (bytes(-4096.0), "-4.00 KiB"),
            (bytes(41.0 * 1024.0 * 1024.0), "41.0 MiB"),
            (count(999), "999"),
            (count(1_234_567), "1,234,567"),
            (number(25_000.4), "25,000"),
            (number(12.4), "12.4"),
            (percent(0.998), "99.8 %"),
            (plain(2.0), "2"),
            (plain(0.1 + 0.2), "0.3"),
            (plain(50_000.0), "50,000"),
        ] {
            assert_eq!(got, expected);
        }
    }
}
