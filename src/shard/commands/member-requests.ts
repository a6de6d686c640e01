/**
 * Requests for members (op 8) of one shard, from the wish to the last chunk.
 *
 *   waiting ──sent──> asked ──chunk_count chunks──> done
 *      ▲                │
 *      └── RATE_LIMITED, a new session, silence (once)
 *
 * Equal requests join. A whole list is asked for once per guild in 30 s. The chunks are events of the session:
 * a RESUME replays them, so a reconnect does not disturb a request. See [Discord Docs/Gateway Events#request-guild-members].
 */
import type { Clock, Random, Timer } from '../../base/index.ts'
import { ALL_MEMBERS_WINDOW_MS, Opcode } from '../../discord/index.ts'
import { ShardError } from '../errors.ts'
import type { CommandScheduler, Ticket } from './scheduler.ts'

export interface MembersWanted {
  readonly guildId: bigint
  /** A prefix of the name with a limit of 1 to 100, or up to 100 users; neither: all members. */
  readonly query?: string
  readonly limit?: number
  readonly userIds?: readonly bigint[]
  readonly presences: boolean
  /** Up to 32 bytes; '': one is made. */
  readonly nonce: string
  /** Of the gateway itself: after everything else, and its chunks are not pushed. */
  readonly isFill?: boolean
}

export interface MembersProgress {
  readonly outcome: 'QUEUED' | 'SENT' | 'DONE' | 'REFUSED'
  readonly nonce: string
  /** QUEUED: as of a Ticket. */
  readonly position: number
  readonly waitMs: number
  /** QUEUED after RATE_LIMITED: wall time in ms of the next attempt; else 0. */
  readonly rateLimitedUntilMs: number
  /** Chunks that have come, of how many (0: not known), and the members in them. */
  readonly chunks: number
  readonly chunkCount: number
  readonly members: number
  readonly notFound: readonly string[]
  /** REFUSED. */
  readonly error: ShardError | null
}

export interface MembersChunk {
  readonly nonce: string
  readonly index: number
  readonly count: number
  readonly members: number
  readonly notFound: readonly string[]
}

/** Nonces of ours begin so; a backend's may not. `fill`: for the cache alone. `all`: a whole list too. */
const NONCE_PREFIX = 'gateway:'
export const FILL_NONCE_PREFIX = `${NONCE_PREFIX}fill:`
const ALL_NONCE_PREFIX = `${NONCE_PREFIX}all:`
const SOME_NONCE_PREFIX = `${NONCE_PREFIX}some:`

/** Whether the chunks with this nonce are all members of a guild, asked for in one request. */
export function isWholeListNonce(nonce: string): boolean {
  return nonce.startsWith(FILL_NONCE_PREFIX) || nonce.startsWith(ALL_NONCE_PREFIX)
}

/** Requests of one shard that are not through. */
const REQUESTS_MAX = 1000
/** No chunk for so long, with a session: the answer is lost. Discord sends a chunk every few ms. */
const SILENCE_MS_MAX = 30_000
/** Two requests may travel at different speeds: so much more than Discord's 30 s lies between them. */
const MARGIN_MS = 250

interface Request {
  readonly key: string
  readonly wanted: MembersWanted
  readonly isWhole: boolean
  readonly nonce: string
  readonly listeners: ((progress: MembersProgress) => void)[]
  readonly chunks: Set<number>
  chunkCount: number
  members: number
  readonly notFound: Set<string>
  ticket: Ticket | null
  /** Wall time for people, monotonic time for the scheduler. */
  rateLimitedUntilMs: number
  notBefore: number
  isAsked: boolean
  silences: number
  timer: Timer | undefined
}

export class MemberRequests {
  readonly #clock: Clock
  readonly #scheduler: CommandScheduler
  readonly #isReady: () => boolean
  readonly #byKey = new Map<string, Request>()
  readonly #byNonce = new Map<string, Request>()
  /** Monotonic time from which a guild's whole list may be asked for again. */
  readonly #nextWholeAt = new Map<bigint, number>()
  /** Of this process: a chunk that an earlier one asked for must not be counted here. */
  readonly #tag: string
  #made = 0

  constructor(deps: {
    readonly clock: Clock
    readonly random: Random
    readonly scheduler: CommandScheduler
    readonly isReady: () => boolean
  }) {
    this.#clock = deps.clock
    this.#scheduler = deps.scheduler
    this.#isReady = deps.isReady
    this.#tag = Math.floor(deps.random() * 36 ** 6).toString(36)
  }

