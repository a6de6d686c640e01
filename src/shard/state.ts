/**
 * One shard's life as a table: pure transitions, effects as data. `shard.ts` runs the effects.
 *
 *   idle ─start─> waiting ──> connecting ─hello─> proving ─proven─> resuming ──┐
 *                   │  ▲          ▲                      └────────> identifying ┴─> ready
 *                   └──┼─queued───┘ (an identify waits for its permit before it connects)
 *                      └── every end of a connection: op 7, op 9, close, timeout, zombie, bad frame
 *   ready/resuming ─full─> parked ─room─> waiting;  any ─stop, lost─> stopped;  any ─4004…─> failed
 *
 * Dispatches do not pass here: only READY and RESUMED change the state.
 * See [Discord Docs/Gateway#connections]; what a close code means is the table in src/discord.
 */
import { closeAction } from '../discord/index.ts'
import type { IdentifyWhy } from './ports.ts'

/** What a connection is opened for. */
export type Step =
  | {
      readonly kind: 'resume'
      /** The session's own URL, or the one of GET /gateway/bot when that one cannot be reached. */
      readonly url: 'session' | 'generic'
      /** RESUMEs of this session that the server answered with a close code, in a row. */
      readonly refusals: number
    }
  | { readonly kind: 'identify'; readonly why: IdentifyWhy }

export type ShardState =
  /** Claimed; the stored session is being read. */
  | { readonly name: 'idle' }
  /** Backing off before `step`. */
  | { readonly name: 'waiting'; readonly step: Step; readonly attempt: number }
  /** Waiting for an identify permit, without a connection. */
  | { readonly name: 'queued'; readonly step: Step; readonly attempt: number }
  /** Socket opening, or open and no HELLO yet. */
  | { readonly name: 'connecting'; readonly step: Step; readonly attempt: number }
  /** HELLO is there; ownership is being proven, nothing was sent but heartbeats. */
  | { readonly name: 'proving'; readonly step: Step; readonly attempt: number }
  | { readonly name: 'identifying'; readonly step: Step; readonly attempt: number }
  | { readonly name: 'resuming'; readonly step: Step; readonly attempt: number }
  | { readonly name: 'ready'; readonly attempt: number; readonly isSteady: boolean }
  /** Closed because a required queue is full; resumes when there is room. */
  | { readonly name: 'parked' }
  | { readonly name: 'stopped' }
  | { readonly name: 'failed'; readonly closeCode: number }

/** Every state's name, for the gauge of shards by state. */
export const SHARD_STATES: readonly ShardState['name'][] = [
  'idle',
  'waiting',
  'queued',
  'connecting',
  'proving',
  'identifying',
  'resuming',
  'ready',
  'parked',
  'stopped',
  'failed',
]

export type ShardEvent =
  | { readonly type: 'start'; readonly step: Step }
  /** The backoff is over. */
  | { readonly type: 'due' }
  | { readonly type: 'permitted' }
  /** The gate or the proof could not be asked; the same step again, later. */
  | { readonly type: 'unproven' }
  | { readonly type: 'hello' }
  | { readonly type: 'proven' }
  | { readonly type: 'ready' }
  | { readonly type: 'resumed' }
  /** A heartbeat was acknowledged: the connection has proven itself, its next loss starts at attempt 0. */
  | { readonly type: 'steady' }
  /** Op 7. */
  | { readonly type: 'reconnect' }
  /** Op 9. */
  | { readonly type: 'invalid_session'; readonly isResumable: boolean }
  /** The server or the network ended an open connection; 1006 without a close frame. */
  | { readonly type: 'closed'; readonly closeCode: number }
  /** The connection never opened. */
  | { readonly type: 'unreachable' }
  /** No HELLO, or silence while READY or RESUMED was due. */
  | { readonly type: 'timeout' }
  | { readonly type: 'zombie' }
  | { readonly type: 'bad_frame' }
  /** The sink refused an event. */
  | { readonly type: 'full' }
  | { readonly type: 'room' }
  /** An operator wants a new connection for the same session. */
  | { readonly type: 'restart' }
  | { readonly type: 'lost' }
  | { readonly type: 'stop' }

export type Effect =
  /** Close the connection so that the session lives on. */
  | { readonly do: 'close' }
  | { readonly do: 'wait'; readonly attempt: number }
  | { readonly do: 'acquire' }
  | { readonly do: 'connect'; readonly url: 'session' | 'generic' }
  /** Prove ownership; for an identify this also records it. */
  | { readonly do: 'prove'; readonly step: Step }
  | { readonly do: 'identify' }
  | { readonly do: 'resume' }
  /** Store the new session, then release the permit. */
  | { readonly do: 'save' }
  /** The session was refused: forget it, and count what it still held as a gap. */
  | { readonly do: 'drop'; readonly reason: string }
  | {
      readonly do: 'release'
      readonly outcome: 'invalid_session' | 'timeout' | 'closed'
    }
  | { readonly do: 'await_room' }
  | { readonly do: 'fatal'; readonly closeCode: number }
  | { readonly do: 'forget' }

