//! The Python module: borrows numpy arrays, releases the interpreter, moves results out. `_core.pyi` is its reference.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use half::f16;
use numpy::ndarray::{Array, Dimension, IntoDimension};
use numpy::{
    Element, IntoPyArray, Ix2, Ix3, IxDyn, PyArray, PyArray2, PyArrayMethods, PyReadonlyArray, PyReadonlyArray3,
    PyReadonlyArrayDyn, PyReadwriteArrayDyn, PyUntypedArray, PyUntypedArrayMethods,
};
use pyo3::exceptions::{PyIndexError, PyMemoryError, PyValueError};
use pyo3::prelude::*;

use crate::blend::{Cells, Mask};
use crate::canvas::Canvas;
use crate::colour::{Decode, Space, linear_from_srgb, luma_chroma_from_rgb, rgb_from_luma_chroma, srgb_from_linear};
use crate::error::{Error, zeros};
use crate::image::{Picture, Size, Tile, TileMut, TileSample};
use crate::measure::Maps;
use crate::pad::Padding;
use crate::tiles::TilePlan;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::NoSuchTile { .. } => PyIndexError::new_err(message),
            Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
            _ => PyValueError::new_err(message),
        }
    }
}

const PICTURE: &str = "a C-contiguous (height, width, 1 or 3) array of uint8, uint16 or float32";
const TILE: &str = "a C-contiguous (1, 3, height, width) array of float32 or float16";

/// "name: wanted …, got …", the latter with dtype, shape and layout.
fn refusal(name: &str, wanted: &str, given: &Bound<'_, PyAny>) -> PyErr {
    let given = match given.cast::<PyUntypedArray>() {
        Ok(array) => {
            let sides: Vec<String> = array.shape().iter().map(usize::to_string).collect();
            let layout = if array.is_c_contiguous() { "C-contiguous" } else { "not C-contiguous" };
            format!("{} of shape ({}), {layout}", array.dtype(), sides.join(", "))
        }
        Err(_) => given.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string()),
    };
    PyValueError::new_err(format!("{name}: wanted {wanted}, got {given}"))
}

/// A read-only borrow, or None when the object is not such an array.
fn borrow<'py, T: Element, D: Dimension>(
    name: &str,
    object: &Bound<'py, PyAny>,
) -> PyResult<Option<PyReadonlyArray<'py, T, D>>> {
    match object.cast::<PyArray<T, D>>() {
        Ok(array) if array.is_c_contiguous() => match array.try_readonly() {
            Ok(array) => Ok(Some(array)),
            Err(_) => Err(PyValueError::new_err(format!("{name}: the array is being written to by another call"))),
        },
        _ => Ok(None),
    }
}

fn floats<'py, D: Dimension>(
    name: &str,
    wanted: &str,
    object: &Bound<'py, PyAny>,
) -> PyResult<PyReadonlyArray<'py, f32, D>> {
    borrow(name, object)?.ok_or_else(|| refusal(name, wanted, object))
}

fn slice<'a, T: Element, D: Dimension>(name: &str, array: &'a PyReadonlyArray<'_, T, D>) -> PyResult<&'a [T]> {
    array.as_slice().map_err(|_| PyValueError::new_err(format!("{name}: wanted aligned memory, got unaligned")))
}

/// A picture of any of the three kinds.
enum Pixels<'py> {
    U8(PyReadonlyArray3<'py, u8>),
    U16(PyReadonlyArray3<'py, u16>),
    F32(PyReadonlyArray3<'py, f32>),
}

impl<'py> Pixels<'py> {
    fn new(name: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Some(array) = borrow::<u8, Ix3>(name, object)? {
            Ok(Self::U8(array))
        } else if let Some(array) = borrow::<u16, Ix3>(name, object)? {
            Ok(Self::U16(array))
        } else {
            borrow::<f32, Ix3>(name, object)?.map(Self::F32).ok_or_else(|| refusal(name, PICTURE, object))
        }
    }
}

fn picture<'a, T: Decode + Element>(
    name: &'static str,
    array: &'a PyReadonlyArray3<'_, T>,
) -> PyResult<Picture<'a, T>> {
    let (height, width, channels) = array.dims().into_pattern();
    Ok(Picture::new(name, slice(name, array)?, Size { width, height }, channels)?)
}