  /**
   * Asks, or joins an equal request that is not through. The listener is called at once with where it stands, then with
   * each change; DONE or REFUSED is the last.
   *
   * @throws ShardError SHARD_SEND_QUEUE_FULL, SHARD_NOT_READY
   */
  request(wanted: MembersWanted, listener: (progress: MembersProgress) => void): void {
    const key = keyOf(wanted)
    const known = this.#equal(key, wanted.nonce)
    if (known !== undefined) {
      known.listeners.push(listener)
      listener(progressOf(known, known.isAsked ? 'SENT' : 'QUEUED'))
      return
    }
    if (this.#byNonce.size >= REQUESTS_MAX) {
      const message = `${REQUESTS_MAX} requests for members are not through yet. Send fewer.`
      throw new ShardError('SHARD_SEND_QUEUE_FULL', message, {}, { retryable: true })
    }
    const isWhole = isWholeList(wanted)
    const request: Request = {
      key,
      wanted,
      isWhole,
      nonce: wanted.nonce === '' ? this.#nonce(wanted, isWhole) : wanted.nonce,
      listeners: [listener],
      chunks: new Set(),
      chunkCount: 0,
      members: 0,
      notFound: new Set(),
      ticket: null,
      rateLimitedUntilMs: 0,
      notBefore: 0,
      isAsked: false,
      silences: 0,
      timer: undefined,
    }
    this.#keep(request)
    try {
      this.#submit(request)
    } catch (error) {
      this.#drop(request)
      throw error
    }
  }

  /** A GUILD_MEMBERS_CHUNK. One whose nonce nobody here has sent is ignored. */
  onChunk(chunk: MembersChunk): void {
    const request = this.#byNonce.get(chunk.nonce)
    if (request === undefined || request.chunks.has(chunk.index)) return
    request.chunks.add(chunk.index)
    request.chunkCount = chunk.count
    request.members += chunk.members
    for (const id of chunk.notFound) request.notFound.add(id)
    request.silences = 0
    if (request.chunks.size >= request.chunkCount) this.#finish(request, 'DONE', null)
    else {
      this.#watch(request)
      this.#tell(request, 'SENT')
    }
  }

  /** RATE_LIMITED for op 8. It names the guild, and the nonce if there was one. */
  onRateLimited(guildId: bigint, nonce: string | null, retryAfterMs: number): void {
    const retryAt = this.#clock.monotonic() + retryAfterMs
    if (nonce === null || (this.#byNonce.get(nonce)?.isWhole ?? true)) {
      this.#nextWholeAt.set(guildId, Math.max(retryAt, this.#nextWholeAt.get(guildId) ?? 0))
    }
    for (const request of this.#byNonce.values()) {
      const isMeant =
        nonce === null
          ? request.isWhole && request.wanted.guildId === guildId
          : request.nonce === nonce
      if (!isMeant || !request.isAsked) continue
      request.rateLimitedUntilMs = this.#clock.now() + retryAfterMs
      request.notBefore = retryAt
      this.#again(request)
    }
  }

  /** A new session: what was asked in the old one will not be answered. */
  onNewSession(): void {
    for (const request of this.#byNonce.values()) if (request.isAsked) this.#again(request)
  }

  /** The shard is stopped, or somebody else's. */
  end(error: ShardError): void {
    for (const request of this.#byNonce.values()) this.#finish(request, 'REFUSED', error)
  }

  /** One that asks for the same, and whose chunks carry the nonce that is asked for. */
  #equal(key: string, nonce: string): Request | undefined {
    if (nonce === '') return this.#byKey.get(key)
    const known = this.#byNonce.get(nonce)
    if (known === undefined || known.key === key) return known
    const message = `Another request with the nonce ${JSON.stringify(nonce)} is not through yet.`
    throw new ShardError('SHARD_NONCE_TAKEN', message)
  }

  #nonce(wanted: MembersWanted, isWhole: boolean): string {
    const prefix =
      wanted.isFill === true ? FILL_NONCE_PREFIX : isWhole ? ALL_NONCE_PREFIX : SOME_NONCE_PREFIX
    return `${prefix}${this.#tag}.${(++this.#made).toString(36)}`
  }

  #keep(request: Request): void {
    this.#byKey.set(request.key, request)
    this.#byNonce.set(request.nonce, request)
  }

  #drop(request: Request): void {
    this.#clock.clearTimeout(request.timer)
    if (this.#byKey.get(request.key) === request) this.#byKey.delete(request.key)
    this.#byNonce.delete(request.nonce)
  }

