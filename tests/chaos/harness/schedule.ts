/**
 * What goes wrong when: made from the seed alone, before anything runs, so that a seed means the same faults at the
 * same times whatever the machine does. Faults overlap, but never two on the same process.
 */
import { seededRandom, type Random } from '../../../src/base/index.ts'
import type { FaultRequest } from '../../../sim/faults.ts'

/** TTL of the leases in a run, the shortest that the gateway takes. */
export const LEASE_TTL_SECONDS = 3

export type WorkerFault =
  /** kill -9, and a start again when it is over. */
  | 'kill'
  /** SIGTERM, and a start again when it is over. */
  | 'stop'
  /** SIGSTOP for longer than two TTLs, then SIGCONT. */
  | 'freeze'
  /** The same, between BEGIN and COMMIT. */
  | 'freeze-in-transaction'
  | 'add'
  /** SIGTERM, for good. */
  | 'remove'
  /** TCP between this worker and etcd is cut: connections are reset and refused. */
  | 'cut-etcd'
  /** The same, but nothing is said: packets vanish. */
  | 'mute-etcd'

export type ServerFault = 'kill-etcd' | 'kill-redis' | 'kill-postgres' | 'restore-etcd'

export interface PlannedFault {
  /** From the moment at which every shard is ready. */
  readonly atMs: number
  readonly durationMs: number
  readonly kind: WorkerFault | ServerFault | 'discord'
  /** Number of the worker, from 1; 0 for what concerns none. */
  readonly worker: number
  /** For `discord`. */
  readonly request: FaultRequest | null
}

export interface ScheduleOptions {
  readonly seed: number
  readonly durationMs: number
  readonly workers: number
  readonly shards: number
  readonly hasEtcd: boolean
  readonly only: readonly string[]
}

/** How often each kind comes, in parts of the whole. */
const WEIGHTS: Readonly<Record<PlannedFault['kind'], number>> = {
  kill: 5,
  stop: 4,
  freeze: 3,
  'freeze-in-transaction': 3,
  add: 2,
  remove: 2,
  'cut-etcd': 2,
  'mute-etcd': 2,
  'kill-etcd': 2,
  'restore-etcd': 1,
  'kill-redis': 2,
  'kill-postgres': 2,
  discord: 8,
}

const ETCD_KINDS: readonly string[] = ['cut-etcd', 'mute-etcd', 'kill-etcd', 'restore-etcd']
const ENDS_PROCESS: readonly string[] = ['kill', 'stop', 'remove']
const PAUSE_MS = { least: 300, most: 3000 } as const
/** A process that was started is left alone for so long; twice as much processor would need less. */
const START_MS = 4000
/** Workers beyond those of the start. */
const ADDED_MAX = 1

export function planFaults(options: ScheduleOptions): PlannedFault[] {
  const random = seededRandom(options.seed)
  const plan: PlannedFault[] = []
  const present = new Set(Array.from({ length: options.workers }, (_, index) => index + 1))
  const freeFrom = new Map<string, number>()
  let named = options.workers
  for (let atMs = 800; ; atMs += between(random, PAUSE_MS.least, PAUSE_MS.most)) {
    if (atMs > options.durationMs - 1500) return plan
    const isFree = (what: string): boolean => (freeFrom.get(what) ?? 0) <= atMs
    const free = [...present].filter((worker) => isFree(`worker ${worker}`))
    const kinds = (Object.keys(WEIGHTS) as PlannedFault['kind'][]).filter((kind) => {
      if (options.only.length > 0 && !options.only.includes(kind)) return false
      if (kind === 'discord') return true
      if (kind === 'add') return options.hasEtcd && present.size < options.workers + ADDED_MAX
      if (kind === 'remove') return present.size > 1 && free.some((worker) => worker !== 1)
      if (ETCD_KINDS.includes(kind) && !options.hasEtcd) return false
      if (isServerFault(kind)) return isFree(serverOf(kind))
      return free.length > 0
    })
    if (kinds.length === 0) continue
    const kind = weighted(kinds, random)
    const durationMs = durationOf(kind, random)
    const endMs = atMs + durationMs
    if (kind === 'discord') {
      plan.push({ atMs, durationMs: 0, kind, worker: 0, request: discordFault(options, random) })
      continue
    }
    if (isServerFault(kind)) {
      freeFrom.set(serverOf(kind), endMs + 2000)
      plan.push({ atMs, durationMs, kind, worker: 0, request: null })
      continue
    }
    // The first worker lives through the second half: its memory is watched there.
    const isSpared = (worker: number): boolean =>
      worker === 1 &&
      ENDS_PROCESS.includes(kind) &&
      isLong(options) &&
      atMs > options.durationMs / 2
    const among = free.filter((worker) => !isSpared(worker) && !(kind === 'remove' && worker === 1))
    const worker = kind === 'add' ? named + 1 : among[Math.floor(random() * among.length)]
    if (worker === undefined) continue
    if (kind === 'add') present.add(++named)
    if (kind === 'remove') present.delete(worker)
    const rest = ENDS_PROCESS.includes(kind) || kind === 'add' ? START_MS : 1000
    freeFrom.set(`worker ${worker}`, endMs + rest)
    plan.push({ atMs, durationMs, kind, worker, request: null })
  }
}

