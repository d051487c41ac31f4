//! The names of the layers in this crate and in the authors' PyTorch code.

use crate::model::Method;

/// The prefix of the estimator's tensors in a cascade.
pub(super) const ESTIMATOR: &str = "estimator.";

/// The networks of a cascade, by the names of its fields. SCI has no increment.
pub(super) const NETWORKS: [&str; 3] = ["estimator", "increment", "calibrator"];

/// A number for each of the [`NETWORKS`].
pub(super) type PerNetwork<T> = [Option<T>; NETWORKS.len()];

/// The prefix of a network's tensors in a checkpoint of a training run.
const CHECKPOINT: &str = "network.";

/// How the layers of a method are called. `N` stands for the number of a block.
struct Names {
    /// The estimator's prefix in the authors' `Network`.
    estimator: &'static str,
    /// Paths of this crate's fields, and names in the authors' `Network`.
    layers: &'static [(&'static str, &'static str)],
    /// For each network, the prefixes after which the numbers of its blocks follow.
    blocks: [&'static [&'static str]; NETWORKS.len()],
    /// PyTorch's prefix of a shared block, which the list names again for each repetition.
    shared: PerNetwork<&'static str>,
}

const SCI: Names = Names {
    estimator: "enhance.",
    layers: &[
        ("estimator.input_conv", "enhance.in_conv.0"),
        ("estimator.block_convs.0", "enhance.conv.0"),
        ("estimator.block_norm", "enhance.conv.1"),
        ("estimator.output_conv", "enhance.out_conv.0"),
        ("calibrator.input_conv", "calibrate.in_conv.0"),
        ("calibrator.input_norm", "calibrate.in_conv.1"),
        ("calibrator.block_conv_1", "calibrate.convs.0"),
        ("calibrator.block_norm_1", "calibrate.convs.1"),
        ("calibrator.block_conv_2", "calibrate.convs.3"),
        ("calibrator.block_norm_2", "calibrate.convs.4"),
        ("calibrator.output_conv", "calibrate.out_conv.0"),
    ],
    blocks: [&["enhance.blocks."], &[], &["calibrate.blocks."]],
    shared: [Some("enhance.conv."), None, Some("calibrate.convs.")],
};

const SCI_PLUS_PLUS: Names = Names {
    estimator: "ha.",
    layers: &[
        ("estimator.input_conv", "ha.in_conv.0"),
        ("estimator.block_convs.N", "ha.blocks.N.0"),
        ("estimator.output_conv", "ha.out_conv.0"),
        ("increment.input_conv", "hb.in_conv.0"),
        ("increment.block_convs.N", "hb.blocks.N.0"),
        ("increment.output_conv", "hb.out_conv.0"),
        ("calibrator.input_conv", "calibrate.in_conv.0"),
        ("calibrator.block_convs_1.N", "calibrate.blocks.N.0"),
        ("calibrator.block_convs_2.N", "calibrate.blocks.N.2"),
        ("calibrator.output_conv", "calibrate.out_conv.0"),
    ],
    blocks: [
        &["ha.blocks.", "blocks.", "estimator.block_convs.", "block_convs."],
        &["hb.blocks.", "increment.block_convs."],
        &["calibrate.blocks.", "calibrator.block_convs_1.", "calibrator.block_convs_2."],
    ],
    shared: [None; 3],
};

fn names(method: Method) -> &'static Names {
    match method {
        Method::Sci => &SCI,
        Method::SciPlusPlus => &SCI_PLUS_PLUS,
    }
}

/// A name in a file, without the prefix of a checkpoint.
fn bare(stored: &str) -> &str {
    stored.strip_prefix(CHECKPOINT).unwrap_or(stored)
}

