//! Which of the files that were found are the log, and where each of them ends.

use super::frame::Start;

/// A file as it was found, before its records are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct FoundFile {
    pub(super) number: u64,
    /// Its first record; nothing where that cannot be read.
    pub(super) start: Option<Start>,
    /// What it takes.
    pub(super) bytes: u64,
}

/// A segment of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// Where it ends, as the next one says; nothing where nobody says it.
    pub(super) end: Option<u64>,
    /// The segment in front of it, and where that one ends.
    pub(super) previous: (u64, u64),
}

/// What the files make together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// The segments, the oldest first.
    pub(super) links: Vec<Link>,
    /// Segments that were given up after an error of the disk: what they hold stands in a later one.
    pub(super) given_up: Vec<u64>,
    /// Segments that should be there.
    pub(super) missing: Vec<u64>,
}

/// Puts the files in their order, `files` being sorted by number: each start names the segment in front of it, and what has a
/// number between the two was given up. Where a start cannot be read, it is taken to follow the file in front of it.
pub(super) fn chain(files: &[FoundFile]) -> Chain {
    let mut chain = Chain::default();
    let mut expected: Option<(u64, u64)> = None;
    for (index, file) in files.iter().enumerate().rev() {
        let mut end = None;
        if let Some((number, ends_at)) = expected {
            if file.number > number {
                chain.given_up.push(file.number);
                continue;
            }
            if file.number < number {
                chain.missing.push(number);
            } else {
                end = Some(ends_at).filter(|end| *end > 0);
            }
        }
        let in_front = index.checked_sub(1).and_then(|index| files.get(index)).map_or(0, |file| file.number);
        let previous = file.start.map_or((in_front, 0), |start| (start.previous, start.previous_end));
        chain.links.push(Link { number: file.number, bytes: file.bytes, end, previous });
        expected = Some(previous);
    }
    chain.links.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::frame::Moment;

    fn file(number: u64, previous: u64, previous_end: u64) -> FoundFile {
        let start = Start { key: 1, previous, previous_end, moment: Moment::default() };
        FoundFile { number, start: Some(start), bytes: 4096 }
    }

    fn numbers(chain: &Chain) -> Vec<(u64, Option<u64>)> {
        chain.links.iter().map(|link| (link.number, link.end)).collect()
    }

    #[test]
    fn each_start_says_where_the_segment_in_front_ends() {
        let found = chain(&[file(4, 3, 900), file(5, 4, 800), file(6, 5, 700)]);
        assert_eq!(numbers(&found), [(4, Some(800)), (5, Some(700)), (6, None)]);
        assert!(found.given_up.is_empty() && found.missing.is_empty());
    }

    #[test]
    fn what_stands_between_a_segment_and_the_one_in_front_was_given_up() {
        let found = chain(&[file(4, 0, 0), file(5, 4, 800), file(6, 4, 760), file(9, 6, 700)]);
        assert_eq!(numbers(&found), [(4, Some(760)), (6, Some(700)), (9, None)]);
        assert_eq!(found.given_up, [5]);
    }

    #[test]
    fn a_segment_that_is_gone_is_noticed_where_older_ones_are_there() {
        let found = chain(&[file(4, 0, 0), file(6, 5, 700)]);
        assert_eq!((numbers(&found), found.missing), (vec![(4, None), (6, None)], vec![5]));
    }

    #[test]
    fn a_segment_without_a_start_follows_the_file_in_front_of_it() {
        let broken = FoundFile { start: None, ..file(5, 0, 0) };
        let found = chain(&[file(4, 0, 0), broken, file(6, 5, 700)]);
        assert_eq!(numbers(&found), [(4, None), (5, Some(700)), (6, None)]);
    }
}
