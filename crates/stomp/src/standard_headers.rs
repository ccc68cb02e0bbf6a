//! Which headers of SEND and MESSAGE have a meaning of their own, and how all the other ones travel as user properties.
//!
//! A user property from another protocol may have a standard header's name, or no name at all. It is then written with the
//! prefix `user-`, and so is a name that such a prefix would make ambiguous: `qos` is written `user-qos`, `user-qos` is written
//! `user-user-qos`, while `user-id` stays what it is. Reading takes the prefix off again, so both directions are exact.

/// In front of a user property whose name would mean something else.
const USER_PREFIX: &str = "user-";

/// Whether a header has a meaning of its own in SEND or MESSAGE.
pub(crate) fn is_standard(name: &str) -> bool {
    matches!(
        name,
        "destination"
            | "content-length"
            | "content-type"
            | "correlation-id"
            | "correlation-id-encoding"
            | "reply-to"
            | "expiration"
            | "qos"
            | "persistent"
            | "resume"
            | "resume-gap"
            | "retain"
            | "retained"
            | "redelivered"
            | "delivery-count"
            | "payload-format"
            | "receipt"
            | "transaction"
            | "subscription"
            | "message-id"
            | "ack"
    )
}

/// What is written in front of a user property's name to make it a header's.
pub(crate) fn prefix_of_property(name: &str) -> &'static str {
    if needs_prefix(name) { USER_PREFIX } else { "" }
}

/// The user property's name of a header that is not standard.
pub(crate) fn property_of_header(name: &str) -> &str {
    match name.strip_prefix(USER_PREFIX) {
        Some(property) if needs_prefix(property) => property,
        _ => name,
    }
}

/// Whether a name is empty or standard, behind any number of prefixes.
fn needs_prefix(name: &str) -> bool {
    let mut rest = name;
    while let Some(behind) = rest.strip_prefix(USER_PREFIX) {
        rest = behind;
    }
    rest.is_empty() || is_standard(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header_of(property: &str) -> String {
        format!("{}{property}", prefix_of_property(property))
    }

    #[test]
    fn only_names_that_collide_are_prefixed() {
        let cases = [
            ("device", "device"),
            ("user-id", "user-id"),
            ("qos", "user-qos"),
            ("user-qos", "user-user-qos"),
            ("", "user-"),
            ("user-", "user-user-"),
        ];
        for (property, header) in cases {
            assert_eq!(header_of(property), header);
            assert_eq!(property_of_header(header), property);
        }
    }

    proptest! {
        /// No property is mistaken for a standard header, and none for another one.
        #[test]
        fn properties_are_read_as_they_were_written(prefixes in 0_usize..4, name in "(qos|ack|receipt|[a-z-]{0,6})") {
            let property = format!("{}{name}", USER_PREFIX.repeat(prefixes));
            let header = header_of(&property);
            prop_assert!(!is_standard(&header) && !header.is_empty());
            prop_assert_eq!(property_of_header(&header), &property);
        }

        /// [STOMP-1.2/SEND]: user defined headers are passed through.
        #[test]
        fn headers_between_stomp_clients_keep_their_names(prefixes in 0_usize..4, name in "(qos|ack|receipt|[a-z-]{0,6})") {
            let header = format!("{}{name}", USER_PREFIX.repeat(prefixes));
            prop_assume!(!is_standard(&header) && !header.is_empty());
            prop_assert_eq!(header_of(property_of_header(&header)), header);
        }
    }
}
