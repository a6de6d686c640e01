/**
 * One shard: runs the effects of the state table, reads its connection, owns its session.
 * Data plane: onPayload → Dispatcher. Everything else is control plane.
 */
import { backoffMs, messageOf, sleep } from '../base/index.ts'
import type { Log, Timer } from '../base/index.ts'
import { closeCode as closeCodeEntry, Opcode, RESUMABLE_CLOSE_CODE } from '../discord/index.ts'
import { SEND_PAYLOAD_BYTES_MAX } from '../discord/index.ts'
import { isTrue } from '../etf/index.ts'
import { CommandQueue, notReady } from './command-queue.ts'
import { Connection } from './connection.ts'
import type { ConnectionCallbacks } from './connection.ts'
import { helloIntervalMs, readySession } from './control-payload.ts'
import { ShardError } from './errors.ts'
import type { BadFrameCause } from './frame-sink.ts'
import { Heartbeat } from './heartbeat.ts'
import { identifyPayload } from './identify-payload.ts'
import { PoisonWatch } from './poison-watch.ts'
import type { AcknowledgedSequence, IdentifyPermit, ShardClaim, StoredSession } from './ports.ts'
import { SendLimiter } from './send-limiter.ts'
import { connectionUrl, identifyReason, usableResumeUrl } from './session.ts'
import type { Session } from './session.ts'
import type { ShardDeps } from './shard-deps.ts'
import { transition } from './state.ts'
import type { Effect, ShardEvent, ShardState, Step } from './state.ts'

/** A shard as Stats and the dashboard show it. Ages and times in ms; null where there is none yet. */
export interface ShardStatus {
  readonly shardId: number
  readonly state: ShardState['name']
  readonly sessionId: string | null
  readonly received: number
  readonly acknowledged: number
  readonly heartbeatRttMs: number | null
  readonly lastFrameAgeMs: number | null
  readonly events: number
  readonly connections: number
  readonly identifies: number
  readonly resumes: number
  readonly badFrames: number
}

export class Shard implements ConnectionCallbacks {
  readonly shardId: number
  readonly claim: ShardClaim
  readonly #deps: ShardDeps
  readonly #log: Log
  readonly #heartbeat: Heartbeat
  readonly #limiter: SendLimiter
  readonly #commands: CommandQueue
  readonly #poison = new PoisonWatch()
  readonly #ended = new AbortController()
  #state: ShardState = { name: 'idle' }
  /** Counts state changes: an asynchronous effect that comes back to another state is stale. */
  #generation = 0
  #timer: Timer | undefined
  #pending: AbortController | undefined
  #connection: Connection | null = null
  #closing: Promise<void> = Promise.resolve()
  #session: Session | null = null
  #isSaved = false
  #savedSequence = -1
  #permit: IdentifyPermit | null = null
  #isCommitted = false
  /** `d` of a READY that the sink refused; delivered before anything else of its session. */
  #refusedReady: Uint8Array | null = null
  #lastFrameAt = -1
  #events = 0
  #connections = 0
  #identifies = 0
  #resumes = 0
  #badFrames = 0