/// The method that a file's tensors belong to, or `None` where their names tell nothing.
///
/// The methods have names in common, and a file of SCI lists its shared blocks once more, or only, under
/// names that are those of SCI++. So whatever only SCI has decides: names that SCI++ does not know, the
/// estimator's prefix, and the statistics of a normalization.
pub(super) fn method<'a>(stored: impl Iterator<Item = &'a str>) -> Option<Method> {
    let mut method = None;
    for name in stored.map(bare) {
        let statistic = [".running_mean", ".running_var"].iter().any(|end| name.ends_with(end));
        // Blocks that no normalization belongs to are those of SCI++.
        let block = name.contains("block_convs.");
        match Method::ALL.map(|method| to_ours(method, name).is_some()) {
            [true, false] => return Some(Method::Sci),
            _ if statistic || name.starts_with(SCI.estimator) => return Some(Method::Sci),
            [sci, true] if block || !sci => method = Some(Method::SciPlusPlus),
            _ => {}
        }
    }
    method
}

/// This crate's name of a tensor in a file, or `None` for one that the model does not have.
///
/// An estimator that was saved alone has names without its prefix, here as in PyTorch.
pub(super) fn to_ours(method: Method, stored: &str) -> Option<String> {
    let (layer, parameter) = bare(stored).rsplit_once('.')?;
    let Names { estimator, layers, .. } = names(method);
    let ours = layers.iter().find_map(|(ours, theirs)| {
        let known = [*ours, *theirs].into_iter();
        let alone = [ours.strip_prefix(ESTIMATOR), theirs.strip_prefix(estimator)];
        let number = known.chain(alone.into_iter().flatten()).find_map(|name| number(name, layer));
        number.map(|number| ours.replace('N', number))
    })?;
    Some(format!("{ours}.{parameter}"))
}

/// PyTorch's name of a tensor.
pub(super) fn to_pytorch(method: Method, ours: &str) -> String {
    let (layer, parameter) = ours.rsplit_once('.').unwrap_or((ours, ""));
    let theirs = names(method)
        .layers
        .iter()
        .find_map(|(known, theirs)| Some(theirs.replace('N', number(known, layer)?)));
    format!("{}.{parameter}", theirs.as_deref().unwrap_or(layer))
}

/// The number in a layer's name that is there in place of the pattern's `N`, or the empty text where the
/// pattern has none and is the name; `None` where the name does not fit the pattern.
fn number<'a>(pattern: &str, layer: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once('N') else {
        return (pattern == layer).then_some("");
    };
    let number = layer.strip_prefix(before)?.strip_suffix(after)?;
    index(number).map(|_| number)
}

/// The number of a block, in one spelling only, so that no two names are one tensor.
fn index(text: &str) -> Option<usize> {
    text.parse().ok().filter(|index: &usize| index.to_string() == text)
}

/// All the names under which PyTorch lists a tensor.
pub(super) fn to_pytorch_with_aliases(
    method: Method,
    ours: &str,
    blocks: PerNetwork<usize>,
) -> Vec<String> {
    let name = to_pytorch(method, ours);
    let Names { shared, blocks: lists, .. } = names(method);
    let mut all = vec![name.clone()];
    for ((shared, lists), blocks) in shared.iter().zip(lists).zip(blocks) {
        if let (Some(block), Some(list)) = (shared, lists.first())
            && let Some(rest) = name.strip_prefix(block)
        {
            all.extend((0..blocks.unwrap_or(0)).map(|n| format!("{list}{n}.{rest}")));
        }
    }
    all
}

