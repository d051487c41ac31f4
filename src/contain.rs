//! One place where the panics of codecs end, and of devices.

#[cfg(feature = "train")]
use crate::error::{Error, Result};
use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether this thread is inside [`contain`].
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a codec, and makes an error of its panic.
///
/// Codecs answer damaged files with errors, apart from faults such as that of `png` 0.18.1, which
/// panics where the length of a palette is not a multiple of three. One photograph must not end the
/// work on the others, nor a server that decodes what strangers send. Where a program is compiled
/// with `panic = "abort"`, a panic still ends it.
///
/// A codec must not be used any more after its panic. Here it is consumed, or dropped with the
/// closure, hence the assertion of unwind safety.
pub(crate) fn contain<T>(codec: impl FnOnce() -> T) -> std::result::Result<T, String> {
    keep_silent();
    let outer = CONTAINED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(codec));
    CONTAINED.set(outer);
    result.map_err(|payload| format!("the codec failed: {}", message(&*payload)))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
    message.unwrap_or("it panicked without a message")
}

/// Runs operations on a device, and makes an error of their panic, which is how Burn's fail. What they worked on must
/// not be used any more. The panic's message is printed, since it may be a fault of ours.
#[cfg(feature = "train")]
pub(crate) fn contain_operations<T>(operations: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(operations))
        .unwrap_or_else(|payload| Err(Error::execution(message(&*payload).to_owned())))
}

/// Lets no message of a contained panic be printed.
///
/// A library does not print, and the default hook would print a backtrace beside the error that is
/// returned. There is no other way to prevent it than a hook, which the process has only one of. So
/// ours is installed once, before the first codec runs, and passes every panic outside of codecs to
/// the hook that was there. A hook that the program sets later replaces it; then contained panics
/// are printed again, and nothing else changes.
fn keep_silent() {
    static INSTALLED: Once = Once::new();
    // A hook cannot be set while a thread panics, for example where a destructor saves a file.
    if std::thread::panicking() {
        return;
    }
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // During the end of a thread its locals may be gone.
            if !CONTAINED.try_with(Cell::get).unwrap_or(false) {
                previous(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_and_the_thread_goes_on() {
        assert_eq!(contain(|| 7), Ok(7));
        let error = contain(|| -> () { panic!("index {} out of bounds", 3) }).unwrap_err();
        assert_eq!(error, "the codec failed: index 3 out of bounds");
        let error = contain(|| -> () { panic::panic_any(3) }).unwrap_err();
        assert!(error.contains("without a message"), "{error}");
        assert!(!CONTAINED.get());
        // A panic inside two of them leaves the outer one silent.
        let inner = contain(|| (contain(|| -> () { panic!("inner") }).is_err(), CONTAINED.get()));
        assert_eq!(inner, Ok((true, true)));
    }
}