/// Moves samples into a numpy array without a copy.
fn to_numpy<'py, T: Element, I: IntoDimension>(
    py: Python<'py>,
    samples: Vec<T>,
    shape: I,
) -> PyResult<Bound<'py, PyArray<T, I::Dim>>> {
    match Array::from_shape_vec(shape, samples) {
        Ok(array) => Ok(array.into_pyarray(py)),
        Err(mismatch) => Err(PyValueError::new_err(mismatch.to_string())),
    }
}

fn count(name: &'static str, given: i64) -> Result<usize, Error> {
    usize::try_from(given).map_err(|_| Error::Number { name, given: given.to_string(), wanted: "0 or more" })
}

fn space(given: &str) -> Result<Space, Error> {
    match given {
        "srgb" => Ok(Space::Srgb),
        "linear" => Ok(Space::Linear),
        "luma_chroma" => Ok(Space::LumaChroma),
        _ => Err(Error::Number {
            name: "space",
            given: format!("'{given}'"),
            wanted: "'srgb', 'linear' or 'luma_chroma'",
        }),
    }
}

#[pyclass(name = "TilePlan", module = "darkroomd._core", frozen, eq, hash)]
#[derive(PartialEq, Eq, Hash)]
struct PyTilePlan(TilePlan);

#[pymethods]
impl PyTilePlan {
    #[getter]
    fn width(&self) -> usize {
        self.0.picture().width
    }

    #[getter]
    fn height(&self) -> usize {
        self.0.picture().height
    }

    #[getter]
    fn columns(&self) -> usize {
        self.0.across().count()
    }

    #[getter]
    fn rows(&self) -> usize {
        self.0.down().count()
    }

    #[getter]
    fn margin(&self) -> usize {
        self.0.margin()
    }

    #[getter]
    fn tile_width(&self) -> usize {
        self.0.tile().width
    }

    #[getter]
    fn tile_height(&self) -> usize {
        self.0.tile().height
    }

    fn __len__(&self) -> usize {
        self.0.count()
    }

    fn __repr__(&self) -> String {
        format!(
            "<TilePlan {}×{} in {}×{} tiles of {}×{}, margin {}>",
            self.width(),
            self.height(),
            self.columns(),
            self.rows(),
            self.tile_width(),
            self.tile_height(),
            self.margin()
        )
    }

    fn core(&self, index: i64) -> PyResult<(usize, usize, usize, usize)> {
        let core = self.0.core(index)?;
        Ok((core.left, core.top, core.width, core.height))
    }

    fn smaller(&self) -> Option<Self> {
        self.0.smaller().map(Self)
    }
}

#[pyfunction]
fn plan_tiles(width: i64, height: i64, tile: i64, halo: i64, blend: i64, multiple_of: i64) -> PyResult<PyTilePlan> {
    let size = Size { width: count("width", width)?, height: count("height", height)? };
    let (halo, blend) = (count("halo", halo)?, count("blend", blend)?);
    Ok(PyTilePlan(TilePlan::new(size, count("tile", tile)?, halo, blend, count("multiple_of", multiple_of)?)?))
}

/// A tile to be filled, of either kind.
enum Out<'py> {
    F32(PyReadwriteArrayDyn<'py, f32>),
    F16(PyReadwriteArrayDyn<'py, f16>),
}

impl<'py> Out<'py> {
    fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let refused = |error: numpy::BorrowError| {
            let reason = match error {
                numpy::BorrowError::NotWriteable => "wanted an array that can be written to, got a read-only one",
                _ => "the array is in use: it must not share memory with pixels, nor with another call's arrays",
            };
            PyValueError::new_err(format!("out: {reason}"))
        };
        match (object.cast::<PyArray<f32, IxDyn>>(), object.cast::<PyArray<f16, IxDyn>>()) {
            (Ok(array), _) if array.is_c_contiguous() => Ok(Self::F32(array.try_readwrite().map_err(refused)?)),
            (_, Ok(array)) if array.is_c_contiguous() => Ok(Self::F16(array.try_readwrite().map_err(refused)?)),
            _ => Err(refusal("out", TILE, object)),
        }
    }
}

