-- The place in the feed. One row.
CREATE TABLE feed (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    -- The last change's. Only ever grows.
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    -- Whoever has seen less needs a snapshot: something that mattered to them has been forgotten since.
    complete_from INTEGER NOT NULL CHECK (complete_from BETWEEN 0 AND sequence),
    -- How many revocations there are: counting a million takes a while.
    held INTEGER NOT NULL CHECK (held >= 0)
) STRICT;
INSERT INTO feed VALUES (1, 0, 0, 0);

CREATE TRIGGER feed_never_goes_back BEFORE UPDATE ON feed
WHEN NEW.sequence < OLD.sequence OR NEW.complete_from < OLD.complete_from
BEGIN SELECT RAISE(ABORT, 'the sequence never goes back'); END;

CREATE TRIGGER feed_stays BEFORE DELETE ON feed
BEGIN SELECT RAISE(ABORT, 'the sequence is never removed'); END;

-- REPLACE removes without asking the trigger above.
CREATE TRIGGER feed_is_not_replaced BEFORE INSERT ON feed
BEGIN SELECT RAISE(ABORT, 'the sequence is never replaced'); END;

-- What holds. Times are Unix seconds.
CREATE TABLE revocations (
    kind TEXT NOT NULL CHECK (kind IN ('client', 'session', 'subject', 'tenant', 'token', 'user')),
    -- The tenant, or the issuer.
    realm TEXT NOT NULL,
    -- Who or what in it; empty for a whole tenant.
    name TEXT NOT NULL,
    not_before INTEGER,
    blocked_since INTEGER,
    unblocked_at INTEGER,
    expires INTEGER,
    -- The last change's place in the feed.
    sequence INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (kind, realm, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX revocations_expire ON revocations (expires) WHERE expires IS NOT NULL;

CREATE TRIGGER revocation_is_counted AFTER INSERT ON revocations
BEGIN UPDATE feed SET held = held + 1; END;

CREATE TRIGGER revocation_is_no_longer_counted AFTER DELETE ON revocations
BEGIN UPDATE feed SET held = held - 1; END;

-- What was asked, by whom and why. Times are Unix milliseconds.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    -- JSON.
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT,
    realm TEXT,
    name TEXT,
    key TEXT,
    not_before INTEGER,
    blocked INTEGER NOT NULL,
    reason TEXT NOT NULL,
    changed INTEGER NOT NULL,
    -- Where the change is in the feed.
    sequence INTEGER UNIQUE,
    request_id TEXT NOT NULL
) STRICT;
CREATE INDEX audit_subject ON audit (realm, name, id) WHERE realm IS NOT NULL;

CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TRIGGER audit_is_never_removed BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

-- REPLACE removes without asking the trigger above.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id OR sequence = NEW.sequence)
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
