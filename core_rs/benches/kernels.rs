//! Kernels at 1, 12 and 48 megapixels, 8-bit colour. `RAYON_NUM_THREADS=1 cargo bench` gives the time on one core.

use std::hint::black_box;

use _core::blend::{Cells, Mask, mix};
use _core::canvas::Canvas;
use _core::colour::Space;
use _core::cut::cut;
use _core::image::{Picture, Size, Tile, TileMut};
use _core::measure::measure;
use _core::resize::resize;
use _core::tiles::TilePlan;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [(u32, Size); 3] = [
    (1, Size { width: 1152, height: 864 }),
    (12, Size { width: 4000, height: 3000 }),
    (48, Size { width: 8000, height: 6000 }),
];

/// Noise from a fixed seed: no kernel can be lucky with it.
fn noise(size: Size, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size.width * size.height * 3).map(|_| next()).collect()
}

/// Every tile cut and, unchanged, put back: the whole cost of tiling but the network.
fn cut_and_canvas(picture: Picture<'_, u8>, plan: &TilePlan, samples: &mut [f32]) -> usize {
    let size = plan.tile();
    let shape = [1, 3, size.height, size.width];
    let mut canvas = Canvas::<u8>::new(plan.clone(), 3, 1, Space::Srgb).unwrap();
    let mut rows = 0;
    for index in 0..plan.count() as i64 {
        let out = TileMut::new("out", samples, &shape, size).unwrap();
        cut(picture, plan, index, out, Space::Srgb).unwrap();
        canvas.add(index, Tile::new("tile", samples, &shape, size).unwrap()).unwrap();
        rows += canvas.rows_ready();
        black_box(canvas.take());
    }
    rows
}

fn kernels(criterion: &mut Criterion) {
    for (megapixels, size) in SIZES {
        let (a, b) = (noise(size, 1), noise(size, 2));
        let (a, b) = (Picture::new("a", &a, size, 3).unwrap(), Picture::new("b", &b, size, 3).unwrap());
        let mut group = criterion.benchmark_group("kernels");
        group.sample_size(10).throughput(Throughput::Elements((size.width * size.height) as u64));
        let plan = TilePlan::new(size, 1032, 16, 16, 8).unwrap();
        let mut samples = vec![0.0; 3 * plan.tile().width * plan.tile().height];
        group.bench_function(BenchmarkId::new("cut and Canvas", megapixels), |bencher| {
            bencher.iter(|| cut_and_canvas(a, &plan, &mut samples));
        });
        group.bench_function(BenchmarkId::new("mix by one number", megapixels), |bencher| {
            bencher.iter(|| mix(a, b, Mask::Even(0.7)).unwrap());
        });
        let pixels = size.width * size.height;
        let mask: Vec<f32> = (0..pixels).map(|n| ((n % size.width) as f32 / size.width as f32 * 3.0) - 1.0).collect();
        group.bench_function(BenchmarkId::new("mix by a mask", megapixels), |bencher| {
            bencher.iter(|| mix(a, b, Mask::Map(&mask)).unwrap());
        });
        let (rows, columns) = (size.height.div_ceil(64), size.width.div_ceil(64));
        let values: Vec<f32> = (0..rows * columns).map(|n| (n % columns) as f32 / columns as f32).collect();
        group.bench_function(BenchmarkId::new("mix by cells", megapixels), |bencher| {
            let cells = Cells { values: &values, rows, columns, side: 64, above: 0 };
            bencher.iter(|| mix(a, b, Mask::Cells(cells)).unwrap());
        });
        group.bench_function(BenchmarkId::new("measure", megapixels), |bencher| {
            bencher.iter(|| measure(a, 64).unwrap());
        });
        let three_quarters = Size { width: size.width * 3 / 4, height: size.height * 3 / 4 };
        group.bench_function(BenchmarkId::new("resize to three quarters", megapixels), |bencher| {
            bencher.iter(|| resize(a, three_quarters).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, kernels);
criterion_main!(benches);
