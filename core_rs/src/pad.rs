//! Mirror padding: reflection that does not repeat the edge (numpy's mode "reflect").

use crate::error::{Error, zeros};
use crate::image::{Picture, Sample};

/// Pixels to add on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

/// The position within 0..length that a mirrored position shows: for length 3, …2 1 | 0 1 2 | 1 0 1 2 1…
pub fn reflect(position: isize, length: usize) -> usize {
    if length == 1 {
        return 0;
    }
    let period = 2 * (length - 1);
    let phase = position.rem_euclid(period as isize) as usize;
    if phase < length { phase } else { period - phase }
}

/// The padded picture's samples, HWC; any padding, any size from 1×1.
pub fn mirrored<T: Sample>(picture: Picture<'_, T>, padding: Padding) -> Result<Vec<T>, Error> {
    let [height, width, channels] = picture.shape();
    let wide = [padding.left, padding.right].iter().try_fold(width, |sum, &side| sum.checked_add(side));
    let high = [padding.top, padding.bottom].iter().try_fold(height, |sum, &side| sum.checked_add(side));
    let row_length = wide.and_then(|wide| wide.checked_mul(channels));
    let mut padded = zeros(row_length.zip(high).and_then(|(length, high)| length.checked_mul(high)))?;
    let mirror_left: Vec<usize> =
        (0..padding.left).map(|x| reflect(x as isize - padding.left as isize, width)).collect();
    let mirror_right: Vec<usize> = (0..padding.right).map(|x| reflect((width + x) as isize, width)).collect();
    for (y, row) in padded.chunks_exact_mut(row_length.unwrap_or(1)).enumerate() {
        let source = picture.row(reflect(y as isize - padding.top as isize, height));
        let (left, rest) = row.split_at_mut(padding.left * channels);
        let (middle, right) = rest.split_at_mut(width * channels);
        middle.copy_from_slice(source);
        for (side, columns) in [(left, &mirror_left), (right, &mirror_right)] {
            for (pixel, &column) in side.chunks_exact_mut(channels).zip(columns) {
                pixel.copy_from_slice(&source[column * channels..][..channels]);
            }
        }
    }
    Ok(padded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;
    use proptest::prelude::*;

    #[test]
    fn a_3x3_picture_is_mirrored_without_repeating_its_edge() {
        let pixels = [1u8, 2, 3, 4, 5, 6, 7, 8, 9];
        let picture = Picture::new("pixels", &pixels, Size { width: 3, height: 3 }, 1).unwrap();
        let padded = mirrored(picture, Padding { top: 1, bottom: 0, left: 2, right: 1 }).unwrap();
        #[rustfmt::skip]
        assert_eq!(padded, [
            6, 5, 4, 5, 6, 5,
            3, 2, 1, 2, 3, 2,
            6, 5, 4, 5, 6, 5,
            9, 8, 7, 8, 9, 8,
        ]);
    }

    #[test]
    fn one_pixel_is_mirrored_for_ever() {
        let picture = Picture::new("pixels", &[7u8, 8, 9], Size { width: 1, height: 1 }, 3).unwrap();
        let padded = mirrored(picture, Padding { top: 0, bottom: 1, left: 0, right: 2 }).unwrap();
        assert_eq!(padded, [7u8, 8, 9].repeat(6));
    }

    #[test]
    fn a_padding_beyond_memory_is_refused() {
        let picture = Picture::new("pixels", &[7u8], Size { width: 1, height: 1 }, 1).unwrap();
        let refusal = mirrored(picture, Padding { top: usize::MAX, bottom: 0, left: 0, right: 0 }).unwrap_err();
        assert_eq!(refusal, Error::OutOfMemory { samples: None });
    }

    proptest! {
        #[test]
        fn neighbours_stay_neighbours(position in -1000isize..1000, length in 2usize..50) {
            let (here, next) = (reflect(position, length), reflect(position + 1, length));
            prop_assert!(here < length && here.abs_diff(next) == 1);
            prop_assert_eq!(here, reflect(-position, length));
        }
    }
}
