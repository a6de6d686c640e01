import { expect, test } from 'vitest'
import { memoryCounters, silentLog } from '../../src/base/index.ts'
import { SequenceSaver } from '../../src/shard/sequence-saver.ts'
import type { AcknowledgedSequence, SpillHolding, SpillHoldings } from '../../src/shard/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemorySessions } from './world.ts'

class Source {
  readonly shardId: number
  sequence = 0
  stored = 0
  isLost = false
  constructor(shardId: number) {
    this.shardId = shardId
  }
  unsavedSequence(): AcknowledgedSequence | null {
    if (this.sequence <= this.stored) return null
    const { shardId, sequence } = this
    return { shardId, fence: { epoch: 1, revision: 1 }, sessionId: 'abc', sequence }
  }
  saved(entry: AcknowledgedSequence): void {
    this.stored = entry.sequence
  }
  lose(): void {
    this.isLost = true
  }
}

function saving(spills?: SpillHoldings): {
  clock: FakeClock
  sessions: MemorySessions
  sources: Source[]
  saver: SequenceSaver
  counters: ReturnType<typeof memoryCounters>
} {
  const clock = new FakeClock()
  const sessions = new MemorySessions()
  const sources = [new Source(0), new Source(1), new Source(2)]
  const counters = memoryCounters()
  const deps = { clock, log: silentLog, counters, sessions, sources: () => sources, spills }
  return { clock, sessions, sources, saver: new SequenceSaver(deps), counters }
}

test('one statement a second for all shards that moved, none when nothing did', async () => {
  const { clock, sessions, sources, saver } = saving()
  saver.start()
  for (const source of sources.slice(0, 2)) source.sequence = 10
  await clock.advance(1000)
  expect(sessions.calls).toEqual(['saveAcknowledged'])
  expect(sources.map(({ stored }) => stored)).toEqual([10, 10, 0])
  await clock.advance(10_000)
  expect(sessions.calls).toHaveLength(1)
  saver.stop()
})

test('a shard whose fence is lost is told so; the others are saved', async () => {
  const { sessions, sources, saver } = saving()
  sessions.lost.add(1)
  for (const source of sources) source.sequence = 5
  await saver.save()
  expect(sources.map(({ isLost }) => isLost)).toEqual([false, true, false])
  expect(sources.map(({ stored }) => stored)).toEqual([5, 0, 5])
})

test('what could not be saved is saved when the store is back', async () => {
  const { clock, sessions, sources, saver, counters } = saving()
  sessions.failure = new Error('away')
  sources[0]!.sequence = 7
  saver.start()
  await clock.advance(3000)
  expect(counters.read('gateway_sequence_save_failures_total')).toBe(3)
  sessions.failure = null
  await clock.advance(1000)
  expect(sources[0]!.stored).toBe(7)
  saver.stop()
  expect(clock.timerCount).toBe(0)
})

test('what lies in spills is saved with the acknowledgements, and without them; again after a failure', async () => {
  const held: SpillHolding = { spillId: 'a', destination: 'x', takenOver: [], ranges: [] }
  let unsaved = [held]
  const spills: SpillHoldings = {
    unsaved: () => unsaved,
    saved: (saved) => {
      unsaved = unsaved.filter((one) => !saved.includes(one))
    },
  }
  const { clock, sessions, sources, saver } = saving(spills)
  sessions.failure = new Error('away')
  saver.start()
  await clock.advance(1000)
  expect(unsaved).toEqual([held])
  sessions.failure = null
  sources[0]!.sequence = 7
  await clock.advance(1000)
  expect(sessions.spills).toEqual([held])
  expect(sources[0]!.stored).toBe(7)
  expect(sessions.calls).toHaveLength(2)
  unsaved = [{ ...held, spillId: 'b' }]
  await clock.advance(1000)
  expect(sessions.spills).toMatchObject([{ spillId: 'b' }])
  await clock.advance(5000)
  expect(sessions.calls).toHaveLength(3)
  saver.stop()
})
