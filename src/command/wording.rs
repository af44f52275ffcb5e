//! Times as people read and write them (RFC 3339), and numbers of things.

use jiff::Timestamp;

/// Unix seconds as a time in UTC.
pub(crate) fn time(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| seconds.to_string(), |time| time.to_string())
}

/// Unix seconds of a time with its offset; none before 1970.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<Timestamp>().ok()?.as_second()).ok()
}

/// How many there are: `1 mistake`, `no mistakes`.
pub(crate) fn counted(number: usize, thing: &str) -> String {
    match number {
        0 => format!("no {thing}s"),
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}
