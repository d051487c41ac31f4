//! Large buffers that are used again: a step of a training wants the same as the one before it, and new memory costs
//! as much time as the work on it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// As long as one of these is held, buffers are kept and used again. There is one set of buffers for the whole
/// program, and together with those in use they are never more than were once in use at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    _pool: Arc<Mutex<Pool>>,
}

/// The pool of those that are held.
static CURRENT: Mutex<Weak<Mutex<Pool>>> = Mutex::new(Weak::new());

/// A panic elsewhere breaks neither of the two.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub(crate) fn hold() -> Self {
        let mut current = lock(&CURRENT);
        let pool = current.upgrade().unwrap_or_default();
        *current = Arc::downgrade(&pool);
        Self { _pool: pool }
    }
}

/// All sizes are numbers of floats.
#[derive(Debug, Default)]
struct Pool {
    /// The longest unused ones first.
    free: Vec<Vec<f32>>,
    in_use: usize,
    most_in_use: usize,
}

impl Pool {
    /// A buffer of at least this length, and not much longer, if there is one. Whether or not, so much is in use now.
    fn take(&mut self, length: usize) -> Option<Vec<f32>> {
        let fits = |buffer: &Vec<f32>| (length..=2 * length).contains(&buffer.len());
        let best = (0..self.free.len()).filter(|index| fits(&self.free[*index]));
        let best = best.min_by_key(|index| self.free[*index].len());
        let taken = best.map(|index| self.free.remove(index));
        self.in_use += taken.as_ref().map_or(length, Vec::len);
        self.most_in_use = self.most_in_use.max(self.in_use);
        self.trim();
        taken
    }

    fn give(&mut self, buffer: Vec<f32>) {
        self.in_use -= buffer.len();
        self.free.push(buffer);
        self.trim();
    }

    /// Lets buffers go until there are no more than were once in use.
    fn trim(&mut self) {
        let mut total = self.in_use + self.free.iter().map(Vec::len).sum::<usize>();
        while total > self.most_in_use {
            total -= self.free.remove(0).len();
        }
    }
}

/// Floats that go back to where they came from.
#[derive(Debug)]
pub(crate) struct Buffer {
    values: Vec<f32>,
    length: usize,
    pool: Weak<Mutex<Pool>>,
}

impl Buffer {
    /// So many floats of any value.
    pub(crate) fn new(length: usize) -> Self {
        let pool = lock(&CURRENT).clone();
        let taken = pool.upgrade().and_then(|pool| lock(&pool).take(length));
        Self { values: taken.unwrap_or_else(|| vec![0.0; length]), length, pool }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            lock(&pool).give(std::mem::take(&mut self.values));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(pool: &mut Pool, length: usize) -> Vec<f32> {
        pool.take(length).unwrap_or_else(|| vec![0.0; length])
    }

    #[test]
    fn a_buffer_is_used_again_where_it_is_not_much_too_large() {
        let mut pool = Pool::default();
        let [small, large] = [100, 300].map(|length| take(&mut pool, length));
        pool.give(large);
        pool.give(small);
        assert_eq!(take(&mut pool, 90).len(), 100);
        assert_eq!(take(&mut pool, 150).len(), 300);
    }

    #[test]
    fn no_more_is_there_than_was_once_in_use() {
        let mut pool = Pool::default();
        let (mut held, mut most) = (vec![], 0);
        for (step, length) in
            [100, 300, 1000, 50, 400, 100, 7, 90, 2000, 300].into_iter().enumerate()
        {
            held.push(take(&mut pool, length));
            let in_use: usize = held.iter().map(Vec::len).sum();
            most = most.max(in_use);
            let kept = |pool: &Pool| pool.free.iter().map(Vec::len).sum::<usize>();
            assert!(in_use + kept(&pool) <= most);
            if step % 3 == 2 {
                held.drain(..).for_each(|buffer| pool.give(buffer));
                assert!(kept(&pool) <= most);
            }
        }
    }

    #[test]
    fn buffers_outlive_the_memory_and_the_other_way_round() {
        let memory = Memory::hold();
        let mut buffer = Buffer::new(33);
        buffer.fill(1.0);
        drop(memory);
        assert_eq!(buffer.iter().sum::<f32>(), 33.0);
        drop(buffer);
        assert_eq!(Buffer::new(5).len(), 5);
    }
}
