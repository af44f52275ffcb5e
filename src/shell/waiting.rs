//! Requests that wait for keys, or for what others say of their token: a bounded number, for a bounded time.

use std::cell::Cell;
use std::rc::Rc;

use super::effects::Wish;
use crate::inquiry::Question;
use crate::judge::request::Request;
use crate::keys::document::DocumentId;
use crate::keys::freshness::Millis;

/// Most requests that wait in one worker. Each holds its facts, at most some 60 KiB (Envoy's limit on headers).
const MOST_WAITING: usize = 1_024;

/// A paused request.
pub(super) struct Waiter {
    /// Its stream.
    pub(super) context: u32,
    /// Set when it is let through: what follows its headers goes on then, and not before.
    pub(super) goes: Rc<Cell<bool>>,
    /// What it is judged from.
    pub(super) request: Request,
    /// What it asks for.
    pub(super) wish: Wish,
    /// The documents that it waits or has waited for, the present one last.
    pub(super) documents: Vec<DocumentId>,
    /// What it waits or has waited for to be answered, the present question last.
    pub(super) questions: Vec<Question>,
    /// Which of the two it waits for now.
    pub(super) awaits: Awaits,
    /// How many fetches of the present document had ended when it began to wait.
    pub(super) outcomes: u64,
    /// When it gets an answer whatever happens.
    pub(super) deadline: Millis,
}

/// What a request waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaits {
    Answer,
    Keys,
}

impl Waiter {
    /// A request that begins to wait. For what, and how long, is set by whoever lets it.
    pub(super) fn new(context: u32, request: Request, wish: Wish) -> Self {
        let (documents, questions) = (Vec::new(), Vec::new());
        let awaits = Awaits::Keys;
        Self { context, goes: Rc::default(), request, wish, documents, questions, awaits, outcomes: 0, deadline: 0 }
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Waiting {
    waiters: Vec<Waiter>,
}

impl Waiting {
    /// Takes a request in.
    ///
    /// # Errors
    /// Gives it back when there is no room.
    pub(super) fn add(&mut self, waiter: Waiter) -> Result<(), Waiter> {
        if self.waiters.len() >= MOST_WAITING {
            return Err(waiter);
        }
        self.waiters.push(waiter);
        Ok(())
    }

    /// Takes out those for which the time has come.
    pub(super) fn take_if(&mut self, ready: impl Fn(&Waiter) -> bool) -> Vec<Waiter> {
        let (taken, kept) = std::mem::take(&mut self.waiters).into_iter().partition(|waiter| ready(waiter));
        self.waiters = kept;
        taken
    }

    /// Forgets a stream that is gone.
    pub(super) fn forget(&mut self, context: u32) {
        self.waiters.retain(|waiter| waiter.context != context);
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }
}
