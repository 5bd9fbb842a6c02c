//! Finds out which order a cancellation takes something back from: the file does not say.

use std::collections::HashMap;

use super::file::{Cancellation, History, Invoice, Original};

/// Gives each cancellation the latest earlier order of the same customer that has all its lines:
/// same code, same unit price, and at least as many units that were not taken back before. All or
/// nothing, so that no cancellation is spread over orders by guessing. Guests have no history.
pub(super) fn find_originals(history: &mut History) {
    let mut orders_of: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, order) in history.orders.iter().enumerate() {
        if let Some(customer) = &order.customer {
            orders_of.entry(customer).or_default().push(index);
        }
    }
    let mut left: HashMap<(usize, usize), i64> = HashMap::new();
    for cancellation in &mut history.cancellations {
        let customer = cancellation.invoice.customer.as_deref();
        let orders = customer.and_then(|it| orders_of.get(it)).map_or(&[][..], Vec::as_slice);
        let row = cancellation.invoice.place.row;
        let earlier = orders.iter().rev().filter(|order| history.orders[**order].place.row < row);
        let found = earlier.copied().find_map(|order| {
            let taken = take_back(cancellation, &history.orders[order], |line| {
                left.get(&(order, line)).copied()
            })?;
            Some((order, taken))
        });
        let Some((order, taken)) = found else { continue };
        for &(line, units) in &taken {
            let quantity = history.orders[order].lines[line].quantity;
            *left.entry((order, line)).or_insert(quantity) -= units;
        }
        cancellation.of = Some(original(&history.orders[order], order, &taken));
    }
}

/// Units to take from each line of an order, by index; none if it does not have them all.
/// `left` knows what earlier cancellations left of a line.
fn take_back(
    cancellation: &Cancellation,
    order: &Invoice,
    left: impl Fn(usize) -> Option<i64>,
) -> Option<Vec<(usize, i64)>> {
    let mut free: Vec<i64> =
        order.lines.iter().enumerate().map(|(i, line)| left(i).unwrap_or(line.quantity)).collect();
    let mut taken = Vec::new();
    for back in &cancellation.invoice.lines {
        let mut wanted = -back.quantity;
        for (index, line) in order.lines.iter().enumerate() {
            let units = wanted.min(free[index]);
            if units > 0 && line.code == back.code && line.unit_price == back.unit_price {
                free[index] -= units;
                wanted -= units;
                taken.push((index, units));
            }
        }
        if wanted > 0 {
            return None;
        }
    }
    Some(taken)
}

/// Product lines by their place among the product lines; money that is no product has no units.
fn original(invoice: &Invoice, order: usize, taken: &[(usize, i64)]) -> Original {
    let mut units: Vec<i64> = vec![0; invoice.lines.len()];
    for &(line, count) in taken {
        units[line] += count;
    }
    let products = invoice.lines.iter().zip(units).filter(|(line, _)| line.charge.is_none());
    let lines = products
        .enumerate()
        .filter(|(_, (_, units))| *units > 0)
        .map(|(index, (_, units))| (index, u32::try_from(units).expect("a line's units fit")))
        .collect();
    Original { order, lines }
}
