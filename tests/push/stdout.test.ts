import { afterEach, describe, expect, test } from 'vitest'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvent, pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { type LogLine, recordedLog } from './redis-subject.ts'
import { piped, type PipedDestination } from './stdout-subject.ts'

let opened: PipedDestination | undefined

afterEach(async () => {
  await opened?.close()
  opened = undefined
})

describe('stdout', () => {
  test('writes an envelope per line, or the bare payload', async () => {
    opened = piped()
    const event = pushEvent({ shardId: 2, sequence: 7, d: { content: 'a\nb', id: 1n << 60n } })
    opened.destination.push(event, -1, 0)
    await until(() => opened!.destination.stats().deliveredEvents === 1)
    const [line, ...others] = await opened.lines()
    expect(others).toEqual([])
    expect(JSON.parse(line!)).toEqual({
      t: 'MESSAGE_CREATE',
      s: 7,
      op: 0,
      d: { content: 'a\nb', id: String(1n << 60n) },
      shard: 2,
      shard_count: 4,
      session_id: 'session-a',
      class: '',
      received_at: 1_763_638_800_123,
    })
    await opened.close()
    opened = piped({ payload: 'd' })
    opened.destination.push(event, -1, 0)
    await until(() => opened!.destination.stats().deliveredEvents === 1)
    expect(await opened.lines()).toEqual([`{"content":"a\\nb","id":"${1n << 60n}"}`])
  })

  test('acknowledges nothing behind a reader that went away, and says so once', async () => {
    const lanes = recordedLanes()
    const log: LogLine[] = []
    opened = piped({
      acks: lanes,
      log: recordedLog(log),
      limits: { eventsMax: 100, bytesMax: 64 * 1024 * 1024 },
    })
    const { destination, reader } = opened
    for (const event of pushEvents(10)) destination.push(event, -1, 0)
    await until(() => lanes.direct.through(0) === 10)
    const gone = new Promise((resolve) => reader.once('close', resolve))
    reader.kill('SIGKILL')
    await gone
    for (const event of pushEvents(60, { from: 11 })) destination.push(event, -1, 0)
    await until(() => !destination.stats().isUp)
    for (const event of pushEvents(60, { from: 71 })) destination.push(event, -1, 0)
    expect(lanes.direct.through(0)).toBe(10)
    expect(destination.stats()).toMatchObject({ queuedEvents: 100, droppedEvents: 20 })
    expectArithmetic(destination)
    expect(log.map((line) => line.message)).toEqual([
      'stdout: cannot be written any more; start the program with a reader',
    ])
    // At once: nobody will read what is left.
    const startedAt = performance.now()
    expect((await destination.drain(5000)).events).toBe(100)
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})
