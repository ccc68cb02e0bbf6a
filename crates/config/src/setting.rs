//! How one setting is declared: its type, its range, its default, its words for the reference page.
//!
//! `section!` declares a struct and its table of settings in one place. From that table come the check of the file, the names of
//! environment variables and flags, the suggestions and the reference page, so that none of them can drift from the struct.

use tidegate_message::{ByteSize, TimeSpan};

/// A table of the file: the settings it may hold.
#[derive(Debug)]
pub(crate) struct Section {
    /// What the table is for, as written at the struct.
    pub(crate) about: &'static str,
    pub(crate) settings: &'static [Setting],
}

/// One key of a table.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
    /// The field's doc comment.
    pub(crate) doc: &'static str,
}

/// What happens when a key is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Presence {
    /// That is an error.
    Required,
    /// The setting has no value; the text says what that means.
    Optional(&'static str),
    /// This value, as it would be written in an environment variable. For a table: the table with its own defaults.
    Default(&'static str),
}

/// The type and range of a setting.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `[A-Za-z0-9._-]`, 1 to 64 characters.
    Name,
    /// A whole number.
    Count { min: u32, max: u32 },
    /// A duration with a unit.
    Time { min: TimeSpan, max: TimeSpan },
    /// A number of bytes with a unit.
    Size { min: ByteSize, max: ByteSize },
    /// `true` or `false`.
    Switch,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// `ip:port` or `[ipv6]:port`.
    Address,
    /// A file or folder; relative to the folder of the configuration file.
    Path,
    /// Text with a check of its own.
    Text(Form),
    /// A list of texts.
    List(Form),
    /// A text, or a list of texts where there are several.
    OneOrMore(Form),
    /// A list of files; relative like a path.
    Paths,
    /// A table of texts under names that the user chooses.
    Texts(Form),
    /// A table of texts, numbers and switches under names that the user chooses.
    Values,
    /// A table.
    Table(&'static Section),
    /// A list of tables.
    Tables(&'static Section),
    /// One table per protocol, named like the protocol.
    Protocols,
}

/// The form of a text and how it is recognised.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// "a protocol name": completes "expected …".
    pub(crate) name: &'static str,
    pub(crate) check: fn(&str) -> Result<(), Problem>,
}

/// What is wrong with one value, before it is known where the value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) message: String,
    pub(crate) suggestion: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None }
    }

    pub(crate) fn with_suggestion(message: impl Into<String>, suggestion: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: Some(suggestion.into()) }
    }
}

impl Section {
    /// The setting that a key of the file stands for. Protocol tables go by the protocol's name and are not found here.
    pub(crate) fn setting(&self, key: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.key == key && !matches!(setting.kind, Kind::Protocols))
    }

    /// Whether tables named after protocols belong here.
    pub(crate) fn has_protocols(&self) -> bool {
        self.settings.iter().any(|setting| matches!(setting.kind, Kind::Protocols))
    }
}

/// Declares a struct and, beside it, the table of its settings.
///
/// `field as "key": Type = kind, presence;` where `as "key"` is for fields that are called differently in the file.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $key:literal)? : $type:ty = $kind:expr, $presence:expr;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde(rename = $key)])?
                pub $field: $type,
            )+
        }

        impl $name {
            pub(crate) const SECTION: $crate::setting::Section = $crate::setting::Section {
                about: concat!($($about, "\n"),+),
                settings: &[$(
                    $crate::setting::Setting {
                        key: $crate::setting::section!(@key $field $($key)?),
                        kind: $kind,
                        presence: $presence,
                        doc: concat!($($doc, "\n"),+),
                    },
                )+],
            };
        }
    };
    (@key $field:ident $key:literal) => { $key };
    (@key $field:ident) => { stringify!($field) };
}
pub(crate) use section;