  #submit(request: Request): void {
    const { guildId, query, limit, userIds, presences, isFill } = request.wanted
    request.isAsked = false
    request.chunks.clear()
    request.chunkCount = 0
    request.members = 0
    request.notFound.clear()
    const ticket = this.#scheduler.submit({
      lane: isFill === true ? 'fill' : 'members',
      op: Opcode.RequestGuildMembers,
      // Ids as text: both encodings take it. JSON has no numbers of that size.
      d: {
        guild_id: guildId.toString(),
        ...(userIds === undefined
          ? { query: query ?? '', limit: limit ?? 0 }
          : { user_ids: userIds.map(String) }),
        ...(presences ? { presences } : {}),
        nonce: request.nonce,
      },
      waitMs: () => this.#waitMs(request),
      onSent: () => this.#onSent(request),
    })
    if (request.isAsked) return
    request.ticket = ticket
    this.#tell(request, 'QUEUED')
    ticket.sent.catch((error: unknown) => {
      if (request.ticket === ticket) this.#finish(request, 'REFUSED', error as ShardError)
    })
  }

  /** In the tick in which it is sent: another whole list of the guild must see it. */
  #onSent(request: Request): void {
    request.isAsked = true
    request.ticket = null
    request.rateLimitedUntilMs = 0
    if (request.isWhole) this.#asked(request.wanted.guildId)
    this.#watch(request)
    this.#tell(request, 'SENT')
  }

  #asked(guildId: bigint): void {
    const now = this.#clock.monotonic()
    if (this.#nextWholeAt.size >= REQUESTS_MAX) {
      for (const [id, at] of this.#nextWholeAt) if (at <= now) this.#nextWholeAt.delete(id)
    }
    this.#nextWholeAt.set(guildId, now + ALL_MEMBERS_WINDOW_MS + MARGIN_MS)
  }

  #waitMs({ isWhole, notBefore, wanted }: Request): number {
    const wholeAt = isWhole ? (this.#nextWholeAt.get(wanted.guildId) ?? 0) : 0
    return Math.max(notBefore, wholeAt) - this.#clock.monotonic()
  }

  /** As long as there is a session and chunks come, a request may take its time. */
  #watch(request: Request): void {
    this.#clock.clearTimeout(request.timer)
    request.timer = this.#clock.setTimeout(() => {
      if (!this.#isReady()) return this.#watch(request)
      if (request.silences++ === 0) return this.#again(request)
      const message = `Discord has sent no chunk for ${SILENCE_MS_MAX / 1000} s, twice. Is the bot in the guild?`
      this.#finish(
        request,
        'REFUSED',
        new ShardError('SHARD_MEMBERS_NO_ANSWER', message, {}, { retryable: true }),
      )
    }, SILENCE_MS_MAX)
  }

  #again(request: Request): void {
    this.#clock.clearTimeout(request.timer)
    try {
      this.#submit(request)
    } catch (error) {
      this.#finish(request, 'REFUSED', error as ShardError)
    }
  }

  #finish(request: Request, outcome: 'DONE' | 'REFUSED', error: ShardError | null): void {
    this.#drop(request)
    this.#tell(request, outcome, error)
  }

  #tell(
    request: Request,
    outcome: MembersProgress['outcome'],
    error: ShardError | null = null,
  ): void {
    const progress = progressOf(request, outcome, error)
    for (const listener of request.listeners) listener(progress)
  }
}

function isWholeList({ query, limit, userIds }: MembersWanted): boolean {
  return userIds === undefined && (query ?? '') === '' && (limit ?? 0) === 0
}

/** What is asked for. A fill is nobody else's: its chunks are not pushed. */
function keyOf({ guildId, query, limit, userIds, presences, isFill }: MembersWanted): string {
  return JSON.stringify([
    guildId.toString(),
    query ?? '',
    limit ?? 0,
    userIds?.map(String) ?? null,
    presences,
    isFill === true,
  ])
}

function progressOf(
  request: Request,
  outcome: MembersProgress['outcome'],
  error: ShardError | null = null,
): MembersProgress {
  const { ticket } = request
  const isQueued = outcome === 'QUEUED'
  return {
    outcome,
    nonce: request.nonce,
    position: isQueued ? (ticket?.position ?? 0) : 0,
    waitMs: isQueued ? (ticket?.waitMs ?? 0) : 0,
    rateLimitedUntilMs: isQueued ? request.rateLimitedUntilMs : 0,
    chunks: request.chunks.size,
    chunkCount: request.chunkCount,
    members: request.members,
    notFound: [...request.notFound],
    error,
  }
}
