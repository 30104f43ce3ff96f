//! Putting tiles together: neighbours fade into each other, rows are handed out as soon as they are final.
//!
//! A tile's pixels go straight from the network's answer to their final codes; floats are kept only where a neighbour
//! still has to be blended in: the columns at the last tile's right border (`side`) and the rows at the lower border of
//! the row of tiles above (`below`). For 12 megapixels that is 2 MB instead of the 38 MB of a row of tiles in floats.
//! Single-threaded on purpose: it runs while the network computes the next tile on all cores.

use crate::blend::{lerp_row, lerp_rows, ramp};
use crate::colour::{Space, convert_planes, rgb_from_luma_chroma, srgb_from_linear};
use crate::error::{Error, zeros};
use crate::image::{Sample, Size, Tile, TileSample};
use crate::tiles::{Axis, TilePlan};

/// The largest enlargement; every network of today makes 1, 2, 3, 4 or 8 pixels out of one.
pub const LARGEST_SCALE: usize = 16;

/// The result in the making, in samples of type `T`.
#[derive(Debug)]
pub struct Canvas<T> {
    plan: TilePlan,
    channels: usize,
    scale: usize,
    space: Space,
    next: usize,
    /// Rows that become final with the current row of tiles, HWC.
    strip: Vec<T>,
    /// What the last tile leaves for the next: for every row of the strip, three planes of the widest fade.
    side: Vec<f32>,
    /// What the last row of tiles leaves for the next: for every row of the fade, three planes of the result's width.
    below: Vec<f32>,
    /// One row of the current tile: three planes.
    segment: Vec<f32>,
    ready: Vec<T>,
}

/// Which pixels of the result a tile contributes to along one axis.
struct Span {
    /// First pixel, where the fade with the previous tile begins.
    from: usize,
    /// Width of that fade: both sides of the border.
    fade: usize,
    /// From here on the next tile is blended in.
    solid: usize,
    /// The pixel after the last.
    to: usize,
    /// Where `from` lies in the tile.
    offset: usize,
}

impl Span {
    fn new(axis: &Axis, index: usize, scale: usize) -> Self {
        let (before, after) = (axis.fade(index), axis.fade(index + 1));
        Self {
            from: (axis.start(index) - before) * scale,
            fade: 2 * before * scale,
            solid: (axis.end(index) - after) * scale,
            to: (axis.end(index) + after) * scale,
            offset: (axis.lead(index) - before) * scale,
        }
    }
}