  constructor(deps: ShardDeps, claim: ShardClaim) {
    this.#deps = deps
    this.claim = claim
    this.shardId = claim.shardId
    this.#log = deps.log.child({ shardId: claim.shardId })
    this.#heartbeat = new Heartbeat(deps.clock, deps.random, {
      onBeat: () => {
        this.#sendHeartbeat()
      },
      onZombie: () => {
        deps.metrics.zombies.value++
        this.#handle({ type: 'zombie' })
      },
    })
    this.#limiter = new SendLimiter(deps.clock)
    this.#commands = new CommandQueue(deps.clock, this.#limiter, (payload) => {
      this.#connection?.send(payload)
    })
    if (claim.lost.aborted) queueMicrotask(() => this.lose())
    else claim.lost.addEventListener('abort', () => this.lose(), { once: true })
  }

  /** Takes the shard over and connects; returns when there is something to connect for. */
  async start(): Promise<void> {
    const { sessions, lifecycle, settings, clock, random, timeouts } = this.#deps
    for (let attempt = 0; !this.#ended.signal.aborted; attempt++) {
      try {
        const { owned, session } = await sessions.takeOver(this.shardId, this.claim.fence)
        if (!owned) {
          this.lose()
          return
        }
        await lifecycle.load(this.shardId, settings.shardCount)
        if (this.#state.name !== 'idle') return
        this.#handle({ type: 'start', step: this.#firstStep(session) })
        return
      } catch (error) {
        if (this.#ended.signal.aborted) return
        this.#log.warn('the session row could not be read', { error: messageOf(error) })
        const waitMs = backoffMs(attempt, random, { baseMs: 500, maxMs: timeouts.backoffMaxMs })
        await sleep(clock, waitMs, this.#ended.signal).catch(() => undefined)
      }
    }
  }

  /** Closes so that the session lives on, and stores a session that was not stored yet. */
  async stop(): Promise<void> {
    this.#handle({ type: 'stop' })
    this.#ended.abort()
    await this.#closing
    const session = this.#session
    if (session === null || this.#isSaved) return
    try {
      await this.#saveOnce(session)
    } catch (error) {
      this.#log.error('the session could not be saved: the next start identifies', {
        error: messageOf(error),
      })
    }
  }

  /** The shard is somebody else's now: closes it and forgets it, writing nothing. */
  lose(): void {
    this.#ended.abort()
    this.#handle({ type: 'lost' })
  }

  /** A new connection for the same session. */
  restart(): void {
    this.#handle({ type: 'restart' })
  }

  /**
   * Sends a command in its turn, within Discord's limit.
   *
   * @throws ShardError SHARD_NOT_READY, SHARD_PAYLOAD_TOO_LARGE, SHARD_SEND_QUEUE_FULL
   */
  async send(op: number, d: unknown): Promise<void> {
    if (this.#connection === null || this.#state.name !== 'ready') throw notReady()
    const payload = this.#connection.encode(op, d)
    if (payload.length > SEND_PAYLOAD_BYTES_MAX) {
      const message = `The command has ${payload.length} bytes, Discord accepts ${SEND_PAYLOAD_BYTES_MAX}.`
      throw new ShardError('SHARD_PAYLOAD_TOO_LARGE', message, { op, bytes: payload.length })
    }
    await this.#commands.push(payload)
  }

  /** What the session row should be raised to; null when it is there already. */
  unsavedSequence(): AcknowledgedSequence | null {
    if (this.#session === null || !this.#isSaved) return null
    const sequence = this.#deps.marks.acknowledged(this.shardId)
    if (sequence <= this.#savedSequence) return null
    const { sessionId } = this.#session
    return { shardId: this.shardId, fence: this.claim.fence, sessionId, sequence }
  }

  /** The entry of unsavedSequence() is stored. */
  saved(entry: AcknowledgedSequence): void {
    if (entry.sessionId === this.#session?.sessionId) this.#savedSequence = entry.sequence
  }

  get stateName(): ShardState['name'] {
    return this.#state.name
  }

  status(): ShardStatus {
    const { clock, marks } = this.#deps
    return {
      shardId: this.shardId,
      state: this.#state.name,
      sessionId: this.#session?.sessionId ?? null,
      received: marks.received(this.shardId),
      acknowledged: marks.acknowledged(this.shardId),
      heartbeatRttMs: this.#heartbeat.rttMs < 0 ? null : this.#heartbeat.rttMs,
      lastFrameAgeMs: this.#lastFrameAt < 0 ? null : clock.monotonic() - this.#lastFrameAt,
      events: this.#events,
      connections: this.#connections,
      identifies: this.#identifies,
      resumes: this.#resumes,
      badFrames: this.#badFrames,
    }
  }

  // What the connection says.

  onPayload(bytes: Uint8Array, start: number, end: number): void {
    const { dispatcher, clock } = this.#deps
    try {
      if (!dispatcher.scan(bytes, start, end)) {
        this.onBadFrame('malformed', 'the payload is no whole term')
        return
      }
    } catch (error) {
      this.onBadFrame('malformed', messageOf(error))
      return
    }
    this.#lastFrameAt = clock.monotonic()
    if (dispatcher.envelope.op === Opcode.Dispatch) this.#onDispatch(bytes)
    else this.#onControl(bytes)
  }

  onBadFrame(cause: BadFrameCause, message: string): void {
    this.#onBadFrame(cause, message, -1)
  }

  onClosed(closeCode: number, reason: string): void {
    this.#deps.metrics.closed(closeCode)
    this.#log.info('Discord closed the connection', { closeCode, reason, state: this.#state.name })
    this.#connection = null
    this.#handle({ type: 'closed', closeCode })
  }

  onUnreachable(message: string): void {
    this.#deps.metrics.unreachable.value++
    this.#log.warn('the gateway could not be reached', { error: message })
    this.#connection = null
    this.#handle({ type: 'unreachable' })
  }

  #onDispatch(bytes: Uint8Array): void {
    const { dispatcher, marks, metrics } = this.#deps
    const { sequence } = dispatcher.envelope
    const session = this.#session
    const isStarted = this.#state.name === 'ready' || this.#state.name === 'resuming'
    const eventName = dispatcher.eventName(bytes)
    if (!isStarted || session === null) {
      if (this.#state.name === 'identifying' && eventName === 'READY') this.#onReady(bytes)
      else metrics.unexpected.value++
      return
    }
    if (eventName === 'RESUMED') {
      if (sequence !== -1) marks.receive(this.shardId, sequence)
      metrics.resumed.value++
      this.#handle({ type: 'resumed' })
      return
    }
    if (sequence !== -1 && sequence <= marks.received(this.shardId)) {
      metrics.repeated.value++
      return
    }
    let isTaken: boolean
    try {
      isTaken = dispatcher.deliver(this.shardId, session.sessionId, eventName, sequence, bytes)
    } catch (error) {
      this.#onBadFrame('sink', `${eventName}: ${messageOf(error)}`, sequence)
      return
    }
    if (isTaken) {
      this.#events++
      metrics.event(eventName)
    } else {
      this.#handle({ type: 'full' })
    }
  }

  #onReady(bytes: Uint8Array): void {
    const { dispatcher, marks, metrics, settings } = this.#deps
    const { dStart, dEnd, sequence } = dispatcher.envelope
    let ready: ReturnType<typeof readySession>
    let isTaken: boolean
    const firstSequence = Math.max(0, sequence)
    try {
      ready = readySession(bytes, dStart, dEnd)
      if (ready === null) {
        this.onBadFrame('protocol', 'READY without session_id')
        return
      }
      marks.begin(this.shardId, 0)
      isTaken = dispatcher.deliver(this.shardId, ready.sessionId, 'READY', firstSequence, bytes)
    } catch (error) {
      this.onBadFrame('sink', `READY: ${messageOf(error)}`)
      return
    }
    this.#session = {
      sessionId: ready.sessionId,
      resumeGatewayUrl: usableResumeUrl(ready.resumeGatewayUrl, settings.gatewayUrl),
      query: settings.query,
      firstSequence,
    }
    this.#isSaved = false
    this.#savedSequence = firstSequence
    this.#events++
    metrics.event('READY')
    this.#handle({ type: 'ready' })
    if (isTaken) return
    // A RESUME replays what follows READY, never READY: it is kept here until there is room.
    this.#refusedReady = bytes.slice(dStart, dEnd)
    marks.receive(this.shardId, firstSequence)
    this.#handle({ type: 'full' })
  }

  #onControl(bytes: Uint8Array): void {
    const { envelope } = this.#deps.dispatcher
    const { op, dStart, dEnd } = envelope
    switch (op) {
      case Opcode.Hello: {
        let intervalMs: number | null = null
        try {
          intervalMs = helloIntervalMs(bytes, dStart, dEnd)
        } catch (error) {
          this.onBadFrame('malformed', messageOf(error))
          return
        }
        if (intervalMs === null) {
          this.onBadFrame('protocol', 'HELLO without heartbeat_interval')
        } else if (this.#state.name === 'connecting') {
          this.#limiter.reset(intervalMs)
          this.#heartbeat.start(intervalMs)
          this.#handle({ type: 'hello' })
        }
        return
      }
      case Opcode.HeartbeatAck:
        this.#heartbeat.ack()
        this.#handle({ type: 'steady' })
        return
      case Opcode.Heartbeat:
        this.#sendHeartbeat()
        return
      case Opcode.Reconnect:
        this.#handle({ type: 'reconnect' })
        return
      case Opcode.InvalidSession: {
        const isResumable = dStart !== -1 && isTrue(bytes, dStart, dEnd)
        this.#log.info('Discord refused the session', { isResumable, state: this.#state.name })
        this.#handle({ type: 'invalid_session', isResumable })
        return
      }
      default:
        this.#deps.metrics.unexpected.value++
    }
  }

  /** @param sequence of the event that failed; -1 when nothing in the frame could be trusted. */
  #onBadFrame(cause: BadFrameCause, message: string, sequence: number): void {
    const { metrics, marks, gaps } = this.#deps
    const state = this.#state.name
    metrics.badFrame(cause)
    this.#badFrames++
    this.#log.warn('a frame could not be read, the connection is closed', { cause, message, state })
    const isContent = cause === 'malformed' || cause === 'oversize' || cause === 'sink'
    if (isContent && this.#session !== null && (state === 'ready' || state === 'resuming')) {
      const received = marks.received(this.shardId)
      if (this.#poison.failed(received, state === 'resuming')) {
        const to = Math.max(sequence, received + 1)
        const { sessionId } = this.#session
        const from = received + 1
        gaps.gap({ shardId: this.shardId, sessionId, from, to, cause: 'poison_frame' })
        marks.receive(this.shardId, to)
      }
    }
    this.#handle({ type: 'bad_frame' })
  }

  // The state table and its effects.

  #handle(event: ShardEvent): void {
    const before = this.#state
    const { state, effects } = transition(before, event)
    if (state !== before) {
      this.#generation++
      this.#state = state
      if (state.name !== before.name) {
        this.#deps.clock.clearTimeout(this.#timer)
        this.#timer = undefined
        this.#log.debug('state', { from: before.name, to: state.name, event: event.type })
        if (state.name === 'ready') this.#log.info('ready', { by: event.type })
      }
      if (state.name !== 'ready') this.#commands.fail()
      if (this.#connection === null) this.#heartbeat.stop()
    }
    for (const effect of effects) this.#run(effect)
  }

  #run(effect: Effect): void {
    switch (effect.do) {
      case 'close':
        this.#close()
        return
      case 'wait':
        this.#arm(this.#waitMs(effect.attempt), () => this.#handle({ type: 'due' }))
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
        this.#drop(effect.reason, 'session_refused')
        return
      case 'release':
        this.#pending?.abort()
        this.#releasePermit(effect.outcome)
        return
      case 'await_room':
        void this.#awaitRoom()
        return
      case 'fatal':
        this.#deps.onFatal(fatalError(this.shardId, effect.closeCode))
        return
      case 'forget':
        this.#session = null
        this.#deps.lifecycle.forget(this.shardId)
        this.#deps.onForgotten(this.shardId)
        return
    }
  }

  #firstStep(stored: StoredSession | null): Step {
    const { settings, marks } = this.#deps
    const why = identifyReason(stored, settings)
    if (stored === null) return { kind: 'identify', why: why ?? 'first' }
    this.#session = {
      sessionId: stored.sessionId,
      resumeGatewayUrl: usableResumeUrl(stored.resumeGatewayUrl, settings.gatewayUrl),
      query: stored.query,
      firstSequence: stored.sequence,
    }
    this.#isSaved = true
    this.#savedSequence = stored.sequence
    marks.begin(this.shardId, stored.sequence)
    if (why === null) return { kind: 'resume', url: 'session', refusals: 0 }
    this.#log.warn('the stored session does not fit this configuration: identifying anew', {
      why,
      storedShardCount: stored.shardCount,
      shardCount: settings.shardCount,
      storedIntents: stored.intents,
      intents: settings.intents,
    })
    this.#drop(why, 'session_replaced')
    return { kind: 'identify', why }
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
      this.#handle({ type: 'permitted' })
    } catch (error) {
      if (generation !== this.#generation) return
      this.#log.warn('no identify permit', { error: messageOf(error) })
      this.#handle({ type: 'unproven' })
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
    const query = this.#session?.query ?? settings.query
    const resumeUrl = url === 'session' ? (this.#session?.resumeGatewayUrl ?? '') : ''
    const base = resumeUrl === '' ? settings.gatewayUrl : resumeUrl
    this.#arm(timeouts.helloMs, () => {
      this.#log.warn('no HELLO', { url: base })
      this.#handle({ type: 'timeout' })
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
    try {
      let isProven = await this.claim.confirm()
      if (!isProven && step.kind === 'resume') {
        isProven = await this.#deps.sessions.holds(this.shardId, this.claim.fence)
      }
      if (isProven && step.kind === 'identify' && generation === this.#generation) {
        await this.#permit?.commit(step.why)
        this.#isCommitted = true
      }
      if (generation !== this.#generation) return
      this.#handle({ type: isProven ? 'proven' : 'unproven' })
    } catch (error) {
      if (generation !== this.#generation) return
      this.#log.warn('ownership could not be proven', { step: step.kind, error: messageOf(error) })
      this.#handle({ type: 'unproven' })
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
    this.#sendNow(Opcode.Identify, identifyPayload(settings, this.shardId))
    this.#watchSilence()
  }

  #resume(): void {
    const session = this.#session
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
      const silentMs = clock.monotonic() - Math.max(this.#lastFrameAt, sentAt)
      if (silentMs < silenceMs) this.#arm(silenceMs - silentMs, check)
      else {
        this.#log.warn('silence instead of READY or RESUMED', { silentMs })
        this.#handle({ type: 'timeout' })
      }
    }
    this.#arm(silenceMs, check)
  }

  #sendHeartbeat(): void {
    const session = this.#session
    const acknowledged = this.#deps.marks.acknowledged(this.shardId)
    const isKnown = session !== null && acknowledged >= session.firstSequence
    this.#sendNow(Opcode.Heartbeat, isKnown ? acknowledged : null)
  }

  #sendNow(op: number, d: unknown): void {
    if (this.#connection === null) return
    this.#limiter.record()
    this.#connection.send(this.#connection.encode(op, d))
  }

  /** Stores the new session, however long the store is away, and only then gives the permit back. */
  async #save(): Promise<void> {
    const { clock, random, timeouts } = this.#deps
    const session = this.#session
    const permit = this.#permit
    this.#permit = null
    for (let attempt = 0; session !== null && session === this.#session; attempt++) {
      try {
        if (!(await this.#saveOnce(session))) this.lose()
        break
      } catch (error) {
        if (this.#ended.signal.aborted) break
        this.#log.warn('the session could not be saved', { error: messageOf(error) })
        const waitMs = backoffMs(attempt, random, { baseMs: 250, maxMs: timeouts.backoffMaxMs })
        await sleep(clock, waitMs, this.#ended.signal).catch(() => undefined)
      }
    }
    permit?.release('ready')
  }

  /** @returns false when the fence is lost. */
  async #saveOnce(session: Session): Promise<boolean> {
    const { sessions, marks, settings } = this.#deps
    const sequence = Math.max(session.firstSequence, marks.acknowledged(this.shardId))
    const isStored = await sessions.saveSession(this.shardId, this.claim.fence, {
      sessionId: session.sessionId,
      resumeGatewayUrl: session.resumeGatewayUrl,
      sequence,
      shardCount: settings.shardCount,
      intents: settings.intents,
      query: session.query,
    })
    if (session === this.#session && isStored) {
      this.#isSaved = true
      this.#savedSequence = sequence
    }
    return isStored
  }

  /** The session is gone; what Discord still held for it is a gap. */
  #drop(reason: string, cause: string): void {
    const { marks, gaps, sessions } = this.#deps
    const session = this.#session
    if (session === null) return
    const { sessionId } = session
    const from = marks.received(this.shardId) + 1
    this.#log.warn('the session is given up', { sessionId, reason })
    gaps.gap({ shardId: this.shardId, sessionId, from, to: null, cause })
    this.#session = null
    this.#refusedReady = null
    sessions.dropSession(this.shardId, this.claim.fence, sessionId).catch((error: unknown) => {
      // Harmless: a successor would offer it, be refused by op 9 and drop it then.
      this.#log.warn('the refused session could not be dropped', { error: messageOf(error) })
    })
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
    if (!this.#redeliverReady()) void this.#awaitRoom()
    else this.#handle({ type: 'room' })
  }

  /** @returns false when there is no room for it again. */
  #redeliverReady(): boolean {
    const d = this.#refusedReady
    const session = this.#session
    if (d === null || session === null) return true
    const { sessionId, firstSequence } = session
    if (!this.#deps.dispatcher.redeliverReady(this.shardId, sessionId, firstSequence, d))
      return false
    this.#refusedReady = null
    return true
  }
}

function fatalError(shardId: number, closeCode: number): ShardError {
  const entry = closeCodeEntry(closeCode)
  const message = `Discord closed shard ${shardId} with ${closeCode} (${entry?.name ?? 'unknown'}). ${entry?.cure ?? ''}`
  return new ShardError('SHARD_CLOSED_FATALLY', message, { shardId, closeCode })
}
