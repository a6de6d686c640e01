/**
 * Whether a GUILD_CREATE means that the bot joined, or only that Discord shows a guild again.
 * Durable membership decides; READY only tells who left. docs/architecture.md#guild-lifecycle
 *
 *   absent ──GUILD_CREATE──► joined → present          absent ──{unavailable}──► joining
 *   joining ──GUILD_CREATE──► joined → present         present ──GUILD_DELETE{unavailable}──► unavailable
 *   unavailable, present ──GUILD_CREATE──► available   any ──GUILD_DELETE──► left → absent
 *   first READY of the shard: its guilds ──► backfill ──GUILD_CREATE──► backfill → present
 *
 * A replay keeps the class that the event had, although membership has gone on since: a crash between commit and
 * push cannot turn a join into "available", nor the end of an outage into a join.
 */
import type { Log } from '../base/index.ts'
import { FieldReader, isNil, isTrue, ListReader, snowflakeAt, textAt } from '../etf/index.ts'
import { FILL_NONCE_PREFIX } from './commands/member-requests.ts'
import type { Dispatch, GuildClass, GuildMembership, MembershipRow, ReplayClass } from './ports.ts'

/** A READY that lacks more guilds than this, and more than LEFT_SHARE_MAX of them, is doubted. */
const LEFT_COUNT_MAX = 10
const LEFT_SHARE_MAX = 1 / 5

const AWAITED_MS = 60_000

interface Membership {
  state: MembershipRow['state']
  sessionId: string
  sequence: number
}

interface ShardGuilds {
  filled: boolean
  /** Guilds of the last READY that did not come yet; see awaitedCount(). */
  awaited: Set<bigint>
  readyAtMs: number
  readonly guilds: Map<bigint, Membership>
  /** What this session may send again. */
  readonly replayedSessionId: string
  readonly replay: Map<bigint, ReplayClass[]>
}

export class GuildLifecycle {
  readonly #membership: GuildMembership
  readonly #log: Log
  readonly #onLeft: (shardId: number, guildIds: bigint[], isDoubtful: boolean) => void
  readonly #shards = new Map<number, ShardGuilds>()
  readonly #guildFields = new FieldReader(['id', 'unavailable'])
  readonly #readyFields = new FieldReader(['guilds'])
  readonly #chunkFields = new FieldReader(['nonce'])
  readonly #list = new ListReader()

  constructor(deps: {
    readonly membership: GuildMembership
    readonly log: Log
    /** Guilds of the shard that a READY no longer lists; doubtful ones are only marked unavailable. */
    readonly onLeft: (shardId: number, guildIds: bigint[], isDoubtful: boolean) => void
  }) {
    this.#membership = deps.membership
    this.#log = deps.log
    this.#onLeft = deps.onLeft
  }

