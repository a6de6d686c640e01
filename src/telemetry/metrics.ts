/** Every metric of the programs: `docs/metrics.md` and the HELP lines come from this table. */
export interface MetricEntry {
  /** Label names, comma-separated; '' for none. */
  readonly labels: string
  readonly meaning: string
}

export const METRICS: Readonly<Record<string, MetricEntry>> = {
  gateway_build_info: {
    labels: 'version, node',
    meaning: 'Always 1; says which version of the program runs on which Node.',
  },
  gateway_uptime_seconds: {
    labels: '',
    meaning: 'Time since this process started its shards.',
  },
  gateway_events_received_total: {
    labels: 'event',
    meaning: 'Dispatches taken, by event name; names that Discord does not document are `other`.',
  },
  gateway_events_repeated_total: {
    labels: '',
    meaning: 'Dispatches that a replay brought a second time, dropped by (session, sequence).',
  },
  gateway_events_replayed_total: {
    labels: '',
    meaning: 'Events that came between a RESUME and its RESUMED.',
  },
  gateway_received_bytes_total: {
    labels: 'form',
    meaning: 'Bytes from Discord: `compressed` as they came in messages, `inflated` as payloads.',
  },
  gateway_gaps_total: {
    labels: 'cause',
    meaning: 'Ranges of events that are lost for good; each is a log line too.',
  },
  gateway_gap_events_total: {
    labels: 'cause',
    meaning: 'Events in those ranges, as far as their number is known.',
  },
  gateway_shards: {
    labels: 'state',
    meaning: 'Shards of this process in each state.',
  },
  gateway_shard_parks_total: {
    labels: '',
    meaning: 'Times that a shard was closed because a required queue was full.',
  },
  gateway_reconnects_total: {
    labels: 'cause',
    meaning:
      'Connections that ended or were ended and are followed by another: `closed`, `reconnect` (op 7), `invalid_session` (op 9), `zombie`, `timeout`, `unreachable`, `bad_frame`, `full` (parked), `restart`, `unproven`.',
  },
  gateway_connections_total: { labels: '', meaning: 'Connections to Discord that opened.' },
  gateway_connections_failed_total: {
    labels: '',
    meaning: 'Connections to Discord that did not open.',
  },
  gateway_connections_zombie_total: {
    labels: '',
    meaning: 'Connections closed because a heartbeat had no ACK before the next was due.',
  },
  gateway_closes_total: {
    labels: 'code',
    meaning:
      'Connections that were closed by the other side; 1006 is a drop without a close frame.',
  },
  gateway_frames_bad_total: {
    labels: 'cause',
    meaning: 'Frames that could not be read: the connection was closed and resumed.',
  },
  gateway_payloads_unexpected_total: {
    labels: '',
    meaning: 'Payloads with an unknown opcode, or dispatches outside a session; ignored.',
  },
  gateway_resumes_total: {
    labels: 'outcome',
    meaning:
      'RESUMEs `sent`, those that were answered by `resumed`, and sessions `lost` because Discord refused them.',
  },
  gateway_heartbeat_rtt_seconds: {
    labels: '',
    meaning: 'The longest heartbeat round trip of all shards, in seconds.',
  },
  gateway_last_frame_age_seconds: {
    labels: '',
    meaning: 'The longest time since a frame of all shards that should hear Discord, in seconds.',
  },
  gateway_unacknowledged_events: {
    labels: '',
    meaning:
      'Sequences that were received and are not acknowledged yet, of all shards: a crash now would have them replayed.',
  },
  gateway_guilds_awaited: {
    labels: '',
    meaning: 'Guilds that READY announced within the last minute and that have not come yet.',
  },
  gateway_shard_state: {
    labels: 'shard, state',
    meaning: '1 for the state in which the shard is. With `-shard-metrics`.',
  },
  gateway_shard_heartbeat_rtt_seconds: {
    labels: 'shard',
    meaning: 'Heartbeat round trip of the shard. With `-shard-metrics`.',
  },
  gateway_shard_last_frame_age_seconds: {
    labels: 'shard',
    meaning: 'Time since the last frame of the shard. With `-shard-metrics`.',
  },
  gateway_shard_events_total: {
    labels: 'shard',
    meaning: 'Dispatches taken by the shard. With `-shard-metrics`.',
  },
  gateway_shard_replayed_events_total: {
    labels: 'shard',
    meaning: 'Events of the shard that a RESUME brought. With `-shard-metrics`.',
  },
  gateway_shard_reconnects_total: {
    labels: 'shard, cause',
    meaning: 'As `gateway_reconnects_total`, of the shard. With `-shard-metrics`.',
  },
  gateway_shard_resumes_total: {
    labels: 'shard, outcome',
    meaning: 'As `gateway_resumes_total`, of the shard. With `-shard-metrics`.',
  },
  gateway_shard_received_sequence: {
    labels: 'shard',
    meaning: 'Highest sequence that the shard has read. With `-shard-metrics`.',
  },
  gateway_shard_acknowledged_sequence: {
    labels: 'shard',
    meaning:
      'Sequence up to which every event of the shard is delivered and committed. With `-shard-metrics`.',
  },
  gateway_identifies_total: { labels: 'why', meaning: 'Identifies sent.' },
  gateway_identifies_remaining: {
    labels: '',
    meaning: "Identifies left today by Discord's last word, less those sent since.",
  },
  gateway_identifies_waiting: { labels: '', meaning: 'Shards that wait for an identify permit.' },
  gateway_identify_permits: {
    labels: '',
    meaning: 'Identify permits that shards of this process hold.',
  },
  gateway_identifies_stopped: {
    labels: '',
    meaning: '1 while no identify is sent: budget, breaker, or Postgres is away.',
  },
  gateway_identify_stops_total: { labels: 'cause', meaning: 'Times that identifies were stopped.' },
  gateway_cluster_claims: { labels: '', meaning: 'Shards that this worker has claimed in etcd.' },
  gateway_cluster_workers: {
    labels: '',
    meaning: 'Workers that live in the fleet, this one included.',
  },
  gateway_cluster_lease_seconds: {
    labels: '',
    meaning:
      'Time for which the lease is proven, in seconds; at 0 nothing is claimed or identified.',
  },
  gateway_cluster_claims_total: {
    labels: 'how',
    meaning: 'Shards claimed: `first`, `orphan` (its owner is gone), `handover`.',
  },
  gateway_cluster_claims_lost_total: {
    labels: '',
    meaning: 'Shards that another worker claimed while this one held them.',
  },
  gateway_cluster_handovers_total: {
    labels: 'why',
    meaning: 'Shards handed to another worker: `drain`, `move`, `rebalance`.',
  },
  gateway_etcd_up: { labels: '', meaning: '1 while etcd answers.' },
  gateway_etcd_requests_total: { labels: '', meaning: 'Calls to etcd.' },
  gateway_etcd_failures_total: {
    labels: '',
    meaning: 'Calls to etcd that an endpoint did not answer.',
  },
  gateway_members_waiting_guilds: {
    labels: '',
    meaning:
      'Guilds whose member list is still to be fetched (-members), as far as they are known.',
  },
  gateway_members_fetched_guilds_total: { labels: '', meaning: 'Member lists that were fetched.' },
  gateway_members_received_total: { labels: '', meaning: 'Members in those lists.' },
  gateway_members_failed_guilds_total: {
    labels: '',
    meaning: 'Member lists that Discord did not send; they are tried again.',
  },
  gateway_commands_total: {
    labels: 'command, outcome',
    meaning:
      "Answers to commands of backends, per shard: `done`, `queued` (waits for Discord's limits), `refused`.",
  },
  gateway_commands_under_way: {
    labels: '',
    meaning: 'Commands taken from the Redis list and not answered for good; at most 1,000.',
  },
  gateway_commands_unanswered_total: {
    labels: '',
    meaning: 'Answers that could not be put into the list that the command named.',
  },
  gateway_commands_sent_total: {
    labels: 'op',
    meaning:
      'Commands handed to Discord, by opcode: 3 presence, 4 voice, 8 members, 31 sounds, 43 channels.',
  },
  gateway_commands_rate_limited_total: {
    labels: 'op',
    meaning: 'RATE_LIMITED events; the command is sent again when Discord allows it.',
  },
  gateway_commands_waiting: {
    labels: 'lane',
    meaning:
      'Commands that wait for the limits of their shards: `presence`, `direct`, `members`, `fill`.',
  },
  gateway_sequence_save_failures_total: {
    labels: '',
    meaning: 'Saves of acknowledged sequences that failed; the next one repeats them.',
  },
  gateway_cache_events_total: {
    labels: '',
    meaning: 'Events that the cache has turned into rows.',
  },
  gateway_cache_rows_total: { labels: '', meaning: 'Rows sent to the database.' },
  gateway_cache_rows_unchanged_total: {
    labels: '',
    meaning: 'Rows sent that the database had already as they are; nothing was written for them.',
  },
  gateway_cache_batch_rows: {
    labels: '',
    meaning: 'Histogram of the rows of a transaction.',
  },
  gateway_cache_commit_seconds: {
    labels: '',
    meaning: 'Histogram of the time from the first statement of a transaction to its COMMIT.',
  },
  gateway_cache_batches_total: { labels: '', meaning: 'Transactions of the cache that committed.' },
  gateway_cache_retries_total: {
    labels: '',
    meaning:
      'Transactions of the cache that failed and were repeated, and statements of the session and pool connections that got no answer in time.',
  },
  gateway_cache_pending_rows: { labels: '', meaning: 'Rows that wait for the database.' },
  gateway_cache_away: {
    labels: '',
    meaning:
      '1 while a transaction has been on its way for more than 2 s: pushes no longer wait for it.',
  },
  gateway_cache_pending_bytes: { labels: '', meaning: 'Bytes that wait for the database.' },
  gateway_cache_poison_rows_total: {
    labels: '',
    meaning: 'Rows that the database cannot take at all; left out, logged, a gap of the cache.',
  },
  gateway_cache_fences_lost_total: {
    labels: '',
    meaning: 'Shards that another process took while this one was writing for them.',
  },
  gateway_push_queue_events: { labels: 'destination', meaning: 'Events held for a destination.' },
  gateway_push_queue_bytes: { labels: 'destination', meaning: 'Bytes held for a destination.' },
  gateway_push_lag_seconds: {
    labels: 'destination',
    meaning: 'Age of the oldest event that is held for the destination.',
  },
  gateway_push_spill_events: {
    labels: 'destination',
    meaning: 'Events of the destination that lie on the disk.',
  },
  gateway_push_spill_unread_bytes: {
    labels: 'destination',
    meaning: 'Bytes that lie on the disk and are not in the queue again.',
  },
  gateway_push_spill_up: {
    labels: 'destination',
    meaning: '1 while the spill can be written.',
  },
  gateway_push_spilled_events_total: {
    labels: 'destination',
    meaning: 'Events that were written to the disk.',
  },
  gateway_push_taken_events_total: {
    labels: 'destination',
    meaning:
      'Events that the destination wanted: delivered, dropped by cause, or still held in its queue and on the disk.',
  },
  gateway_push_delivered_events_total: {
    labels: 'destination',
    meaning: 'Events that the destination accepted.',
  },
  gateway_push_dropped_events_total: {
    labels: 'destination, event, cause',
    meaning:
      'Events that the destination wanted and will not get: `queue_full`, `age` (waited longer than `-queue-age-max`), `list_full` (nobody reads the Redis list: `-queue-max`), `spill_full`, `spill_behind` (the disk took nothing, and memory was full), `spill_damaged`, `event_name`, `event_names_max`, `encoding`, `refused`, `slow_subscriber`, `no_subscriber`, `removed` (held by a destination that a reload took away).',
  },
  gateway_push_filter_events_total: {
    labels: 'destination, rule',
    meaning:
      'Events that a rule of the `filter` let through; rule `none`: that no rule did. Only where there are rules.',
  },
  gateway_push_flushes_total: { labels: 'destination', meaning: 'Flushes to Redis.' },
  gateway_push_flush_seconds: {
    labels: 'destination',
    meaning: 'Histogram of the time from a flush to its answer.',
  },
  gateway_push_retries_total: {
    labels: 'destination',
    meaning: 'Flushes, or single keys, that were tried again.',
  },
  gateway_push_repeats_skipped_total: {
    labels: 'destination',
    meaning:
      'Delivered events that were not pushed again, because the marks of `-redis-marks` say that an earlier run has pushed them.',
  },
  gateway_push_up: { labels: 'destination', meaning: '1 while Redis answers.' },
  gateway_push_list_length: {
    labels: 'destination, event',
    meaning: 'Length of the Redis list, as the last RPUSH answered it.',
  },
  gateway_push_stream_length: {
    labels: 'destination, stream',
    meaning: 'Length of the Redis stream, as the last flush answered it.',
  },
  gateway_push_subscriptions: {
    labels: 'destination',
    meaning: 'Durable subscriptions of gRPC Consume, with and without a stream.',
  },
  gateway_push_subscription_dropped_events_total: {
    labels: 'destination, subscription',
    meaning: 'Events that a durable subscription with SLOW_POLICY_DROP_OLDEST was too slow for.',
  },
  gateway_push_subscribers: { labels: 'destination', meaning: 'Connected gRPC subscribers.' },
  gateway_push_subscribers_cut_total: {
    labels: 'destination, cause',
    meaning: 'Subscribers that were ended because they read too slowly: `lag`, `stall`.',
  },
}

/** docs/metrics.md, whole; a test compares it with the file, and the names with those in the source. */
export function renderMetricsDoc(): string {
  const rows = Object.entries(METRICS).map(
    ([name, { labels, meaning }]) => `| \`${name}\` | ${labels} | ${meaning} |`,
  )
  return `# Metrics

\`/metrics\` on the \`-http\` address, in Prometheus' text format. This page is written by \`npm run docs\` from the table in
src/telemetry/metrics.ts. The process metrics of prom-client (\`process_*\`, \`nodejs_*\`: CPU, memory, event loop delay,
garbage collection) are there too. Under \`-workers\` each series has the label \`worker\`, and \`gateway_worker_up\` says which worker answered the scrape.

| metric | labels | meaning |
|---|---|---|
${rows.join('\n')}
`
}
