//! `tidegate store`: looks into a store, checks it, takes it elsewhere, and empties queues.
//!
//! A store without a gateway is looked at in its folder; one with a gateway through the HTTP listener of that. What changes a store is for one
//! without a gateway only: the lock of the store sees to that.

mod check;
mod stopped;
mod tables;

use crate::cli::{Configuration, complain, say};
use crate::gateway;
use crate::remote::{Gateway, LiveError};
use crate::table::counted;
use clap::{Args, Subcommand};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use stopped::{Stopped, StoppedError};
use tidegate_inspect::{Imported, Info, Peeked, Queues};

/// What is to be done with a store. Exit code 0: done, and nothing is damaged; 1: something is damaged; 2: it could not be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Say what is in the store and what it takes.
    Info(Look),
    /// Read everything in a store that no gateway has open, and name what is damaged.
    Check {
        #[command(flatten)]
        folder: Folder,
        /// Answer in JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the queues, those with the most bytes first.
    Queues {
        #[command(flatten)]
        look: Look,
        /// How many at the most.
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// Show the first messages of a queue: `mqtt:<client id>`, `$queue/<name>` or `$share/<group>/<filter>`, as `queues` lists them.
    Peek {
        /// The queue's name.
        queue: String,
        #[command(flatten)]
        look: Look,
        /// How many at the most.
        #[arg(long, default_value_t = 10)]
        count: usize,
    },
    /// Write everything in a store that no gateway has open as lines of JSON.
    Export {
        /// The file to write; standard output where none is named.
        file: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
        /// Leave out what is damaged, and say what.
        #[arg(long)]
        skip_damaged: bool,
    },
    /// Put an export into an empty store that no gateway has open.
    Import {
        /// The file to read; standard input where none is named.
        file: Option<PathBuf>,
        #[command(flatten)]
        folder: Folder,
    },
    /// Throw away every message of a queue, in a store that no gateway has open.
    Purge {
        /// The queue's name, as `queues` lists it.
        queue: String,
        #[command(flatten)]
        folder: Folder,
        /// Go on although something in the store is damaged.
        #[arg(long)]
        skip_damaged: bool,
    },
}

/// Where a store is that no gateway has open: `--data-dir`, or what the configuration says.
#[derive(Debug, Args)]
pub(crate) struct Folder {
    #[command(flatten)]
    configuration: Configuration,
    // Taken so that the refusal can say what is to be written.
    #[arg(hide = true, value_name = "FOLDER")]
    misplaced: Option<PathBuf>,
}

/// A store, with a gateway or without.
#[derive(Debug, Args)]
pub(crate) struct Look {
    #[command(flatten)]
    folder: Folder,
    /// Ask a gateway that runs, at its HTTP listener: http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing, or not everything, was done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{0}")]
    Configuration(String),
    #[error("no folder is named: give --data-dir, or a configuration with `data_dir`")]
    NoFolder,
    #[error("{}: the folder of a store is named with --data-dir, a gateway that runs with --url", .0.display())]
    Misplaced(PathBuf),
    #[error("{}: this is a folder, and an import reads a file; the store to fill is named with --data-dir", .0.display())]
    NoFile(PathBuf),
    #[error("{0}")]
    Stopped(#[from] StoppedError),
    #[error("{0}")]
    Live(#[from] LiveError),
    #[error("{}: {source}", file.display())]
    File { file: PathBuf, source: io::Error },
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// What a command that could be carried out has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Whole,
    Damaged,
}

/// Does it; options in front of the command count where there are none behind it.
pub(crate) fn run(store: Store, before: Configuration) -> ExitCode {
    match carry_out(store, before) {
        Ok(Found::Whole) => ExitCode::SUCCESS,
        Ok(Found::Damaged) => ExitCode::FAILURE,
        Err(StoreError::Stopped(error)) if error.is_damage() => {
            complain(&format!("store: {error}"));
            ExitCode::FAILURE
        }
        Err(error) => gateway::refuse(&format!("store: {error}")),
    }
}

fn carry_out(store: Store, before: Configuration) -> Result<Found, StoreError> {
    match store {
        Store::Info(look) => {
            let (info, found): (Info, Found) = match look.url()? {
                Some(url) => (Gateway::at(url)?.ask("/store")?, Found::Whole),
                None => look.stopped(before).map(|stopped| (stopped.info(), stopped.found()))?,
            };
            tell(look.json, &info, || tables::info(&info))?;
            Ok(if info.unreadable == 0 { found } else { Found::Damaged })
        }
        Store::Queues { look, count } => {
            let (queues, found): (Queues, Found) = match look.url()? {
                Some(url) => (Gateway::at(url)?.ask(&format!("/store/queues?count={count}"))?, Found::Whole),
                None => look.stopped(before).map(|stopped| (stopped.queues(count), stopped.found()))?,
            };
            tell(look.json, &queues, || tables::queues(&queues))?;
            Ok(found)
        }
        Store::Peek { queue, look, count } => {
            let (peeked, found): (Peeked, Found) = match look.url()? {
                Some(url) => (Gateway::at(url)?.ask_about(&queue, count)?, Found::Whole),
                None => {
                    let stopped = look.stopped(before)?;
                    (stopped.peek(&queue, count)?, stopped.found())
                }
            };
            peeked.problems.iter().for_each(|problem| complain(problem));
            tell(look.json, &peeked, || tables::peeked(&peeked))?;
            Ok(if peeked.problems.is_empty() { found } else { Found::Damaged })
        }
        Store::Check { folder, json } => check::check(&folder.place(before)?.folder, json),
        Store::Export { file, folder, skip_damaged } => {
            let stopped = Stopped::open(&folder.place(before)?)?;
            export(&stopped, file.as_deref(), skip_damaged)
        }
        Store::Import { file, folder } => {
            let place = folder.place(before)?;
            let imported = match &file {
                Some(path) => import(&place, path)?,
                None => stopped::import_into(&place, &mut io::stdin().lock())?,
            };
            complain(&format!("{} imported", counted(imported.things, "thing")));
            if imported.left_out > 0 {
                let left_out = counted(imported.left_out, "damaged thing");
                complain(&format!("{left_out} had been left out of the export"));
            }
            Ok(Found::Whole)
        }
        Store::Purge { queue, folder, skip_damaged } => {
            let (thrown, found) = stopped::empty(&folder.place(before)?, &queue, skip_damaged)?;
            complain(&format!("{} thrown away", counted(thrown, "message")));
            Ok(found)
        }
    }
}

fn named(file: &Path, source: io::Error) -> StoreError {
    StoreError::File { file: file.to_owned(), source }
}

fn import(place: &Place, path: &Path) -> Result<Imported, StoreError> {
    let opened = File::open(path).map_err(|source| named(path, source))?;
    let metadata = opened.metadata().map_err(|source| named(path, source))?;
    if metadata.is_dir() {
        return Err(StoreError::NoFile(path.to_owned()));
    }
    let mut lines = BufReader::new(opened);
    // Of a pipe only the beginning is there to be looked at.
    Ok(match metadata.is_file() {
        true => stopped::import_file(place, &mut lines)?,
        false => stopped::import_into(place, &mut lines)?,
    })
}

fn export(stopped: &Stopped, file: Option<&Path>, skip_damaged: bool) -> Result<Found, StoreError> {
    let found = match file {
        None => stopped.export(&mut BufWriter::new(io::stdout().lock()), skip_damaged)?,
        Some(path) => {
            let created = File::create_new(path).map_err(|source| named(path, source))?;
            let mut out = BufWriter::new(&created);
            let found = stopped.export(&mut out, skip_damaged)?;
            out.flush().and_then(|()| created.sync_all()).map_err(|source| named(path, source))?;
            found
        }
    };
    Ok(found)
}

/// Answers for machines or for people.
fn tell(
    json: bool,
    answer: &impl serde::Serialize,
    table: impl FnOnce() -> String,
) -> Result<Found, StoreError> {
    match json {
        true => say(&serde_json::to_string(answer).map_err(io::Error::from)?),
        false => say(table().trim_end()),
    }
    Ok(Found::Whole)
}

/// Where a store is, and how much it may take.
struct Place {
    folder: PathBuf,
    /// Known where there is a configuration.
    disk_bytes_max: Option<u64>,
    segment_bytes: u64,
}

impl Folder {
    /// A folder that is named needs no configuration, which may be wrong or elsewhere.
    fn place(&self, before: Configuration) -> Result<Place, StoreError> {
        self.expect_nothing_misplaced()?;
        let configuration = self.configuration.clone().or(before);
        if let (None, Some(folder)) = (&configuration.config, &configuration.data_dir) {
            let segment_bytes = tidegate_storage::LogOptions::SEGMENT_BYTES;
            return Ok(Place { folder: folder.into(), disk_bytes_max: None, segment_bytes });
        }
        let config = gateway::read(&configuration).map_err(StoreError::Configuration)?.config;
        Ok(Place {
            folder: config.data_dir.ok_or(StoreError::NoFolder)?,
            disk_bytes_max: Some(config.limits.disk.bytes()),
            segment_bytes: config.store.segment_bytes.bytes(),
        })
    }
}

impl Folder {
    fn expect_nothing_misplaced(&self) -> Result<(), StoreError> {
        self.misplaced.clone().map_or(Ok(()), |misplaced| Err(StoreError::Misplaced(misplaced)))
    }
}

impl Look {
    fn stopped(&self, before: Configuration) -> Result<Stopped, StoreError> {
        Ok(Stopped::open(&self.folder.place(before)?)?)
    }

    /// The gateway that is to be asked.
    fn url(&self) -> Result<Option<&str>, StoreError> {
        self.folder.expect_nothing_misplaced()?;
        Ok(self.url.as_deref())
    }
}
