//! Noise, edges, softness, JPEG blocks and clipping, one number per cell of a picture.
//!
//! With Y the luma in 8-bit levels, per pixel (x, y) whose 4×4 neighbourhood, from one pixel left and above to two
//! right and below, lies in the picture:
//!
//! ```text
//! response   = (1 −2 1; −2 4 −2; 1 −2 1) * Y                                  blind to planes
//! slope      = ((Y[x+1] − Y[x−1]) / 2, (Y[y+1] − Y[y−1]) / 2)
//! step       = Y[x+1] − Y[x]             and the same downwards
//! blurred    = (Y[x+2] − Y[x−1]) / 3     the step of Y after a 3-pixel box blur along the step
//!
//! noise_sigma = √(π/2) / 6 · mean |response|          Immerkær, Fast Noise Variance Estimation, CVIU 64 (1996)
//! edge        = mean ‖slope‖
//! softness    = Σ min(|step|, |blurred|) / Σ |step|   after Crété et al., The Blur Effect, SPIE 6492 (2007)
//! blockiness  = (mean |step − blurred| on the 8×8 grid + 0.1) / (mean |step − blurred| elsewhere + 0.1)
//! ```
//!
//! `step − blurred` is a jump beyond the local slope, so that a smooth sky does not hide its blocks; a step is on the
//! grid when it leads from column (row) 8k + 7 to 8k + 8.

use rayon::prelude::*;

use crate::colour::LUMA;
use crate::error::{Error, zeros};
use crate::image::{Picture, Sample, clip};

/// Cells whose mean step is below this, in 8-bit levels, are flat: their softness would be that of rounding.
pub const FLAT: f32 = 0.5;

/// Added to both steps of the blockiness, in 8-bit levels, so that a flat cell gives 1.
const STEP_FLOOR: f32 = 0.1;

/// JPEG's block side; a cell is a multiple of it, so that the grid is seen alike in every cell.
const BLOCK: usize = 8;

/// Maps with one value per cell, row by row. NaN where a cell has no pixel with a whole neighbourhood.
#[derive(Debug, Clone, PartialEq)]
pub struct Maps {
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// Standard deviation of the noise, 8-bit levels.
    pub noise_sigma: Vec<f32>,
    /// Mean magnitude of the luma's gradient, 8-bit levels per pixel.
    pub edge: Vec<f32>,
    /// Share of the steps that survives a 3-pixel box blur, 0..1; NaN in flat cells too.
    pub softness: Vec<f32>,
    /// Jumps on the 8×8 grid over jumps elsewhere.
    pub blockiness: Vec<f32>,
    /// Share of pixels with every channel at 0.
    pub dark: Vec<f32>,
    /// Share of pixels with every channel at full scale.
    pub bright: Vec<f32>,
}

/// Sums over one cell. Eight lanes, one per column of a JPEG block: they vectorise, and the last is the grid's.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    response: [f32; BLOCK],
    slope: [f32; BLOCK],
    step: [f32; BLOCK],
    survives: [f32; BLOCK],
    jump_across: [f32; BLOCK],
    jump_down: [f32; BLOCK],
}

/// What a cell adds up to; double precision, since a cell may be the whole picture.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    response: f64,
    slope: f64,
    step: f64,
    survives: f64,
    jump_on_grid: f64,
    jump_elsewhere: f64,
    dark: usize,
    bright: usize,
}

/// Measures a picture in cells of `cell` × `cell` pixels (the last of a row or column may be smaller).
///
/// # Errors
///
/// `Number` when `cell` is not a multiple of 8, `OutOfMemory`.
pub fn measure<T: Sample>(picture: Picture<'_, T>, cell: usize) -> Result<Maps, Error> {
    if cell == 0 || cell % BLOCK != 0 {
        return Err(Error::Number { name: "cell", given: cell.to_string(), wanted: "a multiple of 8, at least 8" });
    }
    let [height, width, _] = picture.shape();
    let (rows, columns) = (height.div_ceil(cell), width.div_ceil(cell));
    let map = || zeros(rows.checked_mul(columns));
    let mut maps = Maps {
        rows,
        columns,
        noise_sigma: map()?,
        edge: map()?,
        softness: map()?,
        blockiness: map()?,
        dark: map()?,
        bright: map()?,
    };
    let cells: Vec<Vec<Cell>> = (0..rows).into_par_iter().map(|row| measure_row(picture, cell, row)).collect();
    for (index, found) in cells.into_iter().flatten().enumerate() {
        let across = Stretch::new(index % columns * cell, cell, width);
        let down = Stretch::new(index / columns * cell, cell, height);
        let seen = (across.inner.len() * down.inner.len()) as f64;
        let on_grid = (across.on_grid() * down.inner.len() + down.on_grid() * across.inner.len()) as f64;
        let mean_step = found.step / (2.0 * seen);
        let (on, elsewhere) = (found.jump_on_grid / on_grid, found.jump_elsewhere / (2.0 * seen - on_grid));
        let floor = f64::from(STEP_FLOOR);
        let pixels = (across.all.len() * down.all.len()) as f64;
        maps.noise_sigma[index] = ((std::f64::consts::FRAC_PI_2).sqrt() / 6.0 * found.response / seen) as f32;
        maps.edge[index] = (found.slope / seen) as f32;
        maps.softness[index] =
            if mean_step < f64::from(FLAT) { f32::NAN } else { (found.survives / found.step) as f32 };
        maps.blockiness[index] = ((on + floor) / (elsewhere + floor)) as f32;
        maps.dark[index] = (found.dark as f64 / pixels) as f32;
        maps.bright[index] = (found.bright as f64 / pixels) as f32;
    }
    Ok(maps)
}

