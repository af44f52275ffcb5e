//! Requests for the registration bridge while they arrive: their bodies, and whether they may register. Bounded in number,
//! size and time.

use std::collections::BTreeMap;

use super::body::Body;
use crate::keys::freshness::Millis;
use crate::registration::limits::MAX_IN_HAND;
use crate::registration::route::Purpose;
use crate::registration::token::Ticket;

/// How long a body may take, and the keys that its sender's token needs.
const PATIENCE: Millis = 15_000;

/// A request.
pub(super) struct Form {
    pub(super) purpose: Purpose,
    pub(super) ticket: Option<Ticket>,
    /// The address of the endpoint, as the client knows it.
    pub(super) endpoint: String,
    pub(super) body: Vec<u8>,
    /// Whether all of it is here.
    pub(super) is_whole: bool,
    /// Whether its sender may have what it asks for.
    pub(super) is_admitted: bool,
}

impl Form {
    fn is_ready(&self) -> bool {
        self.is_whole && self.is_admitted
    }
}

/// All of them, by their streams.
#[derive(Default)]
pub(super) struct Desk {
    forms: BTreeMap<u32, (Form, Millis)>,
}

/// The body is too long.
pub(super) struct TooLong;

impl Desk {
    pub(super) fn is_empty(&self) -> bool {
        self.forms.is_empty()
    }

    pub(super) fn has(&self, context: u32) -> bool {
        self.forms.contains_key(&context)
    }

    /// Takes a request in; whether there is room.
    pub(super) fn open(&mut self, context: u32, form: Form, now: Millis) -> bool {
        let has_room = self.forms.len() < MAX_IN_HAND;
        if has_room {
            self.forms.insert(context, (form, now.saturating_add(PATIENCE)));
        }
        has_room
    }

    /// Takes a body. A request that was answered meanwhile has no form any more.
    ///
    /// # Errors
    /// It is too long. The request is forgotten.
    pub(super) fn collect(&mut self, context: u32, body: Body) -> Result<(), TooLong> {
        let Some((form, _)) = self.forms.get_mut(&context) else {
            return Ok(());
        };
        match body {
            Body::Partial => {}
            Body::TooLarge => {
                self.forms.remove(&context);
                return Err(TooLong);
            }
            Body::Whole(bytes) => {
                form.body = bytes;
                form.is_whole = true;
            }
        }
        Ok(())
    }

    /// Its sender may have what it asks for.
    pub(super) fn admit(&mut self, context: u32) {
        if let Some((form, _)) = self.forms.get_mut(&context) {
            form.is_admitted = true;
        }
    }

    pub(super) fn forget(&mut self, context: u32) {
        self.forms.remove(&context);
    }

    /// Takes out those that can be worked on, the first so many.
    pub(super) fn take_ready(&mut self, most: usize) -> Vec<(u32, Form)> {
        self.take(most, |form, _| form.is_ready())
    }

    /// Takes out those whose time is over. Whoever waits for nothing but a turn is not late.
    pub(super) fn take_late(&mut self, now: Millis) -> Vec<(u32, Form)> {
        self.take(usize::MAX, |form, deadline| deadline <= now && !form.is_ready())
    }

    /// Looks at all and moves only what it takes: it is asked in each turn while hundreds wait.
    fn take(&mut self, most: usize, is_wanted: impl Fn(&Form, Millis) -> bool) -> Vec<(u32, Form)> {
        let wanted = self.forms.iter().filter(|(_, (form, deadline))| is_wanted(form, *deadline));
        let wanted: Vec<u32> = wanted.take(most).map(|(context, _)| *context).collect();
        let taken = wanted.into_iter().filter_map(|context| Some((context, self.forms.remove(&context)?.0)));
        taken.collect()
    }
}
