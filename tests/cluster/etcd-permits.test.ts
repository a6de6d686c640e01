/** Identify permits of several workers and fleets on a real etcd. */
import { describe, expect, test } from 'vitest'
import { memoryCounters, seededRandom, silentLog, systemClock } from '../../src/base/index.ts'
import type { Clock } from '../../src/base/index.ts'
import { EtcdIdentifyGate } from '../../src/cluster/index.ts'
import type { IdentifyGate, IdentifyPermit } from '../../src/shard/index.ts'
import type { TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { type AtEnd, clientOf, ownEtcd } from './etcd-world.ts'

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe.concurrent('identify permits in etcd', () => {
  const freely: IdentifyGate = {
    acquire: () =>
      Promise.resolve<IdentifyPermit>({
        commit: () => Promise.resolve(),
        release: () => undefined,
      }),
  }

  function gateOf(
    onTestFinished: AtEnd,
    etcd: TestServer,
    worker: string,
    clock: Clock = systemClock,
    maxConcurrency = 2,
    callMs = 5000,
  ): EtcdIdentifyGate & { readonly requests: () => number } {
    const counters = memoryCounters()
    const client = clientOf(etcd.url, clock, counters, callMs)
    const gate = new EtcdIdentifyGate({
      client,
      local: freely,
      botUserId: '1',
      worker,
      maxConcurrency,
      ttlSeconds: 15,
      clock,
      random: Math.random,
      log: silentLog,
    })
    onTestFinished(() => {
      gate.close()
      client.close()
    })
    return Object.assign(gate, { requests: () => counters.read('gateway_etcd_requests_total') })
  }

  const never = (): AbortSignal => new AbortController().signal

  test('one key has one holder in all workers, for 5 s after its IDENTIFY; others pass', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const [a, b] = [
      gateOf(onTestFinished, etcd, 'fleet/a'),
      gateOf(onTestFinished, etcd, 'other/b'),
    ]
    const first = await a.acquire(0, never())
    await first.commit('first')
    const sentAt = performance.now()
    first.release('ready')
    // Key 1 is free.
    const beside = await b.acquire(1, never())
    beside.release('unused')
    const second = await b.acquire(2, never())
    expect(performance.now() - sentAt).toBeGreaterThan(5000)
    expect(performance.now() - sentAt).toBeLessThan(6500)
    second.release('unused')
  })

  test('the lowest bucket of all workers goes first', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    const [a, b] = [
      gateOf(onTestFinished, etcd, 'fleet/a'),
      gateOf(onTestFinished, etcd, 'fleet/b'),
    ]
    const first = await a.acquire(0, never())
    const order: number[] = []
    const waiting = [
      [a, 6],
      [b, 2],
    ].map(async ([gate, shardId]) => {
      const permit = await (gate as EtcdIdentifyGate).acquire(shardId as number, never())
      order.push(shardId as number)
      permit.release('unused')
    })
    const reader = clientOf(etcd.url, systemClock, memoryCounters(), 5000)
    onTestFinished(() => reader.close())
    await until(async () => (await reader.read('/gateway/bots/1/v1/waiting/')).keys.length === 2, {
      what: 'both waiting',
    })
    first.release('unused')
    await Promise.all(waiting)
    expect(order).toEqual([2, 6])
  })

  test('keys of one bucket are granted together, and a freed one at once to the other worker', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const gates = ['fleet/a', 'fleet/b'].map((worker) =>
      gateOf(onTestFinished, etcd, worker, systemClock, 64),
    )
    const beganAt = performance.now()
    const permits = await Promise.all(
      Array.from({ length: 64 }, (_, shardId) => gates[shardId % 2]!.acquire(shardId, never())),
    )
    // One transaction for each worker, not one for each shard with a read of all by everybody.
    expect(performance.now() - beganAt).toBeLessThan(5000)
    const requests = gates.map(({ requests: count }) => count())
    expect(Math.max(...requests)).toBeLessThan(40)
    let isGranted = false
    const next = gates[1]!.acquire(64, never()).then((permit) => {
      isGranted = true
      permit.release('unused')
    })
    await pause(300)
    expect(isGranted).toBe(false)
    permits[0]!.release('unused')
    await next
    for (const permit of permits) permit.release('unused')
    const reader = clientOf(etcd.url, systemClock, memoryCounters(), 5000)
    onTestFinished(() => reader.close())
    await until(async () => (await reader.read('/gateway/bots/')).keys.length === 0, {
      what: 'every key given back',
    })
  })

  test('two fleets never hold one key at a time, whoever asks and leaves when', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const random = seededRandom(1)
    const gates = ['one/a', 'two/b', 'two/c'].map((worker) => gateOf(onTestFinished, etcd, worker))
    const holders = new Map<number, number>()
    let most = 0
    let granted = 0
    const applicants = Array.from({ length: 60 }, async (_, shardId) => {
      const leaving = new AbortController()
      const waiting = gates[Math.floor(random() * 3)]!.acquire(shardId, leaving.signal)
      if (random() < 0.3) setTimeout(() => leaving.abort(new Error('gone')), random() * 200)
      let permit: IdentifyPermit
      try {
        permit = await waiting
      } catch {
        return
      }
      const key = shardId % 2
      holders.set(key, (holders.get(key) ?? 0) + 1)
      most = Math.max(most, holders.get(key)!)
      granted++
      await pause(random() * 20)
      holders.set(key, holders.get(key)! - 1)
      permit.release('unused')
    })
    await Promise.all(applicants)
    expect(most).toBe(1)
    expect(granted).toBeGreaterThan(30)
  })

  test('what a transaction took whose answer was lost is given back', async ({
    onTestFinished,
  }) => {
    const etcd = await ownEtcd(onTestFinished)
    const gate = gateOf(onTestFinished, etcd, 'fleet/a', systemClock, 2, 700)
    const held = await gate.acquire(1, never())
    etcd.freeze()
    const failed = gate.acquire(0, never()).catch((error: unknown) => error)
    expect(String(await failed)).toContain('CLUSTER_ETCD_UNREACHABLE')
    // What was on its way is carried out now.
    etcd.thaw()
    held.release('unused')
    const reader = clientOf(etcd.url, systemClock, memoryCounters(), 5000)
    onTestFinished(() => reader.close())
    await until(async () => (await reader.read('/gateway/bots/')).keys.length === 0, {
      what: 'every key given back',
    })
    const again = await gate.acquire(0, never())
    again.release('unused')
  })

  test('a permit past its own deadline is not used', async ({ onTestFinished }) => {
    const etcd = await ownEtcd(onTestFinished)
    let offsetMs = 0
    const clock: Clock = { ...systemClock, monotonic: () => performance.now() + offsetMs }
    const permit = await gateOf(onTestFinished, etcd, 'fleet/a', clock).acquire(0, never())
    offsetMs = 14_500
    await expect(permit.commit('first')).rejects.toThrow('CLUSTER_PERMIT_LOST')
    permit.release('unused')
  })
})
