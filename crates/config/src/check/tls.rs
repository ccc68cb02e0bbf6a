//! The TLS table of each listener: files, pairs, authorities, server names.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, ServerName};

use super::certificates::{
    CertificateProblem, Pair, Validity, authorities, pair, read_certificates, read_key,
    read_revocation_lists, validity,
};
use crate::diagnostic::{printable, quoted};
use crate::findings::{Findings, Part, item, join};
use crate::schema::{ClientAuth, Config, Listener, Tls};

pub(super) fn check(config: &Config, now: SystemTime, findings: &mut Findings<'_>) {
    // Only asked, never installed: which provider the gateway uses is not decided here.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut check = Check { now, provider, findings };
    for (index, listener) in config.listeners.iter().enumerate() {
        if let Some(tls) = &listener.tls {
            let path = join(&item("listener", index), "tls");
            check.pair(&path, &tls.cert, &tls.key);
            check.client_certificates(&path, tls);
            check.optional(&path, tls, listener);
            check.server_names(&path, tls);
        }
    }
}

struct Check<'c, 'f> {
    now: SystemTime,
    provider: Arc<CryptoProvider>,
    findings: &'c mut Findings<'f>,
}

impl Check<'_, '_> {
    /// Certificate and key of the table at `path`. The first certificate, if it is of use for further checks.
    fn pair(
        &mut self,
        path: &str,
        certificate_file: &Path,
        key_file: &Path,
    ) -> Option<CertificateDer<'static>> {
        let certificate_path = join(path, "cert");
        let key_path = join(path, "key");
        let certificates = self.certificates(&certificate_path, "cert", certificate_file);
        let key = if self.findings.is_reported(&key_path) {
            None
        } else {
            let read = read_key(key_file);
            read.map_err(|problem| self.file_error(&key_path, "key", key_file, &problem)).ok()
        };
        let (certificates, key) = (certificates?, key?);
        let first = certificates.first().cloned();
        match pair(certificates, key, &self.provider) {
            Pair::Matching => {}
            Pair::Mismatch => {
                let message = format!(
                    "the key {} does not belong to the certificate {}",
                    shown(key_file),
                    shown(certificate_file)
                );
                self.findings.error(&key_path, Part::Value, message, None);
            }
            Pair::UnsupportedCertificate => {
                let problem = CertificateProblem::UnsupportedCertificate;
                self.file_error(&certificate_path, "cert", certificate_file, &problem);
            }
            Pair::UnsupportedKey => {
                self.file_error(&key_path, "key", key_file, &CertificateProblem::UnsupportedKey);
            }
        }
        first
    }

    fn certificates(&mut self, path: &str, key: &str, file: &Path) -> Option<Vec<CertificateDer<'static>>> {
        if self.findings.is_reported(path) {
            return None;
        }
        match read_certificates(file) {
            Ok(certificates) => {
                for certificate in &certificates {
                    self.validity(path, file, certificate);
                }
                Some(certificates)
            }
            Err(problem) => {
                self.file_error(path, key, file, &problem);
                None
            }
        }
    }

    fn validity(&mut self, path: &str, file: &Path, certificate: &CertificateDer<'_>) {
        let message = match validity(certificate, self.now, &self.provider) {
            Validity::Valid => return,
            Validity::Expired { days } => {
                format!("a certificate in {} expired {} ago", shown(file), in_days(days))
            }
            Validity::NotYet { days } => {
                format!("a certificate in {} is valid only in {}", shown(file), in_days(days))
            }
        };
        self.findings.warning(
            path,
            message,
            Some("clients will refuse it; check the clock or renew it".to_owned()),
        );
    }

    fn client_certificates(&mut self, path: &str, tls: &Tls) {
        let (authority_path, auth_path) = (join(path, "client_ca"), join(path, "client_auth"));
        match (&tls.client_ca, tls.client_auth) {
            (None, None) => {}
            (None, Some(_)) => {
                let suggestion =
                    "add `client_ca`, the PEM file of the authority that signs client certificates"
                        .to_owned();
                self.findings.error(
                    &auth_path,
                    Part::Key,
                    "`client_auth` needs `client_ca`",
                    Some(suggestion),
                );
            }
            (Some(_), None) => {
                let message = "`client_ca` has no effect without `client_auth`";
                let suggestion =
                    "add `client_auth = \"required\"` or `client_auth = \"optional\"`".to_owned();
                self.findings.error(&authority_path, Part::Key, message, Some(suggestion));
            }
            (Some(file), Some(_)) => self.authorities(&authority_path, file, path, &tls.crl),
        }
        if !tls.crl.is_empty() && tls.client_auth.is_none() {
            let suggestion = "add `client_auth` and `client_ca` or remove `crl`".to_owned();
            let message = "`crl` has no effect without `client_auth`";
            self.findings.error(&join(path, "crl"), Part::Key, message, Some(suggestion));
        }
    }

    /// What can be read on its way, and what could be walked around.
    fn optional(&mut self, path: &str, tls: &Tls, listener: &Listener) {
        let optional = join(path, "optional");
        if !tls.optional || self.findings.is_reported(&optional) {
            return;
        }
        if tls.client_auth == Some(ClientAuth::Required) {
            let message = "clients without TLS show no certificate, and `client_auth` requires one";
            let suggestion =
                "remove `optional`, or write `client_auth = \"optional\"` and let the others in by password"
                    .to_owned();
            return self.findings.error(&optional, Part::Key, message, Some(suggestion));
        }
        if !listener.bind.ip().to_canonical().is_loopback() {
            let message = format!(
                "listener {} is open to the network and takes clients without TLS: what they send, passwords too, can be read on its way",
                quoted(&listener.name)
            );
            let suggestion = "remove `optional` when all clients speak TLS".to_owned();
            self.findings.warning(&optional, message, Some(suggestion));
        }
    }

    /// Every list of every file by itself, so that what is wrong is found in its own file.
    fn revocation_lists(&mut self, path: &str, files: &[PathBuf], store: &Arc<RootCertStore>) {
        for (index, file) in files.iter().enumerate() {
            let path = item(&join(path, "crl"), index);
            if self.findings.is_reported(&path) {
                continue;
            }
            let usable = read_revocation_lists(file).and_then(|lists| {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(store.clone(), self.provider.clone());
                let built = verifier.with_crls(lists).build();
                built.map(drop).map_err(|_| CertificateProblem::UnsupportedRevocationList)
            });
            if let Err(problem) = usable {
                self.file_error(&path, "crl", file, &problem);
            }
        }
    }

    fn authorities(&mut self, path: &str, file: &Path, table: &str, crl: &[PathBuf]) {
        let Some(certificates) = self.certificates(path, "client_ca", file) else { return };
        let store = match authorities(&certificates) {
            Ok(store) => Arc::new(store),
            Err(problem) => return self.file_error(path, "client_ca", file, &problem),
        };
        let verifier =
            WebPkiClientVerifier::builder_with_provider(store.clone(), self.provider.clone()).build();
        self.revocation_lists(table, crl, &store);
        if let Err(error) = verifier {
            let message = format!("`client_ca`: {} cannot be used: {error}", shown(file));
            self.findings.error(path, Part::Value, message, None);
        }
    }

    fn server_names(&mut self, path: &str, tls: &Tls) {
        let mut first: HashMap<String, usize> = HashMap::new();
        for (index, entry) in tls.sni.iter().enumerate() {
            let path = item(&join(path, "sni"), index);
            let host_path = join(&path, "host");
            let certificate = self.pair(&path, &entry.cert, &entry.key);
            if self.findings.is_reported(&host_path) || entry.host.is_empty() {
                continue;
            }
            if first.insert(entry.host.to_ascii_lowercase(), index).is_some() {
                let message = format!("{} has a certificate already", quoted(&entry.host));
                self.findings.error(&host_path, Part::Value, message, None);
            }
            if certificate.is_some_and(|certificate| !covers(&certificate, &entry.host)) {
                let message = format!(
                    "the certificate {} is not made out for {}",
                    shown(&entry.cert),
                    quoted(&entry.host)
                );
                self.findings.warning(&host_path, message, Some("most clients will refuse it".to_owned()));
            }
        }
    }

    fn file_error(&mut self, path: &str, key: &str, file: &Path, problem: &CertificateProblem) {
        self.findings.error(path, Part::Value, format!("`{key}`: {}: {problem}", shown(file)), None);
    }
}

/// A wildcard is tried with one of the names that it stands for.
fn covers(certificate: &CertificateDer<'_>, host: &str) -> bool {
    let host = match host.strip_prefix("*.") {
        Some(parent) => format!("any.{parent}"),
        None => host.to_owned(),
    };
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(host))
    else {
        return true;
    };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

fn in_days(days: u64) -> String {
    match days {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

/// Paths are shown whole, since their end is what tells them apart.
fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
