//! Cutting a tile out of a picture: mirror padding, scaling to 0..1, HWC to NCHW and colour in one pass over the rows.

use crate::colour::{Decode, Space, convert_planes, luma_chroma_from_rgb};
use crate::error::Error;
use crate::image::{Picture, TileMut, TileSample};
use crate::pad::reflect;
use crate::tiles::TilePlan;

/// Fills `out` with tile `index` of `plan`; a grey picture fills all three planes alike.
///
/// # Errors
///
/// `Shape` for a picture that the plan was not made for, `NoSuchTile` for an index outside the plan.
pub fn cut<T: Decode, S: TileSample>(
    picture: Picture<'_, T>,
    plan: &TilePlan,
    index: i64,
    out: TileMut<'_, S>,
    space: Space,
) -> Result<(), Error> {
    if picture.size() != plan.picture() {
        return Err(Error::Shape {
            name: "pixels",
            given: picture.shape().to_vec(),
            wanted: format!("({}, {}, 1 or 3), that of the plan", plan.picture().height, plan.picture().width),
        });
    }
    let place = plan.place(index)?;
    match space {
        Space::Srgb => fill(picture, plan, place, out, T::encoded(), |_| ()),
        Space::Linear => fill(picture, plan, place, out, T::light(), |_| ()),
        Space::LumaChroma => {
            fill(picture, plan, place, out, T::encoded(), |planes| convert_planes(planes, luma_chroma_from_rgb));
        }
    }
    Ok(())
}

fn fill<T: Decode, S: TileSample>(
    picture: Picture<'_, T>,
    plan: &TilePlan,
    (column, row): (usize, usize),
    mut out: TileMut<'_, S>,
    decode: impl Fn(T) -> f32 + Copy,
    convert: impl Fn(&mut [&mut [f32]; 3]),
) {
    let width = plan.tile().width;
    let columns = Columns::new(plan, column);
    let first_row = plan.down().start(row) as isize - plan.down().lead(row) as isize;
    let mut scratch = vec![0.0; 3 * width];
    for y in 0..plan.tile().height {
        let source = picture.row(reflect(first_row + y as isize, plan.picture().height));
        let mut planes = planes_of(&mut scratch, width);
        if picture.channels() == 3 {
            columns.split::<T, 3>(source, &mut planes, |pixel| [decode(pixel[0]), decode(pixel[1]), decode(pixel[2])]);
        } else {
            columns.split::<T, 1>(source, &mut planes, |pixel| [decode(pixel[0]); 3]);
        }
        convert(&mut planes);
        for (channel, plane) in scratch.chunks_exact(width).enumerate() {
            S::store(plane, out.row_mut(channel, y));
        }
    }
}

fn planes_of(scratch: &mut [f32], width: usize) -> [&mut [f32]; 3] {
    let (first, rest) = scratch.split_at_mut(width);
    let (second, third) = rest.split_at_mut(width);
    [first, second, third]
}

/// Which columns of the picture a tile's columns show: mirrored ones, a run inside the picture, mirrored ones.
struct Columns {
    left: Vec<usize>,
    inside: std::ops::Range<usize>,
    right: Vec<usize>,
}

impl Columns {
    fn new(plan: &TilePlan, column: usize) -> Self {
        let width = plan.picture().width;
        let (start, lead) = (plan.across().start(column), plan.across().lead(column));
        let outside = lead.saturating_sub(start);
        let inside = start.saturating_sub(lead)..(start + plan.tile().width - lead).min(width);
        let beyond = plan.tile().width - outside - inside.len();
        Self {
            left: (0..outside).map(|x| reflect(x as isize - outside as isize, width)).collect(),
            right: (0..beyond).map(|x| reflect((inside.end + x) as isize, width)).collect(),
            inside,
        }
    }

