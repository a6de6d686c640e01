import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { memoryCounters, seededRandom, systemClock } from '../../src/base/index.ts'
import { type PushDrop, Spill, SpillLedger, SpillThread } from '../../src/push/index.ts'
import { EventFilter } from '../../src/push/event-filter.ts'
import { Intake } from '../../src/push/intake.ts'
import { payloadWriter } from '../../src/push/payload.ts'
import { SpillContents } from '../../src/push/spill/spill-contents.ts'
import { SpillFile } from '../../src/push/spill/spill-file.ts'
import type { SpillOpened, SpillRows } from '../../src/push/spill/spill-rows.ts'
import { until } from '../support/until.ts'
import { pushEvents } from './events.ts'
import { recordedLanes } from './recorded-lanes.ts'
import { type LogLine, recordedLog } from './redis-subject.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'gateway-spill-'))
})

afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

function file(given: { readonly form?: string; readonly bytesMax?: number } = {}): SpillFile {
  return new SpillFile({ folder, name: 'a/b', form: 'list', bytesMax: 1_000_000, ...given })
}

function rows(from: number, count: number, bytes = 10): SpillRows {
  const list = Array.from({ length: count }, (_, index) => from + index)
  return {
    ids: Float64Array.from(list),
    names: list.map(() => 'MESSAGE_CREATE'),
    channels: Int32Array.from(list, () => 0),
    shards: Int32Array.from(list, (id) => id % 2),
    sessions: list.map(() => 's'),
    sequences: Float64Array.from(list),
    receivedAtMs: Float64Array.from(list, () => 5),
    lengths: Int32Array.from(list, () => bytes),
    bytes: new Uint8Array(count * bytes).fill(7),
  }
}

