//! Values and labels.

use super::*;

#[test]
fn values_have_three_digits_and_a_unit() {
    use Unit::{Bytes, Count, Nanoseconds, Number, Share};
    for (unit, value, expected) in [
        (Nanoseconds, 0.0, "0.00 µs"),
        (Nanoseconds, 950_000.0, "950 µs"),
        (Nanoseconds, 1_250_000.0, "1.25 ms"),
        (Nanoseconds, 3.1e9, "3.10 s"),
        (Bytes, 512.0, "512 B"),
        (Bytes, -4096.0, "-4.00 KiB"),
        (Bytes, 41.0 * 1024.0 * 1024.0, "41.0 MiB"),
        (Count, 999.0, "999"),
        (Count, 1_234_567.0, "1,234,567"),
        // The median of two runs.
        (Count, 0.5, "0.5"),
        (Number, 25_000.4, "25,000"),
        (Number, 12.4, "12.4"),
        (Number, 12.0, "12"),
        (Share, 0.998, "99.8 %"),
        (Unit::Name, 12_345.0, "12345"),
    ] {
        assert_eq!(unit.show(value), expected);
    }
}

#[test]
fn axes_have_no_more_digits_than_it_takes() {
    for (unit, value, expected) in [
        (Unit::Nanoseconds, 2e6, "2 ms"),
        (Unit::Bytes, 512.0 * 1024.0, "512 KiB"),
        (Unit::Number, 0.1 + 0.2, "0.3"),
        (Unit::Number, 50_000.0, "50,000"),
        (Unit::Nines, 1.0, "0 %"),
        (Unit::Nines, 10.0, "90 %"),
        (Unit::Nines, 1e3, "99.9 %"),
        (Unit::Nines, 1e7, "99.99999 %"),
    ] {
        assert_eq!(unit.tick(value), expected);
    }
}
