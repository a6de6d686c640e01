/** What a scrape reads of the shards: sums and extremes always, a dozen series per shard on demand. */
import type { Counters, Labels } from '../base/index.ts'
import type { ShardStatus } from './shard.ts'
import { SHARD_STATES } from './state.ts'

/** States in which Discord should be heard. */
const HEARD_STATES: ReadonlySet<string> = new Set(['identifying', 'resuming', 'ready'])

export function shardGauges(counters: Counters, statuses: () => readonly ShardStatus[]): void {
  counters.series('gateway_shards', (add) => {
    const counts = new Map(SHARD_STATES.map((state) => [state, 0]))
    for (const { state } of statuses()) counts.set(state, counts.get(state)! + 1)
    for (const [state, count] of counts) add(count, { state })
  })
  const highest = (of: (status: ShardStatus) => number): number =>
    statuses().reduce((most, status) => Math.max(most, of(status)), 0)
  counters.gauge(
    'gateway_heartbeat_rtt_seconds',
    () => highest(({ heartbeatRttMs }) => heartbeatRttMs ?? 0) / 1000,
  )
  counters.gauge(
    'gateway_last_frame_age_seconds',
    () =>
      highest(({ state, lastFrameAgeMs }) =>
        HEARD_STATES.has(state) ? (lastFrameAgeMs ?? 0) : 0,
      ) / 1000,
  )
  counters.gauge('gateway_unacknowledged_events', () =>
    statuses().reduce((sum, { received, acknowledged }) => sum + behind(received, acknowledged), 0),
  )
}

export function shardSeries(counters: Counters, statuses: () => readonly ShardStatus[]): void {
  const each =
    (of: (status: ShardStatus) => number | null) =>
    (add: (value: number, labels: Labels) => void): void => {
      for (const status of statuses()) {
        const value = of(status)
        if (value !== null) add(value, { shard: String(status.shardId) })
      }
    }
  counters.series('gateway_shard_state', (add) => {
    for (const { shardId, state } of statuses()) add(1, { shard: String(shardId), state })
  })
  counters.series('gateway_shard_reconnects_total', (add) => {
    for (const { shardId, reconnects } of statuses()) {
      for (const [cause, count] of reconnects) add(count, { shard: String(shardId), cause })
    }
  })
  counters.series('gateway_shard_resumes_total', (add) => {
    for (const { shardId, resumes, resumed, resumesLost } of statuses()) {
      const shard = String(shardId)
      add(resumes, { shard, outcome: 'sent' })
      add(resumed, { shard, outcome: 'resumed' })
      add(resumesLost, { shard, outcome: 'lost' })
    }
  })
  counters.series(
    'gateway_shard_heartbeat_rtt_seconds',
    each(({ heartbeatRttMs }) => secondsOf(heartbeatRttMs)),
  )
  counters.series(
    'gateway_shard_last_frame_age_seconds',
    each(({ lastFrameAgeMs }) => secondsOf(lastFrameAgeMs)),
  )
  counters.series(
    'gateway_shard_events_total',
    each(({ events }) => events),
  )
  counters.series(
    'gateway_shard_replayed_events_total',
    each(({ replayed }) => replayed),
  )
  counters.series(
    'gateway_shard_received_sequence',
    each(({ received }) => received),
  )
  counters.series(
    'gateway_shard_acknowledged_sequence',
    each(({ acknowledged }) => acknowledged),
  )
}

function secondsOf(ms: number | null): number | null {
  return ms === null ? null : ms / 1000
}

/** Before the first event of a session both are -1 or 0. */
function behind(received: number, acknowledged: number): number {
  return Math.max(0, received - Math.max(0, acknowledged))
}
