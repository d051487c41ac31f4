use super::tone::{Tone, luminance};
use crate::error::{Error, Result};
use crate::ops::Lit;

/// What [`SteadyExposure`] needs to know of one frame of a video, measured by
/// [`Enhancer::frame_exposure`](super::Enhancer::frame_exposure).
#[derive(Clone, Debug)]
pub struct FrameExposure {
    tone: Tone,
    scene: Scene,
}

impl FrameExposure {
    /// Of a frame of `[height, width]`, from the points and pixels of its sample.
    pub(super) fn new(
        tone: Tone,
        size: [usize; 2],
        points: impl IntoIterator<Item = [usize; 2]>,
        sample: &[Lit],
    ) -> Self {
        Self { tone, scene: Scene::new(size, points, sample) }
    }

    /// The tone that [`Exposure::Auto`](super::Exposure::Auto) finds for this frame alone.
    pub fn tone(&self) -> Tone {
        self.tone
    }
}

/// [`Exposure::Auto`](super::Exposure::Auto) for videos: a tone that moves slowly toward what
/// each frame would have by itself, so that the brightness does not flicker, and that is set anew at
/// a cut.
///
/// A cut is a change of the picture, not of the tone: the pattern of light and dark is another
/// one, or the picture as a whole is more than four times as bright or dark as the frame before. A
/// light that flickers, an exposure that varies, and a fade are no cuts.
///
/// ```
/// # #[cfg(all(feature = "flex", feature = "presets"))] {
/// use sci_burn::image::Rgb;
/// use sci_burn::{Enhancer, Exposure, Frame, FrameMut, Preset, SteadyExposure};
///
/// let enhancer = Enhancer::from_preset(Preset::default(), &sci_burn::open_device("cpu")?);
/// let mut steady = SteadyExposure::new(25.0)?;
/// let mut bright = vec![0; 64 * 48 * 3];
/// for dark in [vec![9; 64 * 48 * 3], vec![10; 64 * 48 * 3]] {
///     let dark = Frame::<Rgb<u8>>::new(&dark, 64, 48, 64 * 3)?;
///     let tone = steady.next(&enhancer.frame_exposure(dark, 0.42)?);
///     let enhancer = enhancer.clone().with_exposure(Exposure::Manual(tone))?;
///     enhancer.enhance_into(dark, FrameMut::new(&mut bright, 64, 48, 64 * 3)?)?;
/// }
/// # }
/// # Ok::<(), sci_burn::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SteadyExposure {
    /// The fraction of the way to the newest tone that one frame goes.
    pace: f32,
    /// The newest frame, and the tone in use, as its stops.
    newest: Option<(Scene, f32)>,
}

impl SteadyExposure {
    /// The time constant in seconds: after it, 63 % of a change have been followed.
    pub const SECONDS: f32 = 1.0;

    /// For a video of `frame_rate` frames per second.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] if the rate is not positive and finite.
    pub fn new(frame_rate: f32) -> Result<Self> {
        if !(frame_rate > 0.0 && frame_rate.is_finite()) {
            let reason = format!("is {frame_rate}, must be positive and finite");
            return Err(Error::argument("frame_rate", reason));
        }
        let pace = -(-1.0 / (frame_rate * Self::SECONDS)).exp_m1();
        Ok(Self { pace, newest: None })
    }

    /// The tone for the next frame of the video.
    pub fn next(&mut self, frame: &FrameExposure) -> Tone {
        let newest = frame.tone.stops();
        let used = match &self.newest {
            Some((scene, used)) if !scene.is_cut(&frame.scene) => {
                used + self.pace * (newest - used)
            }
            _ => newest,
        };
        self.newest = Some((frame.scene.clone(), used));
        Tone::from_stops(used)
    }
}

/// Rows and columns of the regions of a [`Scene`].
const GRID: usize = 8;
/// Added to a luminance before its logarithm is taken, so that the noise of nearly black regions does
/// not count: one of 255 levels.
const FLOOR: f32 = 1.0 / 255.0;
/// Two frames are different scenes if their regions have changed by so many stops relative to each
/// other, on average. Two photographs differ by about one; one eighth of a frame that becomes eight
/// times as bright is less than 0.4.
const OTHER_PATTERN: f32 = 0.5;
/// Or if the picture as a whole has changed by so many stops.
const OTHER_BRIGHTNESS: f32 = 2.0;

/// What a frame looks like, coarsely.
#[derive(Clone, Debug)]
struct Scene {
    /// The logarithm to base 2 of the mean luminance of each region; NaN for a region without a point,
    /// which small pictures have.
    regions: [f32; GRID * GRID],
}

impl Scene {
    fn new(
        [height, width]: [usize; 2],
        points: impl IntoIterator<Item = [usize; 2]>,
        sample: &[Lit],
    ) -> Self {
        let mut sums = [[0.0; 2]; GRID * GRID];
        for ([y, x], [pixel, _]) in points.into_iter().zip(sample) {
            let [sum, count] = &mut sums[y * GRID / height * GRID + x * GRID / width];
            *sum += luminance(*pixel);
            *count += 1.0;
        }
        Self { regions: sums.map(|[sum, count]: [f32; 2]| (sum / count + FLOOR).log2()) }
    }

