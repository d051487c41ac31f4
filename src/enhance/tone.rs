use super::color::Color;
use crate::error::{Error, Result};
use crate::metrics::{self, LUMINANCE};
use crate::ops::{Lit, Rendering, greatest};
use std::ops::Range;

/// How far one picture is brightened: what [`Exposure::Auto`](super::Exposure::Auto) chooses, and what
/// can be given by hand as [`Exposure::Manual`](super::Exposure::Manual).
///
/// SCI divides a picture by its illumination `i`, which lies in `[1e-4, 1]`. With a strength `s` it is
/// divided by `1 − s·(1 − i)` instead, and a tone curve raises the result `r` to the power `1/γ`, with
/// a toe at its dark end: `r·((r + 0.02) / 1.02)^(1/γ − 1)`. The toe bounds the slope of the curve where
/// it begins, so that black and the noise in it stay dark.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tone {
    /// In `[0, 1]`: 0 leaves the picture as it is, 1 divides by the whole illumination.
    pub strength: f32,
    /// `γ`, in `[1, 4]`: 1 is no curve.
    pub gamma: f32,
}

impl Tone {
    /// The published result: the whole illumination and no curve.
    pub const FULL: Self = Self { strength: 1.0, gamma: 1.0 };

    /// The greatest [`gamma`](Self::gamma). A photograph that needs more has too few levels.
    pub const MAX_GAMMA: f32 = 4.0;

    /// A strength in `[0, 1]`, without a curve.
    pub const fn from_strength(strength: f32) -> Self {
        Self { strength, gamma: 1.0 }
    }

    pub(super) fn check(self) -> Result<Self> {
        let refused = |value: f32, name: &str, range: &str| {
            let reason = format!("has a {name} of {value}, must be from {range}");
            Err(Error::argument("exposure", reason))
        };
        match self {
            Self { strength, .. } if !(0.0..=1.0).contains(&strength) => {
                refused(strength, "strength", "0 to 1")
            }
            Self { gamma, .. } if !(1.0..=Self::MAX_GAMMA).contains(&gamma) => {
                refused(gamma, "gamma", "1 to 4")
            }
            tone => Ok(tone),
        }
    }

    pub(super) fn rendering(self, color: Color) -> Rendering {
        Rendering {
            strength: self.strength,
            exponent: self.gamma.recip(),
            kept: color == Color::Kept,
            noise: 0.0,
        }
    }

    /// By how many stops (factors of two) this brightens a pixel of 0.005 with an illumination of 0.05: a
    /// scale on which equal steps look equal.
    pub(super) fn stops(self) -> f32 {
        let strength = -(1.0 - (1.0 - DARK_LIGHT) * self.strength).log2();
        strength + (1.0 - self.gamma.recip()) * curve_stops()
    }

    /// The inverse of [`stops`](Self::stops), with a curve only where the strength alone does not do.
    pub(super) fn from_stops(stops: f32) -> Self {
        let strength = (1.0 - (-stops).exp2()) / (1.0 - DARK_LIGHT);
        if strength < 1.0 {
            return Self::from_strength(strength.max(0.0));
        }
        let exponent = 1.0 - (stops - Self::FULL.stops()) / curve_stops();
        Self { strength: 1.0, gamma: exponent.recip().clamp(1.0, Self::MAX_GAMMA) }
    }

    /// The tone that brightens a sample of a photograph to a mean luminance of `target`, or as far as the
    /// limit on clipping allows: by the strength alone if that suffices, otherwise with a curve. Pixels with
    /// a value that is not finite are left out; without any pixel it is [`FULL`](Self::FULL).
    pub(super) fn find(sample: &[Lit], target: f32, color: Color) -> Self {
        let finite = |pixel: &&Lit| pixel.as_flattened().iter().all(|value| value.is_finite());
        let sample: Vec<Lit> = sample.iter().filter(finite).copied().collect();
        if sample.is_empty() {
            return Self::FULL;
        }
        let few: Vec<Lit> = sample.iter().step_by(FEW).copied().collect();
        // Both the mean luminance and the share of clipped pixels rise with strength and gamma.
        let allowed = |sample: &[Lit], tone: Self| {
            let [luminance, greatest, clipped] = tone.outcome(sample, color);
            luminance <= target && greatest <= MOST_COLORED * target && clipped <= MOST_CLIPPED
        };
        let guess = last(0..STEPS + 1, |step| allowed(&few, Self::from_step(step)));
        Self::from_step(last_near(guess, |step| allowed(&sample, Self::from_step(step))))
    }

