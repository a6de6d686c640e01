/** What gateway.v1.Fleet asks of this process; cmd/gateway implements it with the rooms. */
import type { GuildReport, SpillRow } from '../cache/index.ts'
import type { BudgetReport } from '../cluster/index.ts'

export interface FleetWorker {
  readonly id: string
  readonly address: string
  readonly version: string
  /** Null: any number. */
  readonly shardsMax: number | null
  readonly start: number
  readonly stop: number
  readonly isDraining: boolean
  readonly isWaiting: boolean
}

/** Who is there and who holds what, by the claims. */
export interface FleetOverview {
  readonly fleet: string
  readonly shardCount: number
  readonly workers: readonly FleetWorker[]
  /** Shard → worker. */
  readonly owners: ReadonlyMap<number, string>
  readonly movingTo: ReadonlyMap<number, string>
  readonly movedTo: ReadonlyMap<number, string>
  /** Why it is only what was last known; null: it is not. */
  readonly staleBecause: string | null
}

/** A shard of this process. Ages and times in ms, null where there is none yet. */
export interface ShardReport {
  readonly shard: number
  readonly state: string
  readonly received: number
  readonly acknowledged: number
  readonly fence: { readonly epoch: number; readonly revision: number }
  readonly lastEventAgeMs: number | null
  readonly heartbeatRttMs: number | null
  readonly eventRate: number
  readonly events: number
  readonly identifies: number
  readonly resumes: number
}

export interface IdentifyBudgetReport extends BudgetReport {
  /** What AllowIdentifies has left. */
  readonly allowed: number
  readonly shards: readonly { readonly shard: number; readonly identifies: number }[]
}

export interface IdentifyGateReport {
  readonly waiting: number
  /** Empty: nothing. */
  readonly stoppedBy: string
}

export interface FleetGuild {
  readonly shard: number
  /** Null: the bot is not in it. */
  readonly report: GuildReport | null
}

/** Calls reject with a BaseError whose message is for the operator. */
export interface FleetControl {
  readonly workerId: string
  overview(): Promise<FleetOverview>
  ownShards(): readonly ShardReport[]
  /** @returns the worker's id. */
  move(shardId: number, worker: string): Promise<string>
  unmove(shardId: number): Promise<void>
  drain(worker: string): Promise<string>
  undrain(worker: string): Promise<string>
  identifyBudget(): Promise<IdentifyBudgetReport>
  ownIdentifyGate(): IdentifyGateReport
  allowIdentifies(count: number): Promise<void>
  /** Identifies were allowed: this process looks whether one of its shards may have one. */
  lookAgain(): void
  guild(guildId: bigint): Promise<FleetGuild>
  /** What the workers said last of what lies in their spills. */
  spills(): Promise<readonly SpillRow[]>
  /** Ids of the spills that this process holds. */
  ownSpills(): readonly string[]
  /** Nobody will read the spill again: what lay in it is counted as lost. @returns that. */
  loseSpill(spillId: string): Promise<readonly SpillRow[]>
}
