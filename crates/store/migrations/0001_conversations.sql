-- Conversations and the tree of their messages.
--
-- `number` is the order of insertion: it never depends on the machine's clock.

CREATE TABLE conversations (
    number     INTEGER PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    title      TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    system     TEXT,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX conversations_by_update ON conversations (updated_ms DESC, id DESC);

CREATE TABLE messages (
    number            INTEGER PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    conversation_id   TEXT    NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    -- Null for the first message of a branch. Not a cascade: SQLite follows a chain of cascades only 1,000 deep.
    parent_id         TEXT    REFERENCES messages (id) DEFERRABLE INITIALLY DEFERRED,
    role              TEXT    NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    status            TEXT    NOT NULL
                      CHECK (status IN ('complete', 'generating', 'stopped', 'length', 'interrupted', 'failed')),
    content           TEXT    NOT NULL,
    reasoning         TEXT,
    reasoning_ms      INTEGER,
    error             TEXT,
    model             TEXT,
    created_ms        INTEGER NOT NULL,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    reasoning_tokens  INTEGER,
    queued_ms         INTEGER,
    ttft_ms           INTEGER,
    total_ms          INTEGER
) STRICT;

CREATE INDEX messages_of_conversation ON messages (conversation_id, number);
CREATE INDEX messages_of_parent ON messages (parent_id);
-- Small: only what is being written now, or was when the program died.
CREATE INDEX messages_generating ON messages (number) WHERE status = 'generating';