  /** Reads the shard's membership; after the claim, before the connection. */
  async load(shardId: number, shardCount: number): Promise<void> {
    const { filled, rows, replay } = await this.#membership.load(shardId, shardCount)
    const guilds = new Map<bigint, Membership>()
    for (const { guildId, state, sessionId, sequence } of rows) {
      guilds.set(guildId, { state, sessionId, sequence })
    }
    this.#shards.set(shardId, {
      filled,
      awaited: new Set(),
      readyAtMs: 0,
      guilds,
      replayedSessionId: replay.sessionId,
      replay: Map.groupBy(replay.classes, ({ guildId }) => guildId),
    })
  }

  forget(shardId: number): void {
    this.#shards.delete(shardId)
  }

  /** Guilds that are there and shown, of one shard. */
  presentCount(shardId: number): number {
    let count = 0
    for (const { state } of this.#shards.get(shardId)?.guilds.values() ?? []) {
      if (state === 'present') count++
    }
    return count
  }

  /**
   * Guilds of all shards that READY has announced and that are still to come. A guild in an outage does not
   * come: after a minute nobody waits for it any more.
   *
   * @param nowMs wall time.
   */
  awaitedCount(nowMs: number): number {
    let count = 0
    for (const { awaited, readyAtMs } of this.#shards.values()) {
      if (nowMs - readyAtMs < AWAITED_MS) count += awaited.size
    }
    return count
  }

  /** Compares the READY's guild list with membership. Before the READY itself goes on. */
  ready(event: Dispatch): void {
    const shard = this.#shard(event.shardId)
    const { bytes } = event
    shard.replay.clear()
    if (this.#readyFields.read(bytes, event.start, event.end) < 0) return
    const listStart = this.#readyFields.starts[0]!
    if (listStart < 0 || !this.#list.open(bytes, listStart, this.#readyFields.ends[0]!)) return
    const listed = new Set<bigint>()
    while (this.#list.next()) {
      const id = this.#guildId(this.#list.bytes, this.#list.start, this.#list.end)
      if (id !== null) listed.add(id)
    }
    shard.awaited = new Set(listed)
    shard.readyAtMs = event.receivedAtMs
    if (!shard.filled) {
      for (const id of listed) {
        if (!shard.guilds.has(id)) {
          shard.guilds.set(id, { state: 'backfill', sessionId: '', sequence: 0 })
        }
      }
      shard.filled = true
    }
    const left = [...shard.guilds.keys()].filter((id) => !listed.has(id))
    if (left.length === 0) return
    const isDoubtful =
      left.length > LEFT_COUNT_MAX && left.length > shard.guilds.size * LEFT_SHARE_MAX
    for (const id of left) {
      if (isDoubtful) shard.guilds.get(id)!.state = 'unavailable'
      else shard.guilds.delete(id)
    }
    if (isDoubtful) {
      this.#log.error(
        'READY lacks many guilds: kept and marked unavailable until they come again',
        {
          shardId: event.shardId,
          missing: left.length,
          listed: listed.size,
        },
      )
    } else {
      this.#log.info('guilds were left while the shard was away', {
        shardId: event.shardId,
        guilds: left.length,
      })
    }
    this.#onLeft(event.shardId, left, isDoubtful)
  }

  /** The class of a GUILD_CREATE, GUILD_DELETE or GUILD_MEMBERS_CHUNK; '' for any other event. */
  classify(event: Dispatch): GuildClass {
    if (event.eventName === 'GUILD_MEMBERS_CHUNK') return this.#onChunk(event)
    if (event.eventName === 'GUILD_CREATE') return this.#onCreate(event)
    if (event.eventName === 'GUILD_DELETE') return this.#onDelete(event)
    return ''
  }

  #onCreate(event: Dispatch): GuildClass {
    const id = this.#guildId(event.bytes, event.start, event.end)
    if (id === null) return ''
    const { guilds, awaited } = this.#shardBefore(event, id)
    awaited.delete(id)
    const known = guilds.get(id)
    if (this.#isUnavailable(event.bytes)) {
      if (known === undefined || known.state === 'joining') {
        guilds.set(id, { state: 'joining', sessionId: '', sequence: 0 })
        return 'joining'
      }
      known.state = 'unavailable'
      return 'unavailable'
    }
    if (known === undefined || known.state === 'joining') {
      guilds.set(id, { state: 'present', sessionId: event.sessionId, sequence: event.sequence })
      return 'joined'
    }
    if (known.sessionId === event.sessionId && known.sequence === event.sequence) {
      known.state = 'present'
      return 'joined'
    }
    const isBackfill = known.state === 'backfill'
    known.state = 'present'
    return isBackfill ? 'backfill' : 'available'
  }

  #onDelete(event: Dispatch): GuildClass {
    const id = this.#guildId(event.bytes, event.start, event.end)
    if (id === null) return ''
    const { guilds, awaited } = this.#shardBefore(event, id)
    awaited.delete(id)
    // The key `unavailable` set means an outage; absent (or nil) means that the bot was removed.
    const unavailableStart = this.#guildFields.starts[1]!
    if (unavailableStart < 0 || isNil(event.bytes, unavailableStart, this.#guildFields.ends[1]!)) {
      guilds.delete(id)
      return 'left'
    }
    const known = guilds.get(id)
    if (known === undefined || known.state === 'joining') {
      // A guild that was joined while the shard was away, in an outage: its first GUILD_CREATE is the join.
      guilds.set(id, { state: 'joining', sessionId: '', sequence: 0 })
      return 'joining'
    }
    known.state = 'unavailable'
    return 'unavailable'
  }

  #onChunk(event: Dispatch): GuildClass {
    const fields = this.#chunkFields
    if (fields.read(event.bytes, event.start, event.end) < 0 || fields.starts[0]! < 0) return ''
    const nonce = textAt(event.bytes, fields.starts[0]!, fields.ends[0]!)
    // Whatever was not asked for by the gateway itself, a backend asked for.
    return nonce !== null && !nonce.startsWith(FILL_NONCE_PREFIX) ? 'requested' : ''
  }

  /** Reads `id` and `unavailable` of a guild; the latter stays in the reader. */
  #guildId(bytes: Uint8Array, start: number, end: number): bigint | null {
    if (this.#guildFields.read(bytes, start, end) < 0) return null
    const idStart = this.#guildFields.starts[0]!
    return idStart < 0 ? null : snowflakeAt(bytes, idStart, this.#guildFields.ends[0]!)
  }

  #isUnavailable(bytes: Uint8Array): boolean {
    const start = this.#guildFields.starts[1]!
    return start >= 0 && isTrue(bytes, start, this.#guildFields.ends[1]!)
  }

  /** The shard; if the event is a replay, with this guild as it was before it. */
  #shardBefore(event: Dispatch, id: bigint): ShardGuilds {
    const shard = this.#shard(event.shardId)
    const { guilds } = shard
    const noted = shard.replay.get(id)
    if (noted === undefined || shard.replayedSessionId !== event.sessionId) return shard
    const itself = noted.find(({ sequence }) => sequence === event.sequence)
    const state = guilds.get(id)?.state
    if (itself?.guildClass === 'joined' || itself?.guildClass === 'joining') {
      guilds.delete(id)
    } else if (
      itself === undefined &&
      (state === undefined || state === 'joining') &&
      noted.some(({ sequence }) => sequence > event.sequence)
    ) {
      // What is not noted, but stands in front of what is, came while the guild was known.
      guilds.set(id, { state: 'present', sessionId: '', sequence: 0 })
    }
    return shard
  }

  #shard(shardId: number): ShardGuilds {
    let shard = this.#shards.get(shardId)
    if (shard === undefined) {
      shard = {
        filled: false,
        awaited: new Set(),
        readyAtMs: 0,
        guilds: new Map(),
        replayedSessionId: '',
        replay: new Map(),
      }
      this.#shards.set(shardId, shard)
    }
    return shard
  }
}
