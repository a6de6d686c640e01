import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { wireDestination, type WiredDestination } from '../../cmd/gateway/destinations.ts'
import { DestinationsReload } from '../../cmd/gateway/reload.ts'
import { memoryCounters, seededRandom, systemClock } from '../../src/base/index.ts'
import { type DestinationConfig, readGatewayConfig } from '../../src/config/index.ts'
import { SpillLedger, SpillThread, Push } from '../../src/push/index.ts'
import { AckMarks } from '../../src/shard/index.ts'
import { pushEvent } from '../push/events.ts'
import { adminOf, type LogLine, recordedLog } from '../push/redis-subject.ts'
import { startRedis, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

let server: TestServer
let admin: Redis
let folder: string
let lines: LogLine[]
let marks: AckMarks
let push: Push
let reload: DestinationsReload
let sequence: number

beforeAll(async () => {
  server = await startRedis()
  admin = adminOf(server)
})

afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

beforeEach(async () => {
  await admin.flushall()
  folder = mkdtempSync(join(tmpdir(), 'gateway-reload-'))
  lines = []
  sequence = 0
})

afterEach(async () => {
  await push.drain(1000)
  reload.close()
  rmSync(folder, { recursive: true, force: true })
})

const file = (): string => join(folder, 'destinations.yaml')
const write = (items: string): void => writeFileSync(file(), `destinations: [${items}]`)
const list = (name: string, rest = ''): string =>
  `{name: ${name}, kind: redis-list, address: "${server.url}", prefix: "${name}:"${rest}}`

function read(): readonly DestinationConfig[] {
  const command = readGatewayConfig(
    ['-token', 'x', '-when-full', 'drop-new', '-destinations', file()],
    {},
  )
  if (command.kind !== 'run') throw new Error(command.kind)
  return command.config.destinations
}

async function start(items: string): Promise<void> {
  write(items)
  const log = recordedLog(lines)
  const counters = memoryCounters()
  marks = new AckMarks(1)
  marks.begin(0, 0)
  const wire = (config: DestinationConfig): Promise<WiredDestination> =>
    wireDestination(config, {
      clock: systemClock,
      random: seededRandom(1),
      log,
      counters,
      fleetId: 'test',
      connectionName: 'gateway-test',
      spill: { folder: '', thread: new SpillThread(), ledger: new SpillLedger() },
      lane: () => marks.lane(),
      removeLane: (lane) => marks.remove(lane),
      onDrop: () => undefined,
    })
  const wired = await Promise.all(read().map(wire))
  push = new Push(wired.map(({ destination }) => destination))
  reload = new DestinationsReload(wired, { read, wire, push, drainMs: 500, counters, log })
  await push.start()
}

/** As the shard does: the lanes first, then the mark of what was received. */
function send(count: number, eventName = 'MESSAGE_CREATE'): void {
  for (let index = 0; index < count; index++) {
    sequence++
    push.push(pushEvent({ sequence, eventName, d: sequence }), -1, 0)
    marks.receive(0, sequence)
  }
}

const length = (key: string): Promise<number> => admin.llen(key)
const acknowledged = (): Promise<void> => until(() => marks.acknowledged(0) === sequence)
const messages = (): string[] => lines.map((line) => line.message)

describe('destinations that are read again', () => {
  test('a filter changes in flight, on the same connection, and nothing that was taken is lost', async () => {
    await start(list('a'))
    const clientId = async (): Promise<string> =>
      /id=(\d+) .*name=gateway-test/.exec((await admin.client('LIST')) as string)![1]!
    const before = await clientId()
    send(500)
    write(list('a', ', events: [TYPING_START]'))
    const done = reload.reload()
    await done
    send(500)
    send(10, 'TYPING_START')
    await acknowledged()
    expect(await length('a:MESSAGE_CREATE')).toBe(500)
    expect(await length('a:TYPING_START')).toBe(10)
    expect(await clientId()).toBe(before)
    expect(reload.configs[0]!.events).toEqual(new Set(['TYPING_START']))
  })

  test('one is added, one is removed when it has delivered everything', async () => {
    await start(`${list('a')}, ${list('b')}`)
    send(500)
    write(`${list('a')}, ${list('c')}`)
    const done = reload.reload()
    await until(() => messages().includes('destinations: the file is in force'))
    send(500)
    await done
    await acknowledged()
    expect(await length('a:MESSAGE_CREATE')).toBe(1000)
    expect(await length('b:MESSAGE_CREATE')).toBe(500)
    expect(await length('c:MESSAGE_CREATE')).toBe(500)
    const line = lines.find(({ message }) => message === 'destinations: the file is in force')
    expect(line!.fields).toEqual({ added: ['c'], removed: ['b'], filtered: [] })
    expect(messages()).toContain('destination removed: everything is delivered')
  })

  test('one that goes elsewhere is replaced: each event arrives in one of both places', async () => {
    await start(list('a'))
    send(300)
    write(list('a').replace('"a:"', '"other:"'))
    const done = reload.reload()
    await until(() => messages().includes('destinations: the file is in force'))
    send(300)
    await done
    await acknowledged()
    expect(await length('a:MESSAGE_CREATE')).toBe(300)
    expect(await length('other:MESSAGE_CREATE')).toBe(300)
  })

  test('one that is away when it is removed holds the acknowledgement no longer', async () => {
    const away = '{name: away, kind: redis-list, address: "127.0.0.1:1", required: false}'
    await start(`${list('a')}, ${away}`)
    send(5)
    await until(async () => (await length('a:MESSAGE_CREATE')) === 5)
    expect(marks.acknowledged(0)).toBe(0)
    write(list('a', ', required: false'))
    await reload.reload()
    await acknowledged()
    const line = lines.find(({ message }) => message.startsWith('destination removed: what'))
    expect(line!.fields).toMatchObject({ destination: 'away', events: 5 })
  })

  test('a file that cannot be used leaves the old one in force, with a line that says where', async () => {
    await start(list('a'))
    write(`${list('a')}, ${list('b', ', evnts: [MESSAGE_CREATE]')}`)
    await reload.reload()
    write(`${list('a')}, {name: g, kind: grpc-subscribe}`)
    await reload.reload()
    rmSync(file())
    await reload.reload()
    const refused = lines.filter(({ level }) => level === 'error')
    expect(refused.map(({ message }) => message)).toEqual(
      Array.from(
        { length: 3 },
        () => 'destinations: the file is refused, the old one stays in force',
      ),
    )
    expect(String(refused[0]!.fields['error'])).toMatch(/:1:\d+: "evnts".*did you mean events/)
    expect(String(refused[1]!.fields['error'])).toMatch(/grpc-subscribe and stdout/)
    send(10)
    await acknowledged()
    expect(await length('a:MESSAGE_CREATE')).toBe(10)
  })
})