/// One cell's extent along one axis.
struct Stretch {
    all: std::ops::Range<usize>,
    /// Without the pixels whose neighbourhood leaves the picture.
    inner: std::ops::Range<usize>,
}

impl Stretch {
    fn new(start: usize, cell: usize, length: usize) -> Self {
        let all = start..(start + cell).min(length);
        let inner = start.max(1)..all.end.min(length.saturating_sub(2)).max(start.max(1));
        Self { all, inner }
    }

    /// How many pixels have the grid right behind them.
    fn on_grid(&self) -> usize {
        self.inner.end / BLOCK - self.inner.start / BLOCK
    }
}

fn measure_row<T: Sample>(picture: Picture<'_, T>, cell: usize, row: usize) -> Vec<Cell> {
    let [height, width, _] = picture.shape();
    let down = Stretch::new(row * cell, cell, height);
    let white = luma([1.0; 3]);
    let mut cells = vec![Cell::default(); width.div_ceil(cell)];
    let mut window: [Vec<f32>; 4] = std::array::from_fn(|_| vec![0.0; width]);
    // the window holds the lumas of rows y−1, y, y+1 and y+2
    let first = down.all.start.saturating_sub(1);
    let last = (down.all.end + 2).min(height);
    for y in first..last {
        window.rotate_left(1);
        luma_row(picture, y, &mut window[3]);
        if down.all.contains(&y) {
            for (cell, lumas) in cells.iter_mut().zip(window[3].chunks(cell)) {
                cell.dark += lumas.iter().filter(|&&luma| luma == 0.0).count();
                cell.bright += lumas.iter().filter(|&&luma| luma == white).count();
            }
        }
        let Some(centre) = y.checked_sub(2).filter(|centre| down.inner.contains(centre)) else { continue };
        let [above, here, below, second] = &window;
        for (column, found) in cells.iter_mut().enumerate() {
            let across = Stretch::new(column * cell, cell, width);
            let sums = sum_row([above, here, below, second], across.inner);
            found.add(&sums, centre % BLOCK == BLOCK - 1);
        }
    }
    cells
}

impl Cell {
    fn add(&mut self, sums: &Sums, row_on_grid: bool) {
        let total = |lanes: &[f32; BLOCK]| f64::from(lanes.iter().sum::<f32>());
        self.response += total(&sums.response);
        self.slope += total(&sums.slope);
        self.step += total(&sums.step);
        self.survives += total(&sums.survives);
        let on_grid = f64::from(sums.jump_across[BLOCK - 1]);
        self.jump_on_grid += on_grid;
        self.jump_elsewhere += total(&sums.jump_across) - on_grid;
        *(if row_on_grid { &mut self.jump_on_grid } else { &mut self.jump_elsewhere }) += total(&sums.jump_down);
    }
}

/// Adds up columns `range` of the row in the middle; every one has its neighbours.
fn sum_row(window: [&[f32]; 4], range: std::ops::Range<usize>) -> Sums {
    let mut sums = Sums::default();
    let whole = range.start.next_multiple_of(BLOCK).min(range.end);
    let blocks = (range.end - whole) / BLOCK;
    for x in range.start..whole {
        sums.add(x % BLOCK, &window.map(|row| [row[x - 1], row[x], row[x + 1], row[x + 2]]));
    }
    for block in 0..blocks {
        let x = whole + block * BLOCK;
        let rows = window.map(|row| &row[x - 1..][..BLOCK + 3]);
        for lane in 0..BLOCK {
            sums.add(lane, &rows.map(|row| [row[lane], row[lane + 1], row[lane + 2], row[lane + 3]]));
        }
    }
    for x in whole + blocks * BLOCK..range.end {
        sums.add(x % BLOCK, &window.map(|row| [row[x - 1], row[x], row[x + 1], row[x + 2]]));
    }
    sums
}

impl Sums {
    #[inline(always)]
    fn add(&mut self, lane: usize, [above, here, below, second]: &[[f32; 4]; 4]) {
        let corners = above[0] + above[2] + below[0] + below[2];
        let sides = above[1] + here[0] + here[2] + below[1];
        let slope = (0.5 * (here[2] - here[0]), 0.5 * (below[1] - above[1]));
        let (across, blurred_across) = (here[2] - here[1], (here[3] - here[0]) * (1.0 / 3.0));
        let (down, blurred_down) = (below[1] - here[1], (second[1] - above[1]) * (1.0 / 3.0));
        let smaller = |a: f32, b: f32| if a < b { a } else { b };
        self.response[lane] += (corners - 2.0 * sides + 4.0 * here[1]).abs();
        self.slope[lane] += (slope.0 * slope.0 + slope.1 * slope.1).sqrt();
        self.step[lane] += across.abs() + down.abs();
        self.survives[lane] += smaller(across.abs(), blurred_across.abs()) + smaller(down.abs(), blurred_down.abs());
        self.jump_across[lane] += (across - blurred_across).abs();
        self.jump_down[lane] += (down - blurred_down).abs();
    }
}

