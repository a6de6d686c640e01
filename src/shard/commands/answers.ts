/** Reads the events that answer commands: GUILD_MEMBERS_CHUNK and RATE_LIMITED. One for all shards of a process. */
import { Opcode } from '../../discord/index.ts'
import {
  decodeTermAt,
  EtfError,
  FieldReader,
  integerAt,
  isNil,
  ListReader,
  snowflakeAt,
  textAt,
} from '../../etf/index.ts'
import type { Dispatch } from '../ports.ts'
import type { MembersChunk } from './member-requests.ts'

/** What an answer concerns, of the event's shard. */
export interface AnswerHost {
  onChunk(chunk: MembersChunk): void
  /** @param guildId null where Discord names none: no such op of the shard's then. */
  onRateLimited(
    op: number,
    guildId: bigint | null,
    nonce: string | null,
    retryAfterMs: number,
  ): void
}

/** `retry_after` is in seconds; more than this is a mistake, and is asked again then. */
const RETRY_AFTER_MS_MAX = 3_600_000
/** Where RATE_LIMITED says no time. */
const RETRY_AFTER_MS_DEFAULT = 30_000

export class CommandAnswers {
  readonly #hostOf: (shardId: number) => AnswerHost | undefined
  readonly #chunk = new FieldReader(['nonce', 'chunk_index', 'chunk_count', 'members', 'not_found'])
  readonly #limited = new FieldReader(['opcode', 'retry_after', 'meta.guild_id', 'meta.nonce'])
  readonly #list = new ListReader()

  constructor(hostOf: (shardId: number) => AnswerHost | undefined) {
    this.#hostOf = hostOf
  }

  /**
   * After the sink has taken the event. Events of other names are ignored, and so is one that cannot be read: it is
   * delivered, and the request that it would have answered ends by silence.
   */
  onEvent(event: Dispatch): void {
    try {
      if (event.eventName === 'GUILD_MEMBERS_CHUNK') this.#onChunk(event)
      else if (event.eventName === 'RATE_LIMITED') this.#onRateLimited(event)
    } catch (error) {
      if (!(error instanceof EtfError)) throw error
    }
  }

  #onChunk({ bytes, start, end, shardId }: Dispatch): void {
    const fields = this.#chunk
    if (fields.read(bytes, start, end) < 0 || fields.starts[0]! < 0) return
    const { starts, ends } = fields
    const nonce = textAt(bytes, starts[0]!, ends[0]!)
    if (nonce === null) return
    const notFound = starts[4]! < 0 ? [] : decodeTermAt(bytes, starts[4]!, ends[4]!)
    this.#hostOf(shardId)?.onChunk({
      nonce,
      index: integerOr(bytes, starts[1]!, ends[1]!, 0),
      count: integerOr(bytes, starts[2]!, ends[2]!, 1),
      members: this.#list.open(bytes, starts[3]!, ends[3]!) ? this.#list.length : 0,
      notFound: Array.isArray(notFound) ? notFound.map(String) : [],
    })
  }

  #onRateLimited({ bytes, start, end, shardId }: Dispatch): void {
    const fields = this.#limited
    if (fields.read(bytes, start, end) < 0) return
    const { starts, ends } = fields
    const op = integerOr(bytes, starts[0]!, ends[0]!, Opcode.RequestGuildMembers)
    const seconds = starts[1]! < 0 ? null : decodeTermAt(bytes, starts[1]!, ends[1]!)
    const isTime = typeof seconds === 'number' && seconds >= 0
    const ms = isTime ? Math.ceil(seconds * 1000) : RETRY_AFTER_MS_DEFAULT
    const guildId = starts[2]! < 0 ? null : snowflakeAt(bytes, starts[2]!, ends[2]!)
    const nonce =
      starts[3]! < 0 || isNil(bytes, starts[3]!, ends[3]!)
        ? null
        : textAt(bytes, starts[3]!, ends[3]!)
    this.#hostOf(shardId)?.onRateLimited(op, guildId, nonce, Math.min(ms, RETRY_AFTER_MS_MAX))
  }
}

function integerOr(bytes: Uint8Array, start: number, end: number, other: number): number {
  return (start < 0 ? null : integerAt(bytes, start, end)) ?? other
}
