/**
 * A run without a network: a world tells its events to sessions, a ledger is kept as the simulator keeps it, and a
 * faultless gateway hands on what it was sent. The checker must find nothing in it, and each thing that is then spoilt.
 */
import { createHash } from 'node:crypto'
import { ALL_INTENTS, shardOfGuild } from '../../../src/discord/index.ts'
import { EtfWriter } from '../../../sim/wire/etf-writer.ts'
import { World } from '../../../sim/world/index.ts'
import type { ClientView, JsonObject, MutationKind, WorldEvent } from '../../../sim/world/index.ts'
import type { GapLine, LedgerEnd, LedgerIdentify, LedgerLine } from './ledger.ts'
import { Lifecycle } from './lifecycle.ts'

interface RunSession {
  readonly id: string
  readonly shard: number
  s: number
}

const writer = new EtfWriter()

export class RecordedRun {
  readonly world: World
  readonly view: ClientView
  readonly shardCount: number
  readonly ledger: LedgerLine[] = []
  readonly ends: LedgerEnd[] = []
  readonly gaps: GapLine[] = []
  readonly identifies: LedgerIdentify[] = []
  readonly #sessions: RunSession[] = []
  #n = 0
  #atMs = 0

  constructor(options: {
    readonly seed: number
    readonly guilds: number
    readonly shardCount?: number
    readonly membersMax?: number
    readonly intents?: number
    readonly largeThreshold?: number
    readonly nastyText?: boolean
  }) {
    const { seed, guilds, membersMax, nastyText } = options
    this.world = new World({
      seed,
      guilds,
      membersMax: membersMax ?? 120,
      nastyText: nastyText ?? false,
    })
    this.shardCount = options.shardCount ?? 1
    this.view = {
      intents: options.intents ?? ALL_INTENTS,
      largeThreshold: options.largeThreshold ?? 250,
      botUserId: this.world.botUser['id'] as bigint,
    }
    for (let shard = 0; shard < this.shardCount; shard++) this.identify(shard)
  }

  /** A new session: READY, then each guild. */
  identify(shard: number): void {
    const session = { id: `session-${++this.#n}`, shard, s: 0 }
    this.#sessions[shard] = session
    this.#atMs += 6000
    const outcome = { atMs: this.#atMs, shard, outcome: 'ready', session: session.id }
    this.identifies.push({ n: ++this.#n, ...outcome })
    const ids = this.world.guildIds(shard, this.shardCount)
    const guilds = ids.map((id) => ({ unavailable: true, id }))
    this.#send(session, 'READY', { v: 10, session_id: session.id, guilds })
    for (const id of ids) {
      const guild = this.world.guildCreate(id, this.view)
      const t = guild['unavailable'] === true ? 'GUILD_DELETE' : 'GUILD_CREATE'
      this.#send(session, t, guild)
    }
  }

  /** The session ends; `lost` events are written to it that nobody is sent, then it is replaced. */
  loseSession(shard: number, lost: number): void {
    const session = this.#sessions[shard]!
    const lastSent = session.s
    while (session.s < lastSent + lost) this.step(1)
    const { id, s: last } = session
    this.ends.push({ shard, session: id, cause: 'fault', lastSent, last, resumeSeq: lastSent })
    const from = lastSent + 1
    this.gaps.push({ shard, session: id, from, to: null, cause: 'session_refused' })
    this.identify(shard)
  }

  step(count: number): void {
    for (let i = 0; i < count; i++) this.tell(this.world.step())
  }

  mutate(kind: MutationKind): void {
    this.tell(this.world.mutate(kind))
  }

  tell(events: readonly WorldEvent[]): void {
    for (const event of events) {
      const shard = event.guildId === null ? 0 : shardOfGuild(event.guildId, this.shardCount)
      const d = this.world.render(event, this.view)
      if (d !== null) this.#send(this.#sessions[shard]!, event.t, d)
    }
  }

  /** What a gateway without a fault puts into its lists, everything as often as it was received. */
  lists(payload: 'd' | 'envelope', isWanted: (t: string, guildClass: string) => boolean): Lists {
    const lists: Lists = new Map()
    const lifecycle = new Lifecycle()
    for (const line of this.ledger) {
      const end = this.ends.find((entry) => entry.session === line.session)
      if (end !== undefined && line.s > end.lastSent) continue
      const guildClass = lifecycle.apply(line)
      if (!isWanted(line.t, guildClass)) continue
      const key = `gateway:events:${line.t}`
      const list = lists.get(key) ?? []
      list.push(payload === 'd' ? bare(line) : envelope(line, guildClass))
      lists.set(key, list)
    }
    return lists
  }

  #send(session: RunSession, t: string, d: JsonObject): void {
    const bytes = writer.term(d)
    this.ledger.push({
      n: ++this.#n,
      session: session.id,
      shard: session.shard,
      shardCount: this.shardCount,
      s: ++session.s,
      t,
      hash: createHash('sha1').update(bytes).digest('hex'),
      d: bytes,
    })
  }
}

export type Lists = Map<string, Uint8Array[]>

function bare(line: LedgerLine): Uint8Array {
  return Buffer.concat([Buffer.from([131]), line.d!])
}

/** The envelope of docs/architecture.md, its keys as binaries. */
export function envelope(line: LedgerLine, guildClass: string): Uint8Array {
  const fields: [string, Uint8Array][] = [
    ['t', text(line.t)],
    ['s', integer(line.s)],
    ['op', integer(0)],
    ['d', line.d!],
    ['shard', integer(line.shard)],
    ['shard_count', integer(line.shardCount)],
    ['session_id', text(line.session)],
    ['class', text(guildClass)],
    ['received_at', integer(1)],
  ]
  const head = Buffer.from([131, 116, 0, 0, 0, fields.length])
  return Buffer.concat([head, ...fields.flatMap(([key, value]) => [text(key), value])])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  const head = Buffer.from([109, 0, 0, 0, 0])
  head.writeUInt32BE(bytes.length, 1)
  return Buffer.concat([head, bytes])
}

function integer(value: number): Buffer {
  const bytes = Buffer.from([98, 0, 0, 0, 0])
  bytes.writeInt32BE(value, 1)
  return bytes
}
