//! A store that no gateway has open.

use super::{Found, Place};
use crate::cli::complain;
use std::fs;
use std::io::{BufRead, ErrorKind, Seek, Write};
use std::path::Path;
use tidegate_inspect::{
    ExportError, ImportError, Imported, Info, Names, Open, Peeked, PurgeError, Queues, check_ends, export,
    import, info, peek, purge, queues,
};
use tidegate_storage::{Log, LogOptions, OpenError, OpenReport, StoppedLog};

/// What a store may take where nobody says how much.
const NO_LIMIT: u64 = 1 << 50;

/// Why it could not be looked at or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoppedError {
    #[error("{0}; a gateway that runs is asked with --url, and has to be stopped for everything else")]
    InUse(OpenError),
    #[error("{0}")]
    Open(OpenError),
    #[error("no queue is called {0:?}; `tidegate store queues` lists them")]
    NoSuchQueue(String),
    #[error("{0}")]
    Export(#[from] ExportError),
    #[error("{0}; what was imported until then is in the folder: empty it before another import")]
    Import(ImportError),
    /// Before anything was imported.
    #[error("{0}")]
    Refused(ImportError),
    #[error("{0}")]
    NoStore(String),
    #[error("{0}")]
    Purge(#[from] PurgeError),
    #[error("the store could not be closed: {0}")]
    Close(std::io::Error),
}

impl From<OpenError> for StoppedError {
    fn from(error: OpenError) -> StoppedError {
        match error {
            OpenError::InUse { .. } => StoppedError::InUse(error),
            _ => StoppedError::Open(error),
        }
    }
}

impl StoppedError {
    /// Whether it is damage that is in the way.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, StoppedError::Open(OpenError::Damaged(_)))
    }
}

/// A store that is only read.
pub(crate) struct Stopped {
    log: StoppedLog,
    names: Names,
    disk_bytes_max: Option<u64>,
}

impl Stopped {
    /// Reads it. What is damaged is named, and left out.
    pub(crate) fn open(place: &Place) -> Result<Stopped, StoppedError> {
        expect_store(&place.folder)?;
        let log = StoppedLog::open(&place.folder)?;
        log.report().damage.iter().for_each(|damage| complain(&damage.to_string()));
        let names = Names::read(&log);
        Ok(Stopped { log, names, disk_bytes_max: place.disk_bytes_max })
    }

    /// Whether reading it has found damage.
    pub(crate) fn found(&self) -> Found {
        found(self.log.report())
    }

    pub(crate) fn info(&self) -> Info {
        Info { disk_bytes_max: self.disk_bytes_max.unwrap_or(0), ..info(&self.log, &self.names) }
    }

    pub(crate) fn queues(&self, count: usize) -> Queues {
        queues(&self.log, &self.names, count)
    }

    pub(crate) fn peek(&self, queue: &str, count: usize) -> Result<Peeked, StoppedError> {
        let stream = self.names.stream(queue).ok_or_else(|| StoppedError::NoSuchQueue(queue.to_owned()))?;
        Ok(peek(&self.log, &self.names, stream, count))
    }

    /// Writes everything; nothing where something is damaged that is not to be left out.
    pub(crate) fn export(&self, out: &mut dyn Write, skip_damaged: bool) -> Result<Found, StoppedError> {
        let is_damaged = self.log.report().damaged_places > 0;
        if is_damaged && !skip_damaged {
            complain("nothing is exported; --skip-damaged leaves out what is damaged");
            return Ok(Found::Damaged);
        }
        let exported = export(&self.log, skip_damaged, out)?;
        exported.left_out.iter().for_each(|problem| complain(&problem.to_string()));
        complain(&format!("{} things exported", exported.things));
        match is_damaged || !exported.left_out.is_empty() {
            true => Ok(Found::Damaged),
            false => Ok(Found::Whole),
        }
    }
}

/// What reading a store has found.
fn found(report: &OpenReport) -> Found {
    if report.damaged_places > 0 { Found::Damaged } else { Found::Whole }
}

/// Says what is to be written where no store can be, which the disk's own words leave open.
pub(super) fn expect_store(folder: &Path) -> Result<(), StoppedError> {
    let wrong = |why: &str| Err(StoppedError::NoStore(format!("{}: {why}", folder.display())));
    match fs::metadata(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => wrong("there is no such folder"),
        Ok(found) if !found.is_dir() => wrong("this is no folder; --data-dir names the folder of a store"),
        Ok(_) if folder.join("log").is_dir() => Ok(()),
        Ok(_) if folder.join("format").is_file() => {
            wrong("this is the inside of a store; --data-dir names the folder above it")
        }
        Ok(_) => wrong("there is no store in this folder; --data-dir names what a gateway has as `data_dir`"),
        // What is behind it, opening the store says.
        Err(_) => Ok(()),
    }
}

/// Opens a store to change it.
fn open(place: &Place, skip_damaged: bool) -> Result<(Log, Found), StoppedError> {
    let options = LogOptions {
        segment_bytes: place.segment_bytes,
        skip_damaged,
        ..LogOptions::new(&place.folder, place.disk_bytes_max.unwrap_or(NO_LIMIT))
    };
    let (log, report) = Log::open(&options)?;
    report.damage.iter().for_each(|damage| complain(&damage.to_string()));
    Ok((log, found(&report)))
}

/// Puts the lines of a file into the store of a folder, where they begin and end as an export does.
pub(super) fn import_file(
    place: &Place,
    lines: &mut (impl BufRead + Seek),
) -> Result<Imported, StoppedError> {
    check_ends(lines).map_err(StoppedError::Refused)?;
    import_into(place, lines)
}

/// Puts lines into the store of a folder, which may not be there yet.
pub(super) fn import_into(place: &Place, lines: &mut dyn BufRead) -> Result<Imported, StoppedError> {
    let (log, _) = open(place, false)?;
    let imported = import(&log, lines).map_err(|error| match error {
        ImportError::NotEmpty => StoppedError::Refused(error),
        _ => StoppedError::Import(error),
    })?;
    log.close().map_err(StoppedError::Close)?;
    Ok(imported)
}

/// Empties a queue; returns how many messages it had, and whether something else was damaged.
pub(super) fn empty(place: &Place, queue: &str, skip_damaged: bool) -> Result<(usize, Found), StoppedError> {
    expect_store(&place.folder)?;
    let (log, found) = open(place, skip_damaged)?;
    let stream = Names::read(&Open(&log)).stream(queue);
    let stream = stream.ok_or_else(|| StoppedError::NoSuchQueue(queue.to_owned()))?;
    let thrown = purge(&log, stream)?;
    log.close().map_err(StoppedError::Close)?;
    Ok((thrown, found))
}
