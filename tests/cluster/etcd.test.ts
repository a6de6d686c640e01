import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Etcd3 } from 'etcd3'
import { describe, expect, test } from 'vitest'
import { memoryCounters, Secret, silentLog, systemClock } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'
import { Fleet, migrate, openDatabase, SessionStore } from '../../src/cache/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { freePort } from '../support/server-process.ts'
import type { TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import {
  type AtEnd,
  clientOf,
  makeWorker,
  ownEtcd,
  TTL_SECONDS,
  type Worker,
  type WorkerOptions,
} from './etcd-world.ts'

const TTL_MS = TTL_SECONDS * 1000

async function started(
  onTestFinished: AtEnd,
  etcd: TestServer,
  ...options: Partial<WorkerOptions>[]
): Promise<readonly Worker[]> {
  const workers = options.map((option, index) =>
    makeWorker(etcd.url, { id: `w${index}`, fleet: 'test', ...option }),
  )
  onTestFinished(async () => void (await Promise.all(workers.map((worker) => worker.stop()))))
  for (const worker of workers) await worker.start()
  return workers
}

function untilHeld(workers: readonly Worker[], sizes: readonly number[]): Promise<void> {
  return until(() => workers.every(({ held }, index) => held.size === sizes[index]), {
    timeoutMs: 20_000,
    what: `shares ${sizes.join(', ')} (${workers.map(({ held }) => held.size).join(', ')})`,
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.concurrent('claims in etcd', () => {
  test('a release takes nothing from whoever has claimed the shard since', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const worker = makeWorker(etcd.url, { id: 'w0', fleet: 'test', shardCount: 1 })
    const other = clientOf(etcd.url, systemClock, memoryCounters(), 5000)
    onTestFinished(async () => {
      await worker.stop()
      other.close()
    })
    const { client } = worker
    const read = client.read.bind(client)
    // From its claim on the worker cannot look: what it knows of the fleet is from before.
    worker.epochAt = () => {
      client.read = () => Promise.reject(new Error('no answer'))
      return Promise.resolve(1)
    }
    await worker.start()
    await untilHeld([worker], [1])
    const key = '/gateway/test/v1/claims/0'
    await other.transact([], { remove: [key] })
    await other.transact([], { put: [{ key, value: JSON.stringify({ worker: 'w1' }) }] })
    client.read = read
    await worker.held.get(0)!.release()
    expect((await other.read(key)).keys).toMatchObject([{ value: '{"worker":"w1"}' }])
  })

  test('are shared within one, and a third worker gets its share', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(onTestFinished, etcd, {}, {})
    await untilHeld(workers, [3, 3])
    const third = makeWorker(etcd.url, { id: 'w2', fleet: 'test' })
    onTestFinished(() => third.stop())
    await third.start()
    await untilHeld([...workers, third], [2, 2, 2])
    expect(workers.flatMap(({ lost }) => lost)).toEqual([])
  })

  test('move for balance no faster than the limit allows, and hold the capacity', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(
      onTestFinished,
      etcd,
      { shardCount: 20, capacity: 18, rebalancePercent: 10 },
      { shardCount: 20, rebalancePercent: 10 },
    )
    // 18 fit, 2 were free for the second one, 2 of 20 may move in the first minute.
    await untilHeld(workers, [16, 4])
    await pause(1500)
    await untilHeld(workers, [16, 4])
  })

  test('of another bot are refused; of other intents they wait for the last worker of the old ones', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const [old] = await started(onTestFinished, etcd, {})
    await untilHeld([old!], [6])
    const other = makeWorker(etcd.url, { id: 'other', fleet: 'test', botUserId: '2' })
    const newer = makeWorker(etcd.url, { id: 'newer', fleet: 'test', intents: 2 })
    onTestFinished(async () => void (await Promise.all([other.stop(), newer.stop()])))
    await expect(other.start()).rejects.toThrow('CLUSTER_OTHER_BOT')
    const joining = newer.start()
    await pause(1500)
    expect([old!.held.size, newer.held.size]).toEqual([6, 0])
    await old!.stop()
    await joining
    await untilHeld([newer], [6])
  })

  test('outlive a restart of etcd', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(onTestFinished, etcd, {}, {})
    await untilHeld(workers, [3, 3])
    const before = [...workers[0]!.held.keys()]
    await etcd.kill()
    await etcd.start()
    await until(async () => (await workers[0]!.held.get(before[0]!)!.confirm()) === true, {
      what: 'the claim confirmed again',
    })
    await pause(TTL_MS)
    expect([...workers[0]!.held.keys()]).toEqual(before)
    expect(workers.flatMap(({ lost }) => lost)).toEqual([])
  })

  test('are not lost while etcd is away for two TTLs, prove nothing meanwhile, and are put again', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(onTestFinished, etcd, {}, {})
    await untilHeld(workers, [3, 3])
    const [claim] = workers[0]!.held.values()
    await etcd.kill()
    await pause(2 * TTL_MS)
    expect(await claim!.confirm()).toBe(false)
    expect(claim!.lost.aborted).toBe(false)
    await etcd.start()
    await until(async () => claim!.confirm(), { what: 'the claim confirmed again' })
    await untilHeld(workers, [3, 3])
    expect(workers.flatMap(({ lost }) => lost)).toEqual([])
  })

  test('are put again after etcd was wiped, by those who hold the shards', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(onTestFinished, etcd, {}, {})
    await untilHeld(workers, [3, 3])
    const fences = workers.map(({ held }) => [...held].map(([id, { fence }]) => [id, fence]))
    await etcd.kill()
    rmSync(join(etcd.dataDir, 'member'), { recursive: true })
    await etcd.start()
    const reader = clientOf(etcd.url)
    onTestFinished(() => reader.close())
    await until(async () => (await reader.read('/gateway/test/v1/claims/')).keys.length === 6, {
      what: 'six claims',
    })
    await pause(TTL_MS)
    expect(workers.map(({ held }) => [...held].map(([id, { fence }]) => [id, fence]))).toEqual(
      fences,
    )
    expect(workers.flatMap(({ lost }) => lost)).toEqual([])
  })

  test('in the name of a live worker that does not hold the shard do not keep others from it', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const [first, second] = await started(onTestFinished, etcd, {}, {})
    await untilHeld([first!, second!], [3, 3])
    const client = clientOf(etcd.url)
    onTestFinished(() => client.close())
    // As an older snapshot brings it back, or a transaction whose answer never came.
    const key = `/gateway/test/v1/claims/${[...second!.held.keys()][0]}`
    const { keys } = await client.read('/gateway/test/v1/workers/w0')
    const value = JSON.stringify({ worker: first!.id })
    await client.transact([], { put: [{ key, value, lease: keys[0]!.lease }] })
    // The holder sees it and gives the shard up, or sees that it is gone again and puts its own: both are right.
    const holderOf = (id: number): string | undefined =>
      [first!, second!].find(({ held }) => held.has(id))?.id
    await until(
      async () => {
        const { keys } = await client.read('/gateway/test/v1/claims/')
        const named = keys.map(
          ({ key, value }) =>
            holderOf(Number(key.split('/').at(-1))) ===
            (JSON.parse(value) as { worker: string }).worker,
        )
        return named.length === 6 && named.every(Boolean)
      },
      { timeoutMs: 5 * TTL_MS, what: 'a holder of every shard, named in etcd' },
    )
    expect(first!.held.size + second!.held.size).toBe(6)
  })

  test('a wall clock that jumps changes nothing', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    let offsetMs = 0
    const clock: Clock = { ...systemClock, now: () => Date.now() + offsetMs }
    const [worker] = await started(onTestFinished, etcd, { clock })
    await untilHeld([worker!], [6])
    for (const jump of [3600_000, -7200_000]) {
      offsetMs = jump
      await pause(TTL_MS / 2)
      const [claim] = worker!.held.values()
      await until(() => claim!.confirm(), { timeoutMs: 1000, what: 'the claim confirmed' })
    }
    expect(worker!.lost).toEqual([])
  })

  test('a second worker takes what the first one leaves, at once', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const workers = await started(onTestFinished, etcd, {}, {})
    await untilHeld(workers, [3, 3])
    const leftAt = performance.now()
    await workers[0]!.claims.drain(4000)
    await untilHeld([workers[1]!], [6])
    expect(performance.now() - leftAt).toBeLessThan(2000)
  })
})

