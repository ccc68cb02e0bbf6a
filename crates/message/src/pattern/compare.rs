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
    // A topic has at least one level, so `#` alone is `+/#`.
    let is_everything = inner.iter().all(|level| matches!(level, Shape::Many));
    let mut at = 0;
    if is_everything && matches!(outer.first(), Some(Shape::One)) {
        at = 1;
    }
    for (index, level) in inner.iter().enumerate() {
        match (outer.get(at), level) {
            (Some(Shape::Many), _) => return true,
            (Some(Shape::One), Shape::Many) => {
                return has_as_many_levels(inner.iter().skip(index), outer.iter().skip(at));
            }
            (Some(Shape::One), _) => at += 1,
            (Some(Shape::Name(name)), Shape::Name(other)) if same(name, other) => at += 1,
            _ => return false,
        }
    }
    matches!(outer.get(at), None | Some(Shape::Many))
}

/// Both continue with a wildcard and any levels may come, so `outer` must have nothing but wildcards left, and what is left of
/// `inner` must have the levels that these need.
fn has_as_many_levels<'a, O: 'a, I: 'a>(
    inner: impl Iterator<Item = &'a Shape<I>>,
    outer: impl Iterator<Item = &'a Shape<O>>,
) -> bool {
    let given = inner.filter(|level| !matches!(level, Shape::Many)).count();
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
