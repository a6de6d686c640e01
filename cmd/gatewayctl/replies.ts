/** The answers of proto/fleet.proto as gatewayctl prints them: int64 as numbers, all of them far below 2^53. */

export interface WorkerReply {
  readonly id: string
  readonly address: string
  readonly version: string
  readonly shards_max: number
  readonly start: number
  readonly stop: number
  readonly shards: number
  readonly is_draining: boolean
  readonly is_reachable: boolean
  readonly is_waiting: boolean
}

export interface ShardReply {
  readonly shard: number
  readonly worker: string
  readonly state: string
  readonly received: number
  readonly acknowledged: number
  readonly lag: number
  readonly fence_epoch: number
  readonly fence_revision: number
  readonly last_event_age_ms: number
  readonly heartbeat_rtt_ms: number
  readonly event_rate: number
  readonly moving_to: string
  readonly moved_to: string
  readonly events: number
  readonly identifies: number
  readonly resumes: number
}

export interface StatusReply {
  readonly fleet: string
  readonly shard_count: number
  readonly workers: readonly WorkerReply[]
  readonly shards: readonly ShardReply[]
  readonly stale_because: string
}

export interface IdentifiesReply {
  readonly total: number
  readonly left: number
  readonly used: number
  readonly reserve: number
  readonly reset_after_ms: number
  readonly max_concurrency: number
  readonly breaker: number
  readonly breaker_window_ms: number
  readonly allowed: number
  readonly workers: readonly {
    readonly worker: string
    readonly waiting: number
    readonly stopped_by: string
  }[]
  readonly shards: readonly { readonly shard: number; readonly identifies: number }[]
}

export interface GuildReply {
  readonly guild_id: string
  readonly shard: number
  readonly worker: string
  readonly state: string
  readonly since: string
  readonly members_complete: boolean
  readonly members_as_of: string
  readonly presences_complete: boolean
  readonly presences_as_of: string
  readonly bans_since: string
  readonly gap_at: string
}

export interface SpillsReply {
  readonly spills: readonly {
    readonly spill: string
    readonly worker: string
    readonly destination: string
    readonly shard: number
    readonly session: string
    readonly first: number
    readonly last: number
    readonly events: number
    readonly updated_at: string
    readonly held_by: string
  }[]
}

/** int64 comes as text: proto-loader's `longs: String`. Ids stay text. */
export function withNumbers<Reply>(reply: unknown): Reply {
  return JSON.parse(
    JSON.stringify(reply, (key, value: unknown) =>
      typeof value === 'string' && COUNTS.test(key) ? Number(value) : value,
    ),
  ) as Reply
}

const COUNTS =
  /^(received|acknowledged|lag|fence_epoch|fence_revision|events|identifies|resumes|first|last|.*_ms)$/
