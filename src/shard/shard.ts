/**
 * One shard: runs the effects of the state table. What it reads is shard-reader.ts, what it keeps of its
 * session session-keeper.ts.
 */
import { backoffMs, messageOf } from '../base/index.ts'
import type { Log, Timer } from '../base/index.ts'
import { Opcode, RESUMABLE_CLOSE_CODE, SEND_PAYLOAD_BYTES_MAX } from '../discord/index.ts'
import type { AnswerHost } from './commands/answers.ts'
import { MemberRequests } from './commands/member-requests.ts'
import type { MembersChunk, MembersProgress, MembersWanted } from './commands/member-requests.ts'
import { CommandScheduler, notReady } from './commands/scheduler.ts'
import type { Command, Lane, Ticket } from './commands/scheduler.ts'
import { SendLimiter } from './commands/send-limiter.ts'
import { Connection } from './connection.ts'
import type { ConnectionCallbacks } from './connection.ts'
import { ShardError } from './errors.ts'
import { fatalError } from './fatal-error.ts'
import type { BadFrameCause } from './frame-sink.ts'
import { Heartbeat } from './heartbeat.ts'
import { identifyPayload } from './identify-payload.ts'
import type { AcknowledgedSequence, Fence, IdentifyPermit, ShardClaim } from './ports.ts'
import { SessionKeeper } from './session-keeper.ts'
import { connectionUrl } from './session.ts'
import type { ShardDeps } from './shard-deps.ts'
import { ShardReader } from './shard-reader.ts'
import type { ReaderHost } from './shard-reader.ts'
import { transition } from './state.ts'
import type { Effect, ShardEvent, ShardState, Step } from './state.ts'

/** A shard as Stats and the dashboard show it. Ages and times in ms; null where there is none yet. */
export interface ShardStatus {
  readonly shardId: number
  readonly fence: Fence
  readonly state: ShardState['name']
  readonly sessionId: string | null
  readonly received: number
  readonly acknowledged: number
  readonly heartbeatIntervalMs: number
  readonly heartbeatRttMs: number | null
  readonly lastFrameAgeMs: number | null
  readonly events: number
  readonly connections: number
  readonly identifies: number
  /** RESUMEs sent, answered by RESUMED, and refused for good. */
  readonly resumes: number
  readonly resumed: number
  readonly resumesLost: number
  readonly replayed: number
  /** Connections that ended, by the event of the state table that ended them. */
  readonly reconnects: ReadonlyMap<string, number>
  readonly badFrames: number
}

export class Shard implements ConnectionCallbacks, ReaderHost, AnswerHost {
  readonly shardId: number
  readonly claim: ShardClaim
  readonly #deps: ShardDeps
  readonly #log: Log
  readonly #heartbeat: Heartbeat
  readonly #limiter: SendLimiter
  readonly #commands: CommandScheduler
  readonly #members: MemberRequests
  readonly #keeper: SessionKeeper
  readonly #reader: ShardReader
  readonly #ended = new AbortController()
  #state: ShardState = { name: 'idle' }
  /** Counts state changes: an asynchronous effect that comes back to another state is stale. */
  #generation = 0
  #timer: Timer | undefined
  #pending: AbortController | undefined
  #connection: Connection | null = null
  #closing: Promise<void> = Promise.resolve()
  #permit: IdentifyPermit | null = null
  #isCommitted = false
  #connections = 0
  #identifies = 0
  #resumes = 0
  #resumed = 0
  #resumesLost = 0
  readonly #reconnects = new Map<string, number>()

