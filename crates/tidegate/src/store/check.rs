//! `tidegate store check`: every record of every file, and then every entry.

use super::stopped::{StoppedError, expect_store};
use super::{Found, StoreError, tell};
use crate::table::{self, counted};
use serde::Serialize;
use std::io;
use std::path::Path;
use tidegate_inspect::export;
use tidegate_storage::{Log, StoppedLog};

/// What was found.
#[derive(Debug, Serialize)]
struct Checked {
    files: Vec<CheckedFile>,
    records: u64,
    /// What was not on the disk as a whole when the machine went down; nobody was told that it was kept.
    torn_tail: Option<Place>,
    damage: Vec<Damage>,
    damaged_places: u64,
    /// Entries that are no records of this version.
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CheckedFile {
    file: String,
    bytes: u64,
    filled: u64,
    records: u64,
}

#[derive(Debug, Serialize)]
struct Place {
    file: String,
    offset: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Damage {
    place: Place,
    problem: String,
}

/// Reads everything and changes nothing.
pub(super) fn check(folder: &Path, json: bool) -> Result<Found, StoreError> {
    let checked = read(folder)?;
    tell(json, &checked, || table(&checked))?;
    match checked.damaged_places == 0 && checked.unreadable.is_empty() {
        true => Ok(Found::Whole),
        false => Ok(Found::Damaged),
    }
}

fn read(folder: &Path) -> Result<Checked, StoppedError> {
    expect_store(folder)?;
    let inspection = Log::inspect(folder)?;
    // Making a line of an entry reads all of it.
    let exported = export(&StoppedLog::open(folder)?, true, &mut io::sink())?;
    let report = inspection.report;
    let damage = report.damage.into_iter().map(|damage| Damage {
        problem: damage.to_string(),
        place: Place { file: damage.file, offset: damage.offset, bytes: damage.bytes },
    });
    let files = inspection.segments.into_iter().map(|segment| CheckedFile {
        file: segment.file,
        bytes: segment.bytes,
        filled: segment.filled,
        records: segment.records,
    });
    Ok(Checked {
        files: files.collect(),
        records: report.records,
        torn_tail: report.torn_tail.map(|tail| Place {
            file: tail.file,
            offset: tail.offset,
            bytes: tail.bytes,
        }),
        damage: damage.collect(),
        damaged_places: report.damaged_places,
        unreadable: exported.left_out.iter().map(ToString::to_string).collect(),
    })
}

fn table(checked: &Checked) -> String {
    let head = ["file", "bytes", "filled", "records"].map(str::to_owned);
    let row = |file: &CheckedFile| {
        [file.file.clone(), file.bytes.to_string(), file.filled.to_string(), file.records.to_string()]
    };
    let mut text = table::table(head, checked.files.iter().map(row));
    if let Some(tail) = &checked.torn_tail {
        text += &format!(
            "{}: {} bytes from {} on were not on the disk as a whole when the machine went down; this is no damage\n",
            tail.file, tail.bytes, tail.offset
        );
    }
    for damage in &checked.damage {
        text += &format!("damaged: {}\n", damage.problem);
    }
    for problem in &checked.unreadable {
        text += &format!("damaged: {problem}\n");
    }
    let places = usize::try_from(checked.damaged_places).unwrap_or(usize::MAX);
    let places = places.saturating_add(checked.unreadable.len());
    match places {
        0 => text + &format!("{} read, nothing is damaged\n", counted(checked.records, "record")),
        _ => text + &format!("{} damaged\n", counted(places, "place")),
    }
}
