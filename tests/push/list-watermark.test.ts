import type { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { memoryCounters } from '../../src/base/index.ts'
import type { PushDrop } from '../../src/push/index.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { expectArithmetic } from './contract.ts'
import { pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { adminOf, type LogLine, recordedLog, startedRedis } from './redis-subject.ts'

let server: TestServer
let admin: Redis

beforeAll(async () => {
  server = await startRedis()
  admin = adminOf(server)
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

const KEY = 'gateway:events:MESSAGE_CREATE'

test.each([
  ['entries', { entriesMax: 100, bytesMax: 1024 ** 3 }],
  ['bytes', { entriesMax: 1_000_000, bytesMax: 100 * 8000 }],
])(
  'a list that nobody reads gets nothing more from its %s on, until it is below half',
  async (_, watermark) => {
    await admin.flushall()
    const drops: PushDrop[] = []
    const lines: LogLine[] = []
    const acks = recordedLanes()
    const counters = memoryCounters()
    const destination = await startedRedis(server, {
      watermark,
      acks,
      counters,
      log: recordedLog(lines),
      onDrop: (drop) => drops.push(drop),
    })
    const send = async (from: number, count: number, eventName: string): Promise<void> => {
      for (const event of pushEvents(count, { from, names: [eventName], d: 'x'.repeat(7900) })) {
        destination.push(event, -1, 0)
      }
      await until(() => destination.stats().queuedEvents === 0)
    }
    await send(1, 110, 'MESSAGE_CREATE')
    await send(111, 50, 'MESSAGE_CREATE')
    await send(161, 20, 'TYPING_START')
    expect(await admin.llen(KEY)).toBe(110)
    expect(await admin.llen('gateway:events:TYPING_START')).toBe(20)
    expect(drops.map(({ sequence, cause }) => [sequence, cause])).toEqual(
      Array.from({ length: 50 }, (_, index) => [111 + index, 'list_full']),
    )
    expect(acks.direct.through(0)).toBe(180)
    expectArithmetic(destination)
    const labels = { destination: 'redis', event: 'MESSAGE_CREATE', cause: 'list_full' }
    expect(counters.read('gateway_push_dropped_events_total', labels)).toBe(50)
    const errors = lines.filter(({ level }) => level === 'error')
    expect(errors.map(({ fields }) => fields['key'])).toEqual([KEY])
    await admin.ltrim(KEY, 0, 29)
    await until(() => lines.some(({ message }) => message.includes('is read again')))
    await send(181, 5, 'MESSAGE_CREATE')
    expect(await admin.llen(KEY)).toBe(35)
    expectArithmetic(destination)
    await destination.drain(100)
  },
)

test('without a limit it grows, as in the ancestor', async () => {
  await admin.flushall()
  const destination = await startedRedis(server, { watermark: { entriesMax: 0, bytesMax: 1 } })
  for (let round = 0; round < 4; round++) {
    for (const event of pushEvents(100, { from: round * 100 + 1 })) destination.push(event, -1, 0)
    await until(() => destination.stats().queuedEvents === 0)
  }
  expect(await admin.llen(KEY)).toBe(400)
  await destination.drain(100)
})
