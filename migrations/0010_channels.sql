-- Channels are purged and deleted by hand. A deleted one keeps its row, without which its sequence would begin again and
-- readers could not be told what they miss; the next event takes the mark away. Rows of events up to purge_position are
-- to be removed for good; 0 where nothing is left to remove.
alter table channels add column deleted_at timestamptz, add column purge_position bigint not null default 0;
create index channels_by_name on channels (project_id, name collate "C");
create index channels_purging on channels (id) where purge_position > 0;

-- Counts purges: nodes forget what they hold of the log in memory whenever it rises.
alter table heads add column purges bigint not null default 0;

-- Dead letters are listed, removed and published again by when they came, too.
create index dead_letters_by_time on dead_letters (project_id, received_at);
alter table dead_letters add column edited_at timestamptz, add column version bigint not null default 1;
