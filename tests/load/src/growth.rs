//! How the cost of a request grows with what an operator, a client or time makes larger.

use envoy_tests::configuration::workforce;
use serde_json::json;

use crate::machine::Cores;
use crate::setup::{self, Filter, Setup, Stream};

/// One quantity that grows.
pub struct Series {
    /// Its name in `performance.json`.
    pub key: &'static str,
    /// What grows.
    pub axis: &'static str,
    /// What is measured as it grows.
    pub lines: Vec<Line>,
}

/// Something measured at each size.
pub struct Line {
    pub title: &'static str,
    /// Size and what is measured there.
    pub points: Vec<(usize, Setup)>,
}

/// Those that a figure is to be reached for.
pub fn promised() -> Vec<Series> {
    let gate = |configuration| Setup::new(Filter::Gate(configuration), Stream::Repeated(setup::REPEATED));
    let hot = |sizes: &[usize], at: &dyn Fn(usize) -> Setup| Line {
        title: "entra-gate, remembered tokens",
        points: sizes.iter().map(|size| (*size, at(*size))).collect(),
    };
    vec![
        Series {
            key: "providers",
            axis: "providers",
            lines: vec![hot(&[1, 10, 100], &|size| gate(setup::providers(size)))],
        },
        Series {
            key: "rules",
            axis: "rules",
            lines: vec![hot(&[1, 10, 100, 1_000], &|size| Setup {
                path: setup::path_of_last_rule(size),
                ..gate(setup::rules(size))
            })],
        },
        Series {
            key: "keys",
            axis: "keys of a provider",
            lines: vec![hot(&[1, 10, 100], &|size| gate(setup::inline_keys(size)))],
        },
    ]
}

/// The others.
pub fn others() -> Vec<Series> {
    let line = |title, sizes: &[usize], at: &dyn Fn(usize) -> Setup| Line {
        title,
        points: sizes.iter().map(|size| (*size, at(*size))).collect(),
    };
    let none = || Setup { filter: Filter::None, ..Setup::hot() };
    let new = || Setup::new(Filter::Gate(workforce(&json!({}))), Stream::New);
    vec![
        Series {
            key: "tokens",
            axis: "tokens, drawn at random",
            lines: vec![line("entra-gate", &[1, 100, 1_000, 10_000, 100_000], &|size| Setup {
                stream: Stream::Drawn(size),
                ..Setup::hot()
            })],
        },
        Series {
            key: "token_size",
            axis: "bytes of a token",
            lines: vec![
                line("entra-gate, remembered tokens", &SIZES, &|size| Setup { token_bytes: size, ..Setup::hot() }),
                line("entra-gate, new tokens", &SIZES, &|size| Setup { token_bytes: size, ..new() }),
            ],
        },
        Series {
            key: "connections",
            axis: "connections",
            lines: vec![
                line("no filter", &[1, 4, 16, 64, 256], &|size| Setup { connections: size, ..none() }),
                line("entra-gate, remembered tokens", &[1, 4, 16, 64, 256], &|size| Setup {
                    connections: size,
                    ..Setup::hot()
                }),
            ],
        },
        Series {
            key: "workers",
            axis: "workers",
            lines: vec![
                line("no filter", &[1, 2], &|size| Setup { workers: size, cores: Cores::of(2), ..none() }),
                line("entra-gate, remembered tokens", &[1, 2], &|size| Setup {
                    workers: size,
                    cores: Cores::of(2),
                    ..Setup::hot()
                }),
            ],
        },
    ]
}

/// Lengths of tokens, in bytes.
const SIZES: [usize; 4] = [1_000, 2_000, 4_000, 8_000];

impl Series {
    /// Its ends alone.
    pub fn ends(mut self) -> Self {
        for line in &mut self.lines {
            let last = line.points.pop();
            line.points.truncate(1);
            line.points.extend(last);
        }
        self
    }
}
