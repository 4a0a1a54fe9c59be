//! Writers, and what befalls relays, broker and database.

use std::time::Duration;

use super::world::{CALM_AT, Faults, Happening, KEYS, RELAYS, World, relay_at};
use crate::relay::core::Event;

impl World {
    /// A writer begins, and ends some time later, in any order.
    pub(super) fn write(&mut self) {
        for index in (0..self.database.open.len()).rev() {
            if self.database.open[index].ends <= self.now {
                let commit = !self.random.chance(150);
                self.database.end(index, commit);
            }
        }
        if self.now < CALM_AT {
            let mut keys: Vec<usize> = Vec::new();
            for _ in 0..self.random.within(1, 3) {
                let key = self.random.within(0, KEYS as u64 - 1) as usize;
                if !self.database.keys[key].1 && !keys.contains(&key) {
                    keys.push(key);
                }
            }
            let slow = self.random.chance(200);
            let ends = self.now + self.random.within(1, if slow { 400 } else { 20 });
            let rows = self.random.within(1, 4);
            if !keys.is_empty() {
                self.database.begin(keys, rows, ends);
                if self.faults == Faults::All
                    && self.broker.poison.is_empty()
                    && self.random.chance(20)
                {
                    let seq = self.database.last_seq();
                    self.broker.poison.insert(seq);
                }
            }
        }
        let at = self.now + self.random.within(5, 60);
        self.at(at, Happening::Write);
    }

    /// Relays come and go; with faults, more than that.
    pub(super) fn befall(&mut self) {
        let relay = self.random.within(0, RELAYS as u64 - 1) as usize;
        let calm = self.now >= CALM_AT;
        if calm {
            self.heal();
        } else if self.random.chance(60) {
            // A deployment: one drains and comes back.
            let until = self.local(relay) + Duration::from_secs(2);
            let life = self.relays[relay].life;
            self.tell(relay, life, Event::Stop { until });
        } else if self.faults == Faults::All {
            match self.random.within(0, 99) {
                0..=9 => {
                    self.relays[relay].frozen_until = self.now + self.random.within(100, 3_000)
                }
                10..=14 => self.relays[relay].stopped = true, // killed
                15..=19 => self.broker.away = !self.broker.away,
                20..=22 => {
                    // The database crashes: what was open is rolled back, who was connected is
                    // not any more.
                    while !self.database.open.is_empty() {
                        self.database.end(0, false);
                    }
                    self.database_life += 1;
                }
                _ => {}
            }
        }
        if self.relays[relay].stopped {
            let life = self.relays[relay].life + 1;
            let pace = self.pace();
            self.relays[relay] = relay_at(self.now, life, pace, self.fencing, self.removed);
            let at = self.soon();
            self.at(at, Happening::Tick { relay, life });
        }
        let at = self.now + self.random.within(20, 120);
        self.at(at, Happening::Trouble);
    }

    fn heal(&mut self) {
        self.broker.away = false;
        // What is refused has to be found; only then does somebody mend it.
        for (seq, dead) in &mut self.database.dead {
            self.broker.poison.remove(seq);
            dead.replay = true;
        }
    }
}
