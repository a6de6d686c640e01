/** `-workers N` as an operator runs it, on real servers. */
import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { startEtcd, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

const SHARDS = 4

describe('one parent of two workers', () => {
  let sim: Sim
  let etcd: TestServer
  let database: FreshDatabase
  let parent: Program
  let url: string

  beforeAll(async () => {
    ;[sim, etcd, database] = await Promise.all([
      startSim({ shards: SHARDS, guilds: 8, maxConcurrency: SHARDS }),
      startEtcd(),
      freshDatabase(),
    ])
    parent = start()
    url = String((await parent.line('serving HTTP'))['url'])
    await untilConnected()
  })

  afterAll(async () => {
    parent.kill('SIGKILL')
    await sim.stop()
    await etcd.stop()
    await database.drop()
  })

  function start(): Program {
    const redis = sharedRedis()
    return new Program(
      'cmd/gateway/main.ts',
      [
        '-prod',
        '-workers=2',
        '-addr=127.0.0.1:0',
        '-http=127.0.0.1:0',
        '-lease-ttl=3',
        `-etcd=${etcd.url}`,
        `-psql=${database.url}`,
        `-redis=${redis.url}`,
        `-redis-prefix=${redis.prefix}`,
        `-discord-api=${sim.apiUrl}`,
      ],
      { DISCORD_TOKEN: sim.token },
    )
  }

  function untilConnected(): Promise<void> {
    const isConnected = (): boolean =>
      sim.sessions.filter(({ reader, end }) => reader !== null && end === null).length === SHARDS
    return until(isConnected, { timeoutMs: 30_000, what: 'every shard connected' })
  }

  async function storedSessions(): Promise<number> {
    const client = new Client({ connectionString: database.url })
    await client.connect()
    const { rows } = await client.query<{ count: string }>(
      'select count(*) from gateway_sessions where session_id is not null',
    )
    await client.end()
    return Number(rows[0]!.count)
  }

  function children(): number[] {
    const text = readFileSync(`/proc/${parent.pid}/task/${parent.pid}/children`, 'utf8').trim()
    return text === '' ? [] : text.split(' ').map(Number)
  }

  test('writes one log, whose lines name their worker', () => {
    const workers = parent.logLines().map(({ podId }) => podId)
    expect(new Set(workers)).toEqual(new Set([undefined, 'w1', 'w2']))
  })

  test('serves the metrics of both, each with its worker', async () => {
    const isUp = async (): Promise<boolean> => {
      const page = await (await fetch(`${url}/metrics`)).text()
      return ['w1', 'w2'].every((name) => page.includes(`gateway_worker_up{worker="${name}"} 1`))
    }
    await until(isUp, { timeoutMs: 20_000, what: 'both workers answer' })
    const page = await (await fetch(`${url}/metrics`)).text()
    expect(page).toMatch(/gateway_shards\{worker="w1",state="ready"\} \d/)
    expect(page.match(/# TYPE gateway_shards gauge/g)).toHaveLength(1)
  })

  test('starts a worker again that was killed, and no shard identifies', async () => {
    // A session that is not stored yet dies with its process.
    await until(async () => (await storedSessions()) === SHARDS, { what: 'every session stored' })
    process.kill(children()[0]!, 'SIGKILL')
    await parent.line('worker ended, it is started again')
    await until(() => children().length === 2, { timeoutMs: 20_000, what: 'two workers' })
    await untilConnected()
    expect(sim.ledger.identifies).toHaveLength(SHARDS)
  })

  test('ends its workers with SIGTERM, and itself with 0', async () => {
    const before = children()
    expect(await parent.stop()).toEqual({ code: 0, signal: null })
    expect(before.filter(isAlive)).toEqual([])
  })

  test('killed with -9, leaves no worker behind', async () => {
    parent = start()
    await untilConnected()
    const before = children()
    expect(before).toHaveLength(2)
    parent.kill('SIGKILL')
    await parent.exited
    await until(() => before.filter(isAlive).length === 0, {
      timeoutMs: 15_000,
      what: 'the workers end',
    })
    expect(sim.ledger.identifies).toHaveLength(SHARDS)
  })
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
