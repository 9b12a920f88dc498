-- Room for the first hundred million events.
select log_partitions_ensure(100000000);
