//! What the benches share.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;

/// Times `work` on all threads under `id`, and on a single one under `id/threads-1`.
pub fn on_threads<T: Send>(
    group: &mut BenchmarkGroup<WallTime>,
    id: &str,
    work: &mut (impl FnMut() -> T + Send),
) {
    let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    group.bench_function(id, |bencher| bencher.iter(&mut *work));
    group.bench_function(format!("{id}/threads-1"), |bencher| {
        single.install(|| bencher.iter(&mut *work));
    });
}
