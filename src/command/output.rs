//! What goes to standard output: tables for people, JSON for machines.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, ContentArrangement, Table};
use serde::Serialize;

use super::failure::Failure;

/// For whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For machines: all that is known.
    Json,
    /// For people.
    #[default]
    Table,
}

/// An answer as JSON.
pub(crate) fn json(document: &impl Serialize) -> Result<(), Failure> {
    let mut text =
        serde_json::to_vec_pretty(document).map_err(|error| Failure::here("cannot write the answer", error))?;
    text.push(b'\n');
    write(&text)
}

/// A line for people.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// A table for people, as wide as the terminal.
pub(crate) fn table<const COLUMNS: usize, C: Into<Cell>>(
    header: [&str; COLUMNS],
    rows: impl IntoIterator<Item = [C; COLUMNS]>,
) -> Result<(), Failure> {
    /// Where there is no terminal: lines stay whole, for `grep`.
    const UNBROKEN: u16 = 1_000;
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    if !table.is_tty() {
        table.set_width(UNBROKEN);
    }
    table.add_rows(rows);
    line(&table.to_string())
}

/// Bytes as they are. A reader that has seen enough is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_all(bytes).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::here("cannot write the answer", error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
