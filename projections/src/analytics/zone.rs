//! Days of a time zone as times, and times as spans that are stored.

use chrono::{DateTime, Days, LocalResult, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::spans::{DAY, HOUR, QUARTER, floor};

/// Days a report without a series may span: ten years.
pub const RANGE_DAYS_MAX: i64 = 3_660;

/// How far the clocks of a place were ever put forward at once: Samoa left out a day in 2011.
const GAP_MAX: TimeDelta = TimeDelta::hours(25);

/// Days of a time zone, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayRange {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub zone: Tz,
}

/// Why days are no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    #[error("the last day is before the first")]
    Backwards,
    /// More than [`RANGE_DAYS_MAX`].
    #[error("at most {RANGE_DAYS_MAX} days")]
    TooLong,
}

impl DayRange {
    /// When the first day begins and the last one ends. At most [`RANGE_DAYS_MAX`].
    pub(super) fn times(self) -> Result<(DateTime<Utc>, DateTime<Utc>), RangeError> {
        let days = (self.to - self.from).num_days();
        if days < 0 {
            return Err(RangeError::Backwards);
        }
        if days >= RANGE_DAYS_MAX {
            return Err(RangeError::TooLong);
        }
        Ok((start_of_day(self.zone, self.from), start_after(self.zone, self.to)))
    }
}

/// When a day begins: at its midnight or, where clocks are put forward over midnight, when they
/// are. Where a midnight comes twice, the one that no hour of the day before follows. To the
/// quarter of an hour, which is exact since 1972.
pub(super) fn start_of_day(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let midnight = day.and_time(NaiveTime::MIN);
    let mut later = TimeDelta::zero();
    while later <= GAP_MAX {
        let start = match zone.from_local_datetime(&(midnight + later)) {
            LocalResult::Single(start) => Some(start),
            LocalResult::Ambiguous(first, second) => {
                let before_second = second - TimeDelta::seconds(1);
                Some(if before_second.date_naive() < day { second } else { first })
            }
            LocalResult::None => None,
        };
        if let Some(start) = start {
            return floor(start.to_utc(), QUARTER);
        }
        later += TimeDelta::minutes(QUARTER.into());
    }
    midnight.and_utc()
}

/// When the day after begins.
pub(super) fn start_after(zone: Tz, day: NaiveDate) -> DateTime<Utc> {
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    start_of_day(zone, next)
}

/// Before everything there is.
pub(super) fn floor_of_time() -> DateTime<Utc> {
    NaiveDate::from_yo_opt(1, 1)
        .map_or(DateTime::UNIX_EPOCH, |day| day.and_time(NaiveTime::MIN).and_utc())
}

/// Spans of one length: those that begin at `from` or later and before `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) minutes: i16,
    pub(super) from: DateTime<Utc>,
    pub(super) to: DateTime<Utc>,
}

/// The fewest spans that make up a time: days inside, hours around them, quarters of an hour
/// around those. At most five stretches. Both ends are at quarters of an hour.
pub(super) fn stretches(from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Stretch> {
    let mut stretches = Vec::new();
    fill(from, to, &[DAY, HOUR, QUARTER], &mut stretches);
    stretches
}

fn fill(from: DateTime<Utc>, to: DateTime<Utc>, lengths: &[i16], into: &mut Vec<Stretch>) {
    let Some((&minutes, shorter)) = lengths.split_first() else { return };
    if to <= from {
        return;
    }
    let (first, last) = (ceil(from, minutes), floor(to, minutes));
    if first >= last {
        return fill(from, to, shorter, into);
    }
    fill(from, first, shorter, into);
    into.push(Stretch { minutes, from: first, to: last });
    fill(last, to, shorter, into);
}

fn ceil(at: DateTime<Utc>, minutes: i16) -> DateTime<Utc> {
    let start = floor(at, minutes);
    if start == at { at } else { start + TimeDelta::minutes(minutes.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(zone: &str, day: &str) -> String {
        let start = start_of_day(zone.parse().unwrap(), day.parse().unwrap());
        start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
    }

    #[test]
    fn a_day_begins_when_the_people_there_say_so() {
        for (zone, day, expected) in [
            ("UTC", "2026-03-14", "2026-03-14T00:00:00Z"),
            ("Europe/London", "2026-07-01", "2026-06-30T23:00:00Z"),
            ("Asia/Kathmandu", "2026-07-01", "2026-06-30T18:15:00Z"),
            ("America/St_Johns", "2026-07-01", "2026-07-01T02:30:00Z"),
            // Clocks go from 0:00 to 1:00: there is no midnight.
            ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z"),
            // From 1:00 back to 0:00: midnight comes twice, both of the same day.
            ("America/Havana", "2025-11-02", "2025-11-02T04:00:00Z"),
            // From 0:01 back to 23:01: after the first midnight the day before goes on.
            ("America/St_Johns", "2010-11-07", "2010-11-07T03:30:00Z"),
            // A day that never was is empty: it begins with the next one.
            ("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z"),
            ("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z"),
        ] {
            assert_eq!(start(zone, day), expected, "{zone} {day}");
        }
    }

    #[test]
    fn no_day_of_any_zone_overlaps_the_next_or_leaves_a_gap() {
        for zone in chrono_tz::TZ_VARIANTS {
            let mut day: NaiveDate = "2009-12-31".parse().unwrap();
            while day < "2013-01-01".parse().unwrap() {
                let (start, end) = (start_of_day(zone, day), start_after(zone, day));
                // Casey in Antarctica has put its clocks back by three hours.
                let length = (end - start).num_minutes();
                assert!((0..=27 * 60).contains(&length), "{zone} {day}: {length} minutes");
                // The moments around the start are of this day and of one before.
                if start < end {
                    let local = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
                    let before = start - TimeDelta::seconds(1);
                    assert!(local(start) == day && local(before) < day, "{zone} {day}");
                }
                day = day.succ_opt().unwrap();
            }
        }
    }

    #[test]
    fn a_time_is_made_of_the_fewest_spans() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let (from, to) = (at("2026-06-30T18:15:00Z"), at("2026-07-02T18:15:00Z"));
        let lengths: Vec<(i16, i64)> = stretches(from, to)
            .iter()
            .map(|it| (it.minutes, (it.to - it.from).num_minutes() / i64::from(it.minutes)))
            .collect();
        assert_eq!(lengths, [(15, 3), (60, 5), (1_440, 1), (60, 18), (15, 1)]);
        assert_eq!(stretches(from, from), []);
        let covered: TimeDelta = stretches(from, to).iter().map(|it| it.to - it.from).sum();
        assert_eq!(covered, to - from);
    }
}
