use crate::error::Error;
use burn::train::{Interrupter, TrainingError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Ends a training early: because of an error, or because it was asked to.
#[derive(Clone, Default)]
pub(super) struct Halt {
    pub(super) interrupter: Interrupter,
    requested: Arc<AtomicBool>,
    /// Whether to go on until the end of the epoch. Devices that wait for each other after every step
    /// must all stop at the same one.
    after_epoch: bool,
    error: Arc<Mutex<Option<Error>>>,
    engine_error: Arc<Mutex<Option<Arc<TrainingError>>>>,
}

impl Halt {
    pub(super) fn after_epoch(self, after_epoch: bool) -> Self {
        Self { after_epoch, ..self }
    }

    /// Ends the training with an error. Only the first one is kept, since others follow from it.
    pub(super) fn fail(&self, error: Error) {
        self.error().get_or_insert(error);
        self.stop("an error");
    }

    /// Asks for the end of the training, once its epoch is complete.
    pub(super) fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Asks for the end of the training after the current step.
    pub(super) fn request_now(&self) {
        self.request();
        self.stop("a request");
    }

    fn stop(&self, reason: &str) {
        self.requested.store(true, Ordering::SeqCst);
        if !self.after_epoch {
            self.interrupter.stop(Some(reason));
        }
    }

    /// Whether the training is to end.
    pub(super) fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Whether an error was recorded.
    pub(super) fn failed(&self) -> bool {
        self.error().is_some()
    }

    /// Remembers the error that ended Burn's engine, which its dashboard makes it forget.
    pub(super) fn remember_engine_error(&self) {
        let error = self.interrupter.error();
        *self.engine_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    pub(super) fn engine_error(&self) -> Option<Arc<TrainingError>> {
        self.engine_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn take_error(&self) -> Option<Error> {
        self.error().take()
    }

    fn error(&self) -> MutexGuard<'_, Option<Error>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
