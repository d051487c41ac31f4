//! The names of the layers in this crate and in the authors' PyTorch code.

/// The prefix of the estimator's tensors in a cascade.
pub(super) const ESTIMATOR: &str = "estimator.";

/// The prefix of a network's tensors in a checkpoint of a training run.
const CHECKPOINT: &str = "network.";

/// Field paths in [`SciCascade`](crate::model::SciCascade), and names in the authors' `Network`.
const LAYERS: [(&str, &str); 11] = [
    ("estimator.input_conv", "enhance.in_conv.0"),
    ("estimator.block_conv", "enhance.conv.0"),
    ("estimator.block_norm", "enhance.conv.1"),
    ("estimator.output_conv", "enhance.out_conv.0"),
    ("calibrator.input_conv", "calibrate.in_conv.0"),
    ("calibrator.input_norm", "calibrate.in_conv.1"),
    ("calibrator.block_conv_1", "calibrate.convs.0"),
    ("calibrator.block_norm_1", "calibrate.convs.1"),
    ("calibrator.block_conv_2", "calibrate.convs.3"),
    ("calibrator.block_norm_2", "calibrate.convs.4"),
    ("calibrator.output_conv", "calibrate.out_conv.0"),
];

/// PyTorch's prefixes of a shared block, and of the list that names it again for each repetition.
const SHARED_BLOCKS: [(&str, &str); 2] =
    [("enhance.conv.", "enhance.blocks."), ("calibrate.convs.", "calibrate.blocks.")];

/// This crate's name of a tensor in a file, or `None` for one that the model does not have.
///
/// An estimator that was saved alone has names without its prefix, here as in PyTorch.
pub(super) fn to_ours(stored: &str) -> Option<String> {
    let (layer, parameter) = stored.strip_prefix(CHECKPOINT).unwrap_or(stored).rsplit_once('.')?;
    let (ours, _) = LAYERS.iter().find(|(ours, theirs)| {
        layer == *ours
            || layer == *theirs
            || ours.strip_prefix(ESTIMATOR) == Some(layer)
            || theirs.strip_prefix("enhance.") == Some(layer)
    })?;
    Some(format!("{ours}.{parameter}"))
}

/// PyTorch's name of a tensor.
pub(super) fn to_pytorch(ours: &str) -> String {
    let (layer, parameter) = ours.rsplit_once('.').unwrap_or((ours, ""));
    let theirs = LAYERS.iter().find(|(known, _)| *known == layer).map_or(layer, |(_, name)| name);
    format!("{theirs}.{parameter}")
}

/// All the names under which PyTorch lists a tensor.
pub(super) fn to_pytorch_with_aliases(ours: &str, blocks: [usize; 2]) -> Vec<String> {
    let name = to_pytorch(ours);
    let aliases = SHARED_BLOCKS.iter().zip(blocks).flat_map(|((shared, list), blocks)| {
        let rest = name.strip_prefix(shared);
        rest.into_iter().flat_map(move |rest| (0..blocks).map(move |n| format!("{list}{n}.{rest}")))
    });
    let aliases: Vec<_> = aliases.collect();
    std::iter::once(name).chain(aliases).collect()
}

/// How often the estimator and the calibrator of a file apply their block, where its names list the
/// repetitions.
pub(super) fn block_counts<'a>(stored: impl Iterator<Item = &'a str>) -> [Option<usize>; 2] {
    let mut counts = [None; 2];
    for name in stored {
        for (count, (_, list)) in counts.iter_mut().zip(SHARED_BLOCKS) {
            let rest = name.strip_prefix(list).and_then(|rest| rest.split('.').next());
            if let Some(index) = rest.and_then(|index| index.parse::<usize>().ok()) {
                *count = Some(count.unwrap_or(0).max(index.saturating_add(1)));
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds_and_of_estimators_alone_are_understood() {
        let ours = Some("estimator.block_norm.running_var".to_owned());
        for stored in [
            "enhance.conv.1.running_var",
            "conv.1.running_var",
            "estimator.block_norm.running_var",
            "block_norm.running_var",
            "network.estimator.block_norm.running_var",
            "network.block_norm.running_var",
        ] {
            assert_eq!(to_ours(stored), ours, "{stored}");
        }
        assert_eq!(to_ours("enhance.blocks.0.1.running_var"), None);
        assert_eq!(to_ours("weight"), None);
    }

    #[test]
    fn shared_blocks_are_listed_as_often_as_they_are_applied() {
        assert_eq!(
            to_pytorch_with_aliases("calibrator.block_conv_2.bias", [1, 2]),
            ["calibrate.convs.3.bias", "calibrate.blocks.0.3.bias", "calibrate.blocks.1.3.bias"]
        );
        assert_eq!(
            to_pytorch_with_aliases("calibrator.input_conv.bias", [1, 2]),
            ["calibrate.in_conv.0.bias"]
        );
    }
}
