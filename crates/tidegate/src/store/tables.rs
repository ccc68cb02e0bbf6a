//! What people read of a store.

use crate::table::{counted, table};
use tidegate_inspect::{Info, Peeked, Queues};
use tidegate_message::ByteSize;

/// Characters of a payload that are shown.
const PAYLOAD_CHARS_MAX: usize = 60;

pub(super) fn info(info: &Info) -> String {
    let size = |bytes: u64| ByteSize::from_bytes(bytes).to_string();
    let limit = if info.disk_bytes_max == 0 { "-".to_owned() } else { size(info.disk_bytes_max) };
    let mut rows = vec![
        ["on the disk", &size(info.disk_bytes)].map(str::to_owned),
        ["limit", &limit].map(str::to_owned),
        ["alive", &size(info.live_bytes)].map(str::to_owned),
    ];
    let counts = [
        ("sessions", info.sessions),
        ("subscriptions", info.subscriptions),
        ("wills", info.wills),
        ("retained messages", info.retained_messages),
        ("named queues", info.named_queues),
        ("shared subscriptions", info.groups),
        ("queued messages", info.queued_messages),
    ];
    rows.extend(counts.map(|(name, count)| [name.to_owned(), count.to_string()]));
    if info.unreadable > 0 {
        rows.push(["unreadable".to_owned(), info.unreadable.to_string()]);
    }
    if info.is_failing {
        rows.push(["state", "the disk answers with errors"].map(str::to_owned));
    }
    let mut rows = rows.into_iter();
    rows.next().map_or_else(String::new, |first| table(first, rows))
}

pub(super) fn queues(queues: &Queues) -> String {
    let head = ["queue", "kind", "messages", "bytes"].map(str::to_owned);
    let rows = queues.queues.iter().map(|queue| {
        [
            queue.name.clone(),
            queue.kind.word().to_owned(),
            queue.messages.to_string(),
            queue.bytes.to_string(),
        ]
    });
    let text = table(head, rows);
    match queues.total - queues.queues.len().min(queues.total) {
        0 => text,
        more => text + &format!("and {more} more\n"),
    }
}

pub(super) fn peeked(peeked: &Peeked) -> String {
    let head = ["number", "qos", "attempt", "expires in", "topic", "payload"].map(str::to_owned);
    let rows = peeked.messages.iter().map(|waiting| {
        let expires =
            waiting.expires_in_millis().map_or("-".to_owned(), |millis| format!("{}s", millis / 1000));
        let payload = match (waiting.text(), waiting.base64()) {
            (Some(text), _) => cut(text),
            (None, base64) => format!("base64 {}", cut(base64.unwrap_or_default())),
        };
        [
            waiting.number().to_string(),
            waiting.qos().to_string(),
            waiting.attempt().to_string(),
            expires,
            waiting.topic().to_owned(),
            payload,
        ]
    });
    let text = table(head, rows);
    text + &format!("{} of {}\n", peeked.messages.len(), counted(peeked.total, "message"))
}

fn cut(text: &str) -> String {
    let shown: String = text.chars().take(PAYLOAD_CHARS_MAX).collect();
    if text.chars().nth(PAYLOAD_CHARS_MAX).is_some() { format!("{shown}…") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_payloads_are_cut() {
        assert_eq!(cut(&"ä".repeat(60)), "ä".repeat(60));
        assert_eq!(cut(&"ä".repeat(61)), format!("{}…", "ä".repeat(60)));
    }
}
