//! What lies in the warehouse, and where there is room.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::{Code, Package};
use crate::ledger::Books;

/// Enough for a load test of a billion pieces of one kind.
const PLENTY: u64 = 1_000_000_000_000;
/// Pieces that one zone holds: more than an order service asks for at once, and less than the frame can say.
const ZONE_PIECES_MAX: u64 = 100_000_000_000;

/// The zones, by the letter of their name.
pub(crate) const ZONES: [&str; 10] = ["A1", "B1", "C1", "D1", "E1", "F1", "G1", "H1", "I1", "J1"];

/// What an order holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shelf {
    zone: u8,
    /// Each kind once, by its place in the list.
    pieces: Vec<(u8, u64)>,
}

impl Shelf {
    pub(crate) fn location(&self) -> &'static str {
        ZONES[usize::from(self.zone) % ZONES.len()]
    }

    fn size(&self) -> u64 {
        self.pieces.iter().map(|(_, pieces)| pieces).sum()
    }
}

/// The first answer to a REGISTER; what was set aside is in the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slip {
    pub(crate) package_id: String,
    pub(crate) location: String,
    pub(crate) ready_ms: i64,
    pub(crate) items: Vec<(String, u32)>,
}

/// What is left of each kind, and the room in each zone.
#[derive(Debug)]
pub(crate) struct Stock {
    skus: BTreeMap<String, u8>,
    left: Vec<u64>,
    room: [u64; ZONES.len()],
}

impl Stock {
    pub(crate) fn new() -> Self {
        Self::with_room(ZONE_PIECES_MAX)
    }

    fn with_room(zone_pieces_max: u64) -> Self {
        let items = (1..=40).map(|n| (format!("ITEM-{n:03}"), PLENTY));
        let special = [("TEST", PLENTY), ("SKU-LOW", 2)];
        let special = special.map(|(sku, left)| (sku.to_owned(), left));
        let (skus, left) = items
            .chain(special)
            .zip(0..)
            .map(|((sku, left), place)| ((sku, place), left))
            .unzip();
        Self {
            skus,
            left,
            room: [zone_pieces_max; ZONES.len()],
        }
    }

    /// A place for all of it, in the zone with the most room, or why there is none.
    pub(crate) fn find(&self, packages: &[Package]) -> Result<Shelf, Code> {
        let mut pieces = BTreeMap::<u8, u64>::new();
        for package in packages {
            let kind = self.skus.get(&package.sku).ok_or(Code::InvalidSku)?;
            *pieces.entry(*kind).or_default() += u64::from(package.quantity);
        }
        let enough = |(kind, wanted): (&u8, &u64)| *wanted <= self.left[usize::from(*kind)];
        if !pieces.iter().all(enough) {
            return Err(Code::InventoryShortage);
        }
        let (room, zone) = self
            .room
            .iter()
            .zip(0..)
            .max_by_key(|(room, zone)| (**room, std::cmp::Reverse(*zone)))
            .ok_or(Code::CapacityExceeded)?;
        let shelf = Shelf {
            zone,
            pieces: pieces.into_iter().collect(),
        };
        if shelf.size() > *room {
            return Err(Code::CapacityExceeded);
        }
        Ok(shelf)
    }

    fn room(&mut self, shelf: &Shelf) -> &mut u64 {
        &mut self.room[usize::from(shelf.zone) % ZONES.len()]
    }
}

impl Books for Stock {
    type Hold = Shelf;
    type Answer = Slip;

    fn take(&mut self, shelf: &Shelf) {
        for (kind, pieces) in &shelf.pieces {
            if let Some(left) = self.left.get_mut(usize::from(*kind)) {
                *left = left.saturating_sub(*pieces);
            }
        }
        let size = shelf.size();
        let room = self.room(shelf);
        *room = room.saturating_sub(size);
    }

    fn give_back(&mut self, shelf: Shelf) {
        for (kind, pieces) in &shelf.pieces {
            if let Some(left) = self.left.get_mut(usize::from(*kind)) {
                *left += pieces;
            }
        }
        *self.room(&shelf) += shelf.size();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wms::message::{Handling, Priority};

    fn packages(lines: &[(&str, u32)]) -> Vec<Package> {
        lines
            .iter()
            .map(|(sku, quantity)| Package {
                sku: (*sku).to_owned(),
                description: String::new(),
                quantity: *quantity,
                priority: Priority::Standard,
                handling: Handling::default(),
            })
            .collect()
    }

    fn take(stock: &mut Stock, lines: &[(&str, u32)]) -> Result<Shelf, Code> {
        let shelf = stock.find(&packages(lines))?;
        stock.take(&shelf);
        Ok(shelf)
    }

    #[test]
    fn the_lines_of_one_order_count_together() {
        let mut stock = Stock::new();
        let twice = [("SKU-LOW", 1), ("ITEM-040", 9), ("SKU-LOW", 1)];
        let thrice = [("SKU-LOW", 2), ("SKU-LOW", 1)];
        assert_eq!(take(&mut stock, &thrice), Err(Code::InventoryShortage));
        let all = take(&mut stock, &twice).unwrap();
        assert_eq!(
            take(&mut stock, &[("SKU-LOW", 1)]),
            Err(Code::InventoryShortage)
        );
        stock.give_back(all);
        take(&mut stock, &twice).unwrap();
        for unknown in ["ITEM-041", "ITEM-000", "item-001", ""] {
            assert_eq!(take(&mut stock, &[(unknown, 1)]), Err(Code::InvalidSku));
        }
    }

    #[test]
    fn orders_spread_over_the_zones_until_all_are_full() {
        let mut stock = Stock::with_room(10);
        let shelves: Vec<_> = (0..10)
            .map(|_| take(&mut stock, &[("TEST", 6)]).unwrap())
            .collect();
        let locations: Vec<_> = shelves.iter().map(Shelf::location).collect();
        assert_eq!(locations, ZONES);
        assert_eq!(
            take(&mut stock, &[("TEST", 5)]),
            Err(Code::CapacityExceeded)
        );
        assert_eq!(take(&mut stock, &[("TEST", 4)]).unwrap().location(), "A1");
        stock.give_back(shelves[6].clone());
        assert_eq!(take(&mut stock, &[("TEST", 10)]).unwrap().location(), "G1");
    }
}
