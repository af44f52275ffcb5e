//! What holds for one subject, and how it changes. Pure: time comes in, and nothing here ever makes a rule laxer but a
//! lift.

use std::time::Duration;

use entra_gate::revocation::{Effect, Rule, Subject};

/// Unix seconds, as far as an entry of the feed can name them.
pub(crate) type Time = u32;

/// What holds for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The rule.
    pub(crate) rule: Rule,
    /// When it may be forgotten; none for never.
    pub(crate) expires: Option<Time>,
}

/// What somebody wishes to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// All tokens are revoked, for as long as the subject can matter, or until the block is lifted.
    Block,
    /// All tokens are revoked, and the block may be forgotten at this time: whoever issues them has stopped.
    BlockUntil(Time),
    /// A block is over for tokens that are issued from now on.
    Lift,
    /// Tokens issued earlier are revoked.
    NotBefore(Time),
}

/// How long what is revoked can matter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    /// The longest life of an access token, `exp` − issue.
    pub(crate) token: Duration,
    /// How long a session may be refreshed.
    pub(crate) session: Duration,
}

/// Beyond a token's own life: the filter's largest `clock_skew` (10 minutes), and clocks that differ (5 minutes).
const SLACK: Duration = Duration::from_secs(15 * 60);
/// A session that is blocked again need not be told again until it matters.
const RENEWAL: Time = 24 * 3_600;

impl Lifetimes {
    /// The time at which no token is left that was issued before the given one.
    pub(crate) fn last_token_of(&self, issued_before: Time) -> Time {
        after(issued_before, self.token.saturating_add(SLACK))
    }

    /// The earliest `not_before` that some living token can still be older than.
    pub(crate) fn oldest(&self, now: u64) -> u64 {
        now.saturating_sub(self.token.saturating_add(SLACK).as_secs())
    }

    /// The time at which nothing is left of an account that was removed by the given one: no token, no session.
    pub(crate) fn last_session_of(&self, removed_at: Time) -> Time {
        after(self.last_token_of(removed_at), self.session)
    }

    /// When a block that begins now may be forgotten without being lifted.
    fn block_ends(&self, subject: &Subject, now: Time) -> Option<Time> {
        match subject {
            Subject::Token { .. } => Some(self.last_token_of(now)),
            Subject::Session { .. } => Some(self.last_session_of(now)),
            Subject::Client { .. } | Subject::Pairwise { .. } | Subject::Tenant { .. } | Subject::User { .. } => None,
        }
    }
}

/// The times of one change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Unix seconds.
    pub(crate) now: Time,
    /// How long what is revoked can matter.
    pub(crate) lifetimes: Lifetimes,
}

impl Moment {
    /// What holds after a block that ends then, or never; none if it held before, to within the margin.
    fn block(&self, ends: Option<Time>, margin: Time, standing: Option<Standing>) -> Option<Standing> {
        let rule = standing.map_or(Rule::default(), |standing| standing.rule);
        let held = standing.map(|standing| standing.expires);
        if rule.effect() == Effect::Blocked {
            let held = held.flatten()?;
            let matters = ends.is_none_or(|ends| ends > held.saturating_add(margin));
            return matters.then_some(Standing { rule, expires: ends });
        }
        // A lift is worth more than blocks from before it.
        let since = self.now.max(rule.unblocked_at.unwrap_or(0));
        Some(Standing { rule: rule.merge(Rule::blocked(since)), expires: later(held, ends) })
    }

