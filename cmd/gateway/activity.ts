/** What this worker sees, for the dashboard of any: read from its metrics and the last lines of its log. */
import { EVENT_NAMES } from '../../src/discord/index.ts'
import type { DestinationStats } from '../../src/push/index.ts'
import type { WorkerActivity } from '../../src/server/index.ts'
import type { Metrics, RecentLine } from '../../src/telemetry/index.ts'

const NAMES = [...EVENT_NAMES, 'READY', 'RESUMED', 'other']

export function ownActivity(deps: {
  readonly worker: string
  readonly metrics: Metrics
  readonly stats: () => readonly DestinationStats[]
  readonly recent: () => readonly RecentLine[]
}): WorkerActivity {
  const events: Record<string, number> = {}
  for (const event of NAMES) {
    const count = deps.metrics.read('gateway_events_received_total', { event })
    if (count > 0) events[event] = count
  }
  return {
    worker: deps.worker,
    events,
    destinations: deps.stats().map((stats) => ({
      name: stats.destination,
      is_up: stats.isUp,
      lag_seconds: deps.metrics.read('gateway_push_lag_seconds', {
        destination: stats.destination,
      }),
      queued_events: stats.queuedEvents,
      queued_bytes: stats.queuedBytes,
      delivered_events: stats.deliveredEvents,
      dropped_events: stats.droppedEvents,
    })),
    happenings: deps.recent().map(({ atMs, level, message, shardId, fields }) => ({
      at_ms: atMs,
      level,
      message,
      shard: shardId ?? -1,
      fields,
    })),
  }
}
