//! Weights of overlapping tiles, and mixing two pictures by a mask.

use rayon::prelude::*;

use crate::colour::{Decode, srgb_from_linear};
use crate::error::{Error, zeros};
use crate::image::Picture;

/// Rows that one thread mixes at a time: enough work to be worth handing over, few enough to share out evenly.
const ROWS_PER_TASK: usize = 32;

/// Weights of the later of two tiles across a fade of `length` pixels: (i + ½) / length.
///
/// The earlier tile's weight is the rest to 1, and `length - 1 - i` swaps the two.
pub fn ramp(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i as f32 + 0.5) / length as f32).collect()
}

/// `later` becomes earlier + weight × (later − earlier), pixel by pixel: exactly the value of both where they agree.
pub fn lerp_row(earlier: &[f32], later: &mut [f32], weights: &[f32]) {
    for ((later, earlier), weight) in later.iter_mut().zip(earlier).zip(weights) {
        *later = earlier + weight * (*later - earlier);
    }
}

/// The same with one weight for the whole row.
pub fn lerp_rows(earlier: &[f32], later: &mut [f32], weight: f32) {
    for (later, earlier) in later.iter_mut().zip(earlier) {
        *later = earlier + weight * (*later - earlier);
    }
}

/// How much of the second picture is shown; numbers outside 0..1 are clipped.
#[derive(Debug, Clone, Copy)]
pub enum Mask<'a> {
    /// The same everywhere.
    Even(f32),
    /// One number per pixel, row by row.
    Map(&'a [f32]),
    /// One number per cell, linearly between the cells' middles.
    Cells(Cells<'a>),
}

/// A coarse map: one number for each cell of `side` × `side` pixels, row by row.
///
/// Pixel n of an axis lies at (n + ½) / side − ½ among the cells' middles; before the first and beyond the last middle
/// their number holds. So a map of few numbers is as smooth as a mask of one per pixel, and costs no memory.
#[derive(Debug, Clone, Copy)]
pub struct Cells<'a> {
    /// One number per cell, `rows` × `columns`.
    pub values: &'a [f32],
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// Pixels along a cell's side.
    pub side: usize,
    /// Rows of pixels above the pictures, where these are part of a larger one.
    pub above: usize,
}

impl Cells<'_> {
    /// The cells before and after a pixel, and how far it is on the way between their middles.
    fn between(&self, pixel: usize, count: usize) -> (usize, usize, f32) {
        let at = ((pixel as f32 + 0.5) / self.side as f32 - 0.5).clamp(0.0, (count - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(count - 1), at - first as f32)
    }

    /// The numbers of one row of pixels; `middle` is scratch for one row of cells.
    fn row(&self, y: usize, middle: &mut [f32], weights: &mut [f32]) {
        let (above, below, share) = self.between(y + self.above, self.rows);
        let [above, below] = [above, below].map(|row| &self.values[row * self.columns..][..self.columns]);
        middle.copy_from_slice(below);
        lerp_rows(above, middle, share);
        for (x, weight) in weights.iter_mut().enumerate() {
            let (left, right, share) = self.between(x, self.columns);
            *weight = middle[left] + share * (middle[right] - middle[left]);
        }
    }
}

impl Mask<'_> {
    fn check(&self, width: usize, height: usize) -> Result<(), Error> {
        let weights = match self {
            Self::Even(weight) => std::slice::from_ref(weight),
            Self::Map(weights) if weights.len() == width * height => weights,
            Self::Map(weights) => {
                let wanted = format!("({height}, {width}), that of a");
                return Err(Error::Shape { name: "mask", given: vec![weights.len()], wanted });
            }
            Self::Cells(cells) => {
                if cells.side == 0 {
                    return Err(Error::Number { name: "side", given: "0".into(), wanted: "at least 1" });
                }
                if cells.values.is_empty() || cells.values.len() != cells.rows * cells.columns {
                    let given = vec![cells.rows, cells.columns];
                    return Err(Error::Shape {
                        name: "cells",
                        given,
                        wanted: "(rows, columns), at least (1, 1)".into(),
                    });
                }
                cells.values
            }
        };
        // no early exit: the loop vectorises
        if weights.iter().fold(false, |found, weight| found | weight.is_nan()) {
            return Err(Error::MaskIsNan);
        }
        Ok(())
    }
}

