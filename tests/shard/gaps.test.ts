import { expect, test } from 'vitest'
import { type LogFields, memoryCounters, silentLog } from '../../src/base/index.ts'
import { Gaps } from '../../src/shard/gaps.ts'
import { FakeClock } from '../support/fake-clock.ts'

function make(): {
  gaps: Gaps
  clock: FakeClock
  lines: LogFields[]
  counters: ReturnType<typeof memoryCounters>
} {
  const clock = new FakeClock()
  const lines: LogFields[] = []
  const counters = memoryCounters()
  const log = {
    ...silentLog,
    warn: (_message: string, fields: LogFields = {}) => lines.push(fields),
  }
  return { gaps: new Gaps({ clock, log, counters }), clock, lines, counters }
}

test('a known gap is one line with its bounds, counted by cause', () => {
  const { gaps, lines, counters } = make()
  gaps.gap({ shardId: 3, sessionId: 's', from: 10, to: 19, cause: 'cache_full' })
  gaps.gap({ shardId: 3, sessionId: 's', from: 20, to: null, cause: 'session_refused' })
  expect(lines).toEqual([
    { shardId: 3, sessionId: 's', from: 10, to: 19, cause: 'cache_full', destination: '' },
    { shardId: 3, sessionId: 's', from: 20, to: null, cause: 'session_refused', destination: '' },
  ])
  expect(counters.read('gateway_gaps_total', { cause: 'cache_full' })).toBe(1)
  expect(counters.read('gateway_gap_events_total', { cause: 'cache_full' })).toBe(10)
  expect(counters.read('gateway_gap_events_total', { cause: 'session_refused' })).toBe(0)
})

test('single drops become one range per shard, cause and destination', async () => {
  const { gaps, clock, lines, counters } = make()
  const drop = (shardId: number, sequence: number, sessionId = 's'): void =>
    gaps.drop({ shardId, sessionId, sequence, cause: 'queue_full', destination: 'redis' })
  for (const sequence of [5, 6, 9]) drop(0, sequence)
  drop(1, 2)
  drop(0, 1, 'next')
  expect(lines).toHaveLength(1)
  await clock.advance(3000)
  expect(lines.map(({ shardId, from, to, events }) => ({ shardId, from, to, events }))).toEqual([
    { shardId: 0, from: 5, to: 9, events: 3 },
    { shardId: 1, from: 2, to: 2, events: 1 },
    { shardId: 0, from: 1, to: 1, events: 1 },
  ])
  expect(counters.read('gateway_gap_events_total', { cause: 'queue_full' })).toBe(5)
  expect(clock.timerCount).toBe(0)
})
