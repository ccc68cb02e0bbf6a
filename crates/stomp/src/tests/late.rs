//! RECEIPTs that wait until the disk has what their frames asked for.

use super::{connected, expect_error, frames};
use std::time::Duration;
use tidegate_protocol::{Answer, Attached, Attachment, Published, Refusal, Saving, Subscribed};
use tidegate_testkit::script::{Harness, Request};

const LATER: Published = Published { matched: true, answer: Answer::Later };

fn receipt(name: &str) -> String {
    format!("RECEIPT\nreceipt-id:{name}\n\n^@")
}

fn send(harness: &mut Harness, receipt: &str) {
    harness.feed(format!("SEND\ndestination:/topic/a\n{receipt}\nx\0"));
}

/// [STOMP-1.2/RECEIPT]: a RECEIPT says of everything before it that it was processed.
#[test]
fn receipts_wait_and_keep_their_order() {
    let mut harness = connected();
    harness.broker.published.extend([Ok(LATER), Ok(LATER)]);
    send(&mut harness, "receipt:1\n");
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/b\nreceipt:2\n\n\0");
    // One that asks for no receipt holds up those behind it as well.
    send(&mut harness, "");
    send(&mut harness, "receipt:3\n");
    assert_eq!(frames(&mut harness), [""; 0]);
    harness.answer(Ok(()));
    assert_eq!(frames(&mut harness), [receipt("1"), receipt("2")]);
    harness.answer(Ok(()));
    assert_eq!(frames(&mut harness), [receipt("3")]);
    send(&mut harness, "receipt:4\n");
    assert_eq!(frames(&mut harness), [receipt("4")]);
}

/// A client that floods while the disk hangs is read from no longer, whatever its frames wait for.
#[test]
fn receipts_that_wait_behind_others_are_held_back_too() {
    let mut harness = connected();
    harness.broker.published.push_back(Ok(LATER));
    send(&mut harness, "");
    harness.feed("BEGIN\ntransaction:t\nreceipt:1\n\n\0ABORT\ntransaction:t\nreceipt:2\n\n\0");
    assert_eq!(harness.connection().held_back(), 3);
    harness.answer(Ok(()));
    assert_eq!(frames(&mut harness), [receipt("1"), receipt("2")]);
    assert_eq!(harness.connection().held_back(), 0);
}

/// [STOMP-1.2/COMMIT]
#[test]
fn the_receipt_of_a_commit_waits_for_the_batch() {
    let mut harness = connected();
    harness.broker.published_all.push_back(Ok(Answer::Later));
    harness.feed("BEGIN\ntransaction:t\n\n\0SEND\ndestination:/topic/a\ntransaction:t\n\nx\0");
    harness.feed("COMMIT\ntransaction:t\nreceipt:c\n\n\0");
    assert_eq!(frames(&mut harness), [""; 0]);
    harness.answer(Ok(()));
    assert_eq!(frames(&mut harness), [receipt("c")]);
}

/// [STOMP-1.2/ERROR]: what the disk does not keep is refused as anything else, with or without a receipt.
#[test]
fn what_the_disk_does_not_keep_ends_in_an_error() {
    for (asked, told) in [("receipt:1\n", true), ("", false)] {
        let mut harness = connected();
        harness.broker.published.push_back(Ok(LATER));
        send(&mut harness, asked);
        send(&mut harness, "receipt:2\n");
        harness.answer(Err(Refusal::StoreFailing));
        let frame = expect_error(&mut harness, "refused", "the disk cannot be written to");
        assert!(frame.contains("\nmessage:store failing\n"));
        assert_eq!(frame.contains("\nreceipt-id:1\n"), told, "{frame}");
    }
}

/// [STOMP-1.2/DISCONNECT]: its RECEIPT is the last, and behind everything before it.
#[test]
fn a_disconnect_waits_for_what_was_sent_before_it() {
    for last in ["receipt:bye\n", ""] {
        let mut harness = connected();
        harness.broker.published.push_back(Ok(LATER));
        send(&mut harness, "receipt:1\n");
        harness.feed(format!("DISCONNECT\n{last}\n\0"));
        send(&mut harness, "receipt:never\n");
        assert_eq!((frames(&mut harness).len(), harness.close_label()), (0, None));
        harness.answer(Ok(()));
        let expected = [receipt("1")].into_iter().chain((!last.is_empty()).then(|| receipt("bye")));
        assert_eq!(frames(&mut harness), expected.collect::<Vec<_>>());
        assert_eq!(harness.close_label(), Some("disconnected"));
        let published = harness.take_requests().iter().filter_map(Request::published_topic).count();
        assert_eq!(published, 1);
    }
}

/// A durable subscription is kept together with the filter that its client comes back to.
#[test]
fn a_durable_subscription_is_acknowledged_when_it_is_kept() {
    let mut harness = super::opening();
    harness.feed("CONNECT\naccept-version:1.2\nhost:example\nclient-id:c\n\n\0");
    harness.take_output();
    let attached =
        Attached { present: false, saved: Vec::new(), expiry: Duration::from_secs(9), is_durable: true };
    harness.broker.attachments.push_back(Attachment::Now(attached));
    harness.broker.subscribed.push_back(Ok(Subscribed { existed: false, answer: Answer::Later }));
    harness.feed("SUBSCRIBE\nid:s\ndestination:/topic/a\ndurable:true\nreceipt:1\n\n\0");
    assert_eq!(frames(&mut harness), [""; 0]);
    let requests = harness.take_requests();
    let [Request::Attach { .. }, Request::Subscribe { .. }, Request::SaveWhole { bytes, saving, .. }] =
        &requests[..]
    else {
        panic!("{requests:?}")
    };
    assert_eq!((&bytes[..], *saving), (&b"a"[..], Saving::Along));
    harness.answer(Ok(()));
    assert_eq!(frames(&mut harness), [receipt("1")]);
}
