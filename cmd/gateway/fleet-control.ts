/** What gatewayctl asks of this process, from the rooms that know it. */
import type { Clock } from '../../src/base/index.ts'
import {
  type Database,
  type IdentifyLog,
  readGuildReport,
  type SpillRow,
  type SpillStore,
} from '../../src/cache/index.ts'
import type { IdentifyBudget, MemoryIdentifyGate } from '../../src/cluster/index.ts'
import { shardOfGuild } from '../../src/discord/index.ts'
import type { SpillLedger } from '../../src/push/index.ts'
import type {
  FleetControl,
  FleetGuild,
  FleetOverview,
  IdentifyBudgetReport,
  IdentifyGateReport,
  ShardReport,
} from '../../src/server/index.ts'
import type { Gaps } from '../../src/shard/index.ts'
import type { ClusterFleet } from './cluster-fleet.ts'
import type { ManagerControl } from './control.ts'

/** Shards that are shown with their identifies. */
const BUSIEST_MAX = 10

export interface FleetControlDeps {
  readonly cluster: ClusterFleet
  readonly manager: ManagerControl
  readonly budget: IdentifyBudget
  readonly gate: MemoryIdentifyGate
  readonly identifyLog: IdentifyLog
  readonly spills: SpillStore
  readonly ledger: SpillLedger
  readonly gaps: Gaps
  readonly database: Database
  readonly shardCount: number
  readonly clock: Clock
}

export class ProcessFleetControl implements FleetControl {
  readonly #deps: FleetControlDeps

  constructor(deps: FleetControlDeps) {
    this.#deps = deps
  }

  get workerId(): string {
    return this.#deps.cluster.workerId
  }

  overview(): Promise<FleetOverview> {
    return this.#deps.cluster.overview()
  }

  ownShards(): readonly ShardReport[] {
    return this.#deps.manager.reports()
  }

  move(shardId: number, worker: string): Promise<string> {
    return this.#deps.cluster.move(shardId, worker)
  }

  unmove(shardId: number): Promise<void> {
    return this.#deps.cluster.unmove(shardId)
  }

  drain(worker: string): Promise<string> {
    return this.#deps.cluster.drain(worker)
  }

  undrain(worker: string): Promise<string> {
    return this.#deps.cluster.undrain(worker)
  }

  async identifyBudget(): Promise<IdentifyBudgetReport> {
    const { budget, identifyLog, clock } = this.#deps
    const report = await budget.report()
    const [allowed, shards] = await Promise.all([
      identifyLog.allowance(),
      identifyLog.busiest(clock.now() - report.breakerWindowMs, BUSIEST_MAX),
    ])
    return { ...report, allowed, shards }
  }

  ownIdentifyGate(): IdentifyGateReport {
    return this.#deps.gate.report()
  }

  allowIdentifies(count: number): Promise<void> {
    return this.#deps.identifyLog.allow(count)
  }

  lookAgain(): void {
    this.#deps.gate.lookAgain()
  }

  spills(): Promise<SpillRow[]> {
    return this.#deps.spills.all()
  }

  ownSpills(): readonly string[] {
    return this.#deps.ledger.held()
  }

  async loseSpill(spillId: string): Promise<SpillRow[]> {
    const rows = await this.#deps.spills.take(spillId)
    for (const { shardId, sessionId, from, to, events, destination } of rows) {
      this.#deps.gaps.gap({
        shardId,
        sessionId,
        from,
        to,
        events,
        cause: 'spill_lost',
        destination,
      })
    }
    return rows
  }

  async guild(guildId: bigint): Promise<FleetGuild> {
    const { database, shardCount } = this.#deps
    const shard = shardOfGuild(guildId, shardCount)
    return { shard, report: await readGuildReport(database, guildId) }
  }
}
