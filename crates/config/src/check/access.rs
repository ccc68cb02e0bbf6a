//! Who may log in: no port is opened to everybody by accident, and none that nobody can use.

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::schema::{ClientAuth, Config, Listener};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    // A path that is wrong is reported as such, and was meant.
    let has_passwords = config.access.password_file.is_some() || findings.is_reported("access.password_file");
    for (index, listener) in config.listeners.iter().enumerate() {
        check_listener(listener, has_passwords, &item("listener", index), findings);
        check_identity(listener, &item("listener", index), findings);
    }
}

fn check_listener(listener: &Listener, has_passwords: bool, path: &str, findings: &mut Findings<'_>) {
    let client_auth = listener.tls.as_ref().and_then(|tls| tls.client_auth);
    let bind = join(path, "bind");
    // A misspelt key may be exactly the one that is missing here.
    let is_unclear = ["bind", "allow_anonymous", "tls", "tls.client_auth"]
        .iter()
        .any(|key| findings.is_reported(&join(path, key)));
    match (listener.allow_anonymous, client_auth) {
        (true, Some(ClientAuth::Required)) => {
            let message = "`allow_anonymous` has no effect: every client needs a certificate here";
            findings.warning(&join(path, "allow_anonymous"), message, None);
        }
        (true, _) | (false, Some(_)) => {}
        (false, None) if has_passwords => {}
        (false, None) if is_unclear => {}
        (false, None) if listener.bind.ip().to_canonical().is_loopback() => {
            let message = format!(
                "nobody could log in to listener {}: it asks for no client certificate, there is no `access.password_file`, and \
                 anonymous clients are not allowed",
                quoted(&listener.name)
            );
            let suggestion = "add `allow_anonymous = true` to let in every client on this machine".to_owned();
            findings.error(&bind, Part::Value, message, Some(suggestion));
        }
        (false, None) => {
            let message = format!(
                "listener {} is open to the network at {} without authentication",
                quoted(&listener.name),
                listener.bind
            );
            let suggestion = "ask for client certificates (`tls.client_auth = \"required\"`) or passwords (`access.password_file`), or \
                              say that everybody may connect with `allow_anonymous = true`"
                .to_owned();
            findings.error(&bind, Part::Value, message, Some(suggestion));
        }
    }
}

/// A name can only be taken from a certificate that is asked for.
fn check_identity(listener: &Listener, path: &str, findings: &mut Findings<'_>) {
    let Some(tls) = listener.tls.as_ref().filter(|tls| tls.client_identity.is_some()) else { return };
    let client_auth = join(path, "tls.client_auth");
    if tls.client_auth.is_none() && !findings.is_reported(&client_auth) {
        let message = "`client_identity` has no effect: clients are not asked for a certificate".to_owned();
        let suggestion = "add `client_auth = \"required\"` and `client_ca`".to_owned();
        findings.error(&join(path, "tls.client_identity"), Part::Key, message, Some(suggestion));
    }
}
