/**
 * What the payloads of one shard mean: events go to the dispatcher, everything else becomes an event of
 * the state table. Data plane: onPayload, one call per payload, allocates nothing.
 */
import { messageOf } from '../base/index.ts'
import type { Log } from '../base/index.ts'
import { Opcode } from '../discord/index.ts'
import { isTrue } from '../etf/index.ts'
import { helloIntervalMs, readySession } from './control-payload.ts'
import type { BadFrameCause } from './frame-sink.ts'
import { PoisonWatch } from './poison-watch.ts'
import type { SessionKeeper } from './session-keeper.ts'
import type { ShardDeps } from './shard-deps.ts'
import type { ShardEvent, ShardState } from './state.ts'

/** What the reader needs of its shard. */
export interface ReaderHost {
  readonly stateName: ShardState['name']
  handle(event: ShardEvent): void
  onHello(intervalMs: number): void
  onHeartbeatAck(): void
  onHeartbeatRequest(): void
}

export class ShardReader {
  readonly #deps: ShardDeps
  readonly #log: Log
  readonly #shardId: number
  readonly #keeper: SessionKeeper
  readonly #host: ReaderHost
  readonly #poison = new PoisonWatch()
  /** `d` of a READY that the sink refused; delivered before anything else of its session. */
  #refusedReady: Uint8Array | null = null
  /** Monotonic time of the last payload in ms; -1 before the first. */
  lastFrameAt = -1
  events = 0
  badFrames = 0
  /** Events that came between a RESUME and its RESUMED. */
  replayed = 0

