//! A map that holds a bounded number of things and forgets those that were not used lately.
//!
//! Things are kept in two halves. When the younger one is full it becomes the elder, and the elder is forgotten; what is used moves to the
//! younger. So the most recent half of what fits is always there, and no list in the order of use has to be kept.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug, Clone)]
pub(crate) struct Recent<K, V> {
    half: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Recent<K, V> {
    /// Holds at most this many things, and at least two.
    pub(crate) fn new(things_max: usize) -> Recent<K, V> {
        Recent { half: (things_max / 2).max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// A thing; to look at it is no use of it.
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Uses a thing, which is made first where it is not there.
    pub(crate) fn change<Q>(&mut self, key: &Q, make: impl FnOnce() -> V, change: impl FnOnce(&mut V))
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        match self.young.get_mut(key) {
            Some(thing) => change(thing),
            None => {
                let mut thing = self.old.remove(key).unwrap_or_else(make);
                change(&mut thing);
                self.put(key.to_owned(), thing);
            }
        }
    }

    /// The elder half, then the younger one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.old.iter().chain(&self.young)
    }

    /// The younger half, then the elder one, each in no order.
    pub(crate) fn newest_first(&self) -> [&HashMap<K, V>; 2] {
        [&self.young, &self.old]
    }

    pub(crate) fn len(&self) -> usize {
        self.old.len() + self.young.len()
    }

    fn put(&mut self, key: K, thing: V) {
        if self.young.len() >= self.half {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, thing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(recent: &mut Recent<u32, u32>, key: u32) {
        recent.change(&key, || 0, |times| *times += 1);
    }

    #[test]
    fn what_is_used_now_and_then_stays_and_the_rest_goes() {
        let mut recent = Recent::new(8);
        for key in 1..100 {
            count(&mut recent, 0);
            count(&mut recent, key);
            assert!(recent.len() <= 8);
        }
        assert_eq!(recent.get(&0), Some(&99));
        assert_eq!(recent.get(&1), None);
        assert!((96..100).all(|key| recent.get(&key) == Some(&1)));
    }

    #[test]
    fn there_is_room_for_the_last_one_at_least() {
        let mut recent = Recent::new(0);
        count(&mut recent, 1);
        count(&mut recent, 2);
        assert_eq!((recent.get(&2), recent.len()), (Some(&1), 2));
    }
}
