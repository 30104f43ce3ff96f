//! What can be wrong with a call. Every message says what was given and what is wanted.

use std::fmt;

/// A kernel's refusal. Nothing has been changed when one is returned, save that `cut` may have begun to fill `out`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// A number outside its range.
    Number {
        /// The argument's name.
        name: &'static str,
        /// Its value, printed.
        given: String,
        /// Its range, in words.
        wanted: &'static str,
    },
    /// An array of the wrong shape.
    Shape {
        /// The argument's name.
        name: &'static str,
        /// Its shape.
        given: Vec<usize>,
        /// The shapes allowed, in words.
        wanted: String,
    },
    /// The tile limit is used up by margins.
    NoRoomForCore {
        /// The limit on a tile's side.
        tile: usize,
        /// `halo + blend`, rounded up to the multiple.
        margin: usize,
        /// What a tile's side must be a multiple of.
        multiple_of: usize,
    },
    /// A tile number that the plan does not have.
    NoSuchTile {
        /// The number given.
        index: i64,
        /// How many tiles there are.
        count: usize,
    },
    /// A tile added to a canvas before or after its turn.
    OutOfOrder {
        /// The number given.
        index: i64,
        /// The number whose turn it is; `None` when every tile has been added.
        expected: Option<usize>,
    },
    /// A network's answer holds an infinity or a NaN.
    NotFinite {
        /// The tile's number.
        index: usize,
    },
    /// A mask holds a NaN.
    MaskIsNan,
    /// A result that does not fit into memory.
    OutOfMemory {
        /// How many samples it would have.
        samples: Option<usize>,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number { name, given, wanted } => write!(f, "{name}: wanted {wanted}, got {given}"),
            Self::Shape { name, given, wanted } => {
                let sides: Vec<String> = given.iter().map(usize::to_string).collect();
                write!(f, "{name}: wanted shape {wanted}, got ({})", sides.join(", "))
            }
            Self::NoRoomForCore { tile, margin, multiple_of } => write!(
                f,
                "tile: {tile} pixels in multiples of {multiple_of} leave no room for a core between two margins of {margin}"
            ),
            Self::NoSuchTile { index, count } => write!(f, "tile {index} is outside a plan of {count} tiles"),
            Self::OutOfOrder { index, expected: Some(expected) } => {
                write!(f, "tile {index} is out of order: it is the turn of tile {expected}")
            }
            Self::OutOfOrder { index, expected: None } => write!(f, "tile {index}: every tile has been added already"),
            Self::NotFinite { index } => write!(f, "tile {index} holds a value that is not finite"),
            Self::MaskIsNan => write!(f, "mask: wanted numbers, got a NaN"),
            Self::OutOfMemory { samples: Some(samples) } => write!(f, "no memory for a result of {samples} samples"),
            Self::OutOfMemory { samples: None } => write!(f, "no memory for a result beyond the address space"),
        }
    }
}

impl std::error::Error for Error {}

/// A vector of `length` zeros, or `OutOfMemory` where the ordinary allocation would end the process.
pub fn zeros<T: Copy + Default>(length: Option<usize>) -> Result<Vec<T>, Error> {
    let refusal = Error::OutOfMemory { samples: length };
    let Some(length) = length else { return Err(refusal) };
    let mut samples = Vec::new();
    samples.try_reserve_exact(length).map_err(|_| refusal)?;
    samples.resize(length, T::default());
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_was_given_and_what_is_wanted() {
        let refusal = Error::Shape { name: "out", given: vec![1, 3, 4], wanted: "(1, 3, 8, 8)".into() };
        assert_eq!(refusal.to_string(), "out: wanted shape (1, 3, 8, 8), got (1, 3, 4)");
    }

    #[test]
    fn more_than_the_address_space_is_refused_not_fatal() {
        assert_eq!(zeros::<u8>(None), Err(Error::OutOfMemory { samples: None }));
        assert!(zeros::<f32>(Some(usize::MAX / 8)).is_err());
    }
}
