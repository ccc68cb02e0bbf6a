//! Who may log in: no port is opened to everybody by accident, and none that nobody can use.

use crate::diagnostic::quoted;
use crate::findings::{Findings, Part, item, join};
use crate::schema::{ClientAuth, Config, Listener};

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    for (index, listener) in config.listeners.iter().enumerate() {
        check_listener(listener, &item("listener", index), findings);
    }
}

fn check_listener(listener: &Listener, path: &str, findings: &mut Findings<'_>) {
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
        (false, None) if is_unclear => {}
        (false, None) if listener.bind.ip().to_canonical().is_loopback() => {
            let message = format!(
                "nobody could log in to listener {}: it asks for no client certificate, the only authentication that exists so \
                 far, and does not allow anonymous clients",
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
            let suggestion = "ask for client certificates (`tls.client_auth = \"required\"`), or say that everybody may connect \
                              with `allow_anonymous = true`"
                .to_owned();
            findings.error(&bind, Part::Value, message, Some(suggestion));
        }
    }
}