    /// What holds after a wish; none if it held before.
    pub(crate) fn grant(&self, wish: Wish, subject: &Subject, standing: Option<Standing>) -> Option<Standing> {
        let rule = standing.map_or(Rule::default(), |standing| standing.rule);
        let blocked = rule.effect() == Effect::Blocked;
        let held = standing.map(|standing| standing.expires);
        match wish {
            Wish::Block => self.block(self.lifetimes.block_ends(subject, self.now), RENEWAL, standing),
            // Without a margin: in between there may have been tokens that outlive the block that is held.
            Wish::BlockUntil(time) => self.block(Some(time), 0, standing),
            Wish::Lift if blocked => {
                let after_block = rule.blocked_since.unwrap_or(0).saturating_add(1);
                let at = self.now.saturating_add(1).max(after_block);
                let rule = rule.merge(Rule { unblocked_at: Some(at), ..Rule::default() });
                Some(Standing { rule, expires: Some(self.lifetimes.last_token_of(at)) })
            }
            Wish::Lift => None,
            Wish::NotBefore(time) => {
                let news = Rule::not_before(time);
                if rule.effect() >= news.effect() {
                    return None;
                }
                let expires = later(held, Some(self.lifetimes.last_token_of(time)));
                Some(Standing { rule: rule.merge(news), expires })
            }
        }
    }
}

/// The later of what was held, if there was anything, and what is new; none is never.
fn later(held: Option<Option<Time>>, new: Option<Time>) -> Option<Time> {
    match held {
        None => new,
        Some(held) => Some(held?.max(new?)),
    }
}

