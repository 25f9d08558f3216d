-- Counts how often a trim mark of one of the project's channels was moved, so that who remembers what has been removed
-- can tell from one number whether that is still so.
alter table heads add column trims bigint not null default 0;
