use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::Dim;

/// More terms than this make an expression unknown: shapes of real models have a handful.
const MOST_TERMS: usize = 48;

/// What an [`Expr`] is a polynomial in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Atom {
    Symbol(Arc<str>),
    /// The floor of the first expression over the second, where that is no polynomial.
    Quotient(Box<Dim>, Box<Dim>),
    /// What different extents broadcast to: all equal but for those that are 1.
    Broadcast(Vec<Dim>),
}

/// A product of powers of atoms, in order.
type Monomial = Vec<(Atom, u32)>;

/// An extent that depends on the sizes a model is run with.
///
/// An integer polynomial in symbols, floors of quotients and broadcasts, held in
/// normal form: equal polynomials compare equal. It is never a plain number;
/// that is [`Dim::Known`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expr(Vec<(Monomial, i64)>);

/// A polynomial while it is computed with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Polynomial(BTreeMap<Monomial, i64>);

impl Polynomial {
    pub(super) fn of(dim: &Dim) -> Option<Self> {
        match dim {
            Dim::Known(0) => Some(Self::default()),
            Dim::Known(value) => Some(Self(BTreeMap::from([(Vec::new(), *value)]))),
            Dim::Symbolic(expr) => Some(Self(expr.0.iter().cloned().collect())),
            Dim::Unknown => None,
        }
    }

    pub(super) fn atom(atom: Atom) -> Self {
        Self(BTreeMap::from([(vec![(atom, 1)], 1)]))
    }

    pub(super) fn into_dim(self) -> Dim {
        match self.constant() {
            Some(value) => Dim::Known(value),
            None if self.0.len() > MOST_TERMS => Dim::Unknown,
            None => Dim::Symbolic(Expr(self.0.into_iter().collect())),
        }
    }

    fn constant(&self) -> Option<i64> {
        match self.0.len() {
            0 => Some(0),
            1 => self.0.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: i64) -> Option<()> {
        let sum = self.0.get(&monomial).copied().unwrap_or(0).checked_add(coefficient)?;
        match sum {
            0 => drop(self.0.remove(&monomial)),
            _ => drop(self.0.insert(monomial, sum)),
        }
        Some(())
    }

    /// `self + factor · other`, unless a coefficient overflows.
    pub(super) fn plus(mut self, other: &Self, factor: i64) -> Option<Self> {
        for (monomial, coefficient) in &other.0 {
            self.add_term(monomial.clone(), coefficient.checked_mul(factor)?)?;
        }
        Some(self)
    }

    pub(super) fn times(&self, other: &Self) -> Option<Self> {
        if self.0.len().saturating_mul(other.0.len()) > MOST_TERMS * MOST_TERMS {
            return None;
        }
        let mut product = Self::default();
        for (left, a) in &self.0 {
            for (right, b) in &other.0 {
                product.add_term(monomial_product(left, right), a.checked_mul(*b)?)?;
            }
        }
        Some(product)
    }

    /// The polynomial `q` with `q · divisor = self`, if there is one.
    pub(super) fn exact_quotient(&self, divisor: &Self) -> Option<Self> {
        let (lead, lead_coefficient) = divisor.0.iter().next_back()?;
        let mut rest = self.clone();
        let mut quotient = Self::default();
        for _ in 0..=MOST_TERMS {
            let Some((monomial, coefficient)) = rest.0.iter().next_back() else { return Some(quotient) };
            if coefficient % lead_coefficient != 0 {
                return None;
            }
            let step = Self(BTreeMap::from([(monomial_quotient(monomial, lead)?, coefficient / lead_coefficient)]));
            rest = rest.plus(&step.times(divisor)?, -1)?;
            quotient = quotient.plus(&step, 1)?;
        }
        None
    }

    /// `(q, r)` with `self = q · divisor + r` and every coefficient of `r` in `0..divisor`.
    fn split(&self, divisor: i64) -> (Self, Self) {
        let (mut quotient, mut rest) = (Self::default(), Self::default());
        for (monomial, coefficient) in &self.0 {
            for (part, value) in
                [(&mut quotient, coefficient.div_euclid(divisor)), (&mut rest, coefficient.rem_euclid(divisor))]
            {
                if value != 0 {
                    part.0.insert(monomial.clone(), value);
                }
            }
        }
        (quotient, rest)
    }

    /// ⌊self / divisor⌋ in normal form.
    pub(super) fn floor_quotient(&self, divisor: &Self) -> Option<Self> {
        if let Some(exact) = self.exact_quotient(divisor) {
            return Some(exact);
        }
        match divisor.constant() {
            Some(number) if number > 0 => self.floor_by_number(number),
            Some(_) => None,
            None => self.floor_by_expression(divisor),
        }
    }

    fn floor_by_number(&self, divisor: i64) -> Option<Self> {
        let (quotient, rest) = self.split(divisor);
        if rest.constant().is_some() {
            return Some(quotient);
        }
        let common = rest.0.iter().filter(|(m, _)| !m.is_empty()).fold(divisor, |common, (_, c)| gcd(common, *c));
        if common > 1 {
            let (reduced, _) = rest.split(common);
            return quotient.plus(&reduced.floor_quotient(&Self(BTreeMap::from([(Vec::new(), divisor / common)])))?, 1);
        }
        if let Some((inner, inner_divisor, shift)) = rest.as_shifted_quotient() {
            let dividend = inner.plus(&Self::of(&Dim::Known(shift.checked_mul(inner_divisor)?))?, 1)?;
            let joined = Self::of(&Dim::Known(inner_divisor.checked_mul(divisor)?))?;
            return quotient.plus(&dividend.floor_quotient(&joined)?, 1);
        }
        let floor = Atom::Quotient(Box::new(rest.into_dim()), Box::new(Dim::Known(divisor)));
        quotient.plus(&Self::atom(floor), 1)
    }

    /// `(a, m, c)` where this is ⌊a / m⌋ + c with numbers m and c.
    fn as_shifted_quotient(&self) -> Option<(Self, i64, i64)> {
        let mut terms = self.0.iter().filter(|(monomial, _)| !monomial.is_empty());
        let (only, None) = (terms.next()?, terms.next()) else { return None };
        let ([(Atom::Quotient(inner, divisor), 1)], 1) = (only.0.as_slice(), only.1) else { return None };
        let Dim::Known(divisor) = **divisor else { return None };
        Some((Self::of(inner)?, divisor, self.0.get(&Vec::new()).copied().unwrap_or(0)))
    }

    fn floor_by_expression(&self, divisor: &Self) -> Option<Self> {
        let (mut quotient, mut rest) = (Self::default(), Self::default());
        for (monomial, coefficient) in &self.0 {
            let term = Self(BTreeMap::from([(monomial.clone(), *coefficient)]));
            match term.exact_quotient(divisor) {
                Some(exact) => quotient = quotient.plus(&exact, 1)?,
                None => rest = rest.plus(&term, 1)?,
            }
        }
        if rest.is_zero() {
            return Some(quotient);
        }
        let floor = Atom::Quotient(Box::new(rest.into_dim()), Box::new(divisor.clone().into_dim()));
        quotient.plus(&Self::atom(floor), 1)
    }
}

impl Expr {
    /// Whether it cannot be negative, given that no symbol is.
    pub fn is_never_negative(&self) -> bool {
        self.0.iter().all(|(_, coefficient)| *coefficient >= 0)
    }

