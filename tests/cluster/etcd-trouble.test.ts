/** What stands between a worker and its etcd, and what other versions of the program have left in it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { memoryCounters, systemClock } from '../../src/base/index.ts'
import { selfSigned } from '../../sim/certificate.ts'
import { FleetKeys } from '../../src/cluster/etcd/keys.ts'
import { TcpProxy } from '../chaos/harness/tcp-proxy.ts'
import { startEtcd, startEtcdCluster } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { clientOf, makeWorker } from './etcd-world.ts'

describe.concurrent('an etcd in trouble', () => {
  test('that lost its quorum is named, and answers again when it is back', async ({
    onTestFinished,
  }) => {
    const members = await startEtcdCluster(3)
    onTestFinished(async () => void (await Promise.all(members.map((member) => member.stop()))))
    const client = clientOf(members[0]!.url)
    onTestFinished(() => client.close())
    await until(
      () =>
        client.probe().then(
          () => true,
          () => false,
        ),
      { timeoutMs: 10_000, what: 'a leader' },
    )
    await Promise.all(members.slice(1).map((member) => member.kill()))
    const refusal = (): Promise<string> =>
      client.probe().then(
        () => '',
        (error: unknown) => String(error),
      )
    // The one that is left counts as the leader until it has noticed.
    await until(async () => (await refusal()).includes('CLUSTER_ETCD_NO_QUORUM'), {
      timeoutMs: 20_000,
      what: 'the loss of the quorum told',
    })
    await members[1]!.start()
    await until(async () => (await refusal()) === '', {
      timeoutMs: 20_000,
      what: 'an answer by two of three',
    })
  })

  test('that speaks TLS is spoken to with its certificate, and the lack of it is named', async ({
    onTestFinished,
  }) => {
    const folder = mkdtempSync(join(tmpdir(), 'gateway-etcd-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const { cert, key } = selfSigned(['127.0.0.1', 'localhost'], Date.now())
    const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
    writeFileSync(certFile, cert)
    writeFileSync(keyFile, key)
    const etcd = await startEtcd({ tls: { certFile, keyFile } })
    onTestFinished(() => etcd.stop())
    const clients = [certFile, ''].map((caFile) =>
      clientOf(etcd.url, systemClock, memoryCounters(), 5000, caFile),
    )
    onTestFinished(() => clients.forEach((client) => client.close()))
    await clients[0]!.probe()
    await expect(clients[1]!.probe()).rejects.toThrow('CLUSTER_ETCD_TLS')
    expect(() => clientOf(etcd.url, systemClock, memoryCounters(), 700, '/not/there')).toThrow(
      'CLUSTER_ETCD_TLS',
    )
  })

  test.each(['cut', 'mute'] as const)(
    'whose connection to one worker is %s: its shards go to the other one',
    async (how) => {
      const etcd = await startEtcd()
      const proxy = await TcpProxy.start(etcd.port)
      const a = makeWorker(`http://127.0.0.1:${proxy.port}`, { id: 'a', fleet: how })
      const b = makeWorker(etcd.url, { id: 'b', fleet: how })
      try {
        await a.start()
        await b.start()
        await until(() => a.held.size === 3 && b.held.size === 3, {
          timeoutMs: 20_000,
          what: 'three shards each',
        })
        const [claim] = a.held.values()
        proxy[how]()
        const beganAt = performance.now()
        await until(() => b.held.size === 6, { timeoutMs: 15_000, what: 'everything at b' })
        expect(performance.now() - beganAt).toBeGreaterThan(1000)
        // By its own clock it proves nothing any more; that it lost the shards it cannot know yet.
        expect(await claim!.confirm()).toBe(false)
        expect(a.lost).toEqual([])
        proxy.heal()
        await until(() => a.lost.length === 3, { timeoutMs: 15_000, what: 'the loss seen by a' })
        await until(() => a.held.size === 3 && b.held.size === 3, {
          timeoutMs: 15_000,
          what: 'three shards each again',
        })
      } finally {
        await Promise.all([a.stop(), b.stop()])
        await proxy.stop()
        await etcd.stop()
      }
    },
  )
})

describe('keys of another version of the program', () => {
  const keys = new FleetKeys('test')
  const kv = (key: string, value: string) => ({
    key,
    value,
    createRevision: 7,
    modRevision: 8,
    lease: '1',
  })

  test('fields that are not known are ignored, missing ones have a default', () => {
    const view = keys.parse({
      revision: 9,
      keys: [
        kv(keys.worker('newer'), '{"base":"newer","shardCount":4,"stop":4,"moods":["calm"]}'),
        kv(keys.claim(0), '{"worker":"newer","since":1}'),
      ],
    })
    expect(view.workers[0]).toMatchObject({
      id: 'newer',
      shardCount: 4,
      capacity: null,
      address: '',
      isLeaving: false,
    })
    expect(view.claims.get(0)).toMatchObject({ worker: 'newer', createRevision: 7 })
  })

  test('kinds of keys that are not known, and values that are no objects, break nothing', () => {
    const view = keys.parse({
      revision: 9,
      keys: [
        kv(`${keys.prefix}omens/3`, '{"to":"a"}'),
        kv(keys.claim(1), 'not JSON'),
        kv(keys.handover(1), '[]'),
      ],
    })
    expect(view.workers).toEqual([])
    // Somebody has it, nobody knows who: it is not free.
    expect(view.claims.get(1)).toMatchObject({ worker: '' })
  })

  test('a later version of the format lies beside this one and is not read', () => {
    expect(keys.prefix).toBe('/gateway/test/v1/')
    expect('/gateway/test/v2/claims/0'.startsWith(keys.prefix)).toBe(false)
  })
})