export interface Transition {
  readonly state: ShardState
  readonly effects: readonly Effect[]
}

/**
 * After so many close codes in answer to RESUME the session is given up. By then more than two minutes
 * have passed, and Discord keeps a session about as long (discord-api-docs issue 1619).
 */
export const RESUME_REFUSALS_MAX = 8

/** 4008: we sent too fast. The wait starts where the fourth attempt's would. */
const RATE_LIMITED = 4008
const RATE_LIMITED_ATTEMPT = 4

const RESUME: Step = { kind: 'resume', url: 'session', refusals: 0 }
const CLOSE: Effect = { do: 'close' }

/** The next state and what to do to get there. Events that mean nothing in a state change nothing. */
export function transition(state: ShardState, event: ShardEvent): Transition {
  switch (event.type) {
    case 'start':
      return state.name === 'idle' ? again(event.step, 0, []) : stay(state)
    case 'due':
      return state.name === 'waiting' ? begin(state.step, state.attempt) : stay(state)
    case 'permitted':
      if (state.name !== 'queued') return stay(state)
      return {
        state: { name: 'connecting', step: state.step, attempt: state.attempt },
        effects: [{ do: 'connect', url: 'generic' }],
      }
    case 'unproven':
      if (state.name !== 'proving' && state.name !== 'queued') return stay(state)
      return again(state.step, state.attempt + 1, [CLOSE, ...released(state, 'closed')])
    case 'hello':
      if (state.name !== 'connecting') return stay(state)
      return {
        state: { name: 'proving', step: state.step, attempt: state.attempt },
        effects: [{ do: 'prove', step: state.step }],
      }
    case 'proven':
      if (state.name !== 'proving') return stay(state)
      return {
        state: {
          name: state.step.kind === 'resume' ? 'resuming' : 'identifying',
          step: state.step,
          attempt: state.attempt,
        },
        effects: [{ do: state.step.kind }],
      }
    case 'ready':
      if (state.name !== 'identifying' && state.name !== 'resuming') return stay(state)
      return { state: readied(state.attempt), effects: [{ do: 'save' }] }
    case 'resumed':
      if (state.name !== 'resuming') return stay(state)
      return { state: readied(state.attempt), effects: [] }
    case 'steady':
      if (state.name !== 'ready' || state.isSteady) return stay(state)
      return { state: { name: 'ready', attempt: 0, isSteady: true }, effects: [] }
    case 'full':
      if (state.name !== 'ready' && state.name !== 'resuming') return stay(state)
      return { state: { name: 'parked' }, effects: [CLOSE, { do: 'await_room' }] }
    case 'room':
      return state.name === 'parked' ? again(RESUME, 0, []) : stay(state)
    case 'stop':
    case 'lost':
      return halted(state, event.type)
    case 'reconnect':
    case 'invalid_session':
    case 'closed':
    case 'unreachable':
    case 'timeout':
    case 'zombie':
    case 'bad_frame':
    case 'restart':
      return ended(state, event)
  }
}

type End = Extract<
  ShardEvent,
  {
    type:
      | 'reconnect'
      | 'invalid_session'
      | 'closed'
      | 'unreachable'
      | 'timeout'
      | 'zombie'
      | 'bad_frame'
      | 'restart'
  }
>

