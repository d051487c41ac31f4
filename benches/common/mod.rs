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

/// Times `work` on a device of this name: on a CPU [on all threads and on one](on_threads); on a GPU under `id`, and
/// without this crate's kernels under `id/plain`, as a user of Burn would have it.
pub fn on_device<T: Send>(
    name: &str,
    group: &mut BenchmarkGroup<WallTime>,
    id: &str,
    work: &mut (impl FnMut() -> T + Send),
) {
    if ["cpu", "ndarray"].contains(&name) {
        return on_threads(group, id, work);
    }
    group.bench_function(id, |bencher| bencher.iter(&mut *work));
    sci_burn::use_kernels(false);
    group.bench_function(format!("{id}/plain"), |bencher| bencher.iter(&mut *work));
    sci_burn::use_kernels(true);
}
