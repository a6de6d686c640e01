import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { FleetFace } from '../../src/cluster/index.ts'
import type { FleetView, LiveWorker } from '../../src/cluster/index.ts'
import { startEtcd, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { clientOf, makeWorker, type Worker } from './etcd-world.ts'

let etcd: TestServer

beforeAll(async () => {
  etcd = await startEtcd()
})

afterAll(() => etcd.stop())

async function startPair(fleet: string): Promise<{ face: FleetFace; a: Worker; b: Worker }> {
  const a = makeWorker(etcd.url, { id: 'a', fleet, settleMs: 0 })
  const b = makeWorker(etcd.url, { id: 'b', fleet, settleMs: 0 })
  const client = clientOf(etcd.url)
  onTestFinished(async () => {
    await Promise.all([a.stop(), b.stop()])
    client.close()
  })
  await a.start()
  await b.start()
  await until(() => a.held.size === 3 && b.held.size === 3, { what: 'three shards each' })
  return { face: new FleetFace(client, fleet), a, b }
}

function ownerOf({ claims }: FleetView, shardId: number): string | undefined {
  return claims.get(shardId)?.worker
}

test('shows the workers with their addresses, and the owner of each shard', async () => {
  const { face, a } = await startPair('shown')
  const view = await face.read()
  const address = ({ id, address: where }: LiveWorker): string => `${id} at ${where}`
  expect(view.workers.map(address)).toEqual(['a at 127.0.0.1:1', 'b at 127.0.0.1:1'])
  for (const shardId of a.held.keys()) expect(ownerOf(view, shardId)).toBe('a')
  expect(view.claims.size).toBe(6)
})

test('a shard that is moved goes to that worker and stays there', async () => {
  const { face, a, b } = await startPair('moved')
  const [shardId] = a.held.keys()
  await face.move(shardId!, 'b')
  await until(() => b.held.has(shardId!) && a.held.size === 3, { what: 'the move, in balance' })
  await face.unmove(shardId!)
  expect((await face.read()).moves.size).toBe(0)
  expect(a.lost).toEqual([])
})

test('a worker that is drained gives its shards away and takes none until that is taken back', async () => {
  const { face, a, b } = await startPair('drained')
  await face.drain('a')
  await until(() => a.held.size === 0 && b.held.size === 6, { what: 'everything at b' })
  await face.undrain('a')
  await until(() => a.held.size === 3 && b.held.size === 3, { what: 'three shards each' })
})

test('a worker that does not live is refused by name, and those that do are named', async () => {
  const { face } = await startPair('unknown')
  await expect(face.move(0, 'c')).rejects.toThrow(/CLUSTER_WORKER_UNKNOWN.*a, b/)
  await expect(face.drain('c')).rejects.toThrow('CLUSTER_WORKER_UNKNOWN')
})
