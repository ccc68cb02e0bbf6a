//! Files that somebody hands in to be served as they are, with headers that a browser can rely on.
//!
//! What they contain and where they come from is not known here. Everything is in memory and fixed when serving begins: no file
//! system, no listing, no upload, and a path is looked up as a whole, so there is nothing to climb out of.

use axum::body::Bytes;
use axum::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is served beside health and metrics. The default is nothing.
#[derive(Debug, Default)]
pub struct Pages {
    files: HashMap<String, File>,
    redirects: HashMap<String, String>,
    /// The Content-Security-Policy of every file.
    policy: String,
}

#[derive(Debug)]
struct File {
    content_type: &'static str,
    content: Bytes,
    /// RFC 9110 section 8.8.3: quoted; changes with the content.
    etag: String,
}

impl Pages {
    /// No pages yet. `policy` is the Content-Security-Policy that they will be served with.
    pub fn new(policy: impl Into<String>) -> Pages {
        Pages { policy: policy.into(), ..Pages::default() }
    }

    /// Serves `content` under `path`, which begins with `/`. A second one of the same path takes its place.
    pub fn add(&mut self, path: impl Into<String>, content_type: &'static str, content: impl Into<Bytes>) {
        let content = content.into();
        let etag = etag(&content);
        self.files.insert(path.into(), File { content_type, content, etag });
    }

    /// Sends whoever asks for `path` to `target`.
    pub fn redirect(&mut self, path: impl Into<String>, target: impl Into<String>) {
        self.redirects.insert(path.into(), target.into());
    }

    /// The answer for a path; `None` where nothing is.
    pub(crate) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        let redirect = self.redirects.get(path);
        let file = self.files.get(path);
        if redirect.is_none() && file.is_none() {
            return None;
        }
        if ![Method::GET, Method::HEAD].contains(method) {
            return Some((StatusCode::METHOD_NOT_ALLOWED, [(ALLOW, "GET,HEAD")]).into_response());
        }
        if let Some(target) = redirect {
            return Some((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, target.clone())]).into_response());
        }
        file.map(|file| self.file(file, headers))
    }

    /// RFC 9110 section 13.1.2: whoever has this very content is told so, without it.
    fn file(&self, file: &File, headers: &HeaderMap) -> Response {
        let common = [
            (ETAG, file.etag.as_str()),
            // Kept, but asked for each time: another build of the gateway may stand behind the same address.
            (CACHE_CONTROL, "no-cache"),
            (CONTENT_SECURITY_POLICY, self.policy.as_str()),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        match headers.get_all(IF_NONE_MATCH).iter().any(|value| names(value.as_bytes(), &file.etag)) {
            true => (StatusCode::NOT_MODIFIED, common).into_response(),
            false => (common, [(CONTENT_TYPE, file.content_type)], file.content.clone()).into_response(),
        }
    }
}

/// Whether a list of entity tags contains this one, or is `*`. Proxies may have made it a weak one.
fn names(list: &[u8], etag: &str) -> bool {
    let tags = list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag)).any(|tag| tag == b"*" || tag == etag.as_bytes())
}

/// A hash that is the same for the same content in every process of one build; nobody gains by finding another content for it.
fn etag(content: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