    /// All tones in order: those with less than the whole strength, then those with a curve.
    fn from_step(step: usize) -> Self {
        let part = step as f32 / (STEPS / 2) as f32;
        if part <= 1.0 {
            return Self::from_strength(part);
        }
        let range = 1.0 - Self::MAX_GAMMA.recip();
        Self { strength: 1.0, gamma: (1.0 - range * (part - 1.0)).recip() }
    }

    /// The means of the luminance and of the greatest channel, and the share of pixels that become clipped.
    fn outcome(self, sample: &[Lit], color: Color) -> [f32; 3] {
        let rendering = self.rendering(color);
        let [mut mean, mut colored, mut clipped] = [0.0; 3];
        for lit @ [pixel, illumination] in sample {
            let [bright, most] = match color {
                Color::Kept => {
                    let most = greatest(*pixel);
                    let bright = rendering.exposed(most, greatest(*illumination));
                    let scale = Rendering::scale(most, bright);
                    [scale * luminance(*pixel) + Rendering::SRGB_SHIFT * (scale - 1.0), bright]
                }
                Color::PerChannel => {
                    let bright = rendering.pixel(*lit);
                    [luminance(bright), greatest(bright)]
                }
            };
            mean += bright;
            colored += most;
            let is_clipped = |value: f32| value >= CLIPPING_THRESHOLD;
            clipped += f32::from(is_clipped(most) && !is_clipped(greatest(*pixel)));
        }
        let count = sample.len().max(1) as f32;
        [mean, colored, clipped].map(|sum| sum / count)
    }
}

/// The number of steps from no strength to the greatest gamma. One of them is not visible.
const STEPS: usize = 2048;
/// A first search looks at one point in so many.
const FEW: usize = 8;

/// The last of some steps that are allowed, if the first ones are and the rest is not; the first one counts
/// as allowed.
fn last(steps: Range<usize>, allowed: impl Fn(usize) -> bool) -> usize {
    let Range { start: mut low, end: mut high } = steps;
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if allowed(middle) { low = middle } else { high = middle }
    }
    low
}

/// The last of all steps that is allowed, which is probably near `guess`.
fn last_near(guess: usize, allowed: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, STEPS + 1);
    // Further and further away until the last one is enclosed.
    let (mut next, mut reach) = (guess.max(1), 4);
    while low < next && next < high {
        if allowed(next) {
            low = next;
            next += reach;
        } else {
            high = next;
            next = next.saturating_sub(reach);
        }
        reach *= 4;
    }
    last(low..high, allowed)
}

/// The illumination, and the result of the division, of the pixel that [`Tone::stops`] is about.
const DARK_LIGHT: f32 = 0.05;
const DARK_RESULT: f32 = 0.1;

/// How many stops the curve with the exponent 0 would brighten that pixel by.
fn curve_stops() -> f32 {
    ((1.0 + Rendering::TOE) / (DARK_RESULT + Rendering::TOE)).log2()
}

/// A pixel with a channel at or above this value is clipped, and at most this share of the pixels may
/// become so.
const CLIPPING_THRESHOLD: f32 = metrics::CLIPPING_THRESHOLD as f32;
const MOST_CLIPPED: f32 = 0.01;

/// The mean of the greatest channel is at most so many times the luminance asked for. Under a light of one
/// color, such as a red lamp, the luminance would ask for more than that channel can give.
const MOST_COLORED: f32 = 1.5;

