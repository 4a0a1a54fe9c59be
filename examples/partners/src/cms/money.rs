//! Amounts of money.

use std::fmt;
use std::str::FromStr;

/// An amount in hundredths, written as a decimal with two places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money(i64);

impl Money {
    /// An amount of whole units.
    #[must_use]
    pub const fn units(units: i32) -> Self {
        Self(units as i64 * 100)
    }

    /// An amount of hundredths.
    #[must_use]
    pub const fn hundredths(hundredths: i64) -> Self {
        Self(hundredths)
    }

    /// The amount in hundredths.
    #[must_use]
    pub const fn as_hundredths(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", amount / 100, amount % 100)
    }
}

/// The text is no decimal, has a third place that is not zero, or is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an amount with two decimal places")]
pub struct NotMoney;

impl FromStr for Money {
    type Err = NotMoney;

    /// Reads an `xsd:decimal`.
    fn from_str(text: &str) -> Result<Self, NotMoney> {
        let (sign, digits) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if !numeric(whole) || !numeric(places) || whole.len() + places.len() == 0 {
            return Err(NotMoney);
        }
        let (cents, rest) = places.split_at(places.len().min(2));
        if rest.bytes().any(|b| b != b'0') {
            return Err(NotMoney);
        }
        format!("{whole}{cents:0<2}")
            .parse::<i64>()
            .map(|hundredths| Self(sign * hundredths))
            .map_err(|_| NotMoney)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for hundredths in [0, 1, -1, 99, -99, 100, 12_345, i64::MAX, -i64::MAX] {
            let money = Money::hundredths(hundredths);
            assert_eq!(money.to_string().parse(), Ok(money), "{money}");
        }
    }

    #[test]
    fn reads_every_form_of_a_decimal() {
        for (text, hundredths) in [
            ("1234.5", 123_450),
            ("+1.", 100),
            (".07", 7),
            ("-0.50", -50),
            ("2.5000", 250),
        ] {
            assert_eq!(text.parse(), Ok(Money(hundredths)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_amount() {
        for text in [
            "",
            ".",
            "-",
            "1.001",
            "1e3",
            "0x1",
            "1,5",
            "99999999999999999999",
        ] {
            assert_eq!(text.parse::<Money>(), Err(NotMoney), "{text}");
        }
    }
}