#[pyfunction]
#[pyo3(signature = (pixels, plan, index, out, space="srgb"))]
fn cut(
    py: Python<'_>,
    pixels: &Bound<'_, PyAny>,
    plan: &Bound<'_, PyTilePlan>,
    index: i64,
    out: &Bound<'_, PyAny>,
    space: &str,
) -> PyResult<()> {
    let space = self::space(space)?;
    let pixels = Pixels::new("pixels", pixels)?;
    let out = Out::new(out)?;
    let plan = &plan.get().0;
    match &pixels {
        Pixels::U8(array) => cut_into(py, picture("pixels", array)?, plan, index, out, space),
        Pixels::U16(array) => cut_into(py, picture("pixels", array)?, plan, index, out, space),
        Pixels::F32(array) => cut_into(py, picture("pixels", array)?, plan, index, out, space),
    }
}

fn cut_into<T: Decode>(
    py: Python<'_>,
    picture: Picture<'_, T>,
    plan: &TilePlan,
    index: i64,
    out: Out<'_>,
    space: Space,
) -> PyResult<()> {
    match out {
        Out::F32(array) => cut_tile(py, picture, plan, index, array, space),
        Out::F16(array) => cut_tile(py, picture, plan, index, array, space),
    }
}

fn cut_tile<T: Decode, S: TileSample + Element>(
    py: Python<'_>,
    picture: Picture<'_, T>,
    plan: &TilePlan,
    index: i64,
    mut out: PyReadwriteArrayDyn<'_, S>,
    space: Space,
) -> PyResult<()> {
    let shape = out.shape().to_vec();
    let samples = out.as_slice_mut().map_err(|_| PyValueError::new_err("out: wanted aligned memory, got unaligned"))?;
    let out = TileMut::new("out", samples, &shape, plan.tile())?;
    Ok(py.detach(|| crate::cut::cut(picture, plan, index, out, space))?)
}

enum AnyCanvas {
    U8(Canvas<u8>),
    U16(Canvas<u16>),
    F32(Canvas<f32>),
}

/// The lock lets one thread add while another asks; it is only ever waited for with the interpreter released.
#[pyclass(name = "Canvas", module = "darkroomd._core", frozen)]
struct PyCanvas(Mutex<AnyCanvas>);

impl PyCanvas {
    fn lock(&self) -> MutexGuard<'_, AnyCanvas> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyCanvas {
    #[new]
    #[pyo3(signature = (plan, channels, dtype, scale=1, space="srgb"))]
    fn new(plan: &Bound<'_, PyTilePlan>, channels: i64, dtype: &str, scale: i64, space: &str) -> PyResult<Self> {
        let plan = plan.get().0.clone();
        let (channels, scale, space) = (count("channels", channels)?, count("scale", scale)?, self::space(space)?);
        let canvas = match dtype {
            "uint8" => AnyCanvas::U8(Canvas::new(plan, channels, scale, space)?),
            "uint16" => AnyCanvas::U16(Canvas::new(plan, channels, scale, space)?),
            "float32" => AnyCanvas::F32(Canvas::new(plan, channels, scale, space)?),
            _ => {
                let wanted = "'uint8', 'uint16' or 'float32'";
                return Err(Error::Number { name: "dtype", given: format!("'{dtype}'"), wanted }.into());
            }
        };
        Ok(Self(Mutex::new(canvas)))
    }

    fn add(&self, py: Python<'_>, index: i64, tile: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(array) = borrow::<f32, IxDyn>("tile", tile)? {
            self.add_tile(py, index, &array)
        } else if let Some(array) = borrow::<f16, IxDyn>("tile", tile)? {
            self.add_tile(py, index, &array)
        } else {
            Err(refusal("tile", TILE, tile))
        }
    }

    fn rows_ready(&self, py: Python<'_>) -> usize {
        py.detach(|| match &*self.lock() {
            AnyCanvas::U8(canvas) => canvas.rows_ready(),
            AnyCanvas::U16(canvas) => canvas.rows_ready(),
            AnyCanvas::F32(canvas) => canvas.rows_ready(),
        })
    }

    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match py.detach(|| Taken::from(&mut *self.lock())) {
            Taken::U8(shape, rows) => Ok(to_numpy(py, rows, shape)?.into_any()),
            Taken::U16(shape, rows) => Ok(to_numpy(py, rows, shape)?.into_any()),
            Taken::F32(shape, rows) => Ok(to_numpy(py, rows, shape)?.into_any()),
        }
    }
}