/// The luminance of a pixel.
pub(super) fn luminance([red, green, blue]: [f32; 3]) -> f32 {
    LUMINANCE[0] * red + LUMINANCE[1] * green + LUMINANCE[2] * blue
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gray pixels with the same illumination.
    fn sample(levels: &[f32], illumination: f32) -> Vec<Lit> {
        levels.iter().map(|&level| [[level; 3], [illumination; 3]]).collect()
    }

    fn find(sample: &[Lit], target: f32) -> Tone {
        Tone::find(sample, target, Color::PerChannel)
    }

    #[test]
    fn a_photograph_that_is_too_dark_at_full_strength_gets_a_curve() {
        // 0.1 / 0.5 = 0.2 is not enough.
        let dark = sample(&[0.1; 50], 0.5);
        let tone = find(&dark, 0.42);
        assert_eq!(tone.strength, 1.0);
        // 0.2 · (0.22 / 1.02)^(1/γ − 1) = 0.42 at γ = 1.94.
        assert!((1.93..1.95).contains(&tone.gamma), "{tone:?}");
        let [luminance, ..] = tone.outcome(&dark, Color::PerChannel);
        assert!((0.419..=0.42).contains(&luminance), "{luminance}");
    }

    #[test]
    fn black_stays_black_and_a_curve_is_bounded() {
        let black = sample(&[0.0; 50], 0.5);
        let tone = find(&black, 0.42);
        assert_eq!(tone.gamma, Tone::MAX_GAMMA);
        assert_eq!(tone.outcome(&black, Color::Kept), [0.0; 3]);
    }

    #[test]
    fn the_luminance_is_reached_and_not_exceeded() {
        // 0.1 / (1 − s·0.9) = 0.4 at s = 0.8333.
        let Tone { strength, gamma } = find(&sample(&[0.1; 50], 0.1), 0.4);
        assert!((0.8333 - 0.002..0.8334).contains(&strength), "{strength}");
        assert_eq!(gamma, 1.0);
    }

    #[test]
    fn no_more_than_a_hundredth_becomes_clipped() {
        let mut levels = vec![0.01; 96];
        // One is clipped already and does not count, one may become so, the other two may not.
        levels.extend([0.99, 0.8, 0.5, 0.5]);
        let found = find(&sample(&levels, 0.5), 0.9);
        let [.., clipped] = found.outcome(&sample(&levels, 0.5), Color::PerChannel);
        assert!((clipped - 0.01).abs() < 1e-6, "{clipped}");
        // 0.5 / (1 − s·0.5) = 0.98 at s = 0.9796.
        assert!((0.977..0.9797).contains(&found.strength), "{found:?}");
        assert_eq!(found.gamma, 1.0);
    }

    #[test]
    fn a_value_below_black_does_not_prevent_a_curve() {
        let mut pixels = sample(&[0.1; 50], 0.5);
        pixels.push([[-0.2; 3], [0.5; 3]]);
        for color in [Color::PerChannel, Color::Kept] {
            assert!(Tone::find(&pixels, 0.42, color).gamma > 1.5);
        }
    }

    #[test]
    fn nearly_black_colors_become_paler_and_keep_their_hue() {
        let tone = Tone { strength: 0.9, gamma: 2.0 }.rendering(Color::Kept);
        let [red, green, blue] = tone.pixel([[0.02, 0.01, 0.0], [0.1; 3]]);
        assert!(red > green && green > blue && blue > 0.0, "{red} {green} {blue}");
        assert!(((red - green) / (green - blue) - 1.0).abs() < 1e-4, "{red} {green} {blue}");
    }

    #[test]
    fn a_red_light_is_not_driven_to_the_limit() {
        let red: Vec<Lit> = vec![[[0.3, 0.02, 0.01], [0.6; 3]]; 50];
        let tone = Tone::find(&red, 0.42, Color::Kept);
        let [luminance, greatest, _] = tone.outcome(&red, Color::Kept);
        assert!(luminance < 0.3 && (0.6..=0.63).contains(&greatest), "{luminance} {greatest}");
    }

    #[test]
    fn a_good_guess_finds_what_a_search_of_all_finds() {
        for expected in [0, 1, 3, 500, STEPS - 1, STEPS] {
            for guess in 0..=STEPS {
                assert_eq!(last_near(guess, |step| step <= expected), expected, "{guess}");
            }
        }
    }

    #[test]
    fn what_is_bright_enough_stays_as_it_is() {
        assert_eq!(find(&sample(&[0.6; 9], 0.7), 0.4), Tone::from_strength(0.0));
    }

    #[test]
    fn kept_colors_are_those_of_more_light() {
        // The light of a value of sRGB.
        let light = |value: f32| match value <= 0.04045 {
            true => value / 12.92,
            false => ((value + 0.055) / 1.055).powf(2.4),
        };
        // A dull color and a gray one, dark, and light enough for a curve.
        for (pixel, tolerance) in [([0.2, 0.17, 0.15], 0.03), ([0.04, 0.035, 0.03], 0.03)] {
            for tone in [Tone::from_strength(0.9), Tone { strength: 0.9, gamma: 2.0 }] {
                let bright = tone.rendering(Color::Kept).pixel([pixel, [0.3, 0.5, 0.2]]);
                assert!(bright[0] > pixel[0] * 1.5);
                let gains = [0, 1, 2].map(|c| light(bright[c]) / light(pixel[c]));
                for gain in gains {
                    assert!(
                        (gain / gains[0] - 1.0).abs() < tolerance,
                        "{pixel:?} {tone:?} {gains:?}"
                    );
                }
            }
        }
        let tone = Tone { strength: 0.9, gamma: 2.0 }.rendering(Color::Kept);
        let [red, green, blue] = tone.pixel([[0.2, 0.1, 0.05], [0.3, 0.5, 0.2]]);
        assert!(((green - blue) / (red - blue) - 1.0 / 3.0).abs() < 1e-5, "{red} {green} {blue}");
        let gray = tone.pixel([[0.1; 3], [0.5; 3]]);
        assert!(gray.iter().all(|value| (*value - gray[0]).abs() < 1e-6), "{gray:?}");
        // No light is no light, and a strength of 0 changes nothing.
        assert_eq!(tone.pixel([[0.0; 3], [0.5; 3]]), [0.0; 3]);
        let unchanged =
            Tone::from_strength(0.0).rendering(Color::Kept).pixel([[0.3, 0.2, 0.0], [0.5; 3]]);
        assert!(unchanged.iter().zip([0.3, 0.2, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn pixels_that_are_not_finite_are_left_out() {
        let mut pixels = sample(&[0.1; 9], 0.1);
        let expected = find(&pixels, 0.4);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            pixels.push([[bad, 0.1, 0.1], [0.1; 3]]);
            pixels.push([[0.1; 3], [0.1, bad, 0.1]]);
        }
        assert_eq!(find(&pixels, 0.4), expected);
        assert_eq!(find(&pixels[9..], 0.4), Tone::FULL);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn stops_are_those_of_one_tone(part in 0.0..1.0f32, curve in any::<bool>()) {
            let tone = match curve {
                true => Tone { strength: 1.0, gamma: 1.0 + 3.0 * part },
                false => Tone::from_strength(part),
            };
            let found = Tone::from_stops(tone.stops());
            prop_assert!((found.strength - tone.strength).abs() < 1e-3, "{:?} {:?}", found, tone);
            prop_assert!((found.gamma - tone.gamma).abs() < 1e-2, "{:?} {:?}", found, tone);
        }

        #[test]
        fn a_tone_never_darkens_and_never_leaves_the_range(
            pixel in [0.0..=1.0f32, 0.0..=1.0f32, 0.0..=1.0f32],
            light in [0.0..=1.0f32, 0.0..=1.0f32, 0.0..=1.0f32],
            strength in 0.0..=1.0f32, gamma in 1.0..=4.0f32, kept in any::<bool>(),
        ) {
            // The estimator's illumination is never below the pixel.
            let light = [0, 1, 2].map(|c| light[c].max(pixel[c]).max(1e-4));
            let color = if kept { Color::Kept } else { Color::PerChannel };
            let bright = Tone { strength, gamma }.rendering(color).pixel([pixel, light]);
            for (bright, dark) in bright.into_iter().zip(pixel) {
                prop_assert!(bright >= dark - 1e-6 && bright <= 1.0 + 1e-6, "{} {}", bright, dark);
            }
        }
    }
}
