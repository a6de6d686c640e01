import { describe, expect, test } from 'vitest'
import { QueryGate } from '../../src/cache/state/query-gate.ts'
import { FakeClock } from '../support/fake-clock.ts'

/** A database that answers when the test says so. */
function gate(): { gate: QueryGate; clock: FakeClock; running: (() => void)[] } {
  const running: (() => void)[] = []
  const clock = new FakeClock()
  const port = {
    query: <Row>(): Promise<Row[]> => new Promise((resolve) => running.push(() => resolve([]))),
  }
  return { gate: new QueryGate(port, clock), clock, running }
}

describe('QueryGate', () => {
  test('eight queries run, the next waits for a place', async () => {
    const { gate: queries, clock, running } = gate()
    const answers = Array.from({ length: 9 }, () => queries.query('select 1'))
    await clock.advance(0)
    expect(running).toHaveLength(8)
    running[0]!()
    await clock.advance(0)
    expect(running).toHaveLength(9)
    for (const answer of running) answer()
    expect(await Promise.all(answers)).toHaveLength(9)
  })

  test('who waits for 5 s is refused, and what runs goes on', async () => {
    const { gate: queries, clock, running } = gate()
    const first = Array.from({ length: 8 }, () => queries.query('select 1'))
    const outcome = queries.query('select 1').then(
      () => 'answered',
      (error: { code: string }) => error.code,
    )
    await clock.advance(4999)
    const later = queries.query('select 1')
    await clock.advance(1)
    expect(await outcome).toBe('CACHE_BUSY')
    for (const answer of running.splice(0)) answer()
    await Promise.all(first)
    await clock.advance(0)
    running[0]!()
    expect(await later).toEqual([])
  })

  test('a crowd is refused at once', async () => {
    const { gate: queries, running } = gate()
    const crowd = Array.from({ length: 8 + 1024 }, () => queries.query('select 1'))
    await expect(queries.query('select 1')).rejects.toMatchObject({ code: 'CACHE_BUSY' })
    for (let round = 0; round < 200; round++) {
      for (const answer of running.splice(0)) answer()
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await Promise.all(crowd)).toHaveLength(1032)
  })
})
