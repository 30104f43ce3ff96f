//! Where a picture is cut: a plan, computed once and never changed.
//!
//! ```text
//!          start(1)                 end(1) = start(2)
//!    core 0   |         core 1         |   core 2
//!  -----------+------------------------+-----------
//!        |<-->|<-->|              |<-->|<-->|          fades: fade(1) and fade(2) pixels on either side
//!  |<-------->|                        |<-------->|    margins of tile 1
//!  |<------------------ tile 1 ------------------>|    as large as all the others
//!
//! Around the picture itself there is less: an edge of mirrored pixels.
//! ```

use crate::error::Error;
use crate::image::{Rect, Size};

/// No side, margin or multiple may be larger: sums of a few of them stay far from overflow.
pub const LARGEST: usize = i32::MAX as usize;

/// Mirrored pixels around the picture itself, at least. More would be computed for nothing: with 8 instead of a whole
/// margin, `general` and `unblur` lose 0.02 to 0.07 dB in the 8 pixels along the border and nothing elsewhere, while a
/// picture of 1 megapixel takes 10 % less time. With none at all `unblur` loses 0.5 dB there.
const EDGE: usize = 8;

/// One direction of a plan. Width and height are computed by the same code and cannot be mistaken for each other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Axis {
    length: usize,
    count: usize,
    tile: usize,
    margin: usize,
    edge: usize,
    blend: usize,
}

impl Axis {
    fn new(length: usize, tile: usize, margin: usize, blend: usize, multiple_of: usize) -> Result<Self, Error> {
        let largest_tile = tile / multiple_of * multiple_of;
        let room = largest_tile.saturating_sub(2 * margin);
        if room == 0 {
            return Err(Error::NoRoomForCore { tile, margin, multiple_of });
        }
        let edge = margin.min(EDGE.next_multiple_of(multiple_of));
        if length + 2 * edge <= largest_tile {
            let tile = (length + 2 * edge).next_multiple_of(multiple_of);
            return Ok(Self { length, count: 1, tile, margin, edge, blend });
        }
        // The first and the last tile have a margin on one side and an edge on the other, and so answer for more.
        // Tiles start at multiples, so that they lie on the network's grid as the picture itself does. A network that has
        // learned where JPEG blocks begin loses 1 dB on a tile that is shifted by half a block.
        let shared = length - 2 * (margin - edge);
        let step = shared.div_ceil(shared.div_ceil(room).max(2)).next_multiple_of(multiple_of);
        let count = shared.div_ceil(step).max(2);
        Ok(Self { length, count, tile: step + 2 * margin, margin, edge, blend })
    }

    /// From the start of a tile to that of the next.
    fn step(&self) -> usize {
        self.tile - 2 * self.margin
    }

    /// Of the picture, in pixels.
    pub fn length(&self) -> usize {
        self.length
    }

    /// How many cores there are side by side.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Side of every tile, in pixels.
    pub fn tile(&self) -> usize {
        self.tile
    }

    /// First pixel of a core.
    pub fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { index * self.step() + self.margin - self.edge }
    }

    /// The pixel after a core's last.
    pub fn end(&self, index: usize) -> usize {
        if index + 1 == self.count { self.length } else { self.start(index + 1) }
    }

    /// How many pixels of a tile lie before its core.
    pub fn lead(&self, index: usize) -> usize {
        if index == 0 { self.edge } else { self.margin }
    }

    /// How far neighbours fade into each other on either side of the border before core `border`, in pixels.
    ///
    /// `blend`, but at most half a core (the whole of the last core, which has one neighbour only), so that no more
    /// than two tiles meet at any pixel of this axis and no fade leaves the picture. 0 at the picture's own borders.
    pub fn fade(&self, border: usize) -> usize {
        if border == 0 || border == self.count {
            return 0;
        }
        self.blend.min(self.step() / 2).min(self.end(border) - self.start(border))
    }

    /// The widest fade on this axis: the first, since only the last can be narrower than the others.
    pub fn widest_fade(&self) -> usize {
        self.fade(1)
    }
}

