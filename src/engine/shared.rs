//! An engine that jobs and direct requests take turns with.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::{Cancel, EngineError};

/// How often whoever waits looks whether the work is still wanted.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// An engine that several use. A panic of one does not keep the others out, as every engine
/// begins its work anew.
pub type Shared<T> = Arc<Mutex<T>>;

/// Shares `engine`.
pub fn shared<T>(engine: T) -> Shared<T> {
    Arc::new(Mutex::new(engine))
}

/// Waits for a turn for as long as the work is wanted. End it with [`end_turn`] where the work
/// goes on later, so that whoever waits comes first.
///
/// # Errors
/// [`EngineError::Canceled`].
pub fn turn<'a, T: ?Sized>(
    shared: &'a Mutex<T>,
    cancel: &Cancel,
) -> Result<MutexGuard<'a, T>, EngineError> {
    loop {
        cancel.check()?;
        if let Some(guard) = shared.try_lock_for(CANCEL_CHECK) {
            return Ok(guard);
        }
    }
}

/// Hands the engine to whoever has waited longest.
pub fn end_turn<T: ?Sized>(turn: MutexGuard<'_, T>) {
    MutexGuard::unlock_fair(turn);
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn whoever_waits_comes_before_whoever_goes_on_and_can_give_up() {
        let engine = shared(Vec::new());
        let cancel = Cancel::default();
        let first = turn(&engine, &cancel).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| turn(&engine, &Cancel::default()).unwrap().push("other"));
            let gone = Cancel::default();
            let giving_up = scope.spawn({
                let gone = gone.clone();
                let engine = &engine;
                move || turn(engine, &gone).map(|_| ())
            });
            gone.cancel();
            assert!(matches!(giving_up.join().unwrap(), Err(EngineError::Canceled)));
            let mut mine = first;
            mine.push("mine");
            end_turn(mine);
            waiting.join().unwrap();
        });
        turn(&engine, &cancel).unwrap().push("again");
        assert_eq!(*engine.lock(), ["mine", "other", "again"]);
    }

    #[test]
    fn a_panic_does_not_keep_others_out() {
        let engine = shared(1);
        let panicking = Arc::clone(&engine);
        let result = thread::spawn(move || {
            let _turn = turn(&panicking, &Cancel::default());
            panic!("on purpose");
        })
        .join();
        assert!(result.is_err());
        assert_eq!(*turn(&engine, &Cancel::default()).unwrap(), 1);
    }
}