    /// The name, if this is a single symbol.
    pub fn as_symbol(&self) -> Option<&str> {
        match self.0.as_slice() {
            [(monomial, 1)] => match monomial.as_slice() {
                [(Atom::Symbol(name), 1)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// How much there is to it; of two equal extents the simpler one is kept.
    pub(super) fn weight(&self) -> usize {
        let atom = |(atom, power): &(Atom, u32)| {
            *power as usize
                * match atom {
                    Atom::Symbol(_) => 1,
                    Atom::Quotient(a, b) => 2 + a.weight() + b.weight(),
                    Atom::Broadcast(all) => 2 + all.iter().map(Dim::weight).sum::<usize>(),
                }
        };
        self.0.iter().map(|(monomial, _)| 1 + monomial.iter().map(atom).sum::<usize>()).sum()
    }

    /// Its value where `symbol` gives each symbol's.
    pub(super) fn evaluate(&self, symbol: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        let mut sum = 0i64;
        for (monomial, coefficient) in &self.0 {
            let mut product = *coefficient;
            for (atom, power) in monomial {
                product = product.checked_mul(atom.evaluate(symbol)?.checked_pow(*power)?)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }

    pub(super) fn as_broadcast(&self) -> Option<&[Dim]> {
        match self.0.as_slice() {
            [(monomial, 1)] => match monomial.as_slice() {
                [(Atom::Broadcast(all), 1)] => Some(all),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Atom {
    fn evaluate(&self, symbol: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match self {
            Self::Symbol(name) => symbol(name),
            Self::Quotient(a, b) => {
                let (a, b) = (a.evaluate(symbol)?, b.evaluate(symbol)?);
                if b > 0 { a.checked_div_euclid(b) } else { None }
            }
            Self::Broadcast(all) => {
                let all: Option<Vec<i64>> = all.iter().map(|dim| dim.evaluate(symbol)).collect();
                let all = all?;
                all.iter().copied().find(|&extent| extent != 1).or(all.first().copied())
            }
        }
    }
}

fn monomial_product(left: &Monomial, right: &Monomial) -> Monomial {
    let mut powers: BTreeMap<Atom, u32> = left.iter().cloned().collect();
    for (atom, power) in right {
        *powers.entry(atom.clone()).or_default() += power;
    }
    powers.into_iter().collect()
}

fn monomial_quotient(dividend: &Monomial, divisor: &Monomial) -> Option<Monomial> {
    let mut powers: BTreeMap<Atom, u32> = dividend.iter().cloned().collect();
    for (atom, power) in divisor {
        let left = powers.get(atom)?.checked_sub(*power)?;
        match left {
            0 => drop(powers.remove(atom)),
            _ => drop(powers.insert(atom.clone(), left)),
        }
    }
    Some(powers.into_iter().collect())
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (monomial, coefficient)) in self.0.iter().rev().enumerate() {
            match (position, *coefficient < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let size = coefficient.unsigned_abs();
            if size != 1 || monomial.is_empty() {
                write!(f, "{size}")?;
            }
            for (place, (atom, power)) in monomial.iter().enumerate() {
                if place > 0 || size != 1 {
                    f.write_str("*")?;
                }
                match atom {
                    Atom::Symbol(name) => f.write_str(name)?,
                    Atom::Quotient(a, b) => write!(f, "floor(({a})/({b}))")?,
                    Atom::Broadcast(all) => {
                        let all: Vec<String> = all.iter().map(Dim::to_string).collect();
                        write!(f, "broadcast({})", all.join(", "))?;
                    }
                }
                if *power > 1 {
                    write!(f, "^{power}")?;
                }
            }
        }
        Ok(())
    }
}