/// Rows and columns of cores with a tile around each; the same for the same arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TilePlan {
    across: Axis,
    down: Axis,
    halo: usize,
    blend: usize,
    multiple_of: usize,
}

impl TilePlan {
    /// Divides a picture into the fewest equal tiles whose sides do not exceed `tile`.
    ///
    /// A tile is its core and a margin around it: `halo + blend`, rounded up to a multiple of `multiple_of`; at the picture's
    /// own border an edge of 8 pixels, or of the next multiple, and no more than the margin. Cores start at multiples and
    /// tiles are multiples, so that every tile lies on the network's grid as the picture itself does.
    pub fn new(picture: Size, tile: usize, halo: usize, blend: usize, multiple_of: usize) -> Result<Self, Error> {
        let ranges = [
            ("width", picture.width, 1),
            ("height", picture.height, 1),
            ("tile", tile, 1),
            ("halo", halo, 0),
            ("blend", blend, 0),
            ("multiple_of", multiple_of, 1),
        ];
        for (name, given, smallest) in ranges {
            if !(smallest..=LARGEST).contains(&given) {
                let wanted = if smallest == 1 { "1 to 2147483647" } else { "0 to 2147483647" };
                return Err(Error::Number { name, given: given.to_string(), wanted });
            }
        }
        let margin = (halo + blend).next_multiple_of(multiple_of);
        Ok(Self {
            across: Axis::new(picture.width, tile, margin, blend, multiple_of)?,
            down: Axis::new(picture.height, tile, margin, blend, multiple_of)?,
            halo,
            blend,
            multiple_of,
        })
    }

    /// The division of the width.
    pub fn across(&self) -> &Axis {
        &self.across
    }

    /// The division of the height.
    pub fn down(&self) -> &Axis {
        &self.down
    }

    /// Of the picture.
    pub fn picture(&self) -> Size {
        Size { width: self.across.length, height: self.down.length }
    }

    /// Of every tile, margins included.
    pub fn tile(&self) -> Size {
        Size { width: self.across.tile, height: self.down.tile }
    }

    /// Pixels around each core: `halo + blend`, rounded up to a multiple of `multiple_of`.
    pub fn margin(&self) -> usize {
        (self.halo + self.blend).next_multiple_of(self.multiple_of)
    }

    /// How many tiles there are.
    pub fn count(&self) -> usize {
        self.across.count * self.down.count
    }

    /// Column and row of tile `index`; tiles are numbered row by row.
    pub fn place(&self, index: i64) -> Result<(usize, usize), Error> {
        let refusal = Error::NoSuchTile { index, count: self.count() };
        let index = usize::try_from(index).map_err(|_| refusal.clone())?;
        if index >= self.count() {
            return Err(refusal);
        }
        Ok((index % self.across.count, index / self.across.count))
    }

    /// The pixels that tile `index` answers for.
    pub fn core(&self, index: i64) -> Result<Rect, Error> {
        let (column, row) = self.place(index)?;
        let (left, top) = (self.across.start(column), self.down.start(row));
        Ok(Rect { left, top, width: self.across.end(column) - left, height: self.down.end(row) - top })
    }

