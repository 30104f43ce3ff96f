//! A picture at another size, by Lanczos' kernel with three lobes.
//!
//! It works on code values, as the pictures were reduced that networks learn from; in linear light the dark side of every
//! edge would ring more than the bright one.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, zeros};
use crate::image::{Picture, Sample, Size};

/// Half the kernel's width, in pixels of the smaller of the two pictures.
const LOBES: f64 = 3.0;

/// Rows that one thread makes at a time.
const ROWS_PER_TASK: usize = 8;

/// Which pixels a pixel of the result is made of, along one axis.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// sinc(x) · sinc(x / 3) within three lobes.
fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| if x == 0.0 { 1.0 } else { (std::f64::consts::PI * x).sin() / (std::f64::consts::PI * x) };
    if x.abs() < LOBES { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

/// Weights that add up to 1; where the kernel reaches beyond the picture, what is inside counts for more.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let step = from as f64 / to as f64;
    let stretch = step.max(1.0);
    (0..to)
        .map(|n| {
            let centre = (n as f64 + 0.5) * step;
            let first = ((centre - LOBES * stretch).floor().max(0.0)) as usize;
            let last = ((centre + LOBES * stretch).ceil() as usize).min(from);
            let weights: Vec<f64> = (first..last).map(|at| lanczos((at as f64 + 0.5 - centre) / stretch)).collect();
            let sum: f64 = weights.iter().sum();
            Taps { first, weights: weights.iter().map(|weight| (weight / sum) as f32).collect() }
        })
        .collect()
}

/// The picture at `size`, HWC; floats are clipped to 0..1 as codes are.
///
/// Reduced, every pixel counts (the kernel grows with the step), so that nothing flickers or moires.
///
/// # Errors
///
/// `Number` when a side of `size` is 0, `OutOfMemory`.
pub fn resize<T: Sample>(picture: Picture<'_, T>, size: Size) -> Result<Vec<T>, Error> {
    resize_rows(picture, size, 0..size.height)
}

/// Those rows of the picture at `size`: of a picture that is too large for memory, band by band.
///
/// # Errors
///
/// As `resize`; `Number` when `rows` end before they begin, or below the picture.
pub fn resize_rows<T: Sample>(picture: Picture<'_, T>, size: Size, rows: Range<usize>) -> Result<Vec<T>, Error> {
    for (name, given) in [("width", size.width), ("height", size.height)] {
        if given == 0 {
            return Err(Error::Number { name, given: given.to_string(), wanted: "1 or more" });
        }
    }
    if rows.start > rows.end || rows.end > size.height {
        let given = format!("{} to {}", rows.start, rows.end);
        return Err(Error::Number { name: "rows", given, wanted: "rows of the result" });
    }
    let [height, width, channels] = picture.shape();
    let row_length = size.width.checked_mul(channels);
    let mut resized = zeros(row_length.and_then(|length| length.checked_mul(rows.len())))?;
    let row_length = size.width * channels;
    let (down, across) = (taps(height, size.height), taps(width, size.width));
    resized.par_chunks_mut(ROWS_PER_TASK * row_length).enumerate().for_each(|(task, chunk)| {
        let mut blended = vec![0.0f32; width * channels];
        for (y, row) in chunk.chunks_exact_mut(row_length).enumerate() {
            let taps = &down[rows.start + task * ROWS_PER_TASK + y];
            blended.fill(0.0);
            for (n, &weight) in taps.weights.iter().enumerate() {
                for (sum, &sample) in blended.iter_mut().zip(picture.row(taps.first + n)) {
                    *sum += weight * sample.to_unit();
                }
            }
            for (pixel, taps) in row.chunks_exact_mut(channels).zip(&across) {
                let mut sums = [0.0f32; 3];
                let sources = blended[taps.first * channels..].chunks_exact(channels);
                for (source, &weight) in sources.zip(&taps.weights) {
                    for (sum, &sample) in sums.iter_mut().zip(source) {
                        *sum += weight * sample;
                    }
                }
                for (sample, sum) in pixel.iter_mut().zip(sums) {
                    *sample = T::from_unit(sum);
                }
            }
        }
    });
    Ok(resized)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THREE: Size = Size { width: 3, height: 3 };

    #[test]
    fn a_3x3_picture_of_one_bright_pixel_keeps_its_middle_when_it_is_enlarged() {
        let pixels = [0.0f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let picture = Picture::new("pixels", &pixels, THREE, 1).unwrap();
        let large = resize(picture, Size { width: 9, height: 9 }).unwrap();
        assert_eq!(large[4 * 9 + 4], 1.0);
        for n in 0..9 {
            assert_eq!(large[4 * 9 + n], large[4 * 9 + 8 - n], "as bright to the left as to the right");
        }
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let pixels: Vec<u8> = (0..27).map(|n| n * 9).collect();
        let picture = Picture::new("pixels", &pixels, THREE, 3).unwrap();
        assert_eq!(resize(picture, THREE).unwrap(), pixels);
    }

    #[test]
    fn nothing_wide_is_refused() {
        let picture = Picture::new("pixels", &[0u8; 9], THREE, 1).unwrap();
        let refusal = resize(picture, Size { width: 0, height: 3 }).unwrap_err();
        assert_eq!(refusal.to_string(), "width: wanted 1 or more, got 0");
    }

    #[test]
    fn rows_that_the_result_has_not_are_refused() {
        let picture = Picture::new("pixels", &[0u8; 9], THREE, 1).unwrap();
        let refusal = resize_rows(picture, THREE, 2..4).unwrap_err();
        assert_eq!(refusal.to_string(), "rows: wanted rows of the result, got 2 to 4");
    }

    proptest! {
        #[test]
        fn bands_of_rows_are_the_rows_of_the_whole(
            width in 1usize..20, height in 1usize..40, to_width in 1usize..40, to_height in 1usize..80, step in 1usize..30,
        ) {
            let pixels: Vec<u8> = (0..width * height).map(|n| (n * 37 % 256) as u8).collect();
            let picture = Picture::new("pixels", &pixels, Size { width, height }, 1).unwrap();
            let size = Size { width: to_width, height: to_height };
            let bands = (0..to_height).step_by(step);
            let joined: Vec<u8> =
                bands.flat_map(|top| resize_rows(picture, size, top..to_height.min(top + step)).unwrap()).collect();
            prop_assert_eq!(joined, resize(picture, size).unwrap());
        }

        #[test]
        fn a_flat_picture_stays_flat_at_every_size(
            width in 1usize..20, height in 1usize..20, to_width in 1usize..40, to_height in 1usize..40, code in any::<u8>(),
        ) {
            let pixels = vec![code; width * height];
            let picture = Picture::new("pixels", &pixels, Size { width, height }, 1).unwrap();
            let resized = resize(picture, Size { width: to_width, height: to_height }).unwrap();
            prop_assert_eq!(resized, vec![code; to_width * to_height]);
        }
    }
}
