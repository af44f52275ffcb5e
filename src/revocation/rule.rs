//! The one rule of a subject: what is known of it, and what follows.

/// Unix seconds. Times that an entry may name end in 2106.
pub type Time = u32;

/// All that is known of a subject. Each part only ever grows, so rules merge in any order, any number of times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Tokens issued earlier are revoked.
    pub not_before: Option<Time>,
    /// All tokens are revoked. The time says since when, 0 if that was not told: only a later `unblocked_at` lifts it.
    pub blocked_since: Option<Time>,
    /// A block is over for tokens issued from then on.
    pub unblocked_at: Option<Time>,
}

/// Which tokens a rule revokes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Those issued earlier than this.
    NotBefore(Time),
    /// All. Stricter than any time, hence last.
    Blocked,
}

impl Effect {
    /// Whether a token that was issued at this time is revoked.
    #[must_use]
    pub fn revokes(self, issued_at: u64) -> bool {
        match self {
            Self::Blocked => true,
            Self::NotBefore(not_before) => issued_at < u64::from(not_before),
        }
    }
}

impl Rule {
    /// Tokens issued earlier are revoked.
    #[must_use]
    pub fn not_before(time: Time) -> Self {
        Self { not_before: Some(time), ..Self::default() }
    }

    /// All tokens are revoked, since this time.
    #[must_use]
    pub fn blocked(since: Time) -> Self {
        Self { blocked_since: Some(since), ..Self::default() }
    }

    /// The stricter of both, part by part.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            blocked_since: self.blocked_since.max(other.blocked_since),
            unblocked_at: self.unblocked_at.max(other.unblocked_at),
        }
    }

    /// What follows. A lift is worth more than blocks from before it, and nothing against later ones.
    #[must_use]
    pub fn effect(self) -> Effect {
        match (self.blocked_since, self.unblocked_at) {
            (Some(blocked), lifted) if lifted.is_none_or(|lifted| lifted <= blocked) => Effect::Blocked,
            // Whoever was unblocked was blocked: tokens from before stay revoked, even if the block was never seen.
            (_, lifted) => Effect::NotBefore(self.not_before.max(lifted).unwrap_or(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_says_what_it_revokes_to_the_second() {
        let lifted = |since, at| Rule { unblocked_at: Some(at), ..Rule::blocked(since) };
        for (rule, effect) in [
            (Rule::default(), Effect::NotBefore(0)),
            (Rule::not_before(5), Effect::NotBefore(5)),
            (Rule::blocked(0), Effect::Blocked),
            (lifted(0, 9), Effect::NotBefore(9)),
            (lifted(8, 9), Effect::NotBefore(9)),
            (lifted(9, 9), Effect::Blocked),
            (lifted(10, 9), Effect::Blocked),
            (Rule { unblocked_at: Some(9), ..Rule::default() }, Effect::NotBefore(9)),
            (Rule { not_before: Some(12), ..lifted(8, 9) }, Effect::NotBefore(12)),
            (Rule { not_before: Some(7), ..lifted(8, 9) }, Effect::NotBefore(9)),
        ] {
            assert_eq!(rule.effect(), effect, "{rule:?}");
        }
        assert!(
            Effect::NotBefore(5).revokes(4) && !Effect::NotBefore(5).revokes(5) && Effect::Blocked.revokes(u64::MAX)
        );
    }

    #[test]
    fn merging_is_free_of_order_and_repetition_and_never_laxer() {
        let times = [None, Some(0), Some(1), Some(2), Some(Time::MAX)];
        let mut rules = Vec::new();
        for not_before in times {
            for blocked_since in times {
                rules.extend(times.map(|unblocked_at| Rule { not_before, blocked_since, unblocked_at }));
            }
        }
        for one in &rules {
            assert_eq!(one.merge(*one), *one);
            for other in &rules {
                assert_eq!(one.merge(*other), other.merge(*one));
                let third = Rule { not_before: Some(2), blocked_since: Some(1), unblocked_at: None };
                assert_eq!(one.merge(*other).merge(third), one.merge(other.merge(third)));
                // Without a lift in it, nothing makes a rule laxer.
                if other.unblocked_at.is_none() {
                    assert!(one.merge(*other).effect() >= one.effect(), "{one:?} {other:?}");
                }
            }
        }
    }
}