    /// A plan for the same picture with tiles of at most half the longer side.
    ///
    /// `None` when cores would become narrower than their margin: such a tile is nine parts context to one part picture.
    pub fn smaller(&self) -> Option<Self> {
        let half = self.across.tile.max(self.down.tile) / 2;
        let room = (half / self.multiple_of * self.multiple_of).checked_sub(2 * self.margin())?;
        if room < self.margin().max(1) {
            return None;
        }
        Self::new(self.picture(), half, self.halo, self.blend, self.multiple_of).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(width: usize, height: usize, tile: usize, halo: usize, blend: usize, multiple_of: usize) -> TilePlan {
        TilePlan::new(Size { width, height }, tile, halo, blend, multiple_of).unwrap()
    }

    #[test]
    fn three_pixels_in_tiles_of_two_are_two_and_one() {
        let plan = plan(3, 3, 2, 0, 0, 1);
        let cores: Vec<Rect> = (0..4).map(|index| plan.core(index).unwrap()).collect();
        assert_eq!(plan.count(), 4);
        assert_eq!(cores[0], Rect { left: 0, top: 0, width: 2, height: 2 });
        assert_eq!(cores[3], Rect { left: 2, top: 2, width: 1, height: 1 });
    }

    #[test]
    fn a_small_picture_is_one_tile_no_larger_than_it_must_be() {
        let plan = plan(10, 20, 512, 3, 1, 8);
        assert_eq!((plan.count(), plan.tile()), (1, Size { width: 32, height: 40 }));
    }

    #[test]
    fn a_tile_of_margins_only_is_refused() {
        let refusal = TilePlan::new(Size { width: 9, height: 9 }, 12, 4, 2, 1).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "tile: 12 pixels in multiples of 1 leave no room for a core between two margins of 6"
        );
    }

    #[test]
    fn plans_shrink_until_cores_are_as_narrow_as_margins() {
        let first = plan(4000, 3000, 1032, 16, 16, 8);
        let sides: Vec<usize> =
            std::iter::successors(Some(first), TilePlan::smaller).map(|plan| plan.tile().width).collect();
        assert_eq!(sides, [856, 424, 208, 104]);
    }

    proptest! {
        #[test]
        fn cores_cover_the_picture_once_and_tiles_keep_to_their_limit(
            width in 1usize..300, height in 1usize..300, extra in 1usize..80,
            halo in 0usize..9, blend in 0usize..9, multiple_of in 1usize..17,
        ) {
            let tile = 2 * (halo + blend).next_multiple_of(multiple_of) + multiple_of + extra;
            let plan = plan(width, height, tile, halo, blend, multiple_of);
            for axis in [plan.across(), plan.down()] {
                prop_assert!(axis.tile() <= tile && axis.tile() % multiple_of == 0);
                prop_assert_eq!((axis.start(0), axis.end(axis.count() - 1)), (0, axis.length()));
                for index in 0..axis.count() {
                    prop_assert!(axis.start(index) < axis.end(index) && axis.start(index) % multiple_of == 0);
                    let (before, after) = (axis.fade(index), axis.fade(index + 1));
                    prop_assert!(before <= blend && before + after <= axis.end(index) - axis.start(index));
                    prop_assert!(before <= axis.widest_fade());
                }
                let fewer = axis.count() - 1;
                let (edge, margin) = (axis.lead(0), plan.margin());
                let needed = match fewer {
                    0 => continue,
                    1 => axis.length() + 2 * edge,
                    _ => (axis.length() - 2 * (margin - edge)).div_ceil(fewer) + 2 * margin,
                };
                prop_assert!(needed.next_multiple_of(multiple_of) > tile);
                for index in 1..axis.count() {
                    let seen_before = axis.start(index - 1) + axis.tile() - axis.lead(index - 1);
                    prop_assert!(axis.lead(index) == margin && seen_before >= axis.end(index - 1) + margin);
                }
            }
        }

        #[test]
        fn a_smaller_plan_has_smaller_tiles_for_the_same_picture(
            width in 1usize..3000, height in 1usize..3000, tile in 100usize..1000, halo in 0usize..20, blend in 0usize..20,
        ) {
            let plan = plan(width, height, tile, halo, blend, 8);
            if let Some(smaller) = plan.smaller() {
                let longer = |plan: &TilePlan| plan.tile().width.max(plan.tile().height);
                prop_assert!(longer(&smaller) <= longer(&plan) / 2);
                prop_assert_eq!((smaller.picture(), smaller.margin()), (plan.picture(), plan.margin()));
            }
        }
    }
}