impl PyCanvas {
    fn add_tile<S: TileSample + Element>(
        &self,
        py: Python<'_>,
        index: i64,
        tile: &PyReadonlyArrayDyn<'_, S>,
    ) -> PyResult<()> {
        let (shape, samples) = (tile.shape(), slice("tile", tile)?);
        Ok(py.detach(|| match &mut *self.lock() {
            AnyCanvas::U8(canvas) => canvas.add(index, Tile::new("tile", samples, shape, canvas.tile())?),
            AnyCanvas::U16(canvas) => canvas.add(index, Tile::new("tile", samples, shape, canvas.tile())?),
            AnyCanvas::F32(canvas) => canvas.add(index, Tile::new("tile", samples, shape, canvas.tile())?),
        })?)
    }
}

/// Rows on their way out of the lock, behind their shape (which is known only until they are taken).
enum Taken {
    U8([usize; 3], Vec<u8>),
    U16([usize; 3], Vec<u16>),
    F32([usize; 3], Vec<f32>),
}

impl From<&mut AnyCanvas> for Taken {
    fn from(canvas: &mut AnyCanvas) -> Self {
        fn shape<T: Decode>(canvas: &Canvas<T>) -> [usize; 3] {
            [canvas.rows_ready(), canvas.width(), canvas.channels()]
        }
        match canvas {
            AnyCanvas::U8(canvas) => Self::U8(shape(canvas), canvas.take()),
            AnyCanvas::U16(canvas) => Self::U16(shape(canvas), canvas.take()),
            AnyCanvas::F32(canvas) => Self::F32(shape(canvas), canvas.take()),
        }
    }
}

#[pyfunction]
fn mix<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    mask: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    match (Pixels::new("a", a)?, Pixels::new("b", b)?) {
        (Pixels::U8(first), Pixels::U8(second)) => mix_pair(py, &first, &second, mask),
        (Pixels::U16(first), Pixels::U16(second)) => mix_pair(py, &first, &second, mask),
        (Pixels::F32(first), Pixels::F32(second)) => mix_pair(py, &first, &second, mask),
        _ => Err(refusal("b", "the dtype of a", b)),
    }
}

fn mix_pair<'py, T: Decode + Element>(
    py: Python<'py>,
    a: &PyReadonlyArray3<'py, T>,
    b: &PyReadonlyArray3<'py, T>,
    mask: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (a, b) = (picture("a", a)?, picture("b", b)?);
    let shape = a.shape();
    let mixed = if mask.is_instance_of::<PyUntypedArray>() {
        let wanted = format!("a number or a C-contiguous ({}, {}) array of float32", shape[0], shape[1]);
        let map = floats::<Ix2>("mask", &wanted, mask)?;
        if map.shape() != &shape[..2] {
            return Err(refusal("mask", &wanted, mask));
        }
        let weights = slice("mask", &map)?;
        py.detach(|| crate::blend::mix(a, b, Mask::Map(weights)))?
    } else {
        let weight: f64 = mask.extract().map_err(|_| refusal("mask", "a number or an array of float32", mask))?;
        py.detach(|| crate::blend::mix(a, b, Mask::Even(weight as f32)))?
    };
    Ok(to_numpy(py, mixed, shape)?.into_any())
}

#[pyfunction]
#[pyo3(signature = (a, b, cells, side, above = 0))]
fn mix_cells<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    cells: &Bound<'py, PyAny>,
    side: i64,
    above: i64,
) -> PyResult<Bound<'py, PyAny>> {
    let map = floats::<Ix2>("cells", "a C-contiguous (rows, columns) array of float32", cells)?;
    let (rows, columns) = map.dims().into_pattern();
    let values = slice("cells", &map)?;
    let cells = Cells { values, rows, columns, side: count("side", side)?, above: count("above", above)? };
    match (Pixels::new("a", a)?, Pixels::new("b", b)?) {
        (Pixels::U8(first), Pixels::U8(second)) => mix_by_cells(py, &first, &second, cells),
        (Pixels::U16(first), Pixels::U16(second)) => mix_by_cells(py, &first, &second, cells),
        (Pixels::F32(first), Pixels::F32(second)) => mix_by_cells(py, &first, &second, cells),
        _ => Err(refusal("b", "the dtype of a", b)),
    }
}