    /// Whether a frame that follows this one shows another scene.
    fn is_cut(&self, next: &Self) -> bool {
        let changes = self.regions.iter().zip(next.regions).map(|(before, after)| after - before);
        let mut changes: Vec<f32> = changes.filter(|change| !change.is_nan()).collect();
        if changes.is_empty() {
            return false;
        }
        // The median is not moved by a light that changes a part of the picture.
        changes.sort_unstable_by(f32::total_cmp);
        let brightness = changes[changes.len() / 2];
        let pattern = changes.iter().map(|change| (change - brightness).abs()).sum::<f32>();
        brightness.abs() >= OTHER_BRIGHTNESS || pattern / changes.len() as f32 >= OTHER_PATTERN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [32, 32];

    /// A gray frame whose luminance at a point is given, and the strength that it would have.
    fn frame(strength: f32, light: impl Fn(usize, usize) -> f32) -> FrameExposure {
        let points: Vec<_> = (0..32 * 32).map(|index| [index / 32, index % 32]).collect();
        let sample: Vec<Lit> =
            points.iter().map(|[y, x]| [[light(*x, *y).min(1.0); 3], [0.5; 3]]).collect();
        FrameExposure::new(Tone::from_strength(strength), SIZE, points, &sample)
    }

    /// A dark room that is lighter to the right, with noise.
    fn room(x: usize, y: usize) -> f32 {
        0.015 + 0.05 * x as f32 / 32.0 + 0.003 * ((x * 7 + y * 13) % 3) as f32
    }

    /// A street at night: black, with lit windows, and about as bright.
    fn street(x: usize, y: usize) -> f32 {
        if (x / 4 + y / 4).is_multiple_of(3) { 0.15 } else { 0.01 }
    }

    fn swing(values: &[f32]) -> f32 {
        values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn a_dark_video_that_flickers_is_damped() {
        // Strengths this close to 1 are far apart in stops, more than most cuts.
        let stops = |strength| Tone::from_strength(strength).stops();
        assert!((stops(0.95) - stops(0.85)).abs() > 0.97);
        let mut steady = SteadyExposure::new(25.0).unwrap();
        let used: Vec<f32> = (0..100)
            .map(|index| {
                let [strength, light] = if index % 2 == 0 { [0.95, 0.5] } else { [0.85, 1.0] };
                steady.next(&frame(strength, |x, y| light * room(x, y))).strength
            })
            .collect();
        assert!(swing(&used) < 0.01, "{}", swing(&used));
        assert!((0.85..0.95).contains(&used[99]), "{}", used[99]);
    }

    #[test]
    fn a_lamp_in_the_picture_that_flickers_is_damped() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        let used: Vec<f32> = (0..50)
            .map(|index| {
                let on = index % 2 == 0;
                let lit = move |x, y| if on && x < 8 && y < 16 { 0.3 } else { room(x, y) };
                steady.next(&frame(if on { 0.6 } else { 0.95 }, lit)).strength
            })
            .collect();
        assert!(swing(&used) < 0.05, "{}", swing(&used));
    }

    #[test]
    fn a_fade_is_followed_slowly() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        assert!((steady.next(&frame(0.8, room)).strength - 0.8).abs() < 1e-6);
        // Over two seconds to eight times the light.
        let used: Vec<f32> = (0..100)
            .map(|index| {
                let part = (index as f32 / 50.0).min(1.0);
                let light = (3.0 * part).exp2();
                steady.next(&frame(0.8 - 0.5 * part, |x, y| light * room(x, y))).strength
            })
            .collect();
        assert!(swing(&used) < 0.02, "{}", swing(&used));
        assert!((used[99] - 0.3).abs() < 0.06, "{}", used[99]);
    }

    #[test]
    fn a_cut_is_followed_at_once() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        // To another scene, of a strength that is not far from that before.
        for (strength, light) in
            [(0.9, room as fn(usize, usize) -> f32), (0.8, street), (0.9, room)]
        {
            for _ in 0..3 {
                assert!((steady.next(&frame(strength, light)).strength - strength).abs() < 1e-5);
            }
        }
        // To the same scene in another light.
        let bright = frame(0.2, |x, y| 8.0 * room(x, y));
        assert!((steady.next(&bright).strength - 0.2).abs() < 1e-5);
    }

    #[test]
    fn strength_and_curve_are_damped_together() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        // A room in which some frames need a curve and others less than the whole strength.
        let used: Vec<Tone> = (0..100)
            .map(|index| {
                let mut frame = frame(0.97, room);
                if index % 2 == 0 {
                    frame.tone = Tone { strength: 1.0, gamma: 1.5 };
                }
                steady.next(&frame)
            })
            .collect();
        let stops: Vec<f32> = used.iter().map(|tone| tone.stops()).collect();
        let [least, most] = [Tone::from_strength(0.97), Tone { strength: 1.0, gamma: 1.5 }];
        assert!(swing(&stops) < 0.05 * (most.stops() - least.stops()), "{}", swing(&stops));
        assert!(stops[99] > least.stops() && stops[99] < most.stops());
    }

    #[test]
    fn frames_without_anything_in_them_are_no_cuts() {
        let mut steady = SteadyExposure::new(25.0).unwrap();
        let empty = FrameExposure::new(Tone::FULL, [0, 4], [], &[]);
        assert!((steady.next(&empty).strength - 1.0).abs() < 1e-6);
        assert!(steady.next(&frame(0.5, room)).strength > 0.9);
    }

    #[test]
    fn rates_that_no_video_has_are_refused() {
        for rate in [f32::NAN, f32::INFINITY, 0.0, -25.0] {
            let message = SteadyExposure::new(rate).unwrap_err().to_string();
            assert!(message.starts_with("argument `frame_rate`: is "), "{message}");
        }
        for rate in [f32::MIN_POSITIVE, 1e-3, 1e9, f32::MAX] {
            let mut steady = SteadyExposure::new(rate).unwrap();
            steady.next(&frame(0.3, room));
            assert!((0.299..0.901).contains(&steady.next(&frame(0.9, room)).strength), "{rate}");
        }
    }
}
