//! What a receive has had already, kept in the store together with the messages themselves.
//!
//! Where there is a store, each message is published with a *piece*, a few dozen bytes with its id, which stands in the same change as the message: after
//! a crash both are there or neither is. When pieces become many the whole is written in their place, at a moment at which nothing is on its way,
//! so that no piece can come between.

use crate::StableId;
use crate::seen_ids::{SeenIds, Sighting};
use bytes::Bytes;
use tidegate_protocol::{SAVED_BYTES_MAX, SAVED_PIECES_MAX};

/// Streams of ids that are remembered, and numbers of each.
const STREAMS_MAX: usize = 4096;
const NUMBERS_MAX: usize = 1 << 16;

/// What the whole may take in the store: half of what a session may save.
const WHOLE_BYTES_MAX: usize = SAVED_BYTES_MAX / 2;
/// Pieces, and bytes of them, behind which the whole is written. As many again have room, for what is sent once more.
const PIECES: usize = SAVED_PIECES_MAX / 4;
const PIECES_BYTES: usize = SAVED_BYTES_MAX / 8;

/// See the module.
#[derive(Debug)]
pub(crate) struct KnownIds {
    seen: SeenIds,
    /// What is in the store behind the last whole; nothing where nothing is kept.
    kept: Option<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    count: usize,
    bytes: usize,
}

impl KnownIds {
    /// None yet.
    pub(crate) fn new(is_kept: bool) -> KnownIds {
        let seen = SeenIds::new(STREAMS_MAX, NUMBERS_MAX);
        KnownIds { seen, kept: is_kept.then(Pieces::default) }
    }

    /// What is known of an id.
    pub(crate) fn look(&self, id: &str) -> Sighting {
        StableId::parse(id).map_or(Sighting::New, |id| self.seen.look(&id))
    }

    /// A message with this id is here.
    pub(crate) fn note(&mut self, id: &str) {
        if let Ok(id) = StableId::parse(id) {
            self.seen.note(&id);
        }
    }

    /// What is to be kept with a message that has this id.
    pub(crate) fn piece(&mut self, id: Option<&str>) -> Option<Bytes> {
        let kept = self.kept.as_mut()?;
        let piece = SeenIds::piece(&StableId::parse(id?).ok()?);
        kept.count += 1;
        kept.bytes += piece.len();
        Some(piece.into())
    }

    /// Adds what was kept. Returns how many pieces are not what is written here.
    pub(crate) fn restore(&mut self, pieces: &[Bytes]) -> usize {
        if !pieces.is_empty() {
            // Written as a whole soon.
            self.kept = self.kept.take().map(|_| Pieces { count: PIECES, bytes: 0 });
        }
        pieces.iter().filter(|piece| self.seen.restore_all(piece).is_err()).count()
    }

    /// Whether the whole is to be written as soon as nothing is on its way.
    pub(crate) fn is_whole_due(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.count >= PIECES || kept.bytes >= PIECES_BYTES)
    }

    /// The whole, which is written in place of all pieces.
    pub(crate) fn whole(&mut self) -> Bytes {
        self.kept = self.kept.take().map(|_| Pieces::default());
        self.seen.write_all(WHOLE_BYTES_MAX).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> String {
        format!("edge-1/7/central.0/{number}")
    }

    /// As a receive does it: a piece with each message, and the whole now and then.
    #[test]
    fn what_was_kept_is_known_after_a_restart_whenever_that_comes() {
        let (mut known, mut kept) = (KnownIds::new(true), Vec::new());
        for number in 0..3000 {
            if known.is_whole_due() {
                kept = vec![known.whole()];
            }
            kept.extend(known.piece(Some(&id(number))));
            known.note(&id(number));
            assert!(kept.len() <= PIECES + 1);
            if number % 97 == 0 {
                let mut after = KnownIds::new(true);
                assert_eq!(after.restore(&kept), 0);
                assert!((0..=number).all(|number| after.look(&id(number)) == Sighting::Seen));
                assert_eq!(after.look(&id(number + 1)), Sighting::New);
                assert!(after.is_whole_due());
            }
        }
    }

    #[test]
    fn the_whole_has_its_size_however_many_streams_there_are() {
        let mut known = KnownIds::new(true);
        for stream in 0..5000 {
            (0..600).step_by(64).for_each(|number| known.note(&format!("n{stream}/7/central.0/{number}")));
        }
        let whole = known.whole();
        assert!(whole.len() <= WHOLE_BYTES_MAX && whole.len() > WHOLE_BYTES_MAX / 4, "{}", whole.len());
        let mut after = KnownIds::new(true);
        after.restore(&[whole]);
        assert_eq!(after.look("n4999/7/central.0/576"), Sighting::Seen);
    }

    #[test]
    fn what_is_nothing_of_ours_is_counted_and_changes_nothing() {
        let mut known = KnownIds::new(true);
        let bad: [&[u8]; 3] = [b"x", &[0, 0, 0, 9, 1], &[255; 40]];
        assert_eq!(known.restore(&bad.map(Bytes::copy_from_slice)), 3);
        assert_eq!(known.look(&id(1)), Sighting::New);
        assert_eq!(known.piece(Some("no id")), None);
    }

    #[test]
    fn without_a_store_nothing_is_written() {
        let mut known = KnownIds::new(false);
        known.note(&id(1));
        assert_eq!((known.piece(Some(&id(2))), known.is_whole_due()), (None, false));
        assert_eq!(known.look(&id(1)), Sighting::Seen);
    }
}