fn mix_by_cells<'py, T: Decode + Element>(
    py: Python<'py>,
    a: &PyReadonlyArray3<'py, T>,
    b: &PyReadonlyArray3<'py, T>,
    cells: Cells<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let (a, b) = (picture("a", a)?, picture("b", b)?);
    let mixed = py.detach(|| crate::blend::mix(a, b, Mask::Cells(cells)))?;
    Ok(to_numpy(py, mixed, a.shape())?.into_any())
}

/// Applies a function to every sample of an array of any shape.
fn each<'py>(
    py: Python<'py>,
    name: &str,
    object: &Bound<'py, PyAny>,
    convert: impl Fn(f32) -> f32 + Send + Sync,
) -> PyResult<Bound<'py, PyArray<f32, IxDyn>>> {
    let array = floats::<IxDyn>(name, "a C-contiguous array of float32", object)?;
    let samples = slice(name, &array)?;
    let converted = py.detach(|| {
        let mut converted = zeros(Some(samples.len()))?;
        crate::colour::convert_each(samples, &mut converted, convert);
        Ok::<_, Error>(converted)
    })?;
    to_numpy(py, converted, array.shape())
}

/// Applies a function to every pixel of a (height, width, 3) array.
fn each_pixel<'py>(
    py: Python<'py>,
    name: &'static str,
    object: &Bound<'py, PyAny>,
    convert: impl Fn([f32; 3]) -> [f32; 3] + Send + Sync,
) -> PyResult<Bound<'py, PyArray<f32, Ix3>>> {
    let wanted = "a C-contiguous (height, width, 3) array of float32";
    let array = floats::<Ix3>(name, wanted, object)?;
    let (height, width, 3) = array.dims().into_pattern() else { return Err(refusal(name, wanted, object)) };
    let samples = slice(name, &array)?;
    let converted = py.detach(|| {
        let mut converted = zeros(Some(samples.len()))?;
        crate::colour::convert_pixels(samples, &mut converted, convert);
        Ok::<_, Error>(converted)
    })?;
    to_numpy(py, converted, [height, width, 3])
}

#[pyfunction(name = "linear_from_srgb")]
fn py_linear_from_srgb<'py>(py: Python<'py>, code: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray<f32, IxDyn>>> {
    each(py, "code", code, linear_from_srgb)
}

#[pyfunction(name = "srgb_from_linear")]
fn py_srgb_from_linear<'py>(py: Python<'py>, light: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray<f32, IxDyn>>> {
    each(py, "light", light, srgb_from_linear())
}

#[pyfunction(name = "luma_chroma_from_rgb")]
fn py_luma_chroma_from_rgb<'py>(py: Python<'py>, rgb: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray<f32, Ix3>>> {
    each_pixel(py, "rgb", rgb, luma_chroma_from_rgb)
}

#[pyfunction(name = "rgb_from_luma_chroma")]
fn py_rgb_from_luma_chroma<'py>(py: Python<'py>, ycc: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyArray<f32, Ix3>>> {
    each_pixel(py, "ycc", ycc, rgb_from_luma_chroma)
}

#[pyfunction]
fn mirrored<'py>(
    py: Python<'py>,
    pixels: &Bound<'py, PyAny>,
    top: i64,
    bottom: i64,
    left: i64,
    right: i64,
) -> PyResult<Bound<'py, PyAny>> {
    let padding = Padding {
        top: count("top", top)?,
        bottom: count("bottom", bottom)?,
        left: count("left", left)?,
        right: count("right", right)?,
    };
    match Pixels::new("pixels", pixels)? {
        Pixels::U8(array) => mirrored_picture(py, &array, padding),
        Pixels::U16(array) => mirrored_picture(py, &array, padding),
        Pixels::F32(array) => mirrored_picture(py, &array, padding),
    }
}

