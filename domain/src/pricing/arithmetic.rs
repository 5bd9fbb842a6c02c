//! Dividing amounts without losing any of it.

use std::cmp::Reverse;

use event_schemas::quote::RoundingMode;

/// Splits `whole` in proportion to `weights` by largest remainder: every part is its exact share
/// rounded down or up, and the parts add up to `whole`. Of equal remainders the first is rounded up.
///
/// `whole` and `weights` are zero or more; nothing is split if all weights are zero, and every part
/// is then zero. A `whole` that is at most the sum of the weights gives no part above its weight.
pub fn apportion(whole: i64, weights: &[i64]) -> Vec<i64> {
    let sum: i128 = weights.iter().copied().map(i128::from).sum();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: &i64| i128::from(whole) * i128::from(*weight);
    let mut parts: Vec<i64> = weights.iter().map(|weight| narrow(exact(weight) / sum)).collect();
    let left = whole - parts.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| Reverse(exact(&weights[*index]) % sum));
    // Fewer are left than there are parts with a remainder.
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        parts[index] += 1;
    }
    parts
}

/// What `units` of a line of `quantity` are worth if `before` went earlier: whichever way the units
/// go, one by one or together, their shares add up to `total`.
///
/// `before + units` is at most `quantity`, which is above zero; `total` is zero or more.
pub fn share_of(total: i64, quantity: u32, before: u32, units: u32) -> i64 {
    let up_to = |units: u64| narrow(i128::from(total) * i128::from(units) / i128::from(quantity));
    up_to(u64::from(before) + u64::from(units)) - up_to(u64::from(before))
}

/// `numerator / denominator`, to the nearest whole. The numerator is zero or more, the denominator
/// above zero.
pub(super) fn divide(numerator: i128, denominator: i128, mode: RoundingMode) -> i64 {
    let (whole, rest) = (numerator / denominator, numerator % denominator);
    let up = match (rest * 2).cmp(&denominator) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Equal => match mode {
            RoundingMode::HalfUp => true,
            RoundingMode::HalfDown => false,
            RoundingMode::HalfEven => whole % 2 == 1,
        },
    };
    narrow(whole + i128::from(up))
}

/// Every result here is at most an amount that was given, or a rate of it.
fn narrow(amount: i128) -> i64 {
    i64::try_from(amount).expect("a share is not above the amount it is a share of")
}
