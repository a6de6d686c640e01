import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Sim } from '../../sim/index.ts'
import type { Program } from '../support/program.ts'
import { startPostgres, startRedis, type TestServer } from '../support/servers.ts'
import {
  everyMutation,
  gapLines,
  startDiscord,
  startGateway,
  storedSequences,
  untilEvents,
  untilQuiet,
  untilReady,
} from './run.ts'
import { gapFindings, identifyFindings, queueFindings, type Run, stateFindings } from './whole.ts'

const SHARDS = 4
const PREFIX = 'gateway:events:'

describe('Redis and then Postgres killed with -9 in the middle of 200 changes a second', () => {
  let sim: Sim
  let gateway: Program
  let postgres: TestServer
  let redis: TestServer
  let run: Run

  beforeAll(async () => {
    ;[postgres, redis, sim] = await Promise.all([
      startPostgres(),
      startRedis({ appendonly: true }),
      startDiscord({ shards: SHARDS, guilds: 40, membersMax: 300, rate: 0, seed: 11 }),
    ])
    gateway = startGateway(sim, [
      `-psql=${postgres.url}`,
      `-redis=${redis.url}`,
      '-payload=envelope',
    ])
    run = {
      sim,
      gateways: [gateway],
      shardCount: SHARDS,
      postgresUrl: postgres.url,
      redisUrl: redis.url,
      redisPrefix: PREFIX,
    }
    await untilReady(gateway, SHARDS)
    sim.setRate(200)
    for (const server of [redis, postgres]) {
      await untilEvents(sim, 300)
      await server.kill()
      everyMutation(sim)
      await untilEvents(sim, 600)
      await server.start()
    }
    await untilEvents(sim, 300)
    sim.setRate(0)
    await untilQuiet(sim, () => storedSequences(postgres.url))
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
  }, 120_000)

  afterAll(async () => {
    gateway.kill('SIGKILL')
    await sim.stop()
    await Promise.all([postgres.stop(), redis.stop()])
  })

  test('no connection to Discord was ended, and nothing was identified but the first sessions', () => {
    expect(identifyFindings(run)).toBe('')
    expect(sim.ledger.identifies).toHaveLength(SHARDS)
    expect(sim.ledger.resumes).toEqual([])
  })

  test('nothing is missing in the lists, and nothing is a gap', async () => {
    expect(gapLines(gateway)).toEqual([])
    expect(gapFindings(run)).toBe('')
    expect(await queueFindings(run)).toBe('')
  })

  test('State holds what a client could know of the world', async () => {
    expect(await stateFindings(run)).toBe('')
  })
})
