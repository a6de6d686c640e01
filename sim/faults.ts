/** What can be made to go wrong, by name: by method, by the control endpoint, and by flag with a time. */
import { nearest } from '../src/base/index.ts'
import type { Clock, Timer } from '../src/base/index.ts'
import { Opcode } from '../src/discord/index.ts'
import type { Connection } from './connection.ts'
import { SimError } from './errors.ts'
import { garbage, GARBAGE } from './garbage.ts'
import type { GarbageKind } from './garbage.ts'
import type { Gateway } from './gateway.ts'
import { NEXT_FAULTS } from './next-faults.ts'
import type { NextFault } from './next-faults.ts'
import type { Session } from './session.ts'
import type { Split } from './transport.ts'

/** The fields that a fault may have, next to `kind`; FAULTS says which kind takes which. */
export interface FaultRequest {
  readonly kind: string
  /** Only sessions of this shard; without it all of them. */
  readonly shard?: number
  readonly session?: string
  readonly code?: number
  readonly count?: number
  readonly ms?: number
  readonly delayMs?: number
  readonly pieces?: number
  readonly by?: string
  readonly what?: string
  readonly resumable?: boolean
}

export const FAULTS = {
  'tcp-drop': 'ends TCP without a close frame',
  silence: 'half open: the socket stays, nothing is sent or read any more',
  'ack-late': 'ACKs come delayMs late',
  'ack-missing': 'the next count heartbeats get no ACK',
  split: 'the next count messages are cut in pieces, by=segments|fragments|messages, ms apart',
  coalesce: 'messages are held for ms and then written at once',
  'corrupt-stream': 'the next count messages are corrupted in the compressed stream',
  garbage: `a payload that is none: what=${Object.keys(GARBAGE).join('|')}`,
  reconnect: 'op 7; closed with 4000 after ms (3000) if the client does not',
  'invalid-session': 'op 9, resumable=true|false (false ends the session)',
  'heartbeat-request': 'op 1',
  close: 'a close frame with code; 4003, 4007 and 4009 end the session',
  'expire-session': 'the session ends now; a RESUME is answered as for any expired one',
  ...NEXT_FAULTS,
} as const
type FaultKind = keyof typeof FAULTS

/** After these codes there is nothing to resume. See [Discord Docs/Opcodes and Status Codes]. */
const ENDING_CODES: ReadonlySet<number> = new Set([4003, 4007, 4009])
const FATAL_CODES: ReadonlySet<number> = new Set([4004, 4010, 4011, 4012, 4013, 4014])

/**
 * @throws SimError SIM_BAD_FAULT for an unknown kind or a bad field, SIM_NO_SESSION when it finds nobody.
 */
export function injectFault(gateway: Gateway, request: FaultRequest): void {
  const kind = faultKind(request.kind)
  if (isNextFault(kind)) {
    const { resumable = false, delayMs = 50 } = request
    gateway.nextFaults.add(kind, request.shard ?? -1, request.count ?? 1, { resumable, delayMs })
    return
  }
  const sessions = [...gateway.sessions.values()].filter(
    (session) =>
      (request.shard === undefined || session.shardId === request.shard) &&
      (request.session === undefined || session.id === request.session),
  )
  if (kind === 'expire-session') {
    if (sessions.length === 0) throw nobody(request)
    for (const session of sessions) expire(gateway, session)
    return
  }
  const connected = sessions.filter((session) => session.reader !== null)
  if (connected.length === 0) throw nobody(request)
  for (const session of connected) {
    strike(gateway, session, session.reader as Connection, kind, request)
  }
}

function strike(
  gateway: Gateway,
  session: Session,
  connection: Connection,
  kind: Exclude<FaultKind, NextFault | 'expire-session'>,
  request: FaultRequest,
): void {
  const count = request.count ?? 1
  switch (kind) {
    case 'tcp-drop':
      return connection.drop('fault')
    case 'silence':
      return connection.silence()
    case 'ack-late':
      connection.ackDelayMs = request.delayMs ?? 1000
      return
    case 'ack-missing':
      connection.acksMissing += count
      return
    case 'split':
      connection.transport.split(splitOf(request, connection), count)
      return
    case 'coalesce':
      return connection.transport.hold(request.ms ?? 50)
    case 'corrupt-stream':
      connection.corruptNext += count
      return
    case 'garbage':
      connection.sendRaw(
        garbage(garbageKind(request.what), connection.query.encoding, session.skipSequence()),
      )
      return
    case 'reconnect':
      connection.sendControl(Opcode.Reconnect, null)
      gateway.later(() => connection.close(4000, 'Reconnect requested.'), request.ms ?? 3000)
      return
    case 'invalid-session': {
      const resumable = request.resumable ?? false
      gateway.sendInvalidSession(connection, resumable)
      if (!resumable) gateway.endSession(session, 'fault', null)
      return
    }
    case 'heartbeat-request':
      connection.sendControl(Opcode.Heartbeat, null)
      return
    case 'close': {
      const code = request.code ?? 4000
      if (!isCloseCode(code))
        throw bad(`close needs a code from 1000 to 4999 that a frame may carry, not ${code}`)
      if (ENDING_CODES.has(code) || FATAL_CODES.has(code))
        gateway.endSession(session, 'fault', null)
      return connection.close(code, 'Fault.')
    }
  }
}

