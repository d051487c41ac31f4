//! The share of one of several machines in the photographs.

use std::path::{Component, Path};
use std::str::FromStr;

/// One of several shares, written as `3/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which one, from 0.
    index: u32,
    count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match super::pair::<u32>(text, "/") {
            Some([number, count]) if (1..=count).contains(&number) => {
                Ok(Self { index: number - 1, count })
            }
            _ => Err("expected which share of how many, such as 3/16".to_owned()),
        }
    }
}

impl Shard {
    /// Whether a path is in this share. It depends on its names alone, so that it is in the same share
    /// whatever else is there and wherever the machine finds it.
    pub fn has(self, path: &Path) -> bool {
        let mut hasher = crc32fast::Hasher::new();
        for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
            hasher.update(part.as_os_str().as_encoded_bytes());
            hasher.update(b"/");
        }
        hasher.finalize() % self.count == self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_in_one_share_and_the_shares_are_even() {
        for count in [1, 2, 3, 16] {
            let shards: Vec<Shard> =
                (1..=count).map(|index| format!("{index}/{count}").parse().unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for photo in 0..4000 {
                let path = format!("night/{}/{photo}.jpg", photo % 7);
                let owners: Vec<_> =
                    (0..shards.len()).filter(|&n| shards[n].has(Path::new(&path))).collect();
                assert_eq!(owners.len(), 1, "{path}");
                sizes[owners[0]] += 1;
            }
            // Five standard deviations of a random division.
            let mean = 4000.0 / f64::from(count);
            let far = |size: &i32| (f64::from(*size) - mean).abs() > 5.0 * mean.sqrt();
            assert!(!sizes.iter().any(far), "{sizes:?}");
        }
    }

    /// Another division would leave photographs out where machines have different versions.
    #[test]
    fn the_division_never_changes() {
        let shares: Vec<u32> = (0..8)
            .map(|photo| {
                let path = format!("./night//{photo}.jpg");
                let has = |&n: &u32| Shard { index: n, count: 5 }.has(Path::new(&path));
                (0..5).find(has).unwrap()
            })
            .collect();
        assert_eq!(shares, [0, 0, 2, 1, 0, 4, 2, 4]);
    }

    #[test]
    fn only_shares_that_exist_are_understood() {
        for text in ["0/3", "4/3", "1/0", "1", "1/", "a/b", "-1/3", "1/2/3", "1/99999999999"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
