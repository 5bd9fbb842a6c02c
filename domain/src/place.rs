//! Which zone a place is in.

use event_schemas::place::Place;

/// Characters of a region: as long as any post writes one.
pub const REGION_CHARS_MAX: usize = 64;

/// Places of one zone; there are 249 countries, and regions of some of them.
pub const PLACES_MAX: usize = 500;

/// The zone of a place: the one that names its region, else its country, else the one for
/// everywhere else, which names no place. `None` if there is none.
pub fn zone_of<'a, Z: Copy>(
    zones: impl IntoIterator<Item = Z>,
    places: impl Fn(Z) -> &'a [Place],
    at: &Place,
) -> Option<Z> {
    let exactness = |zone: Z| {
        let places = places(zone);
        if places.contains(at) {
            Some(3)
        } else if places.iter().any(|p| p.region.is_none() && p.country == at.country) {
            Some(2)
        } else {
            places.is_empty().then_some(1)
        }
    };
    let fitting = zones.into_iter().filter_map(|zone| Some((exactness(zone)?, zone)));
    fitting.max_by_key(|(exactness, _)| *exactness).map(|(_, zone)| zone)
}

/// Whether a place is written as places are.
pub fn is_valid(place: &Place) -> bool {
    let country = place.country.len() == 2 && place.country.bytes().all(|b| b.is_ascii_uppercase());
    let fits = |region: &String| {
        let characters = region.chars();
        region.trim() == region
            && (1..=REGION_CHARS_MAX).contains(&characters.clone().count())
            && !characters.clone().any(char::is_control)
    };
    country && place.region.as_ref().is_none_or(fits)
}

/// A place that stands in two zones, or twice in one: which zone it is in would be a matter of
/// chance. `Some(None)` if two zones are for everywhere else.
pub fn repeated<'a>(zones: impl IntoIterator<Item = &'a [Place]>) -> Option<Option<Place>> {
    let mut seen = std::collections::BTreeSet::new();
    let mut elsewhere = false;
    for places in zones {
        if places.is_empty() && std::mem::replace(&mut elsewhere, true) {
            return Some(None);
        }
        if let Some(twice) = places.iter().find(|place| !seen.insert(*place)) {
            return Some(Some(twice.clone()));
        }
    }
    None
}
