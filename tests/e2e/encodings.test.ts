import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import type { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { readTerm } from './checker/etf-term.ts'
import { firstDifference, type Json, jsonMap } from './checker/json-form.ts'
import { isWanted } from './checker/queue.ts'
import {
  everyMutation,
  gapLines,
  ledgerOf,
  readLists,
  startDiscord,
  startGateway,
  storedSequences,
  untilEvents,
  untilQuiet,
  untilReady,
} from './run.ts'
import { identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 2

class Traffic {
  readonly run: Run
  readonly sim: Sim
  readonly #database: FreshDatabase
  readonly #gateway: Program

  private constructor(run: Run, database: FreshDatabase) {
    this.run = run
    this.sim = run.sim
    this.#database = database
    this.#gateway = run.gateways[0]!
  }

  /** Every kind of change, a connection lost, and every kind once more. */
  static async through(seed: number, flags: readonly string[]): Promise<Traffic> {
    const redis = sharedRedis()
    const database = await freshDatabase()
    const sim = await startDiscord({ shards: SHARDS, guilds: 30, membersMax: 300, rate: 0, seed })
    const gateway = startGateway(sim, [
      `-psql=${database.url}`,
      `-redis=${redis.url}`,
      `-redis-prefix=${redis.prefix}`,
      '-payload=envelope',
      ...flags,
    ])
    const traffic = new Traffic(
      {
        sim,
        gateways: [gateway],
        shardCount: SHARDS,
        postgresUrl: database.url,
        redisUrl: redis.url,
        redisPrefix: redis.prefix,
      },
      database,
    )
    await untilReady(gateway, SHARDS)
    sim.setRate(200)
    everyMutation(sim)
    await untilEvents(sim, 200)
    sim.fault({ kind: 'tcp-drop', shard: 0 })
    everyMutation(sim)
    await untilEvents(sim, 200)
    sim.setRate(0)
    await untilQuiet(sim, () => storedSequences(database.url))
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    return traffic
  }

  async end(): Promise<void> {
    this.#gateway.kill('SIGKILL')
    await this.#gateway.exited
    await this.sim.stop()
    await this.#database.drop()
  }
}

/** Envelopes whose `d` is compared as JSON: the texts or the terms that Discord's own were written anew as. */
interface Envelope {
  readonly t: string
  readonly s: number
  readonly session_id: string
  readonly d: Json
}

/** What the ledger wants and no list has, and what a list has with another `d` than the ledger. */
function envelopeFindings(
  traffic: Traffic,
  lists: ReadonlyMap<string, readonly Envelope[]>,
): string[] {
  const { sim, run } = traffic
  const lines = new Map(ledgerOf(sim).ledger.map((line) => [`${line.session} ${line.s}`, line]))
  const findings: string[] = []
  const seen = new Set<string>()
  for (const [list, envelopes] of lists) {
    for (const envelope of envelopes) {
      const key = `${envelope.session_id} ${envelope.s}`
      seen.add(key)
      const line = lines.get(key)
      if (line === undefined || list !== `${run.redisPrefix}${line.t}` || envelope.t !== line.t) {
        findings.push(`${envelope.t} ${key} in ${list} is not of the ledger`)
        continue
      }
      const difference = firstDifference(jsonMap(readTerm(line.d!)), envelope.d)
      if (difference !== null) findings.push(`${line.t} ${key} differs at ${difference}`)
    }
  }
  for (const [key, line] of lines) {
    // Which guilds were joined is the guild lifecycle's, checked where terms come byte for byte.
    if (line.t === 'GUILD_CREATE' || !isWanted(line.t, '', null) || seen.has(key)) continue
    findings.push(`${line.t} ${key} is missing`)
  }
  return findings
}

async function envelopesOf(
  run: Run,
  parse: (entry: Buffer) => Envelope,
): Promise<Map<string, Envelope[]>> {
  const lists = await readLists(run.redisUrl, run.redisPrefix)
  return new Map([...lists].map(([list, entries]) => [list, entries.map(parse)]))
}

/** Paths of numbers where Discord has ids, and of numbers that JSON cannot hold exactly. */
function numbersThatAreIds(value: Json, path = ''): string[] {
  if (typeof value === 'number') {
    const isUnsafe = Number.isInteger(value) && !Number.isSafeInteger(value)
    return isUnsafe || (/(^|[._])id$/.test(path) && value >= 2 ** 32) ? [path] : []
  }
  if (value === null || typeof value !== 'object') return []
  return Object.entries(value).flatMap(([key, entry]: [string, Json]) =>
    numbersThatAreIds(entry, `${path}.${key}`),
  )
}

describe.concurrent('Discord in JSON with zlib-stream', () => {
  let traffic: Traffic

  beforeAll(async () => {
    traffic = await Traffic.through(51, ['-upstream=json', '-compress=zlib-stream'])
  }, 90_000)

  afterAll(() => traffic.end())

  test('the lists hold every event of the ledger as a term with the same content', async () => {
    const { run } = traffic
    const lists = await envelopesOf(run, (entry) => {
      const envelope = jsonMap(readTerm(entry, 1)) as unknown as Envelope
      return { ...envelope, t: String(envelope.t), s: Number(envelope.s) }
    })
    expect(lists.size).toBeGreaterThan(20)
    expect(envelopeFindings(traffic, lists)).toEqual([])
  })

  test('the lost connection was resumed, nothing is a gap', () => {
    expect(gapLines(...traffic.run.gateways)).toEqual([])
    expect(identifyFindings(traffic.run)).toBe('')
    expect(traffic.sim.ledger.resumes.map(({ outcome }) => outcome)).toEqual(['resumed'])
  })

  test('State holds what a client could know of the world', async () => {
    expect(await stateFindings(traffic.run)).toBe('')
  })
})

describe.concurrent('Discord in ETF with zstd-stream', () => {
  let traffic: Traffic

  beforeAll(async () => {
    traffic = await Traffic.through(52, ['-compress=zstd-stream'])
  }, 90_000)

  afterAll(() => traffic.end())

  test('the lists hold what the ledger says, byte for byte and in its order', async () => {
    expect(await queueFindings(traffic.run)).toBe('')
  })

  test('the lost connection was resumed, nothing is a gap', () => {
    expect(gapLines(...traffic.run.gateways)).toEqual([])
    expect(identifyFindings(traffic.run)).toBe('')
    expect(traffic.sim.ledger.resumes.map(({ outcome }) => outcome)).toEqual(['resumed'])
  })

  test('State holds what a client could know of the world', async () => {
    expect(await stateFindings(traffic.run)).toBe('')
  })
})

describe.concurrent('events pushed as JSON', () => {
  let traffic: Traffic

  beforeAll(async () => {
    traffic = await Traffic.through(53, ['-encoding=json'])
  }, 90_000)

  afterAll(() => traffic.end())

  test('each entry is JSON with the content of the ledger, and none is missing', async () => {
    const lists = await envelopesOf(
      traffic.run,
      (entry) => JSON.parse(entry.toString()) as Envelope,
    )
    expect(lists.size).toBeGreaterThan(20)
    expect(envelopeFindings(traffic, lists)).toEqual([])
  })

  test('ids are strings, and no number is larger than JSON holds exactly', async () => {
    const lists = await readLists(traffic.run.redisUrl, traffic.run.redisPrefix)
    const entries = [...lists.values()].flat().map((entry) => entry.toString())
    const bad = entries.flatMap((entry) => numbersThatAreIds(JSON.parse(entry) as Json))
    expect(bad).toEqual([])
    expect(entries.some((entry) => /"guild_id":"\d{17,20}"/.test(entry))).toBe(true)
  })
})