/// `a` where the mask is 0, `b` where it is 1, in between blended in linear light; HWC samples.
///
/// Exactly `a` at 0 and exactly `b` at 1, for floats too.
///
/// # Errors
///
/// `Shape` when `b` or the mask does not fit `a`, `MaskIsNan`, `OutOfMemory`.
pub fn mix<T: Decode>(a: Picture<'_, T>, b: Picture<'_, T>, mask: Mask<'_>) -> Result<Vec<T>, Error> {
    let [height, width, channels] = a.shape();
    if b.shape() != a.shape() {
        let wanted = format!("({height}, {width}, {channels}), that of a");
        return Err(Error::Shape { name: "b", given: b.shape().to_vec(), wanted });
    }
    mask.check(width, height)?;
    let mut mixed = zeros(Some(a.samples().len()))?;
    let light = T::light();
    let encode = srgb_from_linear();
    let between = |a: T, b: T, weight: f32| {
        let (a, b) = (light(a), light(b));
        T::from_unit(encode(a + weight * (b - a)))
    };
    mixed.par_chunks_mut(ROWS_PER_TASK * width * channels).enumerate().for_each(|(task, mixed)| {
        let first = task * ROWS_PER_TASK * width;
        let sources = [a, b].map(|picture| &picture.samples()[first * channels..][..mixed.len()]);
        let pixels = mixed.len() / channels;
        match mask {
            Mask::Even(weight) if weight <= 0.0 => mixed.copy_from_slice(sources[0]),
            Mask::Even(weight) if weight >= 1.0 => mixed.copy_from_slice(sources[1]),
            Mask::Even(weight) => {
                for ((mixed, &a), &b) in mixed.iter_mut().zip(sources[0]).zip(sources[1]) {
                    *mixed = between(a, b, weight);
                }
            }
            Mask::Map(weights) => mix_pixels(mixed, sources, &weights[first..][..pixels], channels, between),
            Mask::Cells(cells) => {
                let (mut middle, mut weights) = (vec![0.0; cells.columns], vec![0.0; width]);
                for (y, mixed) in mixed.chunks_mut(width * channels).enumerate() {
                    cells.row(task * ROWS_PER_TASK + y, &mut middle, &mut weights);
                    let row = sources.map(|samples| &samples[y * width * channels..][..mixed.len()]);
                    mix_pixels(mixed, row, &weights, channels, between);
                }
            }
        }
    });
    Ok(mixed)
}

