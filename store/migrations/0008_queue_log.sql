-- Nobody needs the queue's log after a crash: without WAL, writing it costs less.
ALTER TABLE pgqueuer_log SET UNLOGGED;
