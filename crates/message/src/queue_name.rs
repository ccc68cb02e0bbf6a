//! Where the names of queues live among the topics.
//!
//! A topic `$queue/<name>` names a queue with competing consumers: each message that is published to it goes to one of them. The name is
//! one level or more. What a queue is and does is the broker's; here is only how its name is read.

/// What the topics of queues begin with.
const QUEUE_LEVEL: &str = "$queue";

/// The queue's name in the text of a topic or filter; empty where there is no name behind `$queue`. `None` where the text names no queue.
pub(crate) fn queue_name(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(QUEUE_LEVEL)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_everything_behind_its_level() {
        assert_eq!(queue_name("$queue/orders"), Some("orders"));
        assert_eq!(queue_name("$queue/a/b/"), Some("a/b/"));
        assert_eq!((queue_name("$queue/"), queue_name("$queue")), (Some(""), Some("")));
        for other in ["queue/a", "$queues/a", "$Queue/a", "/$queue/a", "$SYS/queue", ""] {
            assert_eq!(queue_name(other), None, "{other:?}");
        }
    }
}
