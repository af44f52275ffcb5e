-- How far each source was read, and which process reads it now. Times are Unix milliseconds.
CREATE TABLE sources (
    name TEXT PRIMARY KEY,
    state TEXT,
    holder TEXT,
    held_until INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