fn mirrored_picture<'py, T: Decode + Element>(
    py: Python<'py>,
    array: &PyReadonlyArray3<'py, T>,
    padding: Padding,
) -> PyResult<Bound<'py, PyAny>> {
    let picture = picture("pixels", array)?;
    let padded = py.detach(|| crate::pad::mirrored(picture, padding))?;
    let [height, width, channels] = picture.shape();
    let shape = [height + padding.top + padding.bottom, width + padding.left + padding.right, channels];
    Ok(to_numpy(py, padded, shape)?.into_any())
}

#[pyfunction]
#[pyo3(signature = (pixels, width, height, rows=None))]
fn resize<'py>(
    py: Python<'py>,
    pixels: &Bound<'py, PyAny>,
    width: i64,
    height: i64,
    rows: Option<(i64, i64)>,
) -> PyResult<Bound<'py, PyAny>> {
    let size = Size { width: count("width", width)?, height: count("height", height)? };
    let rows = match rows {
        Some((top, bottom)) => count("rows", top)?..count("rows", bottom)?,
        None => 0..size.height,
    };
    match Pixels::new("pixels", pixels)? {
        Pixels::U8(array) => resized_picture(py, &array, size, rows),
        Pixels::U16(array) => resized_picture(py, &array, size, rows),
        Pixels::F32(array) => resized_picture(py, &array, size, rows),
    }
}

fn resized_picture<'py, T: Decode + Element>(
    py: Python<'py>,
    array: &PyReadonlyArray3<'py, T>,
    size: Size,
    rows: Range<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let picture = picture("pixels", array)?;
    let count = rows.len();
    let resized = py.detach(|| crate::resize::resize_rows(picture, size, rows))?;
    Ok(to_numpy(py, resized, [count, size.width, picture.channels()])?.into_any())
}

#[pyclass(name = "Measurement", module = "darkroomd._core", frozen)]
struct PyMeasurement {
    noise_sigma: Py<PyArray2<f32>>,
    edge: Py<PyArray2<f32>>,
    softness: Py<PyArray2<f32>>,
    blockiness: Py<PyArray2<f32>>,
    dark: Py<PyArray2<f32>>,
    bright: Py<PyArray2<f32>>,
}

#[pymethods]
impl PyMeasurement {
    #[getter]
    fn noise_sigma(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.noise_sigma.clone_ref(py)
    }

    #[getter]
    fn edge(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.edge.clone_ref(py)
    }

    #[getter]
    fn softness(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.softness.clone_ref(py)
    }

    #[getter]
    fn blockiness(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.blockiness.clone_ref(py)
    }

    #[getter]
    fn dark(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.dark.clone_ref(py)
    }

    #[getter]
    fn bright(&self, py: Python<'_>) -> Py<PyArray2<f32>> {
        self.bright.clone_ref(py)
    }
}

#[pyfunction]
#[pyo3(signature = (pixels, cell=64))]
fn measure(py: Python<'_>, pixels: &Bound<'_, PyAny>, cell: i64) -> PyResult<PyMeasurement> {
    let cell = count("cell", cell)?;
    let maps = match Pixels::new("pixels", pixels)? {
        Pixels::U8(array) => measure_picture(py, &array, cell)?,
        Pixels::U16(array) => measure_picture(py, &array, cell)?,
        Pixels::F32(array) => measure_picture(py, &array, cell)?,
    };
    let map = |values: Vec<f32>| Ok::<_, PyErr>(to_numpy(py, values, [maps.rows, maps.columns])?.unbind());
    Ok(PyMeasurement {
        noise_sigma: map(maps.noise_sigma)?,
        edge: map(maps.edge)?,
        softness: map(maps.softness)?,
        blockiness: map(maps.blockiness)?,
        dark: map(maps.dark)?,
        bright: map(maps.bright)?,
    })
}

fn measure_picture<T: Decode + Element>(
    py: Python<'_>,
    array: &PyReadonlyArray3<'_, T>,
    cell: usize,
) -> PyResult<Maps> {
    let picture = picture("pixels", array)?;
    Ok(py.detach(|| crate::measure::measure(picture, cell))?)
}

#[pymodule(gil_used = false)]
mod _core {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{
        PyCanvas, PyMeasurement, PyTilePlan, cut, measure, mirrored, mix, mix_cells, plan_tiles, py_linear_from_srgb,
        py_luma_chroma_from_rgb, py_rgb_from_luma_chroma, py_srgb_from_linear, resize,
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
