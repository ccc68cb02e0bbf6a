//! The demo's web page: its files, the headers that go with them, and what it has to be told about this gateway.

use serde_json::json;
use tidegate_admin::Pages;

/// Where the page is.
pub(crate) const PATH: &str = "/demo/";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! file {
    ($name:literal, $content_type:expr) => {
        ($name, $content_type, include_bytes!(concat!("../../demo/", $name)))
    };
}

/// Every file of the page: its name below [`PATH`], its type, its content.
const FILES: &[(&str, &str, &[u8])] = &[
    file!("icon.svg", SVG),
    file!("theme.css", CSS),
    file!("page.css", CSS),
    file!("main.js", SCRIPT),
    file!("link.js", SCRIPT),
    file!("link_worker.js", SCRIPT),
    file!("lean_socket.js", SCRIPT),
    file!("fleet.js", SCRIPT),
    file!("history.js", SCRIPT),
    file!("overview.js", SCRIPT),
    file!("tile.js", SCRIPT),
    file!("detail.js", SCRIPT),
    file!("metric_card.js", SCRIPT),
    file!("commands.js", SCRIPT),
    file!("chart.js", SCRIPT),
    file!("screen.js", SCRIPT),
    file!("meters.js", SCRIPT),
    file!("status_bar.js", SCRIPT),
    file!("format.js", SCRIPT),
    file!("vendor/stomp.umd.min.js", SCRIPT),
    file!("vendor/stompjs.LICENSE", TEXT),
];

/// The page of a gateway whose WebSocket listener has this port. The page takes the host from its own address.
pub(crate) fn pages(websocket_port: u16) -> Pages {
    // Nothing from elsewhere, no inline script or style, no frame around it. The WebSocket has a port of its own, which is another
    // origin; under which name the page was reached is not known here.
    let mut pages = Pages::new(format!(
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ws://*:{websocket_port}; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ));
    pages.add(PATH, HTML, include_bytes!("../../demo/index.html").as_slice());
    for (name, content_type, content) in FILES {
        pages.add(format!("{PATH}{name}"), content_type, *content);
    }
    let gateway = json!({ "websocketPort": websocket_port, "version": env!("CARGO_PKG_VERSION") });
    pages.add(format!("{PATH}gateway.json"), JSON, gateway.to_string());
    for path in ["/", "/demo"] {
        pages.redirect(path, PATH);
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is not in the list would be missing in the page; one that is not there any more does not compile.
    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/demo");
        for sub in ["", "vendor/"] {
            for entry in std::fs::read_dir(format!("{folder}/{sub}")).unwrap().map(Result::unwrap) {
                let name = format!("{sub}{}", entry.file_name().to_string_lossy());
                let is_served = FILES.iter().any(|(file, ..)| *file == name);
                let is_other = entry.path().is_dir() || name == "index.html" || name.ends_with(".md");
                assert!(is_served || is_other, "{name} is not in the list");
            }
        }
    }
}
