/**
 * The gateway behind all connections: sessions, who may start one, and who gets which event.
 * See [Discord Docs/Gateway].
 */
import type { Clock, Timer } from '../src/base/index.ts'
import { Opcode, shardOfGuild } from '../src/discord/index.ts'
import { CommandLog } from './command-log.ts'
import type { Connection } from './connection.ts'
import { Dispatcher } from './dispatcher.ts'
import { IdentifyBudget } from './identify-budget.ts'
import { checkIdentify, checkResume, isRefusal, isToken } from './identify.ts'
import type { Identify } from './identify.ts'
import type { EndCause, LedgerResume } from './ledger.ts'
import { Ledger } from './ledger.ts'
import type { Liberty, SimOptions } from './options.ts'
import { NextFaults } from './next-faults.ts'
import { RESUMED_TRACE } from './ready.ts'
import type { Session } from './session.ts'
import { greetSession, newSession } from './session-start.ts'
import type { SimWorld } from './sim-world.ts'
import { EtfWriter } from './wire/etf-writer.ts'
import type { WireValue } from './wire/value.ts'

/** Ended sessions that are remembered, so that a RESUME of one is told from a made-up id. */
const ENDED_SESSIONS_MAX = 10_000

export interface GatewayFacts {
  readonly options: SimOptions
  readonly world: SimWorld
  readonly clock: Clock
  readonly token: string
  /** For READY: ws or wss URL of a host. */
  gatewayUrl(host: string): string
}

export class Gateway {
  readonly options: SimOptions
  readonly world: SimWorld
  readonly clock: Clock
  readonly writer: EtfWriter
  readonly ledger: Ledger
  readonly sessions = new Map<string, Session>()
  readonly connections = new Set<Connection>()
  readonly nextFaults = new NextFaults()
  readonly commands = new CommandLog()
  readonly events: Dispatcher
  readonly budget: IdentifyBudget
  isTokenReset = false
  readonly #token: string
  readonly #gatewayUrl: (host: string) => string
  readonly #liberties: ReadonlySet<Liberty>
  readonly #ended = new Map<string, Session>()
  readonly #timers = new Set<Timer>()
  /** Monotonic ms of the last request for all members of a guild; per bot, over all sessions. */
  readonly #allMembers = new Map<bigint, number>()

  constructor(facts: GatewayFacts) {
    this.options = facts.options
    this.world = facts.world
    this.clock = facts.clock
    this.#token = facts.token
    this.#gatewayUrl = (host) => facts.gatewayUrl(host)
    this.#liberties = new Set(facts.options.liberties)
    this.writer = new EtfWriter({
      atomTag: facts.options.atoms,
      keys: facts.options.keys,
      snowflakes: facts.options.snowflakes,
      floatIntegers: this.takes('float-integers'),
      stringExt: true,
    })
    this.ledger = new Ledger({
      eventsMax: facts.options.ledgerEvents,
      bytesMax: facts.options.ledgerMib * 1024 * 1024,
    })
    this.events = new Dispatcher({
      world: this.world,
      clock: this.clock,
      writer: this.writer,
      ledger: this.ledger,
      liberties: this.#liberties,
    })
    this.budget = new IdentifyBudget(facts.clock, {
      left: facts.options.identifyLimit,
      maxConcurrency: facts.options.maxConcurrency,
      windowMs: facts.options.identifyWindowMs,
    })
  }

