//! A file that a command works on, or standard input.

use std::io::Read as _;
use std::path::Path;

use super::failure::Failure;

/// Largest file. A configuration with a whole feed's keys has a few kilobytes.
const MOST_BYTES: u64 = 16 << 20;

/// A text and where it came from.
pub(crate) struct Input {
    /// The file as it was named, for messages.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Input {
    /// Reads a file; `-` is standard input.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let (name, reader): (String, Box<dyn std::io::Read>) = if file.as_os_str() == "-" {
            ("<stdin>".to_owned(), Box::new(std::io::stdin().lock()))
        } else {
            let name = file.display().to_string();
            let opened = std::fs::File::open(file).map_err(|error| Failure::here(&name, error))?;
            (name, Box::new(opened))
        };
        let mut text = String::new();
        let read = reader.take(MOST_BYTES.saturating_add(1)).read_to_string(&mut text);
        match read {
            Ok(bytes) if u64::try_from(bytes).is_ok_and(|bytes| bytes <= MOST_BYTES) => Ok(Self { name, text }),
            Ok(_) => Err(Failure::here(&name, format!("more than {} MiB", MOST_BYTES >> 20))),
            Err(error) => Err(Failure::here(&name, error)),
        }
    }
}
