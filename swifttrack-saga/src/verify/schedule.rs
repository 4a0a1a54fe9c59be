//! Choices made here and there, for walks through sagas that are too large to exhaust.

/// Where a walk does not take the harmless choice, and which it takes instead.
///
/// With the `proptest` feature, `schedules` draws them at random.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// How many choices to pass over, and which of the next to take (of those that are there,
    /// counted round).
    picks: Vec<(u8, u8)>,
}

impl Schedule {
    /// Passes over so many choices, then takes this one of the next (of those that are there,
    /// counted round), and so on. What is not said is harmless.
    #[must_use]
    pub fn new(picks: Vec<(u8, u8)>) -> Self {
        Self { picks }
    }

    pub(crate) fn at(&self, place: usize, options: usize) -> u8 {
        let mut next = 0;
        for (over, pick) in &self.picks {
            next += usize::from(*over);
            if next == place {
                return u8::try_from(usize::from(*pick) % options).unwrap_or(0);
            }
            next += 1;
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_are_made_where_they_are_said_and_nowhere_else() {
        let schedule = Schedule::new(vec![(1, 2), (0, 7), (3, 1)]);
        let made: Vec<u8> = (0..8).map(|place| schedule.at(place, 4)).collect();
        assert_eq!(made, [0, 2, 3, 0, 0, 0, 1, 0]);
    }
}
