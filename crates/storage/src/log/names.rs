//! The names of the files in the folder of the log.

/// The next segment, made ready.
pub(super) const SPARE: &str = "spare.seg";
/// Held by the process that has the log open.
pub(super) const LOCK: &str = "lock";
/// Says which format this is.
pub(super) const FORMAT: &str = "format";
/// The format file while it is made.
pub(super) const FORMAT_NEW: &str = "format.new";

/// The name of a segment.
pub(super) fn segment(number: u64) -> String {
    format!("{number:010}.seg")
}

/// The number of the segment with this name.
pub(super) fn number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (number > 0 && segment(number) == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_number_and_has_one_form() {
        for of in [1, 9_999_999_999, u64::MAX] {
            assert_eq!(number(&segment(of)), Some(of));
        }
        for name in [SPARE, "1.seg", "0000000000.seg", "+000000001.seg", "0000000001", ""] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
