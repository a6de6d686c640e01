import { BaseError, type Clock, type Timer } from '../../src/base/index.ts'
import { shardOfGuild } from '../../src/discord/index.ts'
import {
  type GatewayControl,
  ServerError,
  type ShardReport,
  type ShardStat,
} from '../../src/server/index.ts'
import type { ShardManager, ShardStatus } from '../../src/shard/index.ts'

const SAMPLE_INTERVAL_MS = 1000
/** The event rate is the mean over this many samples. */
const SAMPLES = 5

/** The management service's view of the shard manager; samples event rates while it runs. */
export class ManagerControl implements GatewayControl {
  readonly version: string
  readonly #manager: ShardManager
  readonly #clock: Clock
  readonly #shardCount: number
  readonly #samples: Map<number, number>[] = []
  /** By shard, to within a sample. */
  readonly #lastEventAt = new Map<number, number>()
  #timer: Timer | undefined

  constructor(deps: {
    readonly version: string
    readonly manager: ShardManager
    readonly shardCount: number
    readonly clock: Clock
  }) {
    this.version = deps.version
    this.#manager = deps.manager
    this.#clock = deps.clock
    this.#shardCount = deps.shardCount
    this.#sample()
  }

  stop(): void {
    this.#clock.clearTimeout(this.#timer)
  }

  stats(): readonly ShardStat[] {
    const oldest = this.#samples[0]
    const seconds = (this.#samples.length * SAMPLE_INTERVAL_MS) / 1000
    return this.#manager.status().map((status) => ({
      shard: status.shardId,
      status: statusOf(status),
      eventRate: Math.round(
        Math.max(0, status.events - (oldest?.get(status.shardId) ?? 0)) / Math.max(1, seconds),
      ),
    }))
  }

  /** As gateway.v1.Fleet tells of them. */
  reports(): readonly ShardReport[] {
    const rates = new Map(this.stats().map(({ shard, eventRate }) => [shard, eventRate]))
    const now = this.#clock.monotonic()
    return this.#manager.status().map((status) => {
      const at = this.#lastEventAt.get(status.shardId)
      return {
        shard: status.shardId,
        state: status.state,
        received: status.received,
        acknowledged: status.acknowledged,
        fence: status.fence,
        lastEventAgeMs: at === undefined ? null : now - at,
        heartbeatRttMs: status.heartbeatRttMs,
        eventRate: rates.get(status.shardId) ?? 0,
        events: status.events,
        identifies: status.identifies,
        resumes: status.resumes,
      }
    })
  }

  restartShard(shardId: number): Promise<void> {
    return this.#call(shardId, () => this.#manager.restart(shardId))
  }

  /**
   * All members: an empty query without limit. Resolves when it is sent, or waits for Discord's limits.
   * See [Discord Docs/Gateway Events#request-guild-members].
   */
  async requestGuildMembers(guildId: bigint, shardId: number): Promise<void> {
    const owner = shardOfGuild(guildId, this.#shardCount)
    if (owner !== shardId) {
      throw new ServerError(
        'SERVER_BAD_REQUEST',
        `Guild ${guildId} belongs to shard ${owner} of ${this.#shardCount}, not to shard ${shardId}.`,
        { guildId: guildId.toString(), shardId, owner },
      )
    }
    await this.#call(
      shardId,
      () =>
        new Promise<void>((resolve, reject) => {
          this.#manager.requestMembers(shardId, { guildId, presences: false, nonce: '' }, (now) => {
            if (now.error === null) resolve()
            else reject(now.error)
          })
        }),
    )
  }

  async #call(shardId: number, call: () => void | Promise<void>): Promise<void> {
    try {
      await call()
    } catch (error) {
      if (!(error instanceof BaseError)) throw error
      if (error.code === 'SHARD_NOT_OWNED') {
        throw new ServerError(
          'SERVER_SHARD_NOT_FOUND',
          `No worker holds shard ${shardId} at the moment; there are the shards 0 to ${this.#shardCount - 1}.`,
          { shardId },
          { cause: error },
        )
      }
      if (error.code === 'SHARD_NOT_READY') {
        throw new ServerError(
          'SERVER_SHARD_NOT_READY',
          `Shard ${shardId} has no session at the moment.`,
          { shardId },
          { cause: error },
        )
      }
      throw error
    }
  }

  #sample(): void {
    const counts = new Map<number, number>()
    const last = this.#samples.at(-1)
    for (const { shardId, events } of this.#manager.status()) {
      counts.set(shardId, events)
      const isNew = events > 0 && events !== last?.get(shardId)
      if (isNew) this.#lastEventAt.set(shardId, this.#clock.monotonic())
    }
    for (const shardId of this.#lastEventAt.keys()) {
      if (!counts.has(shardId)) this.#lastEventAt.delete(shardId)
    }
    this.#samples.push(counts)
    if (this.#samples.length > SAMPLES) this.#samples.shift()
    this.#timer = this.#clock.setTimeout(() => this.#sample(), SAMPLE_INTERVAL_MS)
  }
}

function statusOf(status: ShardStatus): ShardStat['status'] {
  switch (status.state) {
    case 'ready':
      return 'CONNECTED'
    case 'connecting':
    case 'resuming':
    case 'identifying':
      return 'CONNECTING'
    default:
      return 'DISCONNECTED'
  }
}
