//! Two sets of topics compared by their levels: does one hold the other, do they meet?
//!
//! Exact, because any text can be a level: what `+` or `#` lets through is also a level that no name is, so the walk only has to
//! follow that one. The first argument has `#` at its end only; the second may have it anywhere, as AMQP allows.

/// One level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape<N> {
    /// The level with this name.
    Name(N),
    /// Any level.
    One,
    /// Any number of levels.
    Many,
}

/// Whether every topic of `inner` is one of `outer`. A wildcard at the front does not select what begins with `$`.
pub(crate) fn covers<O, I>(
    outer: &[Shape<O>],
    inner: &[Shape<I>],
    same: impl Fn(&O, &I) -> bool,
    is_reserved: impl Fn(&I) -> bool,
) -> bool {
    if matches!((outer.first(), inner.first()), (Some(Shape::One | Shape::Many), Some(Shape::Name(name))) if is_reserved(name))
    {
        return false;
    }
    let mut at = 0;
    for (index, level) in inner.iter().enumerate() {
        match (outer.get(at), level) {
            (Some(Shape::Many), _) => return true,
            (Some(Shape::One), Shape::Many) => {
                let rest = inner.iter().skip(index);
                let is_longer = index == 0 && cannot_begin_with_rest(inner, is_reserved);
                return needs_at_most(levels_min(rest) + usize::from(is_longer), outer.iter().skip(at));
            }
            (Some(Shape::One), _) => at += 1,
            (Some(Shape::Name(name)), Shape::Name(other)) if same(name, other) => at += 1,
            _ => return false,
        }
    }
    matches!(outer.get(at), None | Some(Shape::Many))
}

/// Whether the `#` at the front has to stand for a level at least: a topic has one, and a wildcard does not let a topic begin with a
/// reserved name that follows it.
fn cannot_begin_with_rest<I>(inner: &[Shape<I>], is_reserved: impl Fn(&I) -> bool) -> bool {
    match inner.iter().find(|level| !matches!(level, Shape::Many)) {
        Some(Shape::Name(name)) => is_reserved(name),
        Some(_) => false,
        None => true,
    }
}

/// The fewest levels that these let through.
fn levels_min<'a, I: 'a>(inner: impl Iterator<Item = &'a Shape<I>>) -> usize {
    inner.filter(|level| !matches!(level, Shape::Many)).count()
}

/// Any levels may come, this many at least: so nothing but wildcards may be left, and they must not need more.
fn needs_at_most<'a, O: 'a>(given: usize, outer: impl Iterator<Item = &'a Shape<O>>) -> bool {
    let mut needed = 0;
    for level in outer {
        match level {
            Shape::One => needed += 1,
            Shape::Many => return needed <= given,
            Shape::Name(_) => return false,
        }
    }
    false
}

/// Whether some topic is in both; `reserved` says which of them begin with `$`. Where the second has `#` before its end this may
/// say yes too often.
pub(crate) fn overlaps<O, I>(
    one: &[Shape<O>],
    other: &[Shape<I>],
    same: impl Fn(&O, &I) -> bool,
    reserved: (bool, bool),
) -> bool {
    if reserved.0 != reserved.1 {
        return false;
    }
    let mut at = 0;
    loop {
        match (one.get(at), other.get(at)) {
            (Some(Shape::Many), _) | (_, Some(Shape::Many)) | (None, None) => return true,
            (None, _) | (_, None) => return false,
            (Some(Shape::Name(name)), Some(Shape::Name(another))) if !same(name, another) => return false,
            _ => at += 1,
        }
    }
}