  /** Ends every session, with nothing left that would happen later. */
  stop(): void {
    for (const timer of this.#timers) this.clock.clearTimeout(timer)
    this.#timers.clear()
    for (const session of this.sessions.values()) this.endSession(session, 'stopped', null)
  }

  /** Calls `fn` after `ms`, unless the simulator was stopped. */
  later(fn: () => void, ms: number): void {
    const timer = this.clock.setTimeout(() => {
      this.#timers.delete(timer)
      fn()
    }, ms)
    this.#timers.add(timer)
  }

  takes(liberty: Liberty): boolean {
    return this.#liberties.has(liberty)
  }

  accepts(token: string): boolean {
    return !this.isTokenReset && isToken(token, this.#token)
  }

  identify(connection: Connection, d: WireValue | undefined): void {
    const request = checkIdentify(d, {
      token: this.isTokenReset ? '' : this.#token,
      enabledIntents: this.options.intents,
      guildsPerShardMax: this.options.guildsPerShardMax,
      shardMultiple: this.options.shardMultiple,
      strictCompress: this.takes('strict-identify'),
      guildCount: (shardId, shardCount) => this.world.guildIds(shardId, shardCount).length,
    })
    if (isRefusal(request)) {
      this.#recordIdentify(null, String(request.code), null)
      return connection.close(request.code, request.reason)
    }
    const refusal = this.#refusalOfIdentify(request)
    if (refusal !== null) {
      this.#recordIdentify(request, refusal, null)
      if (refusal === 'budget' && this.options.budgetAnswer === 'reset-token') {
        return this.#resetToken()
      }
      return this.sendInvalidSession(connection, false)
    }
    const session = newSession(this, connection, request)
    this.sessions.set(session.id, session)
    this.events.routes.add(session)
    this.#attach(connection, session)
    this.#recordIdentify(request, 'ready', session)
    if (this.nextFaults.take('no-ready', request.shardId) !== null) return
    const resumeUrl = this.options.resumeUrl || this.#gatewayUrl(connection.query.host)
    greetSession(this, session, request, resumeUrl)
  }

  resume(connection: Connection, d: WireValue | undefined): void {
    const request = checkResume(d)
    if (isRefusal(request)) return connection.close(request.code, request.reason)
    if (!this.accepts(request.token)) return connection.close(4004, 'Authentication failed.')
    const { sessionId, seq } = request
    const session = this.sessions.get(sessionId) ?? this.#ended.get(sessionId)
    const record = (outcome: LedgerResume['outcome'], replayed = 0): void =>
      this.ledger.resume({
        atMs: this.clock.now(),
        shard: session?.shardId ?? -1,
        session: sessionId,
        seq,
        outcome,
        replayed,
        sameQuery: session?.query === connection.queryText,
      })
    if (session === undefined) {
      record('unknown')
      return this.sendInvalidSession(connection, false)
    }
    const forced = this.nextFaults.take('refuse-resume', session.shardId)
    if (forced !== null) {
      record('refused')
      const resumable = forced['resumable'] === true
      if (!resumable) this.endSession(session, 'fault', seq)
      return this.sendInvalidSession(connection, resumable)
    }
    if (session.end !== null) {
      session.end.resumeSeq = seq
      record('expired')
      if (this.options.expiredAnswer === 'close') {
        return connection.close(4009, 'Session timed out.')
      }
      return this.sendInvalidSession(connection, false)
    }
    if (seq > session.sequence) {
      record('invalid_seq')
      this.endSession(session, 'invalid_seq', null)
      return connection.close(4007, 'Invalid seq.')
    }
    if (!session.canReplayAfter(seq)) {
      record('replay_exceeded')
      this.endSession(session, 'replay_exceeded', seq)
      return this.sendInvalidSession(connection, false)
    }
    record('resumed', session.sequence - seq)
    this.#attach(connection, session)
    connection.cursor = seq + 1
    const slow = this.nextFaults.take('slow-replay', session.shardId)
    this.#replay(connection, session, typeof slow?.['delayMs'] === 'number' ? slow['delayMs'] : 0)
  }

  /** Op 9. */
  sendInvalidSession(connection: Connection, resumable: boolean): void {
    const isBare = !resumable && this.takes('invalid-session-without-d')
    connection.sendControl(Opcode.InvalidSession, isBare ? undefined : resumable)
  }

  hasGuild(session: Session, guildId: bigint): boolean {
    return (
      shardOfGuild(guildId, session.shardCount) === session.shardId &&
      this.world.guildIds(session.shardId, session.shardCount).includes(guildId)
    )
  }

  /** 0: a request for all members may be made, and now counts. Else the ms until the next. */
  allMembersWaitMs(guildId: bigint): number {
    const now = this.clock.monotonic()
    const last = this.#allMembers.get(guildId)
    const leftMs = last === undefined ? 0 : Math.ceil(last + this.options.membersIntervalMs - now)
    if (leftMs > 0) return leftMs
    this.#allMembers.set(guildId, now)
    return 0
  }

  /** From now on the guild's members may be asked for in `ms`, not before. */
  limitAllMembers(guildId: bigint, ms: number): void {
    this.#allMembers.set(guildId, this.clock.monotonic() + ms - this.options.membersIntervalMs)
  }

  /** Ends a session: what its client has not got by now no RESUME brings any more. */
  endSession(session: Session, cause: EndCause, resumeSeq: number | null): void {
    if (session.end !== null) return
    session.end = this.ledger.end({
      atMs: this.clock.now(),
      shard: session.shardId,
      shardCount: session.shardCount,
      session: session.id,
      cause,
      lastSent: session.lastSent,
      last: session.sequence,
      resumeSeq,
      successor: session.successor,
      unheard: 0,
    })
    const connection = session.reader as Connection | null
    session.reader = null
    if (connection !== null) {
      connection.session = null
      connection.cursor = null
    }
    this.sessions.delete(session.id)
    this.events.routes.remove(session, session.end)
    this.#ended.set(session.id, session)
    if (this.#ended.size > ENDED_SESSIONS_MAX) {
      for (const id of this.#ended.keys()) {
        this.#ended.delete(id)
        break
      }
    }
  }

  /** Nobody reads the session any more: it lives on for a while. */
  detach(connection: Connection): void {
    const session = connection.session
    if (session === null || session.reader !== connection) return
    session.reader = null
    const detachedAtMs = this.clock.monotonic()
    session.detachedAtMs = detachedAtMs
    this.later(() => {
      if (session.reader === null && session.detachedAtMs === detachedAtMs) {
        this.endSession(session, 'expired', null)
      }
    }, this.options.sessionTtlMs)
  }

  onClose(
    connection: Connection,
    code: number,
    sent: { code: number; reason: string } | null,
  ): void {
    this.connections.delete(connection)
    const session = connection.session
    this.ledger.close({
      atMs: this.clock.now(),
      shard: session?.shardId ?? -1,
      session: session?.id ?? null,
      code,
      by: sent === null ? 'client' : 'server',
      reason: sent?.reason ?? '',
    })
    if (session === null || session.reader !== connection) return
    // Only the client's own 1000 and 1001 end a session. See [Discord Docs/Gateway#initiating-a-disconnect].
    if (sent === null && (code === 1000 || code === 1001)) {
      this.endSession(session, 'closed', null)
    } else {
      this.detach(connection)
    }
  }

  #refusalOfIdentify(request: Identify): 'concurrency' | 'budget' | 'fault' | null {
    if (this.nextFaults.take('refuse-identify', request.shardId) !== null) return 'fault'
    const taken = this.budget.take(request.shardId)
    return taken === 'ok' ? null : taken
  }

  #recordIdentify(request: Identify | null, outcome: string, session: Session | null): void {
    this.ledger.identify({
      atMs: this.clock.now(),
      shard: request?.shardId ?? -1,
      shardCount: request?.shardCount ?? 0,
      intents: request?.intents ?? 0,
      outcome,
      session: session?.id ?? null,
    })
  }