/// Luma in 8-bit levels of R'G'B' in 0..1: 0 for black alone, and the same number for white alone.
#[inline(always)]
fn luma([r, g, b]: [f32; 3]) -> f32 {
    255.0 * (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b)
}

fn luma_row<T: Sample>(picture: Picture<'_, T>, y: usize, lumas: &mut [f32]) {
    // clipped, so that a float beyond full scale counts as bright
    let unit = |sample: T| clip(sample.to_unit());
    if picture.channels() == 3 {
        for (value, pixel) in lumas.iter_mut().zip(picture.row(y).chunks_exact(3)) {
            *value = luma([unit(pixel[0]), unit(pixel[1]), unit(pixel[2])]);
        }
    } else {
        for (value, &grey) in lumas.iter_mut().zip(picture.row(y)) {
            *value = luma([unit(grey); 3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Size;
    use proptest::prelude::*;

    fn measured(pixels: &[u8], width: usize) -> Maps {
        let size = Size { width, height: pixels.len() / width };
        measure(Picture::new("pixels", pixels, size, 1).unwrap(), 64).unwrap()
    }

    #[test]
    fn a_5x5_plane_has_a_slope_and_no_noise() {
        let maps = measured(&std::array::from_fn::<u8, 25, _>(|n| (3 * (n % 5) + 4 * (n / 5)) as u8), 5);
        assert!(maps.noise_sigma[0] < 1e-4);
        assert!((maps.edge[0] - 5.0).abs() < 1e-4);
        assert!((maps.softness[0] - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_picture_of_3x3_has_no_neighbourhood_to_measure_but_can_be_clipped() {
        let maps = measured(&[0, 0, 0, 255, 255, 255, 9, 9, 9], 3);
        assert!(maps.noise_sigma[0].is_nan() && maps.edge[0].is_nan() && maps.softness[0].is_nan());
        assert!(maps.blockiness[0].is_nan());
        assert!((maps.dark[0] - 1.0 / 3.0).abs() < 1e-6 && (maps.bright[0] - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn blocks_of_eight_show_and_blocks_of_six_do_not() {
        let blocks = |side: usize| -> Vec<u8> {
            (0..64 * 64).map(|n| (100 + (n % 64 / side * 5 + n / 64 / side * 3) % 7) as u8).collect()
        };
        assert!(measured(&blocks(8), 64).blockiness[0] > 3.0);
        assert!(measured(&blocks(6), 64).blockiness[0] < 1.5);
    }

    #[test]
    fn an_edge_is_crisp_and_its_blur_is_soft() {
        let row = |steps: &[u8; 8]| steps.repeat(8);
        assert!(measured(&row(&[50, 50, 50, 50, 90, 90, 90, 90]), 8).softness[0] < 0.4);
        assert!(measured(&row(&[50, 55, 60, 66, 72, 78, 84, 90]), 8).softness[0] > 0.9);
    }

    #[test]
    fn a_cell_that_cuts_jpeg_blocks_is_refused() {
        let picture = Picture::new("pixels", &[0u8; 4], Size { width: 2, height: 2 }, 1).unwrap();
        let refusal = measure(picture, 12).unwrap_err();
        assert_eq!(refusal.to_string(), "cell: wanted a multiple of 8, at least 8, got 12");
    }

    #[test]
    fn black_and_white_are_told_from_their_neighbours_at_16_bits() {
        let size = Size { width: 4, height: 1 };
        let pixels = [0u16, 0, 0, 0, 0, 1, 65535, 65535, 65535, 65535, 65535, 65534];
        let maps = measure(Picture::new("pixels", &pixels, size, 3).unwrap(), 8).unwrap();
        assert_eq!((maps.dark[0], maps.bright[0]), (0.25, 0.25));
    }

    proptest! {
        #[test]
        fn shares_are_shares_and_nothing_is_negative(
            width in 1usize..40, pixels in prop::collection::vec(any::<u8>(), 40..400),
        ) {
            let maps = measured(&pixels[..pixels.len() / width * width], width);
            for index in 0..maps.rows * maps.columns {
                prop_assert!((0.0..=1.0).contains(&maps.dark[index]) && (0.0..=1.0).contains(&maps.bright[index]));
                prop_assert!(maps.softness[index].is_nan() || (0.0..=1.0).contains(&maps.softness[index]));
                for map in [&maps.noise_sigma, &maps.edge, &maps.blockiness] {
                    prop_assert!(map[index].is_nan() || map[index] >= 0.0);
                }
            }
        }
    }
}
