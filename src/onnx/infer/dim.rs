use std::fmt;
use std::sync::Arc;

use super::Expr;
use super::expr::{Atom, Polynomial};

/// An extent of a tensor, or one element of a small integer tensor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dim {
    /// A number.
    Known(i64),
    /// Depends on the sizes the model is run with.
    Symbolic(Expr),
    /// Cannot be told.
    Unknown,
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Self::Known(value)
    }
}

impl Dim {
    /// The extent called `name`.
    pub fn symbol(name: &str) -> Self {
        Polynomial::atom(Atom::Symbol(Arc::from(name))).into_dim()
    }

    /// The number, if it is one.
    pub fn known(&self) -> Option<i64> {
        match self {
            Self::Known(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether both are told and are equal for all sizes.
    pub fn equals(&self, other: &Self) -> bool {
        *self != Self::Unknown && self == other
    }

    /// Whether it cannot be negative.
    pub fn is_never_negative(&self) -> bool {
        match self {
            Self::Known(value) => *value >= 0,
            Self::Symbolic(expr) => expr.is_never_negative(),
            Self::Unknown => false,
        }
    }

    /// `self + other`.
    pub fn plus(&self, other: &Self) -> Self {
        combine(self, other, |a, b| a.clone().plus(b, 1))
    }

    /// `self - other`.
    pub fn minus(&self, other: &Self) -> Self {
        combine(self, other, |a, b| a.clone().plus(b, -1))
    }

    /// `self · other`.
    pub fn times(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(0), _) | (_, Self::Known(0)) => Self::Known(0),
            _ => combine(self, other, Polynomial::times),
        }
    }

    /// ⌊self / other⌋.
    pub fn over(&self, other: &Self) -> Self {
        match (self, other) {
            (_, Self::Known(0)) => Self::Unknown,
            (_, Self::Known(1)) => self.clone(),
            (Self::Known(a), Self::Known(b)) if *b > 0 => Self::Known(a.div_euclid(*b)),
            (Self::Known(_), Self::Known(_)) => Self::Unknown,
            _ => combine(self, other, Polynomial::floor_quotient),
        }
    }

    /// ⌈self / divisor⌉ for a positive number.
    pub fn over_up(&self, divisor: i64) -> Self {
        self.plus(&Self::Known(divisor.saturating_sub(1))).over(&Self::Known(divisor))
    }

    /// `self / other` where that is a polynomial without remainder.
    pub fn over_exactly(&self, other: &Self) -> Option<Self> {
        Some(Polynomial::of(self)?.exact_quotient(&Polynomial::of(other)?)?.into_dim())
    }

    /// The product of `dims`; 1 for none.
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Self>) -> Self {
        dims.into_iter().fold(Self::Known(1), |product, dim| product.times(dim))
    }

    /// What the two extents broadcast to.
    pub fn broadcast(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Known(1), dim) | (dim, Self::Known(1)) => dim.clone(),
            (Self::Known(a), Self::Known(b)) if a != b => Self::Unknown,
            (Self::Known(_), _) => self.clone(),
            (_, Self::Known(_)) => other.clone(),
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (a, b) if a == b => a.clone(),
            (a, b) => {
                let mut all: Vec<Self> = a.broadcast_parts().iter().chain(b.broadcast_parts()).cloned().collect();
                all.sort();
                all.dedup();
                Polynomial::atom(Atom::Broadcast(all)).into_dim()
            }
        }
    }

    fn broadcast_parts(&self) -> &[Self] {
        match self {
            Self::Symbolic(expr) => expr.as_broadcast().unwrap_or(std::slice::from_ref(self)),
            _ => std::slice::from_ref(self),
        }
    }

    /// The simpler of two extents that must be equal.
    pub(super) fn simpler(&self, other: &Self) -> Self {
        if other.weight() < self.weight() { other.clone() } else { self.clone() }
    }

    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Known(_) => 0,
            Self::Symbolic(expr) => expr.weight(),
            Self::Unknown => usize::MAX / 2,
        }
    }

    /// Its value where `symbol` gives each symbol's.
    pub fn evaluate(&self, symbol: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Symbolic(expr) => expr.evaluate(symbol),
            Self::Unknown => None,
        }
    }
}

