-- The place in the feed. One row. Who writes anything locks it first: the order of the sequence is the order of commits.
CREATE TABLE feed (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    -- The last change's. Only ever grows.
    sequence BIGINT NOT NULL CHECK (sequence >= 0),
    -- Whoever has seen less needs a snapshot: something that mattered to them has been forgotten since.
    complete_from BIGINT NOT NULL CHECK (complete_from BETWEEN 0 AND sequence),
    -- How many revocations there are: counting a million takes a while.
    held BIGINT NOT NULL CHECK (held >= 0)
);
INSERT INTO feed VALUES (1, 0, 0, 0);

CREATE FUNCTION feed_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the sequence never goes back, and is never removed or replaced'; END $$;

CREATE TRIGGER feed_never_goes_back BEFORE UPDATE ON feed FOR EACH ROW
WHEN (NEW.sequence < OLD.sequence OR NEW.complete_from < OLD.complete_from) EXECUTE FUNCTION feed_refuses();
CREATE TRIGGER feed_stays BEFORE INSERT OR DELETE OR TRUNCATE ON feed FOR EACH STATEMENT EXECUTE FUNCTION feed_refuses();

-- The other instances hear of it when it is committed; equal notices of one transaction are one.
CREATE FUNCTION tell_of_news() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('entra_gate_revocations', ''); RETURN NULL; END $$;

CREATE TRIGGER feed_tells AFTER UPDATE ON feed FOR EACH ROW
WHEN (NEW.sequence > OLD.sequence OR NEW.complete_from > OLD.complete_from) EXECUTE FUNCTION tell_of_news();

-- What holds. Times are Unix seconds.
CREATE TABLE revocations (
    kind TEXT NOT NULL CHECK (kind IN ('client', 'session', 'subject', 'tenant', 'token', 'user')),
    -- The tenant, or the issuer.
    realm TEXT COLLATE "C" NOT NULL,
    -- Who or what in it; empty for a whole tenant.
    name TEXT COLLATE "C" NOT NULL,
    not_before BIGINT,
    blocked_since BIGINT,
    unblocked_at BIGINT,
    expires BIGINT,
    -- The last change's place in the feed.
    sequence BIGINT NOT NULL UNIQUE,
    PRIMARY KEY (kind, realm, name)
);
CREATE INDEX revocations_expire ON revocations (expires) WHERE expires IS NOT NULL;

CREATE FUNCTION count_revocations() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN UPDATE feed SET held = held + (SELECT count(*) FROM added); RETURN NULL; END $$;
CREATE TRIGGER revocations_are_counted AFTER INSERT ON revocations REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION count_revocations();

CREATE FUNCTION discount_revocations() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN UPDATE feed SET held = held - (SELECT count(*) FROM removed); RETURN NULL; END $$;
CREATE TRIGGER revocations_are_no_longer_counted AFTER DELETE ON revocations REFERENCING OLD TABLE AS removed
FOR EACH STATEMENT EXECUTE FUNCTION discount_revocations();

-- What was asked, by whom and why. Times are Unix milliseconds.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    -- JSON.
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    kind TEXT,
    realm TEXT COLLATE "C",
    name TEXT COLLATE "C",
    key TEXT,
    not_before BIGINT,
    blocked BIGINT NOT NULL,
    reason TEXT NOT NULL,
    changed BIGINT NOT NULL,
    -- Where the change is in the feed.
    sequence BIGINT UNIQUE,
    request_id TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (realm, name, id) WHERE realm IS NOT NULL;

CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses();

-- How far each source was read, and which instance reads it now. Times are Unix milliseconds.
CREATE TABLE sources (
    name TEXT COLLATE "C" PRIMARY KEY,
    state TEXT,
    holder TEXT,
    held_until BIGINT NOT NULL DEFAULT 0
);

-- The keys that sign the feed, sealed under a secret that is not here. Times are Unix seconds.
CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" PRIMARY KEY,
    created BIGINT NOT NULL,
    signs_from BIGINT NOT NULL,
    sealed TEXT NOT NULL
);
CREATE TRIGGER signing_keys_tell AFTER INSERT OR DELETE ON signing_keys FOR EACH ROW EXECUTE FUNCTION tell_of_news();

-- Everything up to a place of the feed in pages, for every instance: a gate may get its head from one and its pages from another.
CREATE TABLE packings (
    -- The place.
    sequence BIGINT PRIMARY KEY,
    -- JSON, as in the feed.
    paging TEXT NOT NULL,
    -- JSON: the entries that do not fit into pages.
    rest TEXT NOT NULL
);
CREATE TABLE pages (
    name TEXT COLLATE "C" PRIMARY KEY,
    packing BIGINT NOT NULL REFERENCES packings ON DELETE CASCADE,
    body BYTEA NOT NULL
);
CREATE INDEX pages_packing ON pages (packing);