/** Long enough for a slope of memory that says something. */
function isLong(options: { readonly durationMs: number }): boolean {
  return options.durationMs >= 4 * 60_000
}

/** One line of what is planned, as it is printed when it happens. */
export function describeFault({ kind, worker, durationMs, request }: PlannedFault): string {
  const whom = worker === 0 ? '' : ` worker ${worker}`
  const long = durationMs === 0 ? '' : ` for ${(durationMs / 1000).toFixed(1)} s`
  if (request === null) return `${kind}${whom}${long}`
  const { kind: what, ...fields } = request
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${value}`)
  return ['discord:', what, ...shown].join(' ')
}

function isServerFault(kind: PlannedFault['kind']): kind is ServerFault {
  return ['kill-etcd', 'restore-etcd', 'kill-redis', 'kill-postgres'].includes(kind)
}

function serverOf(kind: ServerFault): string {
  return kind === 'restore-etcd' ? 'etcd' : kind.slice('kill-'.length)
}

function durationOf(kind: PlannedFault['kind'], random: Random): number {
  const ttlMs = LEASE_TTL_SECONDS * 1000
  switch (kind) {
    case 'freeze':
    case 'freeze-in-transaction':
      return 2 * ttlMs + between(random, 300, 2500)
    case 'kill':
    case 'stop':
      return between(random, 100, 2 * ttlMs)
    case 'cut-etcd':
    case 'mute-etcd':
    case 'kill-etcd':
      return between(random, 500, 3 * ttlMs)
    case 'restore-etcd':
    case 'kill-redis':
    case 'kill-postgres':
      return between(random, 500, 5000)
    default:
      return 0
  }
}

/** What networks and Discord do; those that end a session are the rarer ones. */
function discordFault({ shards }: ScheduleOptions, random: Random): FaultRequest {
  const shard = Math.floor(random() * shards)
  const faults: readonly FaultRequest[] = [
    { kind: 'tcp-drop', shard },
    { kind: 'tcp-drop' },
    { kind: 'reconnect', shard },
    { kind: 'silence', shard },
    { kind: 'corrupt-stream', shard },
    { kind: 'heartbeat-request', shard },
    { kind: 'ack-missing', shard, count: 2 },
    { kind: 'split', shard, by: 'segments', pieces: 5, count: 100 },
    { kind: 'coalesce', shard, ms: 200 },
    { kind: 'close', shard, code: 4000 },
    { kind: 'no-hello' },
    { kind: 'reconnect-before-hello' },
    { kind: 'refuse-connection', count: 3 },
    { kind: 'slow-replay', shard, delayMs: 20 },
    { kind: 'refuse-resume', shard, resumable: true },
    { kind: 'invalid-session', shard, resumable: true },
    { kind: 'invalid-session', shard, resumable: false },
    { kind: 'close', shard, code: 4009 },
    { kind: 'expire-session', shard },
  ]
  return faults[Math.floor(random() * faults.length)]!
}

function weighted(kinds: readonly PlannedFault['kind'][], random: Random): PlannedFault['kind'] {
  let left = random() * kinds.reduce((sum, kind) => sum + WEIGHTS[kind], 0)
  for (const kind of kinds) {
    left -= WEIGHTS[kind]
    if (left < 0) return kind
  }
  return kinds.at(-1)!
}

function between(random: Random, least: number, most: number): number {
  return Math.round(least + random() * (most - least))
}
