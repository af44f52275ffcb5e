-- Events of sources that were taken, so that none is taken twice. Unix seconds.
CREATE TABLE source_events (
    source TEXT COLLATE "C" NOT NULL,
    event TEXT COLLATE "C" NOT NULL,
    forget_at BIGINT NOT NULL,
    PRIMARY KEY (source, event)
);
CREATE INDEX source_events_are_forgotten ON source_events (forget_at);