describe.concurrent('the epoch', () => {
  test('rises when a stored revision is above etcd’s, once, and when the cluster kind changes', async ({
    onTestFinished,
  }) => {
    const fresh = await freshDatabase()
    const common = { clock: systemClock, random: Math.random, log: silentLog }
    const database = await openDatabase(
      { url: new Secret(fresh.url), name: 'test' },
      { ...common, counters: memoryCounters() },
    )
    onTestFinished(async () => {
      await database.close()
      await fresh.drop()
    })
    await migrate(database, { log: silentLog })
    const fleet = await Fleet.open(database, { name: 'test', botUserId: 1n })
    const sessions = new SessionStore({ database, fleet, owner: 'test', log: silentLog })
    const epoch = await fleet.raiseEpoch('etcd', 10)
    expect(await fleet.raiseEpoch('etcd', 10)).toBe(epoch)
    await sessions.takeOver(0, { epoch, revision: 1000 })
    expect(await fleet.raiseEpoch('etcd', 1000)).toBe(epoch)
    const raised = await Promise.all(
      [999, 999, 5].map((revision) => fleet.raiseEpoch('etcd', revision)),
    )
    expect(raised).toEqual([epoch + 1, epoch + 1, epoch + 1])
    expect(await fleet.raiseEpoch('memory')).toBe(epoch + 2)
    expect(await fleet.raiseEpoch('etcd', 5)).toBe(epoch + 3)
    await sessions.close()
  })
})