fn after(time: Time, duration: Duration) -> Time {
    time.saturating_add(Time::try_from(duration.as_secs()).unwrap_or(Time::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = 1_760_000_000;
    const TOKEN: Time = 86_400 + 900;
    const SESSION: Time = 90 * 86_400;

    fn at(now: Time) -> Moment {
        let lifetimes = Lifetimes { token: Duration::from_secs(86_400), session: Duration::from_secs(90 * 86_400) };
        Moment { now, lifetimes }
    }

    fn user() -> Subject {
        Subject::User { tenant: "t".into(), user: "u".into() }
    }

    fn session() -> Subject {
        Subject::Session { tenant: "t".into(), session: "s".into() }
    }

    #[test]
    fn a_time_is_forgotten_when_the_last_older_token_is_gone() {
        let standing = at(NOW).grant(Wish::NotBefore(NOW + 1), &user(), None).unwrap();
        assert_eq!(standing, Standing { rule: Rule::not_before(NOW + 1), expires: Some(NOW + 1 + TOKEN) });
        assert_eq!(at(NOW).grant(Wish::NotBefore(NOW + 1), &user(), Some(standing)), None);
        assert_eq!(at(NOW).grant(Wish::NotBefore(NOW), &user(), Some(standing)), None);
        let later = at(NOW + 9).grant(Wish::NotBefore(NOW + 10), &user(), Some(standing)).unwrap();
        assert_eq!(later, Standing { rule: Rule::not_before(NOW + 10), expires: Some(NOW + 10 + TOKEN) });
    }

    #[test]
    fn a_user_s_block_stays_until_it_is_lifted() {
        let times = at(NOW).grant(Wish::NotBefore(NOW), &user(), None);
        let blocked = at(NOW).grant(Wish::Block, &user(), times).unwrap();
        assert_eq!((blocked.rule.effect(), blocked.expires), (Effect::Blocked, None));
        assert_eq!(at(NOW + 5).grant(Wish::Block, &user(), Some(blocked)), None);
        assert_eq!(at(NOW + 5).grant(Wish::NotBefore(NOW + 5), &user(), Some(blocked)), None);
        let lifted = at(NOW + 9).grant(Wish::Lift, &user(), Some(blocked)).unwrap();
        assert_eq!(lifted.rule.effect(), Effect::NotBefore(NOW + 10));
        assert_eq!(lifted.expires, Some(NOW + 10 + TOKEN));
        assert_eq!(at(NOW + 9).grant(Wish::Lift, &user(), Some(lifted)), None);
    }

    #[test]
    fn blocks_and_lifts_of_one_second_still_follow_each_other() {
        let mut standing = None;
        for round in 0..5 {
            standing = Some(at(NOW).grant(Wish::Block, &user(), standing).unwrap());
            assert_eq!(standing.unwrap().rule.effect(), Effect::Blocked, "{round}");
            standing = Some(at(NOW).grant(Wish::Lift, &user(), standing).unwrap());
            assert!(matches!(standing.unwrap().rule.effect(), Effect::NotBefore(time) if time > NOW), "{round}");
        }
    }

    #[test]
    fn whoever_saw_any_of_the_changes_in_any_order_ends_at_the_same_rule() {
        let wishes =
            [Wish::NotBefore(NOW), Wish::Block, Wish::Lift, Wish::NotBefore(NOW + 40), Wish::Block, Wish::Lift];
        let mut rules = vec![];
        let mut standing = None;
        for (step, wish) in (0_u32..).zip(wishes) {
            standing = at(NOW + step).grant(wish, &user(), standing).or(standing);
            rules.push(standing.unwrap().rule);
        }
        let last = standing.unwrap().rule;
        for skipped in 0..rules.len() {
            let seen = rules.iter().enumerate().filter(|(at, _)| *at != skipped).map(|(_, rule)| *rule);
            assert_eq!(seen.rev().fold(last, Rule::merge), last);
        }
    }

    #[test]
    fn a_lift_of_what_is_not_blocked_changes_nothing() {
        assert_eq!(at(NOW).grant(Wish::Lift, &user(), None), None);
        let times = at(NOW).grant(Wish::NotBefore(NOW), &user(), None);
        assert_eq!(at(NOW).grant(Wish::Lift, &user(), times), None);
    }

    #[test]
    fn blocks_of_tokens_and_sessions_end_with_them() {
        let token = Subject::Token { issuer: "i".into(), token: "t".into() };
        let blocked = at(NOW).grant(Wish::Block, &token, None).unwrap();
        assert_eq!(blocked.expires, Some(NOW + TOKEN));
        let blocked = at(NOW).grant(Wish::Block, &session(), None).unwrap();
        assert_eq!(blocked.expires, Some(NOW + TOKEN + SESSION));
        assert_eq!(at(NOW + RENEWAL).grant(Wish::Block, &session(), Some(blocked)), None);
        let renewed = at(NOW + RENEWAL + 1).grant(Wish::Block, &session(), Some(blocked)).unwrap();
        assert_eq!(renewed, Standing { expires: Some(NOW + RENEWAL + 1 + TOKEN + SESSION), ..blocked });
    }

    #[test]
    fn a_block_that_ends_gives_way_to_one_that_does_not() {
        let ends = NOW + TOKEN;
        let bounded = at(NOW).grant(Wish::BlockUntil(ends), &user(), None).unwrap();
        assert_eq!((bounded.rule.effect(), bounded.expires), (Effect::Blocked, Some(ends)));
        assert_eq!(at(NOW).grant(Wish::BlockUntil(ends), &user(), Some(bounded)), None);
        let longer = at(NOW).grant(Wish::BlockUntil(ends + 1), &user(), Some(bounded)).unwrap();
        assert_eq!(longer, Standing { expires: Some(ends + 1), ..bounded });
        let for_ever = at(NOW).grant(Wish::Block, &user(), Some(bounded)).unwrap();
        assert_eq!(for_ever, Standing { expires: None, ..bounded });
        assert_eq!(at(NOW).grant(Wish::BlockUntil(ends), &user(), Some(for_ever)), None);
        let lifted = at(NOW).grant(Wish::Lift, &user(), Some(bounded)).unwrap();
        assert_eq!(lifted.rule.effect(), Effect::NotBefore(NOW + 1));
    }

    #[test]
    fn times_do_not_wrap() {
        let last = at(Time::MAX);
        let blocked = last.grant(Wish::Block, &session(), None);
        assert_eq!(blocked.unwrap().expires, Some(Time::MAX));
        assert!(last.grant(Wish::NotBefore(Time::MAX), &user(), None).is_some());
    }
}
