//! Numbers and times as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A length of sound or of time: `0.4 s`, `9.8 s`, `1:05`, `1:02:03`.
pub(super) fn length(ms: u64) -> String {
    // Anything that would round to a minute is shown as one.
    if ms < 59_950 {
        return format!("{:.1} s", ms as f64 / 1000.0);
    }
    clock(ms + 500)
}

/// A place in a recording: `0:07`, `1:05`, `1:02:03`.
pub(super) fn clock(ms: u64) -> String {
    let seconds = ms / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A moment for programs (RFC 3339) and for people (UTC; the page's script
/// turns it into local time).
pub(super) fn moment(unix_ms: i64) -> (String, String) {
    // Out of range only if the clock was thousands of years off when the job came.
    let time = Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    let shown = time.to_zoned(TimeZone::UTC).strftime("%-d %b %Y, %H:%M UTC").to_string();
    (time.to_string(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_like_a_clock_from_a_minute_on() {
        let shown = [0, 440, 9_840, 59_940, 59_950, 65_000, 3_723_000].map(length);
        assert_eq!(shown, ["0.0 s", "0.4 s", "9.8 s", "59.9 s", "1:00", "1:05", "1:02:03"]);
    }

    #[test]
    fn a_moment_is_given_to_programs_and_to_people() {
        let (machine, person) = moment(1_700_000_000_000);
        assert_eq!(machine, "2023-11-14T22:13:20Z");
        assert_eq!(person, "14 Nov 2023, 22:13 UTC");
    }
}