/** A connected session is expired as soon as its connection ends: it is dropped. */
function expire(gateway: Gateway, session: Session): void {
  const connection = session.reader as Connection | null
  gateway.endSession(session, 'fault', null)
  connection?.drop('fault')
}

/** A fault that strikes by the clock. */
export interface ScheduledFault {
  readonly request: FaultRequest
  readonly afterMs: number
  /** Null: once. */
  readonly everyMs: number | null
}

/** `kind[,after=5s][,every=30s][,shard=1][,field=value]`. @throws SimError SIM_BAD_FAULT */
export function readScheduledFault(text: string): ScheduledFault {
  const [kind = '', ...pairs] = text.split(',')
  const fields: Record<string, string> = {}
  for (const pair of pairs) {
    const [name = '', value] = pair.split('=')
    if (value === undefined) throw bad(`${pair} in ${text} is not field=value`)
    fields[name] = value
  }
  const { after, every, ...rest } = fields
  const everyMs = every === undefined ? null : durationMs(every)
  const afterMs = after === undefined ? (everyMs ?? 0) : durationMs(after)
  return { request: readFault({ kind, ...rest }), afterMs, everyMs }
}

/** A fault that finds nobody when it is due is passed over. */
export function scheduleFault(
  sim: { fault(request: FaultRequest): void },
  clock: Clock,
  fault: ScheduledFault,
  timers: Set<Timer>,
): void {
  const arm = (ms: number): void => {
    const timer = clock.setTimeout(() => {
      timers.delete(timer)
      try {
        sim.fault(fault.request)
      } catch (error) {
        if (!(error instanceof SimError) || error.code !== 'SIM_NO_SESSION') throw error
      }
      if (fault.everyMs !== null) arm(fault.everyMs)
    }, ms)
    timers.add(timer)
  }
  arm(fault.afterMs)
}

const NUMBERS = ['shard', 'code', 'count', 'ms', 'delayMs', 'pieces'] as const
const TEXTS = ['session', 'by', 'what'] as const

/** A request from outside: strings from a flag, JSON from the control endpoint. @throws SimError SIM_BAD_FAULT */
export function readFault(given: Readonly<Record<string, unknown>>): FaultRequest {
  const fields: Record<string, number | string | boolean> = {}
  for (const [name, value] of Object.entries(given)) {
    if (name === 'kind') continue
    if ((NUMBERS as readonly string[]).includes(name)) {
      const number = Number(value)
      if (value === '' || !Number.isFinite(number)) throw bad(`${name} is not a number`)
      fields[name] = number
    } else if ((TEXTS as readonly string[]).includes(name)) {
      fields[name] = String(value)
    } else if (name === 'resumable') {
      fields[name] = value === true || value === 'true'
    } else {
      const guess = nearest(name, [...NUMBERS, ...TEXTS, 'resumable', 'kind'])
      throw bad(`${name} is no field of a fault${guess === null ? '' : `; did you mean ${guess}?`}`)
    }
  }
  return { kind: faultKind(given['kind']), ...fields }
}

/** `250ms`, `5s`, `2m`, or a plain number of ms. @throws SimError SIM_BAD_FAULT */
export function durationMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text)
  if (match === null) throw bad(`${text} is not a time such as 250ms, 5s or 2m`)
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match[2] ?? 'ms'] ?? 1
  return Number(match[1]) * unit
}

function faultKind(kind: unknown): FaultKind {
  if (typeof kind === 'string' && Object.hasOwn(FAULTS, kind)) return kind as FaultKind
  const guess = nearest(String(kind), Object.keys(FAULTS))
  throw bad(`there is no fault ${String(kind)}${guess === null ? '' : `; did you mean ${guess}?`}`)
}

function garbageKind(what: string | undefined): GarbageKind {
  if (what !== undefined && Object.hasOwn(GARBAGE, what)) return what as GarbageKind
  throw bad(`garbage needs what=${Object.keys(GARBAGE).join('|')}`)
}

function splitOf(request: FaultRequest, connection: Connection): Split {
  const by = request.by ?? 'segments'
  if (by !== 'segments' && by !== 'fragments' && by !== 'messages') {
    throw bad('split needs by=segments|fragments|messages')
  }
  if (by === 'messages' && connection.query.compress !== 'zlib-stream') {
    throw bad('only zlib-stream may spread a payload over several websocket messages')
  }
  return { by, pieces: request.pieces ?? 3, gapMs: request.ms ?? 1 }
}

function isNextFault(kind: FaultKind): kind is NextFault {
  return Object.hasOwn(NEXT_FAULTS, kind)
}

/** RFC 6455 §7.4: 1005, 1006 and 1015 never stand in a frame. */
function isCloseCode(code: number): boolean {
  const isDefined = code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)
  return isDefined || (code >= 3000 && code <= 4999)
}

function bad(why: string): SimError {
  return new SimError('SIM_BAD_FAULT', `The fault cannot be made: ${why}.`)
}

function nobody(request: FaultRequest): SimError {
  const whom = request.shard === undefined ? 'any shard' : `shard ${request.shard}`
  return new SimError('SIM_NO_SESSION', `The fault ${request.kind} finds no session of ${whom}.`)
}
