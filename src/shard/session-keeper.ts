/**
 * The session of one shard: in memory, in its stored row, and the sequence that each may name.
 * READY writes the row at once; later saves (sequence-saver.ts) only raise it.
 */
import { backoffMs, messageOf, sleep } from '../base/index.ts'
import type { Log } from '../base/index.ts'
import type { AcknowledgedSequence, Fence, StoredSession } from './ports.ts'
import { identifyReason, usableResumeUrl } from './session.ts'
import type { Session } from './session.ts'
import type { ShardDeps } from './shard-deps.ts'
import type { Step } from './state.ts'

export class SessionKeeper {
  readonly #deps: ShardDeps
  readonly #log: Log
  readonly #shardId: number
  readonly #fence: Fence
  /** Aborted when the shard has ended. */
  readonly #ended: AbortSignal
  readonly #onDenied: () => void
  #session: Session | null = null
  #isSaved = false
  #savedSequence = -1

  /** @param onDenied the store refuses the fence: the shard is somebody else's. */
  constructor(
    deps: ShardDeps,
    log: Log,
    shardId: number,
    fence: Fence,
    ended: AbortSignal,
    onDenied: () => void,
  ) {
    this.#onDenied = onDenied
    this.#deps = deps
    this.#log = log
    this.#shardId = shardId
    this.#fence = fence
    this.#ended = ended
  }

  get session(): Session | null {
    return this.#session
  }

  /**
   * Takes the shard over in the store and reads its membership, however long the store is away.
   *
   * @returns the first step; null when somebody else owns the shard, or it has ended meanwhile.
   */
  async takeOver(): Promise<Step | null> {
    const { sessions, lifecycle, settings, clock, random, timeouts } = this.#deps
    for (let attempt = 0; !this.#ended.aborted; attempt++) {
      try {
        const { owned, session } = await sessions.takeOver(this.#shardId, this.#fence)
        if (!owned) return null
        await lifecycle.load(this.#shardId, settings.shardCount)
        return this.#ended.aborted ? null : this.#firstStep(session)
      } catch (error) {
        if (this.#ended.aborted) break
        this.#log.warn('the session row could not be read', { error: messageOf(error) })
        const waitMs = backoffMs(attempt, random, { baseMs: 500, maxMs: timeouts.backoffMaxMs })
        await sleep(clock, waitMs, this.#ended).catch(() => undefined)
      }
    }
    return null
  }

  /** READY began a new session. */
  begin(sessionId: string, resumeGatewayUrl: string | null, firstSequence: number): void {
    const { settings } = this.#deps
    this.#session = {
      sessionId,
      resumeGatewayUrl: usableResumeUrl(resumeGatewayUrl, settings.gatewayUrl),
      query: settings.query,
      firstSequence,
    }
    this.#isSaved = false
    this.#savedSequence = firstSequence
  }

  /** `d` of a heartbeat: the acknowledged sequence, null before there is one in this session. */
  heartbeatSequence(): number | null {
    const acknowledged = this.#deps.marks.acknowledged(this.#shardId)
    const session = this.#session
    return session !== null && acknowledged >= session.firstSequence ? acknowledged : null
  }

  /** What the row should be raised to; null when it is there already. */
  unsavedSequence(): AcknowledgedSequence | null {
    if (this.#session === null || !this.#isSaved) return null
    const sequence = this.#deps.marks.acknowledged(this.#shardId)
    if (sequence <= this.#savedSequence) return null
    const { sessionId } = this.#session
    return { shardId: this.#shardId, fence: this.#fence, sessionId, sequence }
  }

  /** The entry of unsavedSequence() is stored. */
  saved(entry: AcknowledgedSequence): void {
    if (entry.sessionId === this.#session?.sessionId) this.#savedSequence = entry.sequence
  }

  /**
   * Stores the new session, however long the store is away.
   *
   * @returns false when the fence is lost; true too when the shard or the session has ended meanwhile.
   */
  async save(): Promise<boolean> {
    const { clock, random, timeouts } = this.#deps
    const session = this.#session
    for (let attempt = 0; session !== null && session === this.#session; attempt++) {
      try {
        return await this.#saveOnce(session)
      } catch (error) {
        if (this.#ended.aborted) break
        this.#log.warn('the session could not be saved', { error: messageOf(error) })
        const waitMs = backoffMs(attempt, random, { baseMs: 250, maxMs: timeouts.backoffMaxMs })
        await sleep(clock, waitMs, this.#ended).catch(() => undefined)
      }
    }
    return true
  }

  /** The last chance for a session that is not stored yet; at the end of the process. */
  async saveAtEnd(): Promise<void> {
    if (this.#session === null || this.#isSaved) return
    try {
      await this.#saveOnce(this.#session)
    } catch (error) {
      this.#log.error('the session could not be saved: the next start identifies', {
        error: messageOf(error),
      })
    }
  }

  /** Whether the stored fence is still ours. */
  holds(): Promise<boolean> {
    return this.#deps.sessions.holds(this.#shardId, this.#fence)
  }

  /** The session is gone; what Discord still held for it is a gap. */
  drop(reason: string, cause: 'session_refused' | 'session_replaced'): void {
    const { marks, gaps, sessions } = this.#deps
    const session = this.#session
    if (session === null) return
    const { sessionId } = session
    const from = marks.received(this.#shardId) + 1
    this.#log.warn('the session is given up', { sessionId, reason })
    gaps.gap({ shardId: this.#shardId, sessionId, from, to: null, cause })
    this.#session = null
    sessions.dropSession(this.#shardId, this.#fence, sessionId).then(
      (isOwned) => {
        if (!isOwned) this.#onDenied()
      },
      (error: unknown) => {
        // Harmless: a successor would offer it, be refused by op 9 and drop it then.
        this.#log.warn('the refused session could not be dropped', { error: messageOf(error) })
      },
    )
  }

  /** Somebody else's now: nothing is written for it any more. */
  forget(): void {
    this.#session = null
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
    marks.begin(this.#shardId, stored.sequence)
    if (why === null) return { kind: 'resume', url: 'session', refusals: 0 }
    this.#log.warn('the stored session does not fit this configuration: identifying anew', {
      why,
      storedShardCount: stored.shardCount,
      shardCount: settings.shardCount,
      storedIntents: stored.intents,
      intents: settings.intents,
    })
    this.drop(why, 'session_replaced')
    return { kind: 'identify', why }
  }

  async #saveOnce(session: Session): Promise<boolean> {
    const { sessions, marks, settings } = this.#deps
    const sequence = Math.max(session.firstSequence, marks.acknowledged(this.#shardId))
    const isStored = await sessions.saveSession(this.#shardId, this.#fence, {
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
}