fn mix_pixels<T: Decode>(
    mixed: &mut [T],
    [a, b]: [&[T]; 2],
    weights: &[f32],
    channels: usize,
    between: impl Fn(T, T, f32) -> T,
) {
    let pixels = mixed.chunks_exact_mut(channels).zip(a.chunks_exact(channels)).zip(b.chunks_exact(channels));
    for (((mixed, a), b), &weight) in pixels.zip(weights) {
        if weight <= 0.0 {
            mixed.copy_from_slice(a);
        } else if weight >= 1.0 {
            mixed.copy_from_slice(b);
        } else {
            for ((mixed, &a), &b) in mixed.iter_mut().zip(a).zip(b) {
                *mixed = between(a, b, weight);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;
    use proptest::prelude::*;

    const THREE: Size = Size { width: 3, height: 3 };

    #[test]
    fn weights_of_two_tiles_add_up_to_one() {
        assert_eq!(ramp(4), [0.125, 0.375, 0.625, 0.875]);
        assert!(ramp(64).iter().zip(ramp(64).iter().rev()).all(|(later, earlier)| later + earlier == 1.0));
    }

    #[test]
    fn half_of_black_and_white_is_half_the_light() {
        let (black, white) = ([0u8; 9], [255u8; 9]);
        let (a, b) = (Picture::new("a", &black, THREE, 1).unwrap(), Picture::new("b", &white, THREE, 1).unwrap());
        assert_eq!(mix(a, b, Mask::Even(0.5)).unwrap(), [188; 9]);
        let mask = [0.0, 0.5, 1.0, -1.0, 2.0, 0.0, 0.0, 0.0, 1.0];
        assert_eq!(mix(a, b, Mask::Map(&mask)).unwrap(), [0, 188, 255, 0, 255, 0, 0, 0, 255]);
    }

    #[test]
    fn cells_of_two_pixels_pass_into_each_other_from_middle_to_middle() {
        let (black, white) = ([0.0f32; 9], [1.0f32; 9]);
        let (a, b) = (Picture::new("a", &black, THREE, 1).unwrap(), Picture::new("b", &white, THREE, 1).unwrap());
        let cells = Cells { values: &[0.0, 0.0, 1.0, 1.0], rows: 2, columns: 2, side: 2, above: 0 };
        let light = srgb_from_linear();
        let [quarter, most] = [0.25, 0.75].map(&light);
        let expected = [[0.0; 3], [quarter; 3], [most; 3]].concat();
        assert_eq!(mix(a, b, Mask::Cells(cells)).unwrap(), expected);
        let lower = mix(a, b, Mask::Cells(Cells { above: 2, ..cells })).unwrap();
        assert_eq!(lower, [[most; 3], [1.0; 3], [1.0; 3]].concat());
    }

    #[test]
    fn cells_that_are_no_rectangle_are_refused() {
        let a = Picture::new("a", &[0u8; 9], THREE, 1).unwrap();
        for (values, rows, side) in [(&[][..], 0, 8), (&[0.0; 3][..], 2, 8), (&[0.0][..], 1, 0)] {
            assert!(mix(a, a, Mask::Cells(Cells { values, rows, columns: rows, side, above: 0 })).is_err());
        }
    }

    #[test]
    fn a_nan_in_the_mask_is_refused() {
        let a = Picture::new("a", &[0u8; 9], THREE, 1).unwrap();
        assert_eq!(mix(a, a, Mask::Even(f32::NAN)), Err(Error::MaskIsNan));
        assert_eq!(mix(a, a, Mask::Map(&[f32::NAN; 9])), Err(Error::MaskIsNan));
    }

    proptest! {
        #[test]
        fn a_mix_lies_between_its_pictures(codes in prop::collection::vec(any::<(u16, u16)>(), 9), weight in 0.0f32..1.0) {
            let (a, b): (Vec<u16>, Vec<u16>) = codes.into_iter().unzip();
            let views = (Picture::new("a", &a, THREE, 1).unwrap(), Picture::new("b", &b, THREE, 1).unwrap());
            let mixed = mix(views.0, views.1, Mask::Even(weight)).unwrap();
            for ((a, b), mixed) in a.iter().zip(&b).zip(mixed) {
                prop_assert!((*a.min(b)..=*a.max(b)).contains(&mixed));
            }
        }

        #[test]
        fn cells_are_a_mask_of_one_number_per_pixel(
            values in prop::collection::vec(0.0f32..1.0, 6), side in 1usize..9, above in 0usize..20, tall in 1usize..40,
        ) {
            let size = Size { width: 20, height: tall };
            let codes: Vec<u16> = (0..20 * tall).map(|n| (n as u16).wrapping_mul(40503)).collect();
            let other: Vec<u16> = codes.iter().map(|code| !code).collect();
            let (a, b) = (Picture::new("a", &codes, size, 1).unwrap(), Picture::new("b", &other, size, 1).unwrap());
            let cells = Cells { values: &values, rows: 2, columns: 3, side, above };
            let (mut middle, mut mask) = (vec![0.0; 3], vec![0.0; 20 * tall]);
            mask.chunks_mut(20).enumerate().for_each(|(y, row)| cells.row(y, &mut middle, row));
            prop_assert!(mask.iter().all(|weight| (0.0..1.0).contains(weight)));
            prop_assert_eq!(mix(a, b, Mask::Cells(cells)).unwrap(), mix(a, b, Mask::Map(&mask)).unwrap());
        }

        #[test]
        fn the_ends_are_exact_even_for_floats(a in 0.0f32..1.0, b in 0.0f32..1.0) {
            let one = Size { width: 1, height: 1 };
            let views = ([a], [b]);
            let (a, b) = (Picture::new("a", &views.0, one, 1).unwrap(), Picture::new("b", &views.1, one, 1).unwrap());
            for mask in [[0.0], [1.0]] {
                let expected = if mask == [0.0] { views.0 } else { views.1 };
                prop_assert_eq!(&mix(a, b, Mask::Map(&mask)).unwrap()[..], &expected[..]);
                prop_assert_eq!(&mix(a, b, Mask::Even(mask[0])).unwrap()[..], &expected[..]);
            }
        }
    }
}