describe.concurrent('an etcd that cannot be used', () => {
  test('is named when nobody listens, within one call', async ({ onTestFinished }) => {
    const client = clientOf(`http://127.0.0.1:${await freePort()}`)
    onTestFinished(() => client.close())
    await expect(client.probe()).rejects.toThrow('CLUSTER_ETCD_UNREACHABLE')
  })

  test('a dead endpoint of two costs one try, not one in each call', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const client = clientOf(`127.0.0.1:${await freePort()},${etcd.url}`)
    onTestFinished(() => client.close())
    await client.probe()
    const beganAt = performance.now()
    for (let call = 0; call < 20; call++) await client.read('/gateway/')
    expect(performance.now() - beganAt).toBeLessThan(700)
  })

  test('a frozen endpoint is left for the other one', async ({ onTestFinished }) => {
    const [first, second] = [await ownEtcd(onTestFinished), await ownEtcd(onTestFinished)]
    const client = clientOf(`${first.url},${second.url}`)
    onTestFinished(() => {
      first.thaw()
      client.close()
    })
    await client.probe()
    first.freeze()
    const beganAt = performance.now()
    await client.read('/gateway/')
    expect(performance.now() - beganAt).toBeLessThan(2000)
  })

  test('TLS where etcd speaks none is named', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const client = clientOf(etcd.url.replace('http:', 'https:'))
    onTestFinished(() => client.close())
    await expect(client.probe()).rejects.toThrow(/CLUSTER_ETCD_(TLS|UNREACHABLE)/)
  })

  test('missing and wrong credentials are named, right ones are taken', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const admin = new Etcd3({ hosts: etcd.url })
    await admin.user('root').create('secret')
    await admin.role('root').create()
    await admin.user('root').addRole('root')
    await admin.auth.authEnable()
    admin.close()
    const clients = ['', 'root:wrong@', 'root:secret@'].map((who) =>
      // etcd hashes a password for as long as it takes.
      clientOf(etcd.url.replace('http://', `http://${who}`), systemClock, memoryCounters(), 5000),
    )
    onTestFinished(() => clients.forEach((client) => client.close()))
    await expect(clients[0]!.probe()).rejects.toThrow('CLUSTER_ETCD_AUTH')
    await expect(clients[1]!.probe()).rejects.toThrow('CLUSTER_ETCD_AUTH')
    await expect(clients[1]!.probe()).rejects.not.toThrow('wrong')
    await clients[2]!.probe()
  })
})
