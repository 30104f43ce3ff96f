//! The Rust core of darkroomd, in reading order.
//!
//! - `error`: what can be wrong with a call.
//! - `image`: borrowed views of pictures (HWC) and tiles (NCHW), and the numbers they hold.
//! - `tiles`: where a picture is cut, as data.
//! - `pad`: mirror padding.
//! - `colour`: sRGB, linear light, luma-chroma.
//! - `cut`: a tile out of a picture, ready for a network.
//! - `blend`: weights of overlapping tiles; mixing two pictures by a mask.
//! - `canvas`: the network's answers put together again.
//! - `measure`: noise, edges, softness, JPEG blocks and clipping as maps.
//! - `resize`: a picture at another size.
//! - `py`: the Python module, the only file that knows Python and numpy (feature `extension-module`).
//!
//! Kernels borrow slices and return vectors or an `Error`; they never panic for anything a caller can pass. `mix`,
//! `measure`, `resize` and the colour functions share rayon's global pool (`RAYON_NUM_THREADS` bounds it; it does not survive a
//! fork, so worker processes are spawned). `cut` and `Canvas` use one thread: they run beside a network that has the rest.

pub mod blend;
pub mod canvas;
pub mod colour;
pub mod cut;
pub mod error;
pub mod image;
pub mod measure;
pub mod pad;
#[cfg(feature = "extension-module")]
mod py;
pub mod resize;
pub mod tiles;
