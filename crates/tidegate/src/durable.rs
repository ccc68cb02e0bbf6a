//! The durable store of a gateway: opened in `data_dir` before anything is served, closed when nothing is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tidegate_broker::{Recovered, RecoveryError};
use tidegate_config::{Config, Limits};
use tidegate_storage::{Log, LogOptions, News, OpenError, OpenReport, Shortage, Storage};
use tracing::{error, info, warn};

/// Damaged places that are named; the others are counted.
const NAMED_MAX: usize = 20;

/// The part of `limits.memory` that finding what is on the disk may take.
const INDEX_PART_OF_MEMORY: u64 = 8;

/// What somebody can do who meets a damaged store.
const WAYS_OUT: &str = "`tidegate store check` tells all of it, and `--set store.skip_damaged=true` starts without what is damaged";

/// Why the store of a gateway cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("data_dir: {0}")]
    Open(OpenError),
    #[error("data_dir: {0}; {WAYS_OUT}")]
    DamagedFile(OpenError),
    #[error("data_dir: {0}")]
    Unreadable(RecoveryError),
    #[error("data_dir: {0}; {WAYS_OUT}")]
    DamagedEntry(RecoveryError),
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> StoreError {
        match error {
            OpenError::Damaged(_) => StoreError::DamagedFile(error),
            _ => StoreError::Open(error),
        }
    }
}

impl From<RecoveryError> for StoreError {
    fn from(error: RecoveryError) -> StoreError {
        match error {
            RecoveryError::Damaged { .. } => StoreError::DamagedEntry(error),
            RecoveryError::Unreadable(_) => StoreError::Unreadable(error),
        }
    }
}

/// The store could not be closed, which was said: what was changed last may not be kept.
#[derive(Debug)]
pub(crate) struct NotKept;

/// A store that is open.
pub(crate) struct Store {
    folder: PathBuf,
    log: Arc<Log>,
    report: OpenReport,
    began: Instant,
}

/// Opens the store, where there is to be one.
pub(crate) fn open(config: &Config) -> Result<Option<Store>, StoreError> {
    let Some(folder) = config.data_dir.clone() else {
        info!("nothing survives a restart: no `data_dir` is set");
        return Ok(None);
    };
    let began = Instant::now();
    let (log, report) = Log::open(&options(config, &folder))?;
    let named = folder.clone();
    log.set_watcher(Box::new(move |news| tell(&named, &news)));
    let store = Store { folder, log: Arc::new(log), report, began };
    store.limit(&config.limits);
    Ok(Some(store))
}

/// Says what has become of the store.
fn tell(folder: &Path, news: &News) {
    let folder = folder.display();
    match news {
        News::Full(Shortage::Limit) => {
            warn!(%folder, reason = "limits.disk is reached", "the store is full: messages are refused or dropped, as their topics say");
        }
        News::Full(Shortage::FileSystem) => {
            warn!(%folder, reason = "the file system is full", "the store is full: messages are refused or dropped, as their topics say");
        }
        News::Full(Shortage::Memory) => warn!(
            %folder,
            reason = "its index has taken an eighth of limits.memory",
            "the store is full: messages are refused or dropped, as their topics say"
        ),
        News::Room => info!(%folder, "the store has room for messages again"),
        News::Failing { error } => {
            error!(%folder, %error, "the store cannot be written to: nothing is acknowledged that has to be kept");
        }
        News::Recovered => info!(%folder, "the store can be written to again"),
    }
}

/// What stands for the number of a store where there is none: other at each start, since what is numbered then is forgotten at the end.
pub(crate) fn passing_epoch() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

/// Where the store of a configuration is, and how it keeps what is in it.
fn options(config: &Config, folder: &Path) -> LogOptions {
    LogOptions {
        folder: folder.to_owned(),
        disk_bytes_max: config.limits.disk.bytes(),
        segment_bytes: config.store.segment_bytes.bytes(),
        lazy_interval: config.store.lazy_interval.duration(),
        skip_damaged: config.store.skip_damaged,
    }
}

impl Store {
    /// A number that no other store has: what the store numbers is unique together with it. The store's key cannot be found from it.
    pub(crate) fn epoch(&self) -> u64 {
        let mut sealed = b"tidegate epoch ".to_vec();
        sealed.extend(self.log.key().to_be_bytes());
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &sealed);
        digest.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }

    /// The store as the broker knows it.
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        self.log.clone()
    }

    /// From now on it may take so much.
    pub(crate) fn limit(&self, limits: &Limits) {
        self.log.limit_disk(limits.disk.bytes());
        let index = limits.memory.bytes() / INDEX_PART_OF_MEMORY;
        self.log.limit_index(usize::try_from(index).unwrap_or(usize::MAX));
    }

    /// Says what was found, and how long it took.
    pub(crate) fn announce(&self, recovered: &Recovered) {
        let report = &self.report;
        for damage in report.damage.iter().take(NAMED_MAX) {
            error!(%damage, "the store is damaged and is used without this");
        }
        let streams = self.log.streams();
        info!(
            folder = %self.folder.display(),
            segments = report.segments,
            records = report.records,
            bytes = report.bytes,
            entries = streams.iter().map(|stream| stream.entries).sum::<usize>(),
            sessions = recovered.sessions,
            subscriptions = recovered.subscriptions,
            retained = recovered.retained,
            torn_tail_bytes = report.torn_tail.as_ref().map_or(0, |tail| tail.bytes),
            damaged_places = report.damaged_places,
            damaged_entries = recovered.damaged,
            milliseconds = self.began.elapsed().as_millis(),
            "store opened"
        );
    }

    /// Has the disk keep everything, when nobody appends any more.
    pub(crate) fn close(&self) -> Result<(), NotKept> {
        match self.log.close() {
            Ok(()) => {
                info!("store closed");
                Ok(())
            }
            Err(error) => {
                let folder = self.folder.display();
                error!(%folder, %error, "the store could not be closed: what was changed last may not be kept");
                Err(NotKept)
            }
        }
    }
}