    #[inline(always)]
    fn split<T: Copy, const CHANNELS: usize>(
        &self,
        source: &[T],
        planes: &mut [&mut [f32]; 3],
        decode: impl Fn(&[T]) -> [f32; 3],
    ) {
        let pixel_at = |column: usize| &source[column * CHANNELS..][..CHANNELS];
        let [first, second, third] = planes;
        let outputs = first.iter_mut().zip(second.iter_mut()).zip(third.iter_mut());
        let mut outputs = outputs.map(|((first, second), third)| (first, second, third));
        for (&column, (first, second, third)) in self.left.iter().zip(outputs.by_ref()) {
            [*first, *second, *third] = decode(pixel_at(column));
        }
        let run = source[self.inside.start * CHANNELS..self.inside.end * CHANNELS].chunks_exact(CHANNELS);
        for (pixel, (first, second, third)) in run.zip(outputs.by_ref()) {
            [*first, *second, *third] = decode(pixel);
        }
        for (&column, (first, second, third)) in self.right.iter().zip(outputs) {
            [*first, *second, *third] = decode(pixel_at(column));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;
    use proptest::prelude::*;

    #[test]
    fn a_3x3_picture_in_tiles_of_four_shows_its_mirrored_edge() {
        let pixels = [0u8, 10, 20, 30, 40, 50, 60, 70, 80];
        let size = Size { width: 3, height: 3 };
        let plan = TilePlan::new(size, 4, 1, 0, 1).unwrap();
        let mut out = [0.0f32; 48];
        let tile = TileMut::new("out", &mut out, &[1, 3, 4, 4], plan.tile()).unwrap();
        cut(Picture::new("pixels", &pixels, size, 1).unwrap(), &plan, 0, tile, Space::Srgb).unwrap();
        #[rustfmt::skip]
        let expected = [
            40, 30, 40, 50,
            10,  0, 10, 20,
            40, 30, 40, 50,
            70, 60, 70, 80,
        ];
        assert_eq!(out[..16], expected.map(|code| code as f32 / 255.0));
        assert_eq!((&out[16..32], &out[32..]), (&out[..16], &out[..16]));
    }

    #[test]
    fn a_picture_of_another_size_is_refused() {
        let plan = TilePlan::new(Size { width: 3, height: 3 }, 8, 1, 0, 1).unwrap();
        let mut out = [0.0f32; 75];
        let tile = TileMut::new("out", &mut out, &[1, 3, 5, 5], plan.tile()).unwrap();
        let picture = Picture::new("pixels", &[0u8; 6], Size { width: 2, height: 3 }, 1).unwrap();
        let refusal = cut(picture, &plan, 0, tile, Space::Srgb).unwrap_err();
        assert_eq!(refusal.to_string(), "pixels: wanted shape (3, 3, 1 or 3), that of the plan, got (3, 2, 1)");
    }

    proptest! {
        #[test]
        fn every_tile_pixel_is_the_reflected_picture_pixel(
            width in 1usize..20, height in 1usize..20, extra in 1usize..9, margin in 0usize..20, multiple_of in 1usize..5,
        ) {
            let size = Size { width, height };
            let pixels: Vec<u16> = (0..width * height * 3).map(|n| (n * 37) as u16).collect();
            let plan = TilePlan::new(size, 2 * margin.next_multiple_of(multiple_of) + multiple_of + extra, margin, 0, multiple_of).unwrap();
            let Size { width: tile_width, height: tile_height } = plan.tile();
            let mut out = vec![0.0f32; 3 * tile_width * tile_height];
            for index in 0..plan.count() as i64 {
                let tile = TileMut::new("out", &mut out, &[1, 3, tile_height, tile_width], plan.tile()).unwrap();
                cut(Picture::new("pixels", &pixels, size, 3).unwrap(), &plan, index, tile, Space::Srgb).unwrap();
                let core = plan.core(index).unwrap();
                let (column, row) = plan.place(index).unwrap();
                let (before, above) = (plan.across().lead(column), plan.down().lead(row));
                for (position, &value) in out.iter().enumerate() {
                    let (channel, y, x) =
                        (position / tile_width / tile_height, position / tile_width % tile_height, position % tile_width);
                    let y = reflect((core.top + y) as isize - above as isize, height);
                    let x = reflect((core.left + x) as isize - before as isize, width);
                    prop_assert_eq!(value, f32::from(pixels[(y * width + x) * 3 + channel]) * (1.0 / 65535.0));
                }
            }
        }
    }
}