  constructor(deps: ShardDeps, claim: ShardClaim) {
    this.#deps = deps
    this.claim = claim
    this.shardId = claim.shardId
    this.#log = deps.log.child({ shardId: claim.shardId })
    const { signal } = this.#ended
    this.#keeper = new SessionKeeper(deps, this.#log, this.shardId, claim.fence, signal, () =>
      this.lose(),
    )
    this.#reader = new ShardReader(deps, this.#log, this.shardId, this.#keeper, this)
    this.#heartbeat = new Heartbeat(deps.clock, deps.random, {
      onBeat: () => {
        this.onHeartbeatRequest()
      },
      onZombie: () => {
        deps.metrics.zombies.value++
        this.handle({ type: 'zombie' })
      },
    })
    this.#limiter = new SendLimiter(deps.clock)
    this.#commands = new CommandScheduler(deps.clock, this.#limiter, (op, d) => this.#write(op, d))
    this.#members = new MemberRequests({
      clock: deps.clock,
      random: deps.random,
      scheduler: this.#commands,
      isReady: () => this.#state.name === 'ready',
    })
    if (claim.lost.aborted) queueMicrotask(() => this.lose())
    else claim.lost.addEventListener('abort', () => this.lose(), { once: true })
  }

  /** Takes the shard over and connects; returns when there is something to connect for. */
  async start(): Promise<void> {
    const step = await this.#keeper.takeOver()
    if (step !== null) this.handle({ type: 'start', step })
    else if (!this.#ended.signal.aborted) this.lose()
  }

  /** Closes so that the session lives on, and stores a session that was not stored yet. */
  async stop(): Promise<void> {
    this.handle({ type: 'stop' })
    this.#ended.abort()
    await this.#closing
    await this.#keeper.saveAtEnd()
  }

  /** The shard is somebody else's now: closes it and forgets it, writing nothing. */
  lose(): void {
    this.#ended.abort()
    this.handle({ type: 'lost' })
  }

  /** A new connection for the same session. */
  restart(): void {
    this.handle({ type: 'restart' })
  }

  /**
   * Sends a command in its turn, within Discord's limits.
   *
   * @throws ShardError SHARD_NOT_READY, SHARD_SEND_QUEUE_FULL
   */
  submit(command: Command): Ticket {
    return this.#commands.submit(command)
  }

  /** See MemberRequests.request. */
  requestMembers(wanted: MembersWanted, listener: (progress: MembersProgress) => void): void {
    this.#members.request(wanted, listener)
  }

  waitingCount(lane: Lane): number {
    return this.#commands.waitingCount(lane)
  }

  unsavedSequence(): AcknowledgedSequence | null {
    return this.#keeper.unsavedSequence()
  }

  saved(entry: AcknowledgedSequence): void {
    this.#keeper.saved(entry)
  }

  get stateName(): ShardState['name'] {
    return this.#state.name
  }

  status(): ShardStatus {
    const { clock, marks } = this.#deps
    const { lastFrameAt, events, replayed, badFrames } = this.#reader
    return {
      shardId: this.shardId,
      fence: this.claim.fence,
      state: this.#state.name,
      sessionId: this.#keeper.session?.sessionId ?? null,
      received: marks.received(this.shardId),
      acknowledged: marks.acknowledged(this.shardId),
      heartbeatIntervalMs: this.#heartbeat.intervalMs,
      heartbeatRttMs: this.#heartbeat.rttMs < 0 ? null : this.#heartbeat.rttMs,
      lastFrameAgeMs: lastFrameAt < 0 ? null : clock.monotonic() - lastFrameAt,
      events,
      connections: this.#connections,
      identifies: this.#identifies,
      resumes: this.#resumes,
      resumed: this.#resumed,
      resumesLost: this.#resumesLost,
      replayed,
      reconnects: this.#reconnects,
      badFrames,
    }
  }

  // What the connection says.

  onPayload(bytes: Uint8Array, start: number, end: number): void {
    this.#reader.onPayload(bytes, start, end)
  }

  onBadFrame(cause: BadFrameCause, message: string): void {
    this.#reader.onBadFrame(cause, message)
  }

  onClosed(closeCode: number, reason: string): void {
    this.#deps.metrics.closed(closeCode)
    this.#log.info('Discord closed the connection', { closeCode, reason, state: this.#state.name })
    this.#connection = null
    this.handle({ type: 'closed', closeCode })
  }

  onUnreachable(message: string): void {
    this.#deps.metrics.unreachable.value++
    this.#log.warn('the gateway could not be reached', { error: message })
    this.#connection = null
    this.handle({ type: 'unreachable' })
  }

  // What the reader found.

  onHello(intervalMs: number): void {
    if (this.#state.name !== 'connecting') return
    this.#limiter.reset(intervalMs)
    this.#heartbeat.start(intervalMs)
    this.handle({ type: 'hello' })
  }

  onHeartbeatAck(): void {
    this.#heartbeat.ack()
    this.handle({ type: 'steady' })
  }

  onHeartbeatRequest(): void {
    this.#sendNow(Opcode.Heartbeat, this.#keeper.heartbeatSequence())
  }

  // What answers commands.

  onChunk(chunk: MembersChunk): void {
    this.#members.onChunk(chunk)
  }

  onRateLimited(
    op: number,
    guildId: bigint | null,
    nonce: string | null,
    retryAfterMs: number,
  ): void {
    this.#deps.metrics.rateLimited(op)
    this.#log.warn('Discord has rate limited a command', {
      op,
      guildId: guildId?.toString() ?? null,
      retryAfterMs,
    })
    if (op === Opcode.RequestGuildMembers && guildId !== null) {
      this.#members.onRateLimited(guildId, nonce, retryAfterMs)
    } else {
      this.#commands.hold(op, retryAfterMs)
    }
  }

  // The state table and its effects.

  handle(event: ShardEvent): void {
    const before = this.#state
    const { state, effects } = transition(before, event)
    if (state !== before) {
      this.#generation++
      this.#state = state
      if (state.name !== before.name) {
        this.#deps.clock.clearTimeout(this.#timer)
        this.#timer = undefined
        this.#log.debug('state', { from: before.name, to: state.name, event: event.type })
        this.#count(before, event, effects)
        if (state.name === 'ready' && before.name === 'resuming') {
          this.#log.info('ready', { by: 'resumed' })
        }
      }
      if (state.name === 'ready') {
        if (before.name !== 'ready') {
          this.#commands.ready()
          if (before.name === 'identifying') this.#members.onNewSession()
        }
      } else if (state.name === 'stopped' || state.name === 'failed') {
        this.#commands.end()
        this.#members.end(notReady())
      } else {
        this.#commands.away()
      }
      if (this.#connection === null) this.#heartbeat.stop()
    }
    for (const effect of effects) this.#run(effect)
  }

  /** What a change of state says to an operator. */
  #count(before: ShardState, event: ShardEvent, effects: readonly Effect[]): void {
    const { metrics } = this.#deps
    const { name } = this.#state
    const isWaiting = name === 'waiting' || name === 'parked'
    if (isWaiting && event.type !== 'start' && event.type !== 'room') {
      metrics.reconnect(event.type)
      this.#reconnects.set(event.type, (this.#reconnects.get(event.type) ?? 0) + 1)
    }
    if (before.name !== 'resuming') return
    if (name === 'ready' && event.type === 'resumed') this.#resumed++
    if (effects.some((effect) => effect.do === 'drop')) {
      this.#resumesLost++
      metrics.resumesLost.value++
    }
  }

  #run(effect: Effect): void {
    switch (effect.do) {
      case 'close':
        this.#close()
        return
      case 'wait':
        this.#arm(this.#waitMs(effect.attempt), () => this.handle({ type: 'due' }))
        return
      case 'acquire':
        void this.#acquire()
        return
      case 'connect':
        void this.#connect(effect.url)
        return
      case 'prove':
        void this.#prove(effect.step)
        return
      case 'identify':
        this.#identify()
        return
      case 'resume':
        this.#resume()
        return
      case 'save':
        void this.#save()
        return
      case 'drop':
        this.#keeper.drop(effect.reason, 'session_refused')
        return
      case 'release':
        this.#pending?.abort()
        this.#releasePermit(effect.outcome)
        return
      case 'await_room':
        void this.#awaitRoom()
        return
      case 'fatal':
        this.#deps.onFatal(fatalError(this.shardId, effect.closeCode, this.#deps.settings))
        return
      case 'forget':
        this.#keeper.forget()
        this.#deps.lifecycle.forget(this.shardId)
        this.#deps.onForgotten(this.shardId)
        return
    }
  }

  #waitMs(attempt: number): number {
    const { random, timeouts, spreadMs } = this.#deps
    if (attempt === 0) return spreadMs() * random()
    const { backoffBaseMs: baseMs, backoffMaxMs: maxMs } = timeouts
    return backoffMs(attempt - 1, random, { baseMs, maxMs })
  }

  #arm(ms: number, fn: () => void): void {
    this.#deps.clock.clearTimeout(this.#timer)
    this.#timer = this.#deps.clock.setTimeout(fn, ms)
  }

  #close(): void {
    this.#pending?.abort()
    this.#heartbeat.stop()
    if (this.#connection === null) return
    this.#closing = this.#connection.close(RESUMABLE_CLOSE_CODE)
    this.#connection = null
  }

  async #acquire(): Promise<void> {
    const generation = this.#generation
    const pending = new AbortController()
    this.#pending = pending
    try {
      const permit = await this.#deps.gate.acquire(this.shardId, pending.signal)
      if (generation !== this.#generation) {
        permit.release('unused')
        return
      }
      this.#permit = permit
      this.#isCommitted = false
      this.handle({ type: 'permitted' })
    } catch (error) {
      if (generation !== this.#generation) return
      this.#log.warn('no identify permit', { error: messageOf(error) })
      this.handle({ type: 'unproven' })
    }
  }

  #releasePermit(outcome: Parameters<IdentifyPermit['release']>[0]): void {
    this.#permit?.release(this.#isCommitted ? outcome : 'unused')
    this.#permit = null
  }

  /** The last socket is gone before the next one opens: a shard never has two. */
  async #connect(url: 'session' | 'generic'): Promise<void> {
    const generation = this.#generation
    const { settings, timeouts, transport, metrics } = this.#deps
    await this.#closing
    if (generation !== this.#generation) return
    const { session } = this.#keeper
    const query = session?.query ?? settings.query
    const resumeUrl = url === 'session' ? (session?.resumeGatewayUrl ?? '') : ''
    const base = resumeUrl === '' ? settings.gatewayUrl : resumeUrl
    this.#arm(timeouts.helloMs, () => {
      this.#log.warn('no HELLO', { url: base })
      this.handle({ type: 'timeout' })
    })
    metrics.connections.value++
    this.#connections++
    try {
      this.#connection = new Connection(connectionUrl(base, query), query, transport, this)
    } catch (error) {
      this.onUnreachable(messageOf(error))
    }
  }

  /**
   * An owner proves that it still is one. For a RESUME the fence read back from the store is enough
   * where the claim cannot be confirmed; for an IDENTIFY it is not.
   */
  async #prove(step: Step): Promise<void> {
    const generation = this.#generation
    this.#arm(this.#deps.timeouts.proveMs, () => {
      this.#log.warn('ownership could not be proven in time', { step: step.kind })
      this.handle({ type: 'timeout' })
    })
    try {
      let isProven = await this.claim.confirm()
      if (generation !== this.#generation) return
      if (!isProven && step.kind === 'resume') {
        isProven = await this.#keeper.holds()
        if (generation !== this.#generation) return
        if (!isProven) {
          this.lose()
          return
        }
      }
      if (isProven && step.kind === 'identify') {
        await this.#permit?.commit(step.why)
        if (generation !== this.#generation) return
        this.#isCommitted = true
        // To record it takes time, in which the process may have been stopped for longer than its lease; and a claim
        // is confirmed too while the store does not answer, which it does now.
        const isOwned = await this.#keeper.holds()
        if (generation !== this.#generation) return
        if (!isOwned) {
          this.lose()
          return
        }
        isProven = this.claim.isInTime
      }
      this.handle({ type: isProven ? 'proven' : 'unproven' })
    } catch (error) {
      if (generation !== this.#generation) return
      this.#log.warn('ownership could not be proven', { step: step.kind, error: messageOf(error) })
      this.handle({ type: 'unproven' })
    }
  }

  #identify(): void {
    const { settings, metrics } = this.#deps
    const state = this.#state
    if (state.name === 'identifying' && state.step.kind === 'identify') {
      metrics.identify(state.step.why)
      this.#log.info('identify', { why: state.step.why })
    }
    this.#identifies++
    if (settings.presence !== undefined) this.#commands.presenceSent()
    this.#sendNow(Opcode.Identify, identifyPayload(settings, this.shardId))
    this.#watchSilence()
  }

  #resume(): void {
    const { session } = this.#keeper
    if (session === null) return
    const seq = this.#deps.marks.received(this.shardId)
    this.#deps.metrics.resumes.value++
    this.#resumes++
    this.#log.info('resume', { sessionId: session.sessionId, sequence: seq })
    this.#sendNow(Opcode.Resume, {
      token: this.#deps.settings.token.reveal(),
      session_id: session.sessionId,
      seq,
    })
    this.#watchSilence()
  }

  /** READY and RESUMED may take their time as long as anything comes, a heartbeat's ACK included. */
  #watchSilence(): void {
    const { clock, timeouts } = this.#deps
    const silenceMs = this.#heartbeat.intervalMs + timeouts.silenceMs
    const sentAt = clock.monotonic()
    const check = (): void => {
      const silentMs = clock.monotonic() - Math.max(this.#reader.lastFrameAt, sentAt)
      if (silentMs < silenceMs) this.#arm(silenceMs - silentMs, check)
      else {
        this.#log.warn('silence instead of READY or RESUMED', { silentMs })
        this.handle({ type: 'timeout' })
      }
    }
    this.#arm(silenceMs, check)
  }

  /** A command's turn has come. @throws ShardError SHARD_PAYLOAD_TOO_LARGE */
  #write(op: number, d: unknown): void {
    const payload = this.#connection!.encode(op, d)
    if (payload.length > SEND_PAYLOAD_BYTES_MAX) {
      const message = `The command has ${payload.length} bytes, Discord accepts ${SEND_PAYLOAD_BYTES_MAX}.`
      throw new ShardError('SHARD_PAYLOAD_TOO_LARGE', message, { op, bytes: payload.length })
    }
    this.#connection!.send(payload)
    this.#deps.metrics.sent(op)
  }

  #sendNow(op: number, d: unknown): void {
    if (this.#connection === null) return
    this.#limiter.record()
    this.#connection.send(this.#connection.encode(op, d))
  }

  /** The permit goes back, and the shard says that it is ready, when the session is stored, not before. */
  async #save(): Promise<void> {
    const permit = this.#permit
    this.#permit = null
    const session = this.#keeper.session
    if (!(await this.#keeper.save())) this.lose()
    else if (session !== null && session === this.#keeper.session) {
      this.#log.info('ready', { by: 'ready' })
    }
    permit?.release('ready')
  }

  async #awaitRoom(): Promise<void> {
    const { sink, metrics, timeouts, clock } = this.#deps
    const generation = this.#generation
    const pending = new AbortController()
    this.#pending = pending
    metrics.parked.value++
    this.#log.warn('parked: a required queue is full', {})
    const timer = clock.setTimeout(() => {
      // Now or never: the session dies about 90 s after the close.
      sink.shed(this.shardId)
      pending.abort()
    }, timeouts.parkMs)
    await sink.whenRoom(pending.signal).catch(() => undefined)
    clock.clearTimeout(timer)
    if (generation !== this.#generation) return
    if (!this.#reader.redeliverReady()) void this.#awaitRoom()
    else this.handle({ type: 'room' })
  }
}
