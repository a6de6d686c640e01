/** Makes planned faults happen, and remembers when something was wrong. */
import { Client } from 'pg'
import { SHARD_LOCK_KEY } from '../../../src/cache/fences.ts'
import { SimError } from '../../../sim/errors.ts'
import type { Sim } from '../../../sim/index.ts'
import { everyMutation } from '../../e2e/run.ts'
import { describeFault, type PlannedFault } from './schedule.ts'
import { type ChaosServers, restoreEtcd, saveEtcd } from './servers.ts'
import type { Workers } from './workers.ts'

/** A time in which processes or servers were not there, as wall time. */
export interface Disturbance {
  readonly kind: PlannedFault['kind']
  readonly fromMs: number
  toMs: number
}

export interface InjectorDeps {
  readonly sim: Sim
  readonly workers: Workers
  readonly servers: ChaosServers
  readonly say: (text: string) => void
}

/** How long a worker is looked for in a transaction. */
const IN_TRANSACTION_MS_MAX = 3000

export class Injector {
  readonly disturbances: Disturbance[] = []
  readonly #deps: InjectorDeps

  constructor(deps: InjectorDeps) {
    this.#deps = deps
  }

  /** Follows the plan; resolves when the last fault is over. */
  async follow(plan: readonly PlannedFault[], durationMs: number): Promise<void> {
    const startedAt = performance.now()
    const running: Promise<void>[] = []
    for (const fault of plan) {
      await sleep(startedAt + fault.atMs - performance.now())
      this.#deps.say(describeFault(fault))
      running.push(this.#strike(fault))
    }
    await sleep(startedAt + durationMs - performance.now())
    await Promise.all(running)
  }

  async #strike(fault: PlannedFault): Promise<void> {
    const { sim, workers, say } = this.#deps
    everyMutation(sim)
    if (fault.request !== null) {
      try {
        sim.fault(fault.request)
      } catch (error) {
        // Nobody is connected: there is nothing to disturb.
        if (!(error instanceof SimError) || error.code !== 'SIM_NO_SESSION') throw error
        say(`  ${error.message}`)
      }
      return
    }
    const disturbance: Disturbance = { kind: fault.kind, fromMs: Date.now(), toMs: Infinity }
    this.disturbances.push(disturbance)
    await this.#disturb(fault)
    disturbance.toMs = Date.now()
    if (fault.worker > 0 && workers.isFrozen(fault.worker)) workers.thaw(fault.worker)
  }

  async #disturb({ kind, worker, durationMs }: PlannedFault): Promise<void> {
    const { workers, servers } = this.#deps
    const proxy = workers.proxy(worker)
    switch (kind) {
      case 'kill':
        await workers.kill(worker)
        await sleep(durationMs)
        await workers.start(worker)
        return
      case 'stop':
        await workers.stop(worker)
        await sleep(durationMs)
        await workers.start(worker)
        return
      case 'freeze':
        workers.freeze(worker)
        await sleep(durationMs)
        workers.thaw(worker)
        return
      case 'freeze-in-transaction':
        await this.#freezeInTransaction(worker)
        await sleep(durationMs)
        workers.thaw(worker)
        return
      case 'add':
        await workers.start(worker)
        return
      case 'remove':
        await workers.stop(worker)
        return
      case 'cut-etcd':
      case 'mute-etcd':
        if (kind === 'cut-etcd') proxy?.cut()
        else proxy?.mute()
        await sleep(durationMs)
        proxy?.heal()
        return
      case 'kill-redis':
        await servers.redis.kill()
        await sleep(durationMs)
        await servers.redis.start()
        return
      case 'kill-postgres':
        await servers.postgres.kill()
        await sleep(durationMs)
        await servers.postgres.start()
        return
      case 'kill-etcd':
      case 'restore-etcd': {
        const etcd = servers.etcd!
        await etcd.kill()
        if (kind === 'restore-etcd') restoreEtcd(etcd)
        else saveEtcd(etcd)
        await sleep(durationMs)
        await etcd.start()
        return
      }
      case 'discord':
        throw new Error('a fault of Discord has a request')
    }
  }

  /**
   * A lock of our own on every shard holds up the worker's next transaction behind its BEGIN. It is stopped there, the
   * lock goes, and Postgres waits inside the transaction for a process that says nothing more.
   */
  async #freezeInTransaction(worker: number): Promise<void> {
    const { sim, servers, workers, say } = this.#deps
    const client = new Client({ connectionString: servers.postgres.url })
    client.on('error', () => undefined)
    try {
      await client.connect()
      await client.query('begin')
      await client.query(
        `select pg_advisory_xact_lock(${SHARD_LOCK_KEY}, shard) from gateway_sessions order by shard`,
      )
      const deadline = performance.now() + IN_TRANSACTION_MS_MAX
      while (performance.now() < deadline) {
        everyMutation(sim)
        const { rowCount } = await client.query(
          `select 1 from pg_stat_activity where wait_event_type = 'Lock' and xact_start is not null
             and application_name like $1`,
          [`gateway gateway-w${worker} %`],
        )
        if (rowCount !== null && rowCount > 0) break
        await sleep(20)
      }
    } catch (error) {
      say(`  worker ${worker} was in no transaction: ${(error as Error).message}`)
    } finally {
      workers.freeze(worker)
      await client.end().catch(() => undefined)
    }
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)))
}