  #attach(connection: Connection, session: Session): void {
    session.reader?.detached()
    session.reader = connection
    connection.session = session
  }

  /** Sends what was missed, in order, then RESUMED, then the connection is live. */
  #replay(connection: Connection, session: Session, delayMs: number): void {
    while (connection.cursor !== null && connection.cursor <= session.sequence) {
      if (connection.session !== session || connection.isClosed) return
      if (!session.canReplayAfter(connection.cursor - 1)) {
        // Slower than the world: the buffer has run over what was still to be replayed.
        this.endSession(session, 'replay_exceeded', connection.cursor - 1)
        return this.sendInvalidSession(connection, false)
      }
      const entry = session.entry(connection.cursor++)
      if (entry !== undefined) connection.sendEntry(entry)
      if (delayMs > 0) {
        this.later(() => this.#replay(connection, session, delayMs), delayMs)
        return
      }
    }
    connection.cursor = null
    this.events.tell(session, 'RESUMED', { _trace: [RESUMED_TRACE] })
  }

  /** See [Discord Docs/Gateway#session-start-limit-object]: all sessions end, the token is no good any more. */
  #resetToken(): void {
    this.isTokenReset = true
    for (const session of this.sessions.values()) this.endSession(session, 'fault', null)
    for (const connection of this.connections) connection.close(4004, 'Authentication failed.')
  }
}