/** A connection ended, or is ended by us now. */
function ended(state: ShardState, event: End): Transition {
  switch (state.name) {
    case 'idle':
    case 'waiting':
    case 'queued':
    case 'parked':
    case 'stopped':
    case 'failed':
      return stay(state)
    case 'connecting':
    case 'proving':
    case 'identifying':
    case 'resuming':
    case 'ready':
      break
  }
  if (event.type === 'closed' && closeAction(event.closeCode) === 'stop') {
    return {
      state: { name: 'failed', closeCode: event.closeCode },
      effects: [...released(state, 'closed'), { do: 'fatal', closeCode: event.closeCode }],
    }
  }
  const close: readonly Effect[] =
    event.type === 'closed' || event.type === 'unreachable' ? [] : [CLOSE]
  const attempt = nextAttempt(state, event)
  switch (state.name) {
    case 'ready':
      return refused(event) ? identifyAnew(event, attempt, close) : again(RESUME, attempt, close)
    case 'resuming': {
      if (refused(event)) return identifyAnew(event, attempt, close)
      const refusals =
        event.type === 'closed' && event.closeCode >= 4000 && state.step.kind === 'resume'
          ? state.step.refusals + 1
          : 0
      if (refusals >= RESUME_REFUSALS_MAX) {
        return again({ kind: 'identify', why: 'close_code' }, attempt, [
          ...close,
          { do: 'drop', reason: 'RESUME was refused too often' },
        ])
      }
      return again({ kind: 'resume', url: 'session', refusals }, attempt, close)
    }
    case 'identifying': {
      const why: IdentifyWhy =
        event.type === 'invalid_session'
          ? 'invalid_session'
          : event.type === 'closed'
            ? 'close_code'
            : 'no_session'
      return again({ kind: 'identify', why }, attempt, [
        ...close,
        ...released(state, outcomeOf(event)),
      ])
    }
    // Nothing was sent yet, so whatever ended the connection did not speak of our session.
    case 'connecting':
    case 'proving':
      return again(
        state.name === 'connecting' && event.type !== 'reconnect'
          ? otherUrl(state.step)
          : state.step,
        attempt,
        [...close, ...released(state, outcomeOf(event))],
      )
  }
}

/** Whether the event says that the session is gone. An op 9 that lacks `d` counts as false. */
function refused(event: End): boolean {
  if (event.type === 'invalid_session') return !event.isResumable
  return event.type === 'closed' && closeAction(event.closeCode) === 'identify'
}

function identifyAnew(event: End, attempt: number, close: readonly Effect[]): Transition {
  const isOp9 = event.type === 'invalid_session'
  return again({ kind: 'identify', why: isOp9 ? 'invalid_session' : 'close_code' }, attempt, [
    ...close,
    {
      do: 'drop',
      reason: event.type === 'closed' ? `close code ${event.closeCode}` : 'op 9',
    },
  ])
}

/** A resume URL that cannot be reached: RESUME on the generic URL, and back, until one answers. */
function otherUrl(step: Step): Step {
  if (step.kind === 'identify') return step
  return { ...step, url: step.url === 'session' ? 'generic' : 'session' }
}

/**
 * Attempt 0 goes on nearly at once: for the first loss of a steady connection and for what Discord or an
 * operator asked for. A server that answers with nonsense is given a second.
 */
function nextAttempt(state: Extract<ShardState, { readonly attempt: number }>, event: End): number {
  const next = state.name === 'ready' && state.isSteady ? 0 : state.attempt + 1
  switch (event.type) {
    case 'restart':
      return 0
    case 'invalid_session':
    case 'bad_frame':
      return Math.max(1, next)
    case 'closed':
      return event.closeCode === RATE_LIMITED ? Math.max(next, RATE_LIMITED_ATTEMPT) : next
    case 'reconnect':
    case 'zombie':
    case 'unreachable':
    case 'timeout':
      return next
  }
}

function outcomeOf(event: End): 'invalid_session' | 'timeout' | 'closed' {
  if (event.type === 'invalid_session') return 'invalid_session'
  return event.type === 'timeout' || event.type === 'zombie' ? 'timeout' : 'closed'
}

function again(step: Step, attempt: number, effects: readonly Effect[]): Transition {
  return {
    state: { name: 'waiting', step, attempt },
    effects: [...effects, { do: 'wait', attempt }],
  }
}

/** The wait is over. The permit comes before the connection, so that no socket idles for one. */
function begin(step: Step, attempt: number): Transition {
  if (step.kind === 'identify') {
    return { state: { name: 'queued', step, attempt }, effects: [{ do: 'acquire' }] }
  }
  return {
    state: { name: 'connecting', step, attempt },
    effects: [{ do: 'connect', url: step.url }],
  }
}

function readied(attempt: number): ShardState {
  return { name: 'ready', attempt, isSteady: false }
}

function halted(state: ShardState, type: 'stop' | 'lost'): Transition {
  if (state.name === 'stopped' || state.name === 'failed') return stay(state)
  const effects: Effect[] = [CLOSE, ...released(state, 'closed')]
  if (type === 'lost') effects.push({ do: 'forget' })
  return { state: { name: 'stopped' }, effects }
}

/** The permit goes back wherever an identify ends without READY. */
function released(
  state: ShardState,
  outcome: 'invalid_session' | 'timeout' | 'closed',
): readonly Effect[] {
  switch (state.name) {
    case 'queued':
    case 'connecting':
    case 'proving':
    case 'identifying':
      return state.step.kind === 'identify' ? [{ do: 'release', outcome }] : []
    case 'idle':
    case 'waiting':
    case 'resuming':
    case 'ready':
    case 'parked':
    case 'stopped':
    case 'failed':
      return []
  }
}

function stay(state: ShardState): Transition {
  return { state, effects: [] }
}