impl<T: Sample> Canvas<T> {
    /// For a result `scale` times as large as the plan's picture; `space` is that of the tiles.
    pub fn new(plan: TilePlan, channels: usize, scale: usize, space: Space) -> Result<Self, Error> {
        if !matches!(channels, 1 | 3) {
            return Err(Error::Number { name: "channels", given: channels.to_string(), wanted: "1 or 3" });
        }
        if !(1..=LARGEST_SCALE).contains(&scale) {
            return Err(Error::Number { name: "scale", given: scale.to_string(), wanted: "1 to 16" });
        }
        Ok(Self {
            plan,
            channels,
            scale,
            space,
            next: 0,
            strip: Vec::new(),
            side: Vec::new(),
            below: Vec::new(),
            segment: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Of the tiles to be added.
    pub fn tile(&self) -> Size {
        let tile = self.plan.tile();
        Size { width: self.scale * tile.width, height: self.scale * tile.height }
    }

    /// 1 or 3.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Of the result, in pixels.
    pub fn width(&self) -> usize {
        self.plan.picture().width * self.scale
    }

    /// Rows that are final and not yet taken.
    pub fn rows_ready(&self) -> usize {
        self.ready.len() / (self.width() * self.channels)
    }

    /// The rows that are ready, HWC; they are handed out once.
    pub fn take(&mut self) -> Vec<T> {
        std::mem::take(&mut self.ready)
    }

    /// Blends in the network's answer for tile `index`, whose turn it must be. A canvas that refuses is unchanged.
    pub fn add<S: TileSample>(&mut self, index: i64, tile: Tile<'_, S>) -> Result<(), Error> {
        if index != self.next as i64 || self.next >= self.plan.count() {
            let expected = Some(self.next).filter(|&next| next < self.plan.count());
            return Err(Error::OutOfOrder { index, expected });
        }
        if !S::all_finite(tile.samples()) {
            return Err(Error::NotFinite { index: self.next });
        }
        let columns = self.plan.across().count();
        let (column, row) = (self.next % columns, self.next / columns);
        let across = Span::new(self.plan.across(), column, self.scale);
        let down = Span::new(self.plan.down(), row, self.scale);
        if column == 0 {
            self.begin_strip(&down)?;
        }
        let encode = srgb_from_linear();
        match self.space {
            Space::Srgb => self.paint(tile, &across, &down, |_| ()),
            Space::Linear => self.paint(tile, &across, &down, |planes| {
                planes.iter_mut().flat_map(|plane| plane.iter_mut()).for_each(|light| *light = encode(*light));
            }),
            Space::LumaChroma => {
                self.paint(tile, &across, &down, |planes| convert_planes(planes, rgb_from_luma_chroma));
            }
        }
        self.next += 1;
        if column + 1 == columns {
            self.finish_strip();
        }
        Ok(())
    }

    fn begin_strip(&mut self, down: &Span) -> Result<(), Error> {
        let row_length = self.width().checked_mul(self.channels);
        let strip = zeros(row_length.and_then(|length| length.checked_mul(down.solid - down.from)))?;
        if self.segment.is_empty() {
            let across = self.plan.across();
            let fades = [across, self.plan.down()].map(|axis| 2 * self.scale * axis.widest_fade());
            let side = zeros(fades[0].checked_mul(3 * self.tile().height))?;
            let below = zeros(self.width().checked_mul(3).and_then(|planes| planes.checked_mul(fades[1])))?;
            self.segment = zeros(self.tile().width.checked_mul(3))?;
            (self.side, self.below) = (side, below);
        }
        self.strip = strip;
        Ok(())
    }

    fn paint<S: TileSample>(
        &mut self,
        tile: Tile<'_, S>,
        across: &Span,
        down: &Span,
        undo: impl Fn(&mut [&mut [f32]; 3]),
    ) {
        let (width, channels) = (self.width(), self.channels);
        let side_width = 2 * self.scale * self.plan.across().widest_fade();
        let length = across.to - across.from;
        let final_length = across.solid - across.from;
        let weights = ramp(across.fade);
        let heights = ramp(down.fade);
        for y in 0..down.to - down.from {
            let mut planes = planes_mut(&mut self.segment, length);
            for (channel, plane) in planes.iter_mut().enumerate() {
                S::load(&tile.row(channel, down.offset + y)[across.offset..][..length], plane);
                let side = &mut self.side[(3 * y + channel) * side_width..][..side_width];
                lerp_row(&side[..across.fade], &mut plane[..across.fade], &weights);
                side[..length - final_length].copy_from_slice(&plane[final_length..]);
                if let Some(&weight) = heights.get(y) {
                    let above = &self.below[(3 * y + channel) * width + across.from..][..final_length];
                    lerp_rows(above, &mut plane[..final_length], weight);
                }
            }
            let mut planes = planes.map(|plane| &mut plane[..final_length]);
            if let Some(kept) = (down.from + y).checked_sub(down.solid) {
                for (channel, plane) in planes.iter().enumerate() {
                    self.below[(3 * kept + channel) * width + across.from..][..final_length].copy_from_slice(plane);
                }
            } else {
                undo(&mut planes);
                let begin = (y * width + across.from) * channels;
                encode_row(&planes, &mut self.strip[begin..][..final_length * channels], channels);
            }
        }
    }

    fn finish_strip(&mut self) {
        let strip = std::mem::take(&mut self.strip);
        if self.ready.is_empty() {
            self.ready = strip;
        } else {
            self.ready.extend_from_slice(&strip);
        }
    }
}

fn planes_mut(segment: &mut [f32], length: usize) -> [&mut [f32]; 3] {
    let (first, rest) = segment.split_at_mut(length);
    let (second, rest) = rest.split_at_mut(length);
    [first, second, &mut rest[..length]]
}

/// Rounds one row and puts its planes side by side; one channel is the mean of three.
fn encode_row<T: Sample>([first, second, third]: &[&mut [f32]; 3], codes: &mut [T], channels: usize) {
    let pixels = first.iter().zip(second.iter()).zip(third.iter());
    if channels == 3 {
        for (code, ((first, second), third)) in codes.chunks_exact_mut(3).zip(pixels) {
            code[0] = T::from_unit(*first);
            code[1] = T::from_unit(*second);
            code[2] = T::from_unit(*third);
        }
    } else {
        for (code, ((first, second), third)) in codes.iter_mut().zip(pixels) {
            *code = T::from_unit((first + second + third) / 3.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::Decode;
    use crate::cut::cut;
    use crate::image::{Picture, TileMut};
    use proptest::prelude::*;

    /// A network that repeats every pixel `scale` times in both directions.
    fn enlarge(tile: &[f32], size: Size, scale: usize) -> Vec<f32> {
        let (width, height) = (size.width * scale, size.height * scale);
        (0..3 * width * height)
            .map(|n| {
                let (channel, y, x) = (n / width / height, n / width % height, n % width);
                tile[(channel * size.height + y / scale) * size.width + x / scale]
            })
            .collect()
    }

    fn through<T: Decode>(picture: Picture<'_, T>, plan: &TilePlan, scale: usize, space: Space) -> Vec<T> {
        let mut canvas = Canvas::<T>::new(plan.clone(), picture.channels(), scale, space).unwrap();
        let (size, enlarged) = (plan.tile(), canvas.tile());
        let mut samples = vec![0.0f32; 3 * size.width * size.height];
        let mut result = Vec::new();
        for index in 0..plan.count() as i64 {
            let out = TileMut::new("out", &mut samples, &[1, 3, size.height, size.width], size).unwrap();
            cut(picture, plan, index, out, space).unwrap();
            let answer = enlarge(&samples, size, scale);
            let shape = [1, 3, enlarged.height, enlarged.width];
            canvas.add(index, Tile::new("tile", &answer, &shape, enlarged).unwrap()).unwrap();
            if index % 3 == 0 {
                result.extend(canvas.take());
            }
        }
        result.extend(canvas.take());
        result
    }

    fn grey(samples: &[f32; 9]) -> Vec<f32> {
        samples.repeat(3)
    }

    #[test]
    fn two_tiles_fade_into_each_other_over_four_pixels() {
        let plan = TilePlan::new(Size { width: 4, height: 1 }, 4, 0, 1, 1).unwrap();
        assert_eq!((plan.count(), plan.tile()), (2, Size { width: 4, height: 3 }));
        let mut canvas = Canvas::<f32>::new(plan, 1, 1, Space::Srgb).unwrap();
        let (size, shape) = (canvas.tile(), [1, 3, 3, 4]);
        canvas.add(0, Tile::new("tile", &[0.0f32; 36], &shape, size).unwrap()).unwrap();
        assert_eq!(canvas.rows_ready(), 0);
        canvas.add(1, Tile::new("tile", &[1.0f32; 36], &shape, size).unwrap()).unwrap();
        assert_eq!((canvas.rows_ready(), canvas.take(), canvas.rows_ready()), (1, vec![0.0, 0.25, 0.75, 1.0], 0));
    }

    #[test]
    fn a_refused_tile_leaves_the_canvas_as_it_was() {
        let plan = TilePlan::new(Size { width: 3, height: 3 }, 3, 0, 0, 1).unwrap();
        let mut canvas = Canvas::<u8>::new(plan, 1, 1, Space::Srgb).unwrap();
        let (size, shape) = (canvas.tile(), [1, 3, 3, 3]);
        let mut samples = grey(&[0.0, 0.5, 1.0, -1.0, 2.0, 0.2, 0.4, 0.6, 0.8]);
        samples[20] = f32::NAN;
        let refusal = canvas.add(0, Tile::new("tile", &samples, &shape, size).unwrap()).unwrap_err();
        assert_eq!(refusal.to_string(), "tile 0 holds a value that is not finite");
        samples[20] = samples[2];
        canvas.add(0, Tile::new("tile", &samples, &shape, size).unwrap()).unwrap();
        assert_eq!(canvas.take(), [0, 128, 255, 0, 255, 51, 102, 153, 204]);
        let refusal = canvas.add(1, Tile::new("tile", &samples, &shape, size).unwrap()).unwrap_err();
        assert_eq!(refusal.to_string(), "tile 1: every tile has been added already");
    }

    #[test]
    fn a_tile_out_of_order_is_refused() {
        let plan = TilePlan::new(Size { width: 3, height: 3 }, 2, 0, 0, 1).unwrap();
        let mut canvas = Canvas::<u8>::new(plan, 3, 1, Space::Srgb).unwrap();
        let refusal = canvas.add(1, Tile::new("tile", &[0.0f32; 12], &[1, 3, 2, 2], canvas.tile()).unwrap());
        assert_eq!(refusal.unwrap_err().to_string(), "tile 1 is out of order: it is the turn of tile 0");
    }

    proptest! {
        #[test]
        fn an_identity_network_returns_the_picture_bit_for_bit(
            width in 1usize..25, height in 1usize..25, extra in 1usize..16, halo in 0usize..4, blend in 0usize..9,
            multiple_of in 1usize..6, grey in any::<bool>(), seed in any::<u16>(),
            space in prop::sample::select(vec![Space::Srgb, Space::Linear, Space::LumaChroma]),
        ) {
            let channels = if grey { 1 } else { 3 };
            let size = Size { width, height };
            let codes = (0..width * height * channels).map(|n| (n as u16).wrapping_mul(40503).wrapping_add(seed));
            let fine: Vec<u16> = codes.collect();
            let coarse: Vec<u8> = fine.iter().map(|&code| (code >> 8) as u8).collect();
            let plan = TilePlan::new(size, 2 * (halo + blend).next_multiple_of(multiple_of) + multiple_of + extra, halo, blend, multiple_of).unwrap();
            let picture = Picture::new("pixels", &fine, size, channels).unwrap();
            prop_assert_eq!(through(picture, &plan, 1, space), fine.clone());
            let picture = Picture::new("pixels", &coarse, size, channels).unwrap();
            prop_assert_eq!(through(picture, &plan, 1, space), coarse.clone());
        }

        #[test]
        fn a_network_that_repeats_pixels_gives_the_picture_enlarged(
            width in 1usize..15, height in 1usize..15, extra in 1usize..9, blend in 0usize..5, scale in 1usize..5,
        ) {
            let size = Size { width, height };
            let pixels: Vec<u8> = (0..width * height * 3).map(|n| (n * 97) as u8).collect();
            let plan = TilePlan::new(size, 2 * (1 + blend) + extra, 1, blend, 1).unwrap();
            let result = through(Picture::new("pixels", &pixels, size, 3).unwrap(), &plan, scale, Space::Srgb);
            prop_assert_eq!(result.len(), pixels.len() * scale * scale);
            for (n, &code) in result.iter().enumerate() {
                let (y, x) = (n / 3 / (width * scale) / scale, n / 3 % (width * scale) / scale);
                prop_assert_eq!(code, pixels[(y * width + x) * 3 + n % 3]);
            }
        }
    }
}
