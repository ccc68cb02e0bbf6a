//! The files that a bridge names: a reload begins a bridge anew where one of them holds something else than before.
//!
//! A password that is changed every month, or a certificate that is renewed, stands under the path that it always had.

use aws_lc_rs::digest::{Context, SHA256};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use tidegate_config::Bridge;

/// What of a file is looked at. Passwords, certificates and keys are shorter.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A digest of what the files of a bridge hold. What it cannot read it says nothing of: whoever makes the bridge does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Files([u8; 32]);

impl Files {
    /// Reads them.
    pub(super) fn of(bridge: &Bridge) -> Files {
        let tls = bridge.tls.as_ref();
        let of_tls = tls.map(|tls| [&tls.ca, &tls.cert, &tls.key]).into_iter().flatten();
        let mut context = Context::new(&SHA256);
        let of_sasl = bridge.sasl.as_ref().map(|sasl| &sasl.password_file);
        for file in [&bridge.password_file].into_iter().chain(of_sasl).chain(of_tls).flatten() {
            let bytes = read(file).unwrap_or_default();
            // The length in front keeps the end of one from being the beginning of the next.
            context.update(&bytes.len().to_be_bytes());
            context.update(&bytes);
        }
        let mut digest = [0; 32];
        digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Files(digest)
    }
}

fn read(file: &Path) -> Option<Vec<u8>> {
    // A pipe would wait for its writer.
    if !std::fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
