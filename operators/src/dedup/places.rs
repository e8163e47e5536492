//! Where rows are in an order of some of them.

/// The places of rows in an order.
pub(super) struct Places(Vec<u32>);

impl Places {
    /// No row is here: there are fewer than 2³² places.
    const NONE: u32 = u32::MAX;

    pub(super) fn new(order: &[u32]) -> Self {
        let rows = order.iter().max().map_or(0, |row| *row as usize + 1);
        let mut places = vec![Self::NONE; rows];
        (0_u32..).zip(order).for_each(|(place, row)| places[*row as usize] = place);
        Self(places)
    }

    /// The place of a row, if it is in the order.
    pub(super) fn of(&self, row: u32) -> Option<u32> {
        self.0.get(row as usize).copied().filter(|place| *place != Self::NONE)
    }
}