fn combine(a: &Dim, b: &Dim, operation: impl Fn(&Polynomial, &Polynomial) -> Option<Polynomial>) -> Dim {
    let (Some(a), Some(b)) = (Polynomial::of(a), Polynomial::of(b)) else { return Dim::Unknown };
    operation(&a, &b).map_or(Dim::Unknown, Polynomial::into_dim)
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(value) => value.fmt(f),
            Self::Symbolic(expr) => expr.fmt(f),
            Self::Unknown => f.write_str("?"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(value: i64) -> Dim {
        Dim::Known(value)
    }

    #[test]
    fn equal_expressions_compare_equal_however_they_were_made() {
        let (h, w) = (Dim::symbol("h"), Dim::symbol("w"));
        let left = h.plus(&n(1)).times(&w.minus(&n(2)));
        let right = h.times(&w).minus(&h.times(&n(2))).plus(&w).minus(&n(2));
        assert_eq!(left, right);
        assert_eq!(left.minus(&right), n(0));
        assert_eq!(h.times(&w).times(&n(320)).over(&w.times(&n(8))), h.times(&n(40)));
    }

    #[test]
    fn floors_have_one_normal_form() {
        let h = Dim::symbol("h");
        let convolved = h.minus(&n(1)).over(&n(2)).plus(&n(1));
        assert_eq!(convolved, h.plus(&n(1)).over(&n(2)));
        assert_eq!(convolved.plus(&n(1)).over(&n(2)), h.plus(&n(3)).over(&n(4)));
        assert_eq!(h.times(&n(2)).plus(&n(1)).over(&n(4)), h.over(&n(2)));
        assert_ne!(convolved, h.over(&n(2)));
        assert_eq!(h.times(&n(4)).plus(&n(7)).over(&n(2)), h.times(&n(2)).plus(&n(3)));
    }

    #[test]
    fn normal_forms_have_the_value_of_what_they_stand_for() {
        let h = Dim::symbol("h");
        for size in 1..40 {
            let at = |dim: &Dim| dim.evaluate(&|name| (name == "h").then_some(size));
            for (offset, divisor) in [(1, 2), (-1, 2), (5, 3), (0, 4)] {
                let once = h.plus(&n(offset)).over(&n(divisor));
                assert_eq!(at(&once), Some((size + offset).div_euclid(divisor)));
                let twice = once.times(&n(3)).plus(&n(1)).over(&n(2));
                assert_eq!(at(&twice), Some(((size + offset).div_euclid(divisor) * 3 + 1).div_euclid(2)));
            }
        }
    }

    #[test]
    fn broadcasting_is_associative_and_commutative() {
        let (a, b, c) = (Dim::symbol("a"), Dim::symbol("b"), Dim::symbol("c"));
        assert_eq!(a.broadcast(&b).broadcast(&c), c.broadcast(&a).broadcast(&b));
        assert_eq!(a.broadcast(&b).broadcast(&a), a.broadcast(&b));
        assert_eq!(a.broadcast(&n(1)), a);
        assert_eq!(a.broadcast(&n(4)), n(4));
        assert_eq!(n(3).broadcast(&n(4)), Dim::Unknown);
    }

    #[test]
    fn overflow_makes_unknown() {
        let h = Dim::symbol("h");
        assert_eq!(h.times(&n(i64::MAX)).times(&n(2)), Dim::Unknown);
        assert_eq!(n(i64::MAX).plus(&n(1)), Dim::Unknown);
    }

    #[test]
    fn reads_as_written() {
        let h = Dim::symbol("h");
        assert_eq!(h.times(&n(2)).plus(&n(1)).to_string(), "2*h + 1");
        assert_eq!(h.plus(&n(1)).over(&n(2)).to_string(), "floor((h + 1)/(2))");
    }
}
