//! What was heard, and what is being asked: each question once at a time, and a bounded number of each.
//!
//! Answers are found by the whole question, byte by byte. Their number is bounded because clients choose what is asked.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Question, Word};
use crate::keys::freshness::Millis;

/// Most answers that are kept. Good ones about tokens live on with what is remembered of the token.
const MOST_WORDS: usize = 4_096;
/// Most bytes that they take.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Most questions that are asked at once in one worker.
const MOST_OPEN: usize = 256;
/// How long an answer is waited for before a question is asked again, whatever its call's own limit is: in milliseconds.
const LOST: Millis = 120_000;

/// All of it, in one worker.
#[derive(Default)]
pub struct Heard {
    words: BTreeMap<Question, Kept>,
    bytes: usize,
    /// Questions without an answer.
    open: BTreeMap<Question, State>,
}

/// An answer, and the bytes that it takes.
struct Kept {
    word: Rc<Word>,
    bytes: usize,
}

enum State {
    /// It is to be sent.
    Due,
    /// It was sent.
    Sent { call: u32, at: Millis },
}

impl Heard {
    /// What counts now as the answer to a question: its own, or that nobody is to be asked for some time.
    #[must_use]
    pub fn word(&self, question: &Question, now: Millis) -> Option<&Rc<Word>> {
        let counting = |question: &Question| {
            let word = &self.words.get(question)?.word;
            (now < word.until).then_some(word)
        };
        counting(question).or_else(|| counting(&everybody(question)))
    }

    /// Opens a question, if nobody has; whether there is room.
    pub fn ask(&mut self, question: &Question) -> bool {
        if self.is_open(question) {
            return true;
        }
        let has_room = self.open.len() < MOST_OPEN;
        if has_room {
            self.open.insert(question.clone(), State::Due);
        }
        has_room
    }

    /// Whether a question is asked now.
    #[must_use]
    pub fn is_open(&self, question: &Question) -> bool {
        self.open.contains_key(question)
    }

    /// What is to be sent.
    #[must_use]
    pub fn due(&self, now: Millis) -> Vec<Question> {
        let is_due = |state: &State| match state {
            State::Due => true,
            State::Sent { at, .. } => at.saturating_add(LOST) <= now,
        };
        self.open.iter().filter(|(_, state)| is_due(state)).map(|(question, _)| question.clone()).collect()
    }

    /// A question was sent, as this call.
    pub fn sent(&mut self, question: &Question, call: u32, at: Millis) {
        if let Some(state) = self.open.get_mut(question) {
            *state = State::Sent { call, at };
        }
    }

    /// The question that a call was sent for.
    #[must_use]
    pub fn asked_by(&self, call: u32) -> Option<Question> {
        let is_sent = |state: &State| matches!(state, State::Sent { call: sent, .. } if *sent == call);
        self.open.iter().find(|(_, state)| is_sent(state)).map(|(question, _)| question.clone())
    }

    /// Takes an answer, and closes the question.
    pub fn hear(&mut self, question: Question, word: Word, now: Millis) {
        self.open.remove(&question);
        self.keep(question, word, now);
    }

    /// Whoever answered asks for quiet: until then nobody is asked about anything.
    pub fn quieten(&mut self, question: &Question, word: Word, now: Millis) {
        self.keep(everybody(question), word, now);
    }

    /// How many answers are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn keep(&mut self, question: Question, word: Word, now: Millis) {
        let bytes = size_of::<Question>().saturating_add(question.about.len()).saturating_add(word.weight());
        self.forget(&question);
        let is_full = |heard: &Self| heard.words.len() >= MOST_WORDS || heard.bytes.saturating_add(bytes) > MOST_BYTES;
        if is_full(self) {
            self.words.retain(|_, kept| now < kept.word.until);
            self.bytes = self.words.values().map(|kept| kept.bytes).sum();
        }
        while is_full(self) {
            let first = self.words.iter().min_by_key(|(_, kept)| kept.word.until).map(|(question, _)| question.clone());
            let Some(first) = first else { break };
            self.forget(&first);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.words.insert(question, Kept { word: Rc::new(word), bytes });
    }

    fn forget(&mut self, question: &Question) {
        if let Some(kept) = self.words.remove(question) {
            self.bytes = self.bytes.saturating_sub(kept.bytes);
        }
    }
}