describe('SpillFile', () => {
  test('gives back what was written, in order, each once, and forgets what is removed', () => {
    const one = file()
    one.write(rows(1, 10), 0)
    expect([...one.read(4, 1e9).ids]).toEqual([1, 2, 3, 4])
    one.write(rows(11, 2), 0)
    expect([...one.read(100, 60).ids]).toEqual([5, 6, 7, 8, 9, 10])
    one.remove(Float64Array.from([1, 2, 3, 5]))
    one.close()
    const two = file()
    expect(two.opened).toMatchObject({ events: 8, lastId: 12, warnings: [] })
    expect(two.opened.ranges).toEqual([
      { shardId: 0, sessionId: 's', from: 4, to: 12, events: 5 },
      { shardId: 1, sessionId: 's', from: 7, to: 11, events: 3 },
    ])
    expect([...two.read(100, 1e9).ids]).toEqual([4, 6, 7, 8, 9, 10, 11, 12])
    two.close()
  })

  test('leaves no file behind when everything was delivered', () => {
    const one = file()
    one.write(rows(1, 3), 0)
    one.remove(Float64Array.from([1, 2, 3]))
    one.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test('beyond its bound drops the oldest that are not with the queue, and says which', () => {
    const one = file({ bytesMax: 10 * 110 })
    one.write(rows(1, 10), 0)
    one.read(2, 1e9)
    const { drops, droppedBytes } = one.write(rows(11, 3), 0)
    expect(drops.map((drop) => drop.sequence)).toEqual([3, 4, 5])
    expect(droppedBytes).toBe(330)
    expect([...one.read(100, 1e9).ids]).toEqual([6, 7, 8, 9, 10, 11, 12, 13])
    one.close()
  })

  test('beside one that is held a new one is made; what it leaves is taken over by the next', () => {
    const held = file()
    held.write(rows(1, 3), 0)
    const beside = file()
    expect(beside.opened.events).toBe(0)
    expect(beside.opened.path).not.toBe(held.opened.path)
    beside.write(rows(1, 2), 0)
    beside.close()
    held.close()
    const next = file()
    expect(next.opened.events).toBe(5)
    expect([...next.read(100, 1e9).sequences]).toEqual([1, 2, 3, 1, 2])
    expect(readdirSync(folder).filter((name) => name.endsWith('.sqlite')).length).toBe(1)
    next.close()
  })

  test('has an id for its life; what it takes over names the file that it was in', () => {
    const held = file()
    held.write(rows(1, 3), 0)
    const beside = file()
    beside.write(rows(1, 2), 0)
    beside.close()
    held.close()
    const next = file()
    expect(next.opened).toMatchObject({
      spillId: held.opened.spillId,
      isNew: false,
      takenOver: [beside.opened.spillId],
    })
    expect(held.opened).toMatchObject({ isNew: true, takenOver: [] })
    next.remove(next.read(100, 1e9).ids)
    next.close(true)
    // Kept for the id, which a database may still name.
    const again = file()
    expect(again.opened).toMatchObject({ spillId: held.opened.spillId, events: 0, ranges: [] })
    again.close()
    expect(readdirSync(folder)).toEqual([])
  })

  test('one of a program that gave no ids is given one', () => {
    const old = file()
    old.write(rows(1, 3), 0)
    old.close()
    const database = new DatabaseSync(old.opened.path)
    database.exec('drop table identity')
    database.close()
    const next = file()
    expect(next.opened.events).toBe(3)
    expect(next.opened.spillId).toMatch(/^[0-9a-f-]{36}$/)
    next.close()
    expect(file().opened.spillId).toBe(next.opened.spillId)
  })

  test('a damaged one is moved aside, named, and replaced', () => {
    const one = file()
    one.write(rows(1, 1), 0)
    one.close()
    const { path } = one.opened
    writeFileSync(path, Buffer.alloc(8192, 'not a database'))
    const next = file()
    expect(next.opened.warnings).toEqual([
      { path: `${path}.damaged-1`, cause: expect.stringContaining('damaged') },
    ])
    expect(readFileSync(`${path}.damaged-1`).length).toBe(8192)
    next.write(rows(1, 1), 0)
    expect(next.read(1, 1).ids.length).toBe(1)
    next.close()
  })

  test('one of another form or a later version is left alone and named', () => {
    const one = file()
    one.write(rows(1, 1), 0)
    one.close()
    const other = file({ form: 'stream' })
    expect(other.opened.warnings[0]!.cause).toBe('its events were written as list, not stream')
    other.close()
    const database = new DatabaseSync(one.opened.path)
    database.exec('pragma user_version = 9')
    database.close()
    const next = file()
    expect(next.opened.warnings[0]!.cause).toContain('version 9')
    next.close()
  })
})

describe('SpillContents', () => {
  const opened = (ranges: SpillOpened['ranges'] = []): SpillOpened => ({
    path: '',
    events: 0,
    bytes: 0,
    lastId: 0,
    ranges,
    spillId: 'a',
    isNew: true,
    takenOver: [],
    warnings: [],
  })

  test('is what was added and not removed, whatever the order; from follows what is gone', () => {
    const random = seededRandom(7)
    const contents = new SpillContents('x', opened())
    const left = new Set<number>()
    // Two lanes of one shard: nearly ascending.
    for (let index = 1; index <= 20_000; index++) {
      const sequence = index * 2 + Math.floor(random() * 40) * 2 + 1
      if (left.has(sequence)) continue
      left.add(sequence)
      contents.add(3, 's', sequence)
    }
    contents.add(3, 't', 1)
    const all = [...left].sort((a, b) => a - b)
    for (const sequence of all.slice(0, 15_000)) {
      if (sequence % 10 === 1 && sequence > 20_000) continue
      left.delete(sequence)
      contents.remove(3, 's', sequence)
    }
    const lowest = Math.min(...left)
    const [range, other] = contents.ranges()
    expect(range).toMatchObject({ shardId: 3, sessionId: 's', events: left.size, to: all.at(-1) })
    expect(range!.from).toBeLessThanOrEqual(lowest)
    expect(range!.from).toBeGreaterThan(lowest - 4096)
    expect(other).toEqual({ shardId: 3, sessionId: 't', from: 1, to: 1, events: 1 })
    for (const sequence of left) contents.remove(3, 's', sequence)
    contents.remove(3, 't', 1)
    expect(contents.ranges()).toEqual([])
  })

  test('begins with what lay there; what it does not know is no matter', () => {
    const found = { shardId: 0, sessionId: 's', from: 10, to: 20, events: 5 }
    const contents = new SpillContents('x', opened([found]))
    contents.remove(0, 'other', 3)
    contents.remove(9, 's', 3)
    expect(contents.ranges()).toEqual([found])
    contents.remove(0, 's', 10)
    expect(contents.ranges()).toEqual([{ ...found, events: 4 }])
  })
})

describe('Spill', () => {
  function intake(spill: Spill, drops: PushDrop[] = [], acks = recordedLanes()): Intake {
    return new Intake({
      destination: 'x',
      filter: new EventFilter({ destination: 'x', counters: memoryCounters() }),
      payload: payloadWriter('envelope', 'etf'),
      limits: { eventsMax: 100, bytesMax: 1e8 },
      whenFull: 'spill',
      spill,
      acks,
      keepsShardOrder: false,
      channelOf: (name) => name,
      clock: systemClock,
      counters: memoryCounters(),
      log: recordedLog([]),
      onDrop: (drop) => drops.push(drop),
    })
  }

  const open = (
    thread: SpillThread,
    lines: LogLine[] = [],
    ledger = new SpillLedger(),
  ): Promise<Spill> =>
    Spill.open({
      destination: 'x',
      thread,
      ledger,
      folder,
      form: 'list',
      bytesMax: 1e9,
      afterMs: 60_000,
      clock: systemClock,
      log: recordedLog(lines),
      counters: memoryCounters(),
    })

  test('a folder that cannot be written ends the start with the cure', async () => {
    writeFileSync(join(folder, 'x'), '')
    folder = join(folder, 'x')
    const thread = new SpillThread()
    await expect(open(thread)).rejects.toMatchObject({
      code: 'PUSH_SPILL_UNUSABLE',
      message: expect.stringContaining('-data'),
    })
    await thread.close()
    folder = join(folder, '..')
  })

  test('says what lies on the disk with the acknowledgement of it, and again when it is gone', async () => {
    const thread = new SpillThread()
    const ledger = new SpillLedger()
    const acks = recordedLanes()
    const one = intake(await open(thread, [], ledger), [], acks)
    expect(ledger.unsaved()).toEqual([])
    for (const event of pushEvents(90)) one.take(event, -1, 0)
    await until(() => acks.direct.through(0) === 90)
    const holdings = ledger.unsaved()
    const range = { shardId: 0, sessionId: 'session-a', from: 1, to: 90, events: 90 }
    expect(holdings).toMatchObject([{ destination: 'x', takenOver: [], ranges: [range] }])
    ledger.saved(holdings)
    expect(ledger.unsaved()).toEqual([])
    await one.close()
    await until(() => readdirSync(folder).length > 0)

    // The next process delivers it, and the file stays until the database has forgotten it.
    const next = new SpillLedger()
    const spill = await open(thread, [], next)
    const two = intake(spill)
    expect(next.unsaved()).toMatchObject([{ spillId: holdings[0]!.spillId, ranges: [range] }])
    for (let count = 0; count < 90; ) {
      await until(() => two.queue.readyEvents > 0)
      const channels = two.queue.activeChannels.slice()
      for (const channel of channels) {
        while (two.queue.count(channel) > 0) {
          two.queue.finish(two.queue.shift(channel))
          count++
        }
      }
      two.onTaken()
    }
    await two.close()
    expect(readdirSync(folder).length).toBe(1)
    expect(next.held()).toEqual([])
    expect(next.unsaved()).toMatchObject([{ spillId: holdings[0]!.spillId, ranges: [] }])
    next.saved(next.unsaved())
    expect(next.unsaved()).toEqual([])
    const last = new SpillLedger()
    const three = intake(await open(thread, [], last))
    last.saved(last.unsaved())
    await three.close()
    expect(readdirSync(folder)).toEqual([])
    await thread.close()
  })

  test('a disk that takes nothing is said once; memory holds what it can, then the oldest are counted', async () => {
    const lines: LogLine[] = []
    const thread = new SpillThread()
    const spill = await open(thread, lines)
    const drops: PushDrop[] = []
    const acks = recordedLanes()
    const one = intake(spill, drops, acks)
    await thread.close()
    for (const event of pushEvents(250)) one.take(event, -1, 0)
    await until(() => lines.some(({ level }) => level === 'error'))
    expect(lines.filter(({ level }) => level === 'error').length).toBe(1)
    for (const event of pushEvents(50, { from: 251 })) one.take(event, -1, 0)
    expect(new Set(drops.map((drop) => drop.cause))).toEqual(new Set(['spill_behind']))
    expect(one.takenEvents).toBe(one.droppedEvents + one.queue.events + one.spilledEvents)
    expect(acks.direct.through(0)).toBeLessThanOrEqual(drops.at(-1)!.sequence)
    await one.close()
  })
})
