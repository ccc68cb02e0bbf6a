//! From sources to a checked configuration, step by step: read, parse, layer, merge, type, check.
//!
//! A file that is not TOML ends the work at once. Everything else is collected: a value that cannot be read is reported and
//! replaced by a stand-in, so that one run shows every mistake.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use config::ConfigError;

use crate::defaults;
use crate::diagnostic::{Diagnostic, Report};
use crate::document::{Walk, parse};
use crate::file::{CONFIGURATION_BYTES_MAX, FileError, read_text};
use crate::findings::{Findings, SourceFile};
use crate::layer::{Layer, merge};
use crate::node::{cores, machine_name};
use crate::overlay::{self, Override};
use crate::registry::Registry;
use crate::schema::{Config, PARTS_OF_MEMORY};
use crate::{check, value};

/// The configuration that is used without a file, as a file would say it.
pub const EMBEDDED: &str = include_str!("embedded.toml");

/// Where the configuration comes from, weakest first: defaults, file, environment, overrides.
#[derive(Debug, Clone)]
pub struct Sources<'r> {
    /// The file; without one, `embedded` takes its place.
    pub file: Option<PathBuf>,
    /// What is used without a file: [`EMBEDDED`], unless somebody brings a configuration along.
    pub embedded: &'r str,
    /// The environment of the process, usually `std::env::vars_os()`. Only names that begin with `TIDEGATE_` are settings.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags; a later one wins.
    pub overrides: Vec<Override>,
    /// The protocols that exist.
    pub registry: &'r Registry,
    /// The time that the validity of certificates is compared with.
    pub now: SystemTime,
}

/// A configuration that may be started with.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings, all layers applied.
    pub config: Config,
    /// What somebody should look at nevertheless.
    pub warnings: Vec<Diagnostic>,
}

/// Loads, layers and checks the configuration. The report names every mistake that was found, not only the first.
pub fn load(sources: &Sources<'_>) -> Result<Loaded, Report> {
    let source = read_source(sources.file.as_deref(), sources.embedded)?;
    let document = parse(&source)?;
    let listeners = overlay::listener_names(&document);
    let mut findings = Findings::new(sources.file.is_some().then_some(&source));

    let folder = source.name.parent().unwrap_or(Path::new(""));
    let embedded = sources.file.is_none();
    let file =
        Walk { findings: &mut findings, registry: sources.registry, folder, embedded }.layer(&document);
    let environment =
        overlay::from_environment(&sources.environment, &listeners, sources.registry, &mut findings);
    let flags = overlay::from_flags(&sources.overrides, &listeners, sources.registry, &mut findings);
    let defaults = defaults::layer(&mut findings);

    // Every value was checked when its layer was built, so this fails only if the declaration of a setting contradicts its
    // field.
    let mut config = match typed(vec![defaults, file, environment, flags]) {
        Ok(config) => config,
        Err(error) => return Err(findings.fail(format!("the settings cannot be combined: {error}"))),
    };
    config.limits.divide_memory();
    if config.workers == 0 {
        config.workers = cores();
    }
    if config.node.is_empty() {
        config.node = machine_name(&sources.environment);
    }
    check::check(&config, sources.registry, sources.now, &mut findings);
    findings.finish().map(|warnings| Loaded { config, warnings })
}

fn read_source(file: Option<&Path>, embedded: &str) -> Result<SourceFile, Report> {
    let Some(path) = file else {
        return Ok(SourceFile { name: PathBuf::new(), text: embedded.to_owned() });
    };
    match read_text(path, CONFIGURATION_BYTES_MAX) {
        Ok(text) => Ok(SourceFile { name: path.to_owned(), text }),
        Err(error) => {
            let suggestion = matches!(error, FileError::Folder)
                .then(|| "name the file in it, for example `tidegate.toml`".to_owned());
            Err(Report::about_file(path.to_owned(), error.to_string(), suggestion))
        }
    }
}

fn typed(mut layers: Vec<Layer>) -> Result<Config, ConfigError> {
    if let Some(defaults) = layers.first_mut() {
        // An empty name stands for the machine's, which is asked for only when nothing else is set; zero for a part of the memory.
        defaults.root.insert("node".to_owned(), value::plain(""));
        for (part, _) in PARTS_OF_MEMORY {
            defaults.set(&["limits", part].map(str::to_owned), value::plain("0B"));
        }
    }
    merge(layers, &Config::SECTION)?.try_deserialize::<Config>()
}
