/// What can be wrong with a draw.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An integer range that holds nothing.
    #[error("no integer lies in {low}..{high}: the upper bound must be above the lower one")]
    EmptyRange {
        /// Smallest wanted value.
        low: i64,
        /// One past the largest wanted value.
        high: i64,
    },
    /// More items than the shuffle of PyTorch's 32-bit path covers.
    #[error("a permutation of {count} items is too long: at most {limit}")]
    PermutationTooLong {
        /// Number of items asked for.
        count: usize,
        /// Largest number of items.
        limit: usize,
    },
}

/// A result whose error is this module's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
