//! What the filter tells at debug of how long it kept the event loop.

/// The microseconds of the lines that have this mark: `revocations: a turn of 42 µs`.
pub fn micros(log: &str, mark: &str) -> Vec<f64> {
    let told = |line: &str| line.rsplit_once(" µs")?.0.rsplit(' ').next()?.parse().ok();
    log.lines().filter(|line| line.contains(mark)).filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_other_marks_and_without_a_number_are_left_out() {
        let log = "[wasm] gate: a turn of 42 µs\n[wasm] gate: an answer of 9 bytes, 7 µs\ngate: a turn of no µs\n\
                   gate: a turn of 1 µs\n";
        assert_eq!((micros(log, "a turn of"), micros(log, "an answer")), (vec![42.0, 1.0], vec![7.0]));
    }
}