/// What stands for every question of its kind.
fn everybody(question: &Question) -> Question {
    Question { kind: question.kind, provider: question.provider, document: question.document, about: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inquiry::{Fault, Kind, Said};
    use crate::keys::document::DocumentId;

    const NOW: Millis = 1_760_000_000_000;

    fn question(about: &str) -> Question {
        Question { kind: Kind::Introspection, provider: 0, document: DocumentId(0), about: about.to_owned() }
    }

    fn word(seconds: u64) -> Word {
        Word { said: Said::Inactive, until: NOW + seconds * 1_000 }
    }

    #[test]
    fn a_question_is_asked_once_until_it_is_answered() {
        let (mut heard, first) = (Heard::default(), question("a"));
        assert!(heard.ask(&first) && heard.ask(&first) && heard.ask(&question("b")));
        assert_eq!(heard.due(NOW).len(), 2);
        heard.sent(&first, 7, NOW);
        assert_eq!(heard.due(NOW).iter().map(|question| question.about.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(heard.ask(&first) && heard.is_open(&first));
        assert!(heard.asked_by(8).is_none());
        assert!(heard.asked_by(7).is_some_and(|asked| asked == first));
        heard.hear(first.clone(), word(1), NOW);
        assert!(!heard.is_open(&first) && heard.asked_by(7).is_none());
        assert_eq!(heard.due(NOW).len(), 1);
        assert!(heard.word(&first, NOW + 999).is_some());
        assert!(heard.word(&first, NOW + 1_000).is_none());
    }

    #[test]
    fn an_answer_that_never_comes_is_asked_for_again() {
        let (mut heard, first) = (Heard::default(), question("a"));
        heard.ask(&first);
        heard.sent(&first, 7, NOW);
        assert!(heard.due(NOW + LOST - 1).is_empty());
        assert_eq!(heard.due(NOW + LOST).len(), 1);
    }

    #[test]
    fn an_answer_is_that_to_the_very_question_and_to_no_other() {
        let mut heard = Heard::default();
        let asked = question("token");
        heard.hear(asked.clone(), word(30), NOW);
        assert!(heard.word(&asked, NOW).is_some());
        for other in [
            question("tokeN"),
            question("token "),
            question("toke"),
            question(""),
            Question { provider: 1, ..asked.clone() },
            Question { kind: Kind::Userinfo, ..asked.clone() },
            Question { document: DocumentId(1), ..asked.clone() },
        ] {
            assert!(heard.word(&other, NOW).is_none(), "{}", other.about);
        }
    }

    #[test]
    fn whoever_asks_for_quiet_is_not_asked_about_anything_and_what_is_known_still_counts() {
        let mut heard = Heard::default();
        heard.hear(question("known"), word(30), NOW);
        heard.quieten(&question("any"), Word::none(Fault::Status(429), NOW, Some(5)), NOW);
        let said =
            |about: &str, now| heard.word(&question(about), now).map(|word| matches!(word.said, Said::Nothing(_)));
        assert_eq!(said("known", NOW), Some(false));
        assert_eq!(said("new", NOW + 4_999), Some(true));
        assert_eq!(said("new", NOW + 5_000), None);
        let other = Question { provider: 1, ..question("new") };
        assert!(heard.word(&other, NOW).is_none());
    }

    #[test]
    fn what_clients_choose_takes_no_more_room_than_there_is() {
        let mut heard = Heard::default();
        for at in 0..MOST_OPEN {
            assert!(heard.ask(&question(&format!("{at}"))));
        }
        assert!(!heard.ask(&question("one too many")) && heard.ask(&question("0")));

        for at in 0..MOST_WORDS + 10 {
            // The first is over soonest.
            heard.hear(question(&format!("{at:06}")), word(10 + at as u64), NOW);
        }
        assert_eq!(heard.len(), MOST_WORDS);
        assert!(heard.word(&question("000009"), NOW).is_none() && heard.word(&question("000010"), NOW).is_some());

        let long = "x".repeat(1024 * 1024);
        for at in 0..40 {
            heard.hear(question(&format!("{at:06}{long}")), word(100_000 + at), NOW);
        }
        assert!(heard.bytes <= MOST_BYTES && heard.len() <= 16, "{} words of {} bytes", heard.len(), heard.bytes);
        let counted: usize = heard.words.values().map(|kept| kept.bytes).sum();
        assert_eq!(heard.bytes, counted);
        assert!(heard.word(&question(&format!("{:06}{long}", 39)), NOW).is_some());
    }

    #[test]
    fn a_newer_answer_takes_the_place_of_an_older_one() {
        let mut heard = Heard::default();
        heard.hear(question("a"), word(30), NOW);
        heard.hear(question("a"), word(5), NOW);
        assert_eq!((heard.len(), heard.word(&question("a"), NOW).map(|word| word.until)), (1, Some(NOW + 5_000)));
        let only = heard.bytes;
        heard.hear(question("a"), word(9), NOW);
        assert_eq!((heard.len(), heard.bytes), (1, only));
    }
}