/// How many blocks the networks of a file have, where its names list them.
pub(super) fn block_counts<'a>(
    method: Method,
    stored: impl Iterator<Item = &'a str>,
) -> PerNetwork<usize> {
    let mut counts = [None; NETWORKS.len()];
    for name in stored.map(bare) {
        for (count, lists) in counts.iter_mut().zip(names(method).blocks) {
            let rest = lists.iter().find_map(|list| name.strip_prefix(list));
            let index = rest.and_then(|rest| index(rest.split('.').next()?));
            if let Some(index) = index {
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
            assert_eq!(to_ours(Method::Sci, stored), ours, "{stored}");
        }
        assert_eq!(to_ours(Method::Sci, "enhance.blocks.0.1.running_var"), None);
        assert_eq!(to_ours(Method::Sci, "weight"), None);

        let ours = Some("estimator.block_convs.12.bias".to_owned());
        for stored in [
            "ha.blocks.12.0.bias",
            "blocks.12.0.bias",
            "estimator.block_convs.12.bias",
            "block_convs.12.bias",
            "network.estimator.block_convs.12.bias",
        ] {
            assert_eq!(to_ours(Method::SciPlusPlus, stored), ours, "{stored}");
        }
        for stored in ["ha.blocks.012.0.bias", "ha.blocks.+1.0.bias", "ha.blocks..0.bias", "ha.0"] {
            assert_eq!(to_ours(Method::SciPlusPlus, stored), None, "{stored}");
            assert_eq!(block_counts(Method::SciPlusPlus, [stored].into_iter()), [None; 3]);
        }
        let last = format!("ha.blocks.{}.0.bias", usize::MAX);
        let counts = block_counts(Method::SciPlusPlus, [last.as_str()].into_iter());
        assert_eq!(counts, [Some(usize::MAX), None, None]);
    }

    #[test]
    fn every_name_of_ours_comes_back_from_pytorch() {
        for method in Method::ALL {
            for (ours, _) in names(method).layers {
                let ours = format!("{}.weight", ours.replace('N', "2"));
                assert_eq!(to_ours(method, &to_pytorch(method, &ours)), Some(ours));
            }
        }
        let stored = to_pytorch(Method::SciPlusPlus, "calibrator.block_convs_2.1.weight");
        assert_eq!(stored, "calibrate.blocks.1.2.weight");
    }

    #[test]
    fn methods_are_told_apart_by_what_only_one_of_them_has() {
        let of = |names: &[&str]| method(names.iter().copied());
        let sci = Some(Method::Sci);
        assert_eq!(of(&["calibrate.blocks.0.0.weight", "calibrate.in_conv.1.bias"]), sci);
        assert_eq!(of(&["enhance.blocks.0.0.weight"]), sci);
        assert_eq!(of(&["blocks.0.0.weight", "conv.0.weight"]), sci);
        // As it is written where each tensor has only the first of its names.
        assert_eq!(of(&["in_conv.0.bias", "blocks.0.0.bias", "blocks.0.1.running_mean"]), sci);
        assert_eq!(of(&["network.estimator.block_convs.0.bias", "block_norm.bias"]), sci);
        for name in ["ha.in_conv.0.bias", "blocks.0.0.bias", "network.block_convs.0.bias"] {
            assert_eq!(of(&["in_conv.0.bias", name]), Some(Method::SciPlusPlus), "{name}");
        }
        assert_eq!(of(&["in_conv.0.weight", "momentum"]), None);
        assert_eq!(of(&["ha.in_conv.0.weight", "grad_norm"]), Some(Method::SciPlusPlus));
    }

    #[test]
    fn shared_blocks_are_listed_as_often_as_they_are_applied() {
        let blocks = [Some(1), None, Some(2)];
        assert_eq!(
            to_pytorch_with_aliases(Method::Sci, "calibrator.block_conv_2.bias", blocks),
            ["calibrate.convs.3.bias", "calibrate.blocks.0.3.bias", "calibrate.blocks.1.3.bias"]
        );
        assert_eq!(
            to_pytorch_with_aliases(Method::Sci, "calibrator.input_conv.bias", blocks),
            ["calibrate.in_conv.0.bias"]
        );
        assert_eq!(
            to_pytorch_with_aliases(Method::SciPlusPlus, "estimator.block_convs.1.bias", blocks),
            ["ha.blocks.1.0.bias"]
        );
    }
}
