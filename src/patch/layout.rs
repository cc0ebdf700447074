use std::fmt;
use std::str::FromStr;

use crate::onnx::infer::Dim;

/// A direction in which an attention's tensors extend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// Rows of the batch, B.
    Rows,
    /// Heads, H.
    Heads,
    /// Query positions, N.
    Query,
    /// Context tokens, L.
    Tokens,
    /// Key and value of a packed pair, 2.
    Pair,
    /// Numbers of one head, w.
    Width,
}

/// How the axes of an attention lie in a tensor: each extent holds none, one or several, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(pub Vec<Vec<Axis>>);

/// The sizes of an attention's axes.
#[derive(Clone, Debug)]
pub struct Sizes {
    /// Rows of the batch.
    pub rows: Dim,
    /// Heads.
    pub heads: i64,
    /// Query positions.
    pub query: Dim,
    /// Context tokens.
    pub tokens: Dim,
    /// Numbers of one head.
    pub width: i64,
}

impl Sizes {
    /// The size of `axis`.
    pub fn of(&self, axis: Axis) -> Dim {
        match axis {
            Axis::Rows => self.rows.clone(),
            Axis::Heads => Dim::Known(self.heads),
            Axis::Query => self.query.clone(),
            Axis::Tokens => self.tokens.clone(),
            Axis::Pair => Dim::Known(2),
            Axis::Width => Dim::Known(self.width),
        }
    }
}

impl Layout {
    /// Extents of one axis each.
    pub fn spread(axes: &[Axis]) -> Self {
        Self(axes.iter().map(|axis| vec![*axis]).collect())
    }

    /// All axes, outermost first.
    pub fn axes(&self) -> Vec<Axis> {
        self.0.concat()
    }

    /// The number of extents.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The extent that holds `axis`.
    pub fn extent_of(&self, axis: Axis) -> Option<usize> {
        self.0.iter().position(|extent| extent.contains(&axis))
    }

    /// The layout after Transpose.
    pub fn transposed(&self, perm: &[i64]) -> Option<Self> {
        let extent = |&from: &i64| self.0.get(usize::try_from(from).ok()?).cloned();
        (perm.len() == self.rank()).then(|| perm.iter().map(extent).collect::<Option<_>>())?.map(Self)
    }

    /// The layout after Reshape to `shape`: the same axes in the same order, cut anew.
    /// `None` where no cut agrees with the sizes; of several, the one most of whose extents are proved.
    pub fn reshaped(&self, shape: &[Dim], sizes: &Sizes) -> Option<Self> {
        let axes = self.axes();
        let cuts = cuts(axes.len(), shape.len()).into_iter().filter_map(|cut| {
            let extents: Vec<Vec<Axis>> = cut.windows(2).map(|ends| axes[ends[0]..ends[1]].to_vec()).collect();
            let proofs = extents.iter().zip(shape).map(|(extent, dim)| proof(extent, dim, sizes));
            Some((proofs.sum::<Option<usize>>()?, Self(extents)))
        });
        cuts.max_by_key(|(proofs, _)| *proofs).map(|(_, layout)| layout)
    }
}

/// 1 if `extent` surely has size `dim`, 0 if it may, `None` if it cannot.
fn proof(extent: &[Axis], dim: &Dim, sizes: &Sizes) -> Option<usize> {
    let size = extent.iter().fold(Dim::Known(1), |product, axis| product.times(&sizes.of(*axis)));
    match (&size, dim) {
        _ if size.equals(dim) => Some(1),
        (Dim::Known(_), Dim::Known(_)) => None,
        (_, Dim::Known(1)) if !extent.is_empty() => None,
        (Dim::Known(1), _) => None,
        _ => Some(0),
    }
}

/// All ways to cut `length` axes into `parts` runs: the ends of the runs, from 0 to `length`.
fn cuts(length: usize, parts: usize) -> Vec<Vec<usize>> {
    let mut found = vec![vec![0]];
    for part in 1..=parts {
        let extend = |ends: Vec<usize>| {
            let start = ends[ends.len() - 1];
            let lowest = if part == parts { length } else { start };
            (lowest..=length).map(move |end| ends.iter().copied().chain([end]).collect::<Vec<usize>>())
        };
        found = found.into_iter().flat_map(extend).collect();
    }
    found
}

const LETTERS: [(Axis, &str); 6] = [
    (Axis::Rows, "B"),
    (Axis::Heads, "H"),
    (Axis::Query, "N"),
    (Axis::Tokens, "L"),
    (Axis::Pair, "2"),
    (Axis::Width, "w"),
];

impl fmt::Display for Layout {
    /// As in `[B*H,N,L]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |axis: &Axis| LETTERS.iter().find(|(known, _)| known == axis).map_or("?", |(_, letter)| letter);
        let extent = |axes: &Vec<Axis>| match axes.as_slice() {
            [] => "1".to_owned(),
            axes => axes.iter().map(letter).collect::<Vec<_>>().join("*"),
        };
        write!(f, "[{}]", self.0.iter().map(extent).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Layout {
    type Err = String;

    /// Reads what [`fmt::Display`] writes.
    fn from_str(text: &str) -> Result<Self, String> {
        let axis = |letter: &str| LETTERS.iter().find(|(_, known)| *known == letter).map(|(axis, _)| *axis);
        let extent = |text: &str| match text {
            "1" => Some(Vec::new()),
            text => text.split('*').map(axis).collect(),
        };
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let extents = inner.and_then(|inner| inner.split(',').map(str::trim).map(extent).collect());
        extents.map(Self).ok_or_else(|| format!("'{text}' is no layout such as [B*H,N,L] or [B,L,H,2,w]"))
    }
}

impl<'de> serde::Deserialize<'de> for Layout {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        text.parse().unwrap()
    }

    fn sizes() -> Sizes {
        let query = Dim::symbol("n");
        Sizes { rows: Dim::symbol("b"), heads: 8, query, tokens: Dim::symbol("l"), width: 40 }
    }

    #[test]
    fn written_layouts_are_read_back() {
        for text in ["[B*H,N,L]", "[B,L,H,2,w]", "[B,1,N,H*w]"] {
            assert_eq!(layout(text).to_string(), text);
        }
        assert!("[B,x]".parse::<Layout>().is_err());
    }

    #[test]
    fn heads_join_where_the_sizes_say_so() {
        let b = Dim::symbol("b");
        let found = layout("[B,N,H,w]").reshaped(&[b, Dim::Unknown, Dim::Known(320)], &sizes());
        assert_eq!(found, Some(layout("[B,N,H*w]")));
    }

    #[test]
    fn heads_leave_the_rows() {
        let found = layout("[B*H,N,w]").reshaped(&[Dim::Unknown, 8.into(), Dim::Unknown, 40.into()], &sizes());
        assert_eq!(found, Some(layout("[B,H,N,w]")));
    }

    #[test]
    fn sizes_that_contradict_are_refused() {
        assert_eq!(layout("[B,N,H,w]").reshaped(&[Dim::Unknown, Dim::Unknown, 300.into()], &sizes()), None);
    }

    #[test]
    fn transposing_moves_extents() {
        assert_eq!(layout("[B,H,N,w]").transposed(&[0, 2, 1, 3]), Some(layout("[B,N,H,w]")));
        assert_eq!(layout("[B,H]").transposed(&[0, 2]), None);
    }
}