  constructor(deps: ShardDeps, log: Log, shardId: number, keeper: SessionKeeper, host: ReaderHost) {
    this.#deps = deps
    this.#log = log
    this.#shardId = shardId
    this.#keeper = keeper
    this.#host = host
  }

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
    this.lastFrameAt = clock.monotonic()
    if (dispatcher.envelope.op === Opcode.Dispatch) this.#onDispatch(bytes)
    else this.#onControl(bytes)
  }

  /** @param sequence of the event that failed; -1 when nothing in the frame could be trusted. */
  onBadFrame(cause: BadFrameCause, message: string, sequence = -1): void {
    const { metrics, marks, gaps } = this.#deps
    const state = this.#host.stateName
    metrics.badFrame(cause)
    this.badFrames++
    this.#log.warn('a frame could not be read, the connection is closed', { cause, message, state })
    const isContent = cause === 'malformed' || cause === 'oversize' || cause === 'sink'
    const { session } = this.#keeper
    if (isContent && session !== null && (state === 'ready' || state === 'resuming')) {
      const received = marks.received(this.#shardId)
      if (this.#poison.failed(received, state === 'resuming')) {
        const { sessionId } = session
        const from = received + 1
        const to = Math.max(sequence, from)
        gaps.gap({ shardId: this.#shardId, sessionId, from, to, cause: 'poison_frame' })
        marks.receive(this.#shardId, to)
      }
    }
    this.#host.handle({ type: 'bad_frame' })
  }

  /** Delivers a READY that was refused. False when there is no room for it again. */
  redeliverReady(): boolean {
    const d = this.#refusedReady
    const { session } = this.#keeper
    if (d !== null && session !== null) {
      const { sessionId, firstSequence } = session
      const { dispatcher } = this.#deps
      if (!dispatcher.redeliverReady(this.#shardId, sessionId, firstSequence, d)) return false
    }
    this.#refusedReady = null
    return true
  }

  #onDispatch(bytes: Uint8Array): void {
    const { dispatcher, marks, metrics } = this.#deps
    const { sequence } = dispatcher.envelope
    const { session } = this.#keeper
    const state = this.#host.stateName
    const eventName = dispatcher.eventName(bytes)
    if (session === null || (state !== 'ready' && state !== 'resuming')) {
      if (state === 'identifying' && eventName === 'READY') this.#onReady(bytes)
      else metrics.unexpected.value++
      return
    }
    if (eventName === 'RESUMED') {
      if (sequence !== -1) marks.receive(this.#shardId, sequence)
      metrics.resumed.value++
      this.#host.handle({ type: 'resumed' })
      return
    }
    if (sequence !== -1 && sequence <= marks.received(this.#shardId)) {
      metrics.repeated.value++
      return
    }
    let isTaken: boolean
    try {
      isTaken = dispatcher.deliver(this.#shardId, session.sessionId, eventName, sequence, bytes)
    } catch (error) {
      this.onBadFrame('sink', `${eventName}: ${messageOf(error)}`, sequence)
      return
    }
    if (isTaken) {
      this.events++
      metrics.event(eventName)
      if (state === 'resuming') {
        this.replayed++
        metrics.replayed.value++
      }
    } else {
      this.#host.handle({ type: 'full' })
    }
  }

  #onReady(bytes: Uint8Array): void {
    const { dispatcher, marks, metrics, gaps } = this.#deps
    const { dStart, dEnd, sequence } = dispatcher.envelope
    const firstSequence = Math.max(0, sequence)
    let ready: ReturnType<typeof readySession>
    try {
      ready = readySession(bytes, dStart, dEnd)
    } catch (error) {
      this.onBadFrame('malformed', `READY: ${messageOf(error)}`)
      return
    }
    if (ready === null) {
      this.onBadFrame('protocol', 'READY without session_id')
      return
    }
    const { sessionId } = ready
    marks.begin(this.#shardId, 0)
    let isTaken = true
    try {
      isTaken = dispatcher.deliver(this.#shardId, sessionId, 'READY', firstSequence, bytes)
    } catch (error) {
      // The session is good, and another identify would bring the same READY: it is skipped as a gap.
      metrics.badFrame('sink')
      this.badFrames++
      this.#log.error('READY could not be read by the cache', { error: messageOf(error) })
      const [from, to] = [firstSequence, firstSequence]
      gaps.gap({ shardId: this.#shardId, sessionId, from, to, cause: 'poison_frame' })
      marks.receive(this.#shardId, firstSequence)
    }
    this.#keeper.begin(sessionId, ready.resumeGatewayUrl, firstSequence)
    this.#refusedReady = null
    this.events++
    metrics.event('READY')
    this.#host.handle({ type: 'ready' })
    if (isTaken) return
    // A RESUME replays what follows READY, never READY: it is kept here until there is room.
    this.#refusedReady = bytes.slice(dStart, dEnd)
    marks.receive(this.#shardId, firstSequence)
    this.#host.handle({ type: 'full' })
  }

  #onControl(bytes: Uint8Array): void {
    const { op, dStart, dEnd } = this.#deps.dispatcher.envelope
    switch (op) {
      case Opcode.Hello:
        this.#onHello(bytes, dStart, dEnd)
        return
      case Opcode.HeartbeatAck:
        this.#host.onHeartbeatAck()
        return
      case Opcode.Heartbeat:
        this.#host.onHeartbeatRequest()
        return
      case Opcode.Reconnect:
        this.#host.handle({ type: 'reconnect' })
        return
      case Opcode.InvalidSession: {
        const isResumable = dStart !== -1 && isTrue(bytes, dStart, dEnd)
        this.#log.info('Discord refused the session', { isResumable, state: this.#host.stateName })
        this.#host.handle({ type: 'invalid_session', isResumable })
        return
      }
      default:
        this.#deps.metrics.unexpected.value++
    }
  }

  #onHello(bytes: Uint8Array, dStart: number, dEnd: number): void {
    let intervalMs: number | null
    try {
      intervalMs = helloIntervalMs(bytes, dStart, dEnd)
    } catch (error) {
      this.onBadFrame('malformed', messageOf(error))
      return
    }
    if (intervalMs === null) this.onBadFrame('protocol', 'HELLO without heartbeat_interval')
    else this.#host.onHello(intervalMs)
  }
}
