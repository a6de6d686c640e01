/** etcd, Redis and Postgres of a run, of its own, so that they can be killed. */
import { cpSync, existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { startEtcd, startPostgres, startRedis, type TestServer } from '../../support/servers.ts'
import type { Profile } from './flags.ts'

export interface ChaosServers {
  /** Null in a run without a cluster. */
  readonly etcd: TestServer | null
  readonly redis: TestServer
  readonly postgres: TestServer
  stop(): Promise<void>
}

/** What redis.conf comes with: a snapshot after so many seconds with so many changes, and no append-only file. */
const REDIS_SAVE = '3600 1 300 100 60 10000'

export async function startServers(profile: Profile, hasEtcd: boolean): Promise<ChaosServers> {
  const isDurable = profile === 'durable'
  const [postgres, redis, etcd] = await Promise.all([
    startPostgres(),
    startRedis(isDurable ? { appendonly: true } : { args: ['--save', REDIS_SAVE] }),
    hasEtcd ? startEtcd() : Promise.resolve(null),
  ])
  if (etcd !== null) {
    await etcd.kill()
    saveEtcd(etcd)
    await etcd.start()
  }
  const all = [postgres, redis, ...(etcd === null ? [] : [etcd])]
  return {
    etcd,
    redis,
    postgres,
    async stop() {
      await Promise.all(all.map((server) => server.stop()))
    },
  }
}

/** Keeps what a killed etcd has, for `restoreEtcd`. */
export function saveEtcd(etcd: TestServer): void {
  const copy = join(etcd.dataDir, 'older')
  rmSync(copy, { recursive: true, force: true })
  cpSync(join(etcd.dataDir, 'member'), copy, { recursive: true })
}

/** A killed etcd gets back what was kept: its revisions begin again where they were then. */
export function restoreEtcd(etcd: TestServer): void {
  const copy = join(etcd.dataDir, 'older')
  if (!existsSync(copy)) throw new Error('nothing of etcd was kept to be restored')
  rmSync(join(etcd.dataDir, 'member'), { recursive: true, force: true })
  renameSync(copy, join(etcd.dataDir, 'member'))
  saveEtcd(etcd)
}
