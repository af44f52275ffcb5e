-- Events of sources that were taken, so that none is taken twice. Unix seconds.
CREATE TABLE source_events (
    source TEXT NOT NULL,
    event TEXT NOT NULL,
    forget_at INTEGER NOT NULL,
    PRIMARY KEY (source, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX source_events_are_forgotten ON source_events (forget_at);
